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
    LabelNext,
    LabelsChanged,
    Pause,
    Predict,
    Preview,
    PreviewAugmentation,
    PreviewSplit,
    PreviewTargets,
    Resume,
    Shutdown,
    Stop,
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
    "Scratch",
    "Shutdown",
    "Stop",
    "Train",
    "load_jobs",
    "open_memmap",
    "parse_command",
]
