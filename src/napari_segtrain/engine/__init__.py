"""The process that does the work: its protocol, its serve loop, and the supervisor that others hold.

Importing this room does not import torch.
"""

from napari_segtrain.runs.scratch import Scratch, open_memmap

from .jobs import JobTable, load_jobs
from .protocol import (
    AnyCommand,
    Command,
    CommandError,
    Diagnose,
    Halt,
    LabelNext,
    LabelsChanged,
    Pause,
    Predict,
    Preview,
    PreviewAugmentation,
    PreviewSplit,
    PreviewTargets,
    Resume,
    RunGraph,
    Shutdown,
    StepThrough,
    Stop,
    TakeStep,
    Train,
    parse_command,
)
from .supervisor import Engine

__all__ = [
    "AnyCommand",
    "Command",
    "CommandError",
    "Diagnose",
    "Engine",
    "Halt",
    "JobTable",
    "LabelNext",
    "LabelsChanged",
    "Pause",
    "Predict",
    "Preview",
    "PreviewAugmentation",
    "PreviewSplit",
    "PreviewTargets",
    "Resume",
    "RunGraph",
    "Scratch",
    "Shutdown",
    "StepThrough",
    "Stop",
    "TakeStep",
    "Train",
    "load_jobs",
    "open_memmap",
    "parse_command",
]
