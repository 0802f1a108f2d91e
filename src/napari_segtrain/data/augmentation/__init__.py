"""Random changes of patches: image, labels and masks always in step, drawn once and then applied."""

from .augmenter import Augmenter, warm_up
from .parameters import (
    AugmentationParameters,
    Gradient,
    IntensityParameters,
    MissingSlices,
    Noise,
    SliceLight,
    SpatialParameters,
)

__all__ = [
    "AugmentationParameters",
    "Augmenter",
    "Gradient",
    "IntensityParameters",
    "MissingSlices",
    "Noise",
    "SliceLight",
    "SpatialParameters",
    "warm_up",
]
