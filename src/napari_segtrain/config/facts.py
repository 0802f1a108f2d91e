"""What is known of the data before anything is decided: the input of every automatic choice."""

from __future__ import annotations

from .base import Config
from .fields import key


class TargetFacts(Config):
    """What the labels of one target look like."""

    integer: bool = key(True, "Integer", "Whether the labels are whole numbers.")
    values: tuple[int, ...] = key(
        (), "Values", "The smallest distinct label values that were seen, at most 256, sorted."
    )
    max_value: float = key(0.0, "Largest value", "The largest label value that was seen.")
    channels: int = key(1, "Channels", "Channels of the label array.", ge=1)


class DataFacts(Config):
    """What the images look like; resolved settings follow from this and the configuration alone."""

    ndim: int = key(..., "Dimension", "2 or 3 spatial axes.", ge=2, le=3)
    in_channels: int = key(1, "Channels", "Channels of the images.", ge=1)
    shape: tuple[int, ...] = key(..., "Shape", "Median spatial shape of the images, (z,) y, x.")
    spacing: tuple[float, ...] = key(..., "Spacing", "Median size of a voxel in array order.")
    unit: str = key("pixel", "Unit", "Physical unit of the spacing.")
    images: int = key(1, "Images", "Number of training images.", ge=0)
    targets: dict[str, TargetFacts] = key(dict, "Targets", "What is known of each label name.")
