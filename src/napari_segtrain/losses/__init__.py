"""Losses: one small class each, all masked; and their weighted sum over targets.

The table and its checks need no torch; classes load with their first use.
"""

from typing import TYPE_CHECKING

from ..lazy_names import lazy
from .encodings import ENCODINGS, Encoding
from .spec import LossSpec
from .table import LOSSES, check_loss, create, describe_losses, loss_names, loss_settings

if TYPE_CHECKING:
    from .base import Loss
    from .joint import joint_batches
    from .multitask import HeadLike, LossResult, MultiTaskLoss, check_heads

_LAZY = {
    "Loss": "base",
    "HeadLike": "multitask",
    "LossResult": "multitask",
    "MultiTaskLoss": "multitask",
    "check_heads": "multitask",
    "joint_batches": "joint",
}

__getattr__ = lazy(__name__, _LAZY)


__all__ = [
    "ENCODINGS",
    "LOSSES",
    "Encoding",
    "HeadLike",
    "Loss",
    "LossResult",
    "LossSpec",
    "MultiTaskLoss",
    "check_heads",
    "check_loss",
    "create",
    "describe_losses",
    "joint_batches",
    "loss_names",
    "loss_settings",
]
