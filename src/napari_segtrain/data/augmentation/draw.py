"""Draws the parameters of one patch from the configuration; the only place that meets chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from napari_segtrain.config import AugmentationConfig

from .frame import Frame
from .parameters import (
    AugmentationParameters,
    Gradient,
    IntensityParameters,
    MissingSlices,
    Noise,
    SliceLight,
    SpatialParameters,
)

NOISE = 0.3
"""Largest standard deviation of the noise, in standard deviations of the patch."""
BLUR = (0.3, 0.7)
"""Smallest standard deviation of the blur and what strength adds to it, in voxels."""
BRIGHTNESS = 0.3
"""Largest shift, in standard deviations of the patch."""
CONTRAST = 0.3
"""Largest logarithm of the factor: from 0.74 to 1.35."""
GAMMA = 0.4
"""Largest logarithm of the exponent: from 0.67 to 1.49."""
LOW_RESOLUTION = 1.0
"""What strength adds to a factor of 1."""
GRADIENT = 0.25
"""Largest change of brightness at the edges of a plane."""
SLICE_GAIN, SLICE_SHIFT = 0.1, 0.15
"""Spread of the slices' contrast (logarithm) and brightness (standard deviations of the patch)."""
MISSING = 0.05
"""Largest share of slices that go missing, never more than a quarter."""
FEWEST_INTERVALS = 3
"""Distances between nodes along the longest side, at least."""
ELASTIC = (0.05, 0.2)
"""Displacement of the nodes, in distances between nodes."""
UNFOLDED = 0.4
"""Uniform cubic b-splines stay one-to-one below this displacement of the nodes in distances between them
(Choi and Lee, Injectivity conditions of 2D and 3D uniform cubic B-spline functions, Graphical Models 62,
2000: 0.48 in 2D and 0.40 in 3D), so that a deformation never folds."""


def active(config: AugmentationConfig) -> bool:
    """Return whether the configuration changes patches at all."""
    return config.enabled and config.strength > 0.0


def draw(
    config: AugmentationConfig, frame: Frame, rng: np.random.Generator, channels: int
) -> AugmentationParameters:
    """Return what happens to one patch.

    Parameters
    ----------
    config
        Probabilities and ranges.
    frame
        Size and spacing of the patches.
    rng
        The patch's own random stream.
    channels
        Channels of the image.

    Returns
    -------
    AugmentationParameters
        The identity when augmentation is off or its strength is 0.
    """
    if not active(config):
        return AugmentationParameters(SpatialParameters((False,) * frame.ndim), IntensityParameters())
    return AugmentationParameters(
        draw_spatial(config, frame, rng), draw_intensity(config, frame, rng, channels)
    )


def largest_angle(config: AugmentationConfig) -> float:
    """Return the largest rotation in the plane in degrees, 0 when nothing is rotated."""
    return min(config.rotation * config.strength, 180.0) if config.rotate > 0 else 0.0


def largest_scale(config: AugmentationConfig) -> float:
    """Return the largest factor of size, 1 when sizes stay."""
    return 1.0 + min(config.scaling * config.strength, 1.0) if config.scale > 0 else 1.0


def largest_displacement(config: AugmentationConfig, frame: Frame) -> float:
    """Return how far a deformation moves content at most, in physical units."""
    if config.elastic == 0:
        return 0.0
    return min(ELASTIC[1] * config.strength, UNFOLDED) * max(frame.extent) / FEWEST_INTERVALS


def draw_spatial(config: AugmentationConfig, frame: Frame, rng: np.random.Generator) -> SpatialParameters:
    """Return what moves the voxels of one patch."""
    flips = tuple(bool(rng.random() < config.flip) for _ in range(frame.ndim))
    turns = 0
    angles: tuple[float, ...] = ()
    if rng.random() < config.rotate:
        turns, angles = _draw_rotation(largest_angle(config), frame, rng)
    scale = 1.0
    if rng.random() < config.scale:
        scale = float(np.exp(rng.uniform(-1.0, 1.0) * np.log(largest_scale(config))))
    elastic = None
    if rng.random() < config.elastic:
        elastic = _draw_elastic(config.strength, frame, rng)
    return SpatialParameters(flips, turns, angles, scale, elastic)


