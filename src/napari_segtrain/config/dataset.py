"""Section `dataset_config`: what is trained on, and how patches are taken from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

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


class AugmentationConfig(Config):
    """Random changes to patches; each number is a probability a patch, or a strength."""

    enabled: bool = key(True, "Augment", "Change patches randomly while training.", level="common")
    strength: float = key(
        1.0, "Strength", "Scales every range at once; 0 leaves patches as they are.", ge=0.0, le=3.0
    )
    flip: float = key(0.5, "Flips", "Probability of a flip, for each axis.", ge=0.0, le=1.0)
    rotate: float = key(0.4, "Rotation", "Probability of a rotation.", ge=0.0, le=1.0)
    rotation: float = key(
        180.0,
        "Largest angle",
        "Rotations are drawn up to this angle; out of the plane up to a sixth of it.",
        unit="degrees",
        ge=0.0,
        le=180.0,
    )
    scale: float = key(0.25, "Scaling", "Probability of a change of size.", ge=0.0, le=1.0)
    scaling: float = key(0.25, "Largest scaling", "Sizes change by up to this share.", ge=0.0, le=0.8)
    elastic: float = key(0.1, "Elastic", "Probability of a smooth random deformation.", ge=0.0, le=1.0)
    noise: float = key(0.15, "Noise", "Probability of gaussian noise.", ge=0.0, le=1.0)
    blur: float = key(0.15, "Blur", "Probability of a gaussian blur.", ge=0.0, le=1.0)
    brightness: float = key(0.2, "Brightness", "Probability of a change of brightness.", ge=0.0, le=1.0)
    contrast: float = key(0.2, "Contrast", "Probability of a change of contrast.", ge=0.0, le=1.0)
    gamma: float = key(0.2, "Gamma", "Probability of a gamma curve.", ge=0.0, le=1.0)
    low_resolution: float = key(0.1, "Low resolution", "Probability of a loss of resolution.", ge=0.0, le=1.0)
    illumination: float = key(
        0.1,
        "Illumination",
        "Probability of uneven brightness: over the image in 2D, from slice to slice in 3D.",
        ge=0.0,
        le=1.0,
    )
    missing_slices: float = key(
        0.05, "Missing slices", "Probability of blank slices in a 3D patch.", ge=0.0, le=1.0
    )


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
