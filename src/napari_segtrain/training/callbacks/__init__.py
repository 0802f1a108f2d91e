"""What happens around the steps of a training, a small file each."""

from .announce import Announcer
from .checkpoints import CheckpointCallback
from .control import ControlCallback
from .debug_pictures import DebugPictures
from .doctor import Doctor
from .labels import LabelStates
from .limits import EarlyStop, Ending, StopAfter, TimeLimit
from .nan_guard import NanGuard
from .preview import Budget, Preview, PreviewCallback
from .rows import RowWriter
from .tensorboard import TensorBoardCallback
from .unseen import UnseenHeads
from .worst_patches import WorstPatches

__all__ = [
    "Announcer",
    "Budget",
    "CheckpointCallback",
    "ControlCallback",
    "DebugPictures",
    "Doctor",
    "EarlyStop",
    "Ending",
    "LabelStates",
    "NanGuard",
    "Preview",
    "PreviewCallback",
    "RowWriter",
    "StopAfter",
    "TensorBoardCallback",
    "TimeLimit",
    "UnseenHeads",
    "WorstPatches",
]
