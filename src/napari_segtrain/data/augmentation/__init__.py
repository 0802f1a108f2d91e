"""Random changes of patches: image, labels and masks always in step, drawn once and then applied."""

from .augmenter import Augmenter, warm_up
from .intensity_change import IntensityChange
from .parameters import (
    AugmentationParameters,
    Gradient,
    IntensityParameters,
    MissingSlices,
    Noise,
    Shear,
    SliceLight,
    SpatialParameters,
)
from .words import describe

__all__ = [
    "AugmentationParameters",
    "Augmenter",
    "Gradient",
    "IntensityChange",
    "IntensityParameters",
    "MissingSlices",
    "Noise",
    "Shear",
    "SliceLight",
    "SpatialParameters",
    "describe",
    "warm_up",
]