def _draw_rotation(largest: float, frame: Frame, rng: np.random.Generator) -> tuple[int, tuple[float, ...]]:
    """Return quarter turns and angles in radians.

    Half of the rotations are quarter turns where the patch allows them: they show the network another
    direction without blurring it, and cost nothing.
    """
    if largest >= 90.0 and frame.turns_exactly and rng.random() < 0.5:
        return int(rng.integers(1, 4)), ()
    limits = np.deg2rad(frame.largest_angles(largest))
    return 0, tuple(float(a) for a in rng.uniform(-limits, limits))


def _draw_elastic(strength: float, frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Return displacements at the nodes of a b-spline, ``(ndim, *nodes)`` in physical units."""
    extent = np.asarray(frame.extent)
    distance = max(extent.max(), min(frame.spacing)) / rng.integers(FEWEST_INTERVALS, 7)
    intervals = np.maximum(np.rint(extent / distance), 1).astype(int)
    apart = np.min((extent / intervals)[extent > 0], initial=distance)
    amount = min(rng.uniform(*ELASTIC) * strength, UNFOLDED) * apart
    nodes = rng.uniform(-amount, amount, size=(frame.ndim, *(intervals + 3)))
    if frame.anisotropic:
        # Between slices far apart nothing says what lies there: content moves within its slice only.
        nodes[[axis for axis, coarse in enumerate(frame.coarse) if coarse]] = 0.0
    nodes.flags.writeable = False
    return nodes


def draw_intensity(
    config: AugmentationConfig, frame: Frame, rng: np.random.Generator, channels: int
) -> IntensityParameters:
    """Return what changes the intensities of one patch."""
    strength = config.strength

    def chosen(probability: float) -> bool:
        return bool(rng.random() < probability)

    def spread(width: float) -> Callable[[], float]:
        return lambda: float(rng.uniform(-width, width) * strength)

    def exponential(width: float) -> Callable[[], float]:
        return lambda: float(np.exp(rng.uniform(-width, width) * strength))

    low, more = BLUR
    return IntensityParameters(
        blur=float(rng.uniform(low, low + more * strength)) if chosen(config.blur) else None,
        low_resolution=(
            1.0 + float(rng.uniform(0.2, 1.0)) * LOW_RESOLUTION * strength
            if chosen(config.low_resolution)
            else None
        ),
        gamma=_per_channel(exponential(GAMMA), channels, rng) if chosen(config.gamma) else None,
        contrast=_per_channel(exponential(CONTRAST), channels, rng) if chosen(config.contrast) else None,
        brightness=_per_channel(spread(BRIGHTNESS), channels, rng) if chosen(config.brightness) else None,
        illumination=_draw_illumination(strength, frame, rng) if chosen(config.illumination) else None,
        noise=_draw_noise(strength, channels, rng) if chosen(config.noise) else None,
        missing=_draw_missing(strength, frame, rng) if chosen(config.missing_slices) else None,
    )


def _per_channel(value: Callable[[], float], channels: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Return one value for all channels or, half of the time, one for each."""
    if channels == 1 or rng.random() < 0.5:
        return (value(),)
    return tuple(value() for _ in range(channels))


def _draw_noise(strength: float, channels: int, rng: np.random.Generator) -> Noise:
    sigma = _per_channel(lambda: float(rng.uniform(0.0, NOISE) * strength), channels, rng)
    return Noise(sigma, int(rng.integers(2**62)))


def _draw_illumination(strength: float, frame: Frame, rng: np.random.Generator) -> Gradient | SliceLight:
    if frame.slice_axis is None:
        depth = float(min(rng.uniform(0.2, 1.0) * GRADIENT * strength, 0.9))
        return Gradient(depth, float(rng.uniform(0.0, 360.0)))
    slices = frame.patch_size[frame.slice_axis]
    gains = np.exp(rng.normal(0.0, SLICE_GAIN * strength, slices))
    shifts = rng.normal(0.0, SLICE_SHIFT * strength, slices)
    return SliceLight(tuple(gains.tolist()), tuple(shifts.tolist()))


def _draw_missing(strength: float, frame: Frame, rng: np.random.Generator) -> MissingSlices | None:
    """Return the slices that go missing; None where there are too few to lose one."""
    slices = 0 if frame.slice_axis is None else frame.patch_size[frame.slice_axis]
    largest = min(max(int(np.ceil(slices * MISSING * strength)), 1), slices // 4)
    if largest < 1:
        return None
    positions = rng.choice(slices, size=int(rng.integers(1, largest + 1)), replace=False)
    return MissingSlices(tuple(sorted(int(p) for p in positions)), float(rng.choice((0.0, 0.5, 1.0))))
