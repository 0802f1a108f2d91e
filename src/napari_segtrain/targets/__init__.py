"""Labels → tensors: primary targets, and auxiliary targets derived from them.

Names that need numba load with their first use.
"""

from typing import TYPE_CHECKING

from ..lazy_names import lazy
from .head import Encoding, Head, HeadKind
from .heads import resolve_heads
from .kinds import background_value, class_values, doubtful_kinds, resolve_targets
from .labels import class_indices, label_masks

if TYPE_CHECKING:
    from .deriver import TargetDeriver, warm_up

_LAZY = {"TargetDeriver": "deriver", "warm_up": "deriver"}

__getattr__ = lazy(__name__, _LAZY)


__all__ = [
    "Encoding",
    "Head",
    "HeadKind",
    "TargetDeriver",
    "background_value",
    "class_indices",
    "class_values",
    "doubtful_kinds",
    "label_masks",
    "resolve_heads",
    "resolve_targets",
    "warm_up",
]
