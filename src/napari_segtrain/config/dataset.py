"""Section `dataset_config`: what is trained on, and how patches are taken from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from .augmentation import AugmentationConfig
from .base import Config
from .fields import key
from .targets import TargetConfig


class ZScore(Config):
    """Subtract the mean and divide by the standard deviation, a channel at a time."""

    name: Literal["zscore"] = "zscore"


class Percentile(Config):
    """Map two percentiles to 0 and 1 and cut off beyond, a channel at a time."""

    name: Literal["percentile"] = "percentile"
    low: float = key(0.5, "Low", "Percentile that becomes 0.", unit="%", ge=0.0, lt=50.0)
    high: float = key(99.5, "High", "Percentile that becomes 1.", unit="%", gt=50.0, le=100.0)


class MinMax(Config):
    """Map the smallest value to 0 and the largest to 1, a channel at a time."""

    name: Literal["minmax"] = "minmax"


class NoNormalisation(Config):
    """Take the values as they are."""

    name: Literal["none"] = "none"


NormalisationConfig = Annotated[ZScore | Percentile | MinMax | NoNormalisation, Field(discriminator="name")]


class DatasetConfig(Config):
    """Data, targets and sampling."""

    format: Literal["zarr", "tif", "napari"] | None = key(
        None,
        "Format",
        "zarr or tif: a folder with images/ and labels/. napari: a folder of saved layers. Empty: detected.",
    )
    targets: dict[str, TargetConfig] = key(
        dict,
        "Targets",
        "The primary targets by name. Empty: every label name in the data folder is a target.",
        level="common",
    )
    ndim: Literal[2, 3] | None = key(
        None,
        "Dimension",
        "2: every image or slice is a plane. 3: volumes. Empty: told from the data.",
        unit="axes",
        level="common",
    )
    channel_axis: int | None = key(
        None,
        "Channel axis",
        "Position of the channels in the image files. Empty: read from the file's metadata, else "
        "a last axis of 3 or 4 in 8-bit data is RGB.",
        ge=-4,
        le=3,
    )
    level: int = key(
        0,
        "Resolution level",
        "Which level of a multiscale image is trained on; 0 is the finest.",
        ge=0,
        le=32,
    )
    spacing: tuple[float, ...] | None = key(
        None,
        "Spacing",
        "Size of a voxel in array order. Empty: read from the data, else 1 an axis.",
        unit="physical units",
    )
    normalisation: NormalisationConfig = key(
        ZScore, "Normalisation", "How intensities are brought to one range; fitted on the training data."
    )
    augmentation: AugmentationConfig = key(
        AugmentationConfig, "Augmentation", "Random changes to patches while training."
    )
    min_labeled_ratio: float = key(
        0.0,
        "Least labelled",
        "Patches with a smaller share of labelled voxels are not trained on; 0 keeps every patch with "
        "at least one.",
        ge=0.0,
        le=1.0,
    )
    min_bbox_percent: float = key(
        0.0,
        "Least box",
        "Patches whose labelled voxels span a smaller share of the patch (bounding box) are not trained on.",
        ge=0.0,
        le=1.0,
    )
    foreground_oversampling: float = key(
        0.33,
        "Foreground share",
        "Share of the patches that are drawn from places with foreground.",
        ge=0.0,
        le=1.0,
    )
    balance_classes: bool = key(
        False,
        "Balance classes",
        "Draw foreground patches so that rare classes are seen as often as frequent ones.",
    )

    recent_share: float = key(
        0.33,
        "Painted lately",
        "Share of the patches that hold some of what was painted a short while ago, while training; 0 draws "
        "them no more often than others.",
        ge=0.0,
        le=1.0,
    )
    recent_batches: int = key(
        100,
        "Lately",
        "For how many batches a stroke, a fill or an erasure counts as painted lately.",
        unit="batches",
        ge=0,
        le=1_000_000,
    )

    @field_validator("spacing")
    @classmethod
    def _positive(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is not None and (len(value) not in (2, 3) or min(value) <= 0):
            raise ValueError("spacing takes two or three numbers above 0, in array order (z,) y, x")
        return value

    @field_validator("targets", mode="before")
    @classmethod
    def _name_alone_is_a_target(cls, value: Any) -> Any:
        """Take a target of which only the name is written."""
        if not isinstance(value, Mapping):
            return {} if value is None else value
        return {name: {} if target is None else target for name, target in value.items()}

    @field_validator("targets")
    @classmethod
    def _target_names(cls, value: dict[str, TargetConfig]) -> dict[str, TargetConfig]:
        for name in value:
            if not name or name == "image" or name.endswith("_mask") or "/" in name:
                raise ValueError(
                    f"a target cannot be called {name!r}: 'image', names that end in _mask, and names "
                    "with a slash mean something else"
                )
        return value
