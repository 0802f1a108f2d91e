"""Section `dataset_config.augmentation`: how patches are changed at random."""

from __future__ import annotations

from typing import Literal

from .base import Config
from .fields import key


class AugmentationConfig(Config):
    """Random changes to patches: each has a probability a patch, 0 for off, and how far it goes at most."""

    enabled: bool = key(True, "Augment", "Change patches randomly while training.", level="common")
    device: Literal["auto", "cpu", "gpu"] = key(
        "auto",
        "Computed on",
        "Where intensities of 3D patches are changed: auto takes the GPU that trains, where there is one. "
        "The processor does all else, and 2D.",
    )
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
    scaling: float = key(0.25, "Most scaling", "Sizes change by up to this share.", ge=0.0, le=0.8)
    shear: float = key(0.0, "Shear", "Probability of a shear: squares become rhomboids.", ge=0.0, le=1.0)
    shearing: float = key(
        15.0,
        "Most shear",
        "Angle by which an axis is tilted at most; none between slices that lie far apart.",
        unit="degrees",
        ge=0.0,
        le=45.0,
    )
    elastic: float = key(0.1, "Elastic", "Probability of a smooth random deformation.", ge=0.0, le=1.0)
    max_elastic: float = key(
        0.2,
        "Most elastic",
        "How far content moves at most, as a share of the size of a bump; from 0.4 on it could fold over.",
        ge=0.0,
        le=0.4,
    )
    noise: float = key(0.15, "Noise", "Probability of gaussian noise.", ge=0.0, le=1.0)
    max_noise: float = key(
        0.3, "Most noise", "Standard deviation of the noise, in those of the patch.", ge=0.0, le=2.0
    )
    blur: float = key(0.15, "Blur", "Probability of a gaussian blur.", ge=0.0, le=1.0)
    max_blur: float = key(
        1.0, "Most blur", "Standard deviation, in voxels of the finest axis.", unit="px", ge=0.0, le=5.0
    )
    brightness: float = key(0.2, "Brightness", "Probability of a change of brightness.", ge=0.0, le=1.0)
    max_brightness: float = key(
        0.3, "Most brightness", "Shift up or down, in standard deviations of the patch.", ge=0.0, le=2.0
    )
    contrast: float = key(0.2, "Contrast", "Probability of a change of contrast.", ge=0.0, le=1.0)
    max_contrast: float = key(
        0.35, "Most contrast", "Contrast grows by up to this share, or falls as far.", ge=0.0, le=2.0
    )
    gamma: float = key(0.2, "Gamma", "Probability of a gamma curve.", ge=0.0, le=1.0)
    max_gamma: float = key(
        0.5, "Most gamma", "The exponent grows by up to this share of 1, or falls as far.", ge=0.0, le=2.0
    )
    low_resolution: float = key(0.1, "Low resolution", "Probability of a loss of resolution.", ge=0.0, le=1.0)
    max_low_resolution: float = key(
        2.0,
        "Most loss",
        "Voxels along an axis that become one at most; 1 is none.",
        unit="px",
        ge=1.0,
        le=8.0,
    )
    illumination: float = key(
        0.1,
        "Illumination",
        "Probability of uneven brightness: over the image in 2D, from slice to slice in 3D.",
        ge=0.0,
        le=1.0,
    )
    max_illumination: float = key(
        0.25,
        "Most uneven",
        "Share by which edges of an image differ from its middle at most; slices vary about half as much.",
        ge=0.0,
        le=0.9,
    )
    missing_slices: float = key(
        0.05, "Missing slices", "Probability of blank slices in a 3D patch.", ge=0.0, le=1.0
    )
    max_missing_slices: float = key(
        0.05, "Most missing", "Share of a patch's slices that go missing at most.", ge=0.0, le=0.25
    )
