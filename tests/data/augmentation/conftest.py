"""Patches that know where they come from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_segtrain.config import AugmentationConfig
from napari_segtrain.data.augmentation import AugmentationParameters, IntensityParameters, SpatialParameters

SPATIAL = ("flip", "rotate", "scale", "shear", "elastic")
INTENSITY = (
    "noise",
    "blur",
    "brightness",
    "contrast",
    "gamma",
    "low_resolution",
    "illumination",
    "missing_slices",
)


@pytest.fixture(scope="session")
def spatial_config() -> AugmentationConfig:
    """Everything that moves voxels, always, and nothing that changes intensities."""
    always = dict.fromkeys(SPATIAL, 1.0) | {"flip": 0.5}
    return AugmentationConfig(**dict.fromkeys(INTENSITY, 0.0), **always)


@pytest.fixture(scope="session")
def intensity_config() -> AugmentationConfig:
    """Everything that changes intensities, always, and nothing that moves voxels."""
    return AugmentationConfig(**dict.fromkeys(INTENSITY, 1.0), **dict.fromkeys(SPATIAL, 0.0))


@pytest.fixture(scope="session")
def coordinates() -> Callable[[tuple[int, ...]], np.ndarray]:
    """Return an image whose channels are its own voxel coordinates, ``(ndim, *size)`` float32."""

    def make(size: tuple[int, ...]) -> np.ndarray:
        return np.stack(np.meshgrid(*(np.arange(n) for n in size), indexing="ij")).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def only() -> Callable[..., AugmentationParameters]:
    """Return parameters that hold one thing and are the identity otherwise."""

    def make(
        ndim: int, spatial: SpatialParameters | None = None, **intensity: object
    ) -> AugmentationParameters:
        return AugmentationParameters(
            spatial or SpatialParameters((False,) * ndim),
            IntensityParameters(**intensity),  # type: ignore[arg-type]
        )

    return make
