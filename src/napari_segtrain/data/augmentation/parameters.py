"""What was drawn for one patch: frozen values that apply without any further chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shear:
    """A tilt: content moves along `axis` by tan(`angle`) for each unit of length along `along`; radians."""

    axis: int
    along: int
    angle: float


@dataclass(frozen=True, eq=False)
class SpatialParameters:
    """One draw of everything that moves voxels; shared by image, labels and masks.

    Parameters
    ----------
    flips
        Whether each axis is reversed, ``(z,) y, x``.
    turns
        Quarter turns in the plane, 0 to 3.
    angles
        Radians: the rotation in the plane, in 3D followed by the two rotations out of it.
    scale
        Factor by which things appear larger.
    elastic
        Displacement at the nodes of a uniform cubic b-spline, ``(ndim, *nodes)`` float64 in physical
        units, read-only; None when nothing is deformed.
    shears
        Tilts, one after the other.
    """

    flips: tuple[bool, ...]
    turns: int = 0
    angles: tuple[float, ...] = ()
    scale: float = 1.0
    elastic: np.ndarray | None = None
    shears: tuple[Shear, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether voxels only change places, so that nothing has to be interpolated."""
        return not any(self.angles) and self.scale == 1.0 and self.elastic is None and not self.shears

    @property
    def identity(self) -> bool:
        """Whether every voxel stays where it is."""
        return self.exact and self.turns % 4 == 0 and not any(self.flips)


@dataclass(frozen=True)
class Noise:
    """Gaussian noise: standard deviation a channel, in standard deviations of the patch, and its seed."""

    sigma: tuple[float, ...]
    seed: int


@dataclass(frozen=True)
class Gradient:
    """Brightness that changes linearly over a plane from 1 - depth to 1 + depth; `angle` in degrees."""

    depth: float
    angle: float


@dataclass(frozen=True)
class SliceLight:
    """Slices that differ in contrast (`gains`) and in brightness (`shifts`, in standard deviations)."""

    gains: tuple[float, ...]
    shifts: tuple[float, ...]


@dataclass(frozen=True)
class MissingSlices:
    """Slices without content; `level` 0 fills them with the patch's smallest value, 1 with its largest."""

    positions: tuple[int, ...]
    level: float


@dataclass(frozen=True)
class IntensityParameters:
    """One draw of everything that changes intensities; None is "left as it is".

    Parameters
    ----------
    blur
        Standard deviation of the gaussian, in voxels of the finest axis.
    low_resolution
        Factor, above 1, by which the resolution falls.
    gamma, contrast, brightness
        A value a channel: exponent; factor about the mean; shift in standard deviations of the patch.
    illumination, noise, missing
        See their classes. A `Gradient` serves planes, `SliceLight` and `MissingSlices` volumes.
    """

    blur: float | None = None
    low_resolution: float | None = None
    gamma: tuple[float, ...] | None = None
    contrast: tuple[float, ...] | None = None
    brightness: tuple[float, ...] | None = None
    illumination: Gradient | SliceLight | None = None
    noise: Noise | None = None
    missing: MissingSlices | None = None

    @property
    def identity(self) -> bool:
        """Whether intensities stay as they are."""
        return self == IntensityParameters()

    @property
    def pointwise(self) -> bool:
        """Whether voxels change by themselves, beyond what comes from their neighbours."""
        drawn = (self.gamma, self.contrast, self.brightness, self.illumination, self.noise)
        return any(value is not None for value in drawn)


@dataclass(frozen=True)
class AugmentationParameters:
    """All that was drawn for one patch."""

    spatial: SpatialParameters
    intensity: IntensityParameters


CONSTANT = 1e-30
"""A patch whose values lie closer together than this is one colour: there is no range to work on."""


def for_channel(values: tuple[float, ...], channel: int, channels: int) -> float:
    """Return the value of a channel out of one drawn for all or one a channel.

    Raises
    ------
    ValueError
        When the values were drawn for another number of channels.
    """
    if len(values) == 1:
        return values[0]
    if len(values) != channels:
        raise ValueError(
            f"the parameters were drawn for {len(values)} channels and the image has {channels}: "
            "pass the image's channels to draw()"
        )
    return values[channel]
