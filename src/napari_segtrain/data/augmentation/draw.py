"""Draws the parameters of one patch from the configuration; the only place that meets chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from napari_segtrain.config import AugmentationConfig

from .frame import Frame
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

SLICE_GAIN, SLICE_SHIFT = 0.4, 0.6
"""Spread of the slices' contrast (logarithm) and brightness (standard deviations of the patch), as shares of
the largest illumination."""
STEEPEST = np.pi / 3
"""No axis is tilted further, whatever the strength."""
FEWEST_INTERVALS = 3
"""Distances between nodes along the longest side, at least."""
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


def largest_shear(config: AugmentationConfig) -> float:
    """Return the largest angle in radians by which an axis is tilted, 0 when none is."""
    return min(float(np.deg2rad(config.shearing)) * config.strength, STEEPEST) if config.shear > 0 else 0.0


def largest_displacement(config: AugmentationConfig, frame: Frame) -> float:
    """Return how far a deformation moves content at most, in physical units."""
    if config.elastic == 0:
        return 0.0
    return min(config.max_elastic * config.strength, UNFOLDED) * max(frame.extent) / FEWEST_INTERVALS


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
    if rng.random() < config.elastic and config.max_elastic > 0:
        elastic = _draw_elastic(config.max_elastic * config.strength, frame, rng)
    shears: tuple[Shear, ...] = ()
    if rng.random() < config.shear:
        shears = _draw_shears(largest_shear(config), frame, rng)
    return SpatialParameters(flips, turns, angles, scale, elastic, shears)


def _draw_rotation(largest: float, frame: Frame, rng: np.random.Generator) -> tuple[int, tuple[float, ...]]:
    """Return quarter turns and angles in radians.

    Half of the rotations are quarter turns where the patch allows them: they show the network another
    direction without blurring it, and cost nothing.
    """
    if largest >= 90.0 and frame.turns_exactly and rng.random() < 0.5:
        return int(rng.integers(1, 4)), ()
    limits = np.deg2rad(frame.largest_angles(largest))
    return 0, tuple(float(a) for a in rng.uniform(-limits, limits))


def _draw_shears(largest: float, frame: Frame, rng: np.random.Generator) -> tuple[Shear, ...]:
    """Return a tilt in the plane, and in volumes whose slices lie close together two out of it."""
    shears = []
    for i, j in frame.rotation_planes[: 1 if frame.anisotropic else None]:
        axis, along = (i, j) if rng.random() < 0.5 else (j, i)
        shears.append(Shear(axis, along, float(rng.uniform(-largest, largest))))
    return tuple(shear for shear in shears if shear.angle)


def _draw_elastic(largest: float, frame: Frame, rng: np.random.Generator) -> np.ndarray:
    """Return displacements at the nodes of a b-spline, ``(ndim, *nodes)`` in physical units."""
    extent = np.asarray(frame.extent)
    distance = max(extent.max(), min(frame.spacing)) / rng.integers(FEWEST_INTERVALS, 7)
    intervals = np.maximum(np.rint(extent / distance), 1).astype(int)
    apart = np.min((extent / intervals)[extent > 0], initial=distance)
    amount = min(rng.uniform(0.25, 1.0) * largest, UNFOLDED) * apart
    nodes = rng.uniform(-amount, amount, size=(frame.ndim, *(intervals + 3)))
    if frame.anisotropic:
        # Between slices far apart nothing says what lies there: content moves within its slice only.
        nodes[[axis for axis, coarse in enumerate(frame.coarse) if coarse]] = 0.0
    nodes.flags.writeable = False
    return nodes


def draw_intensity(
    config: AugmentationConfig, frame: Frame, rng: np.random.Generator, channels: int
) -> IntensityParameters:
    """Return what changes the intensities of one patch; what cannot have an effect is not drawn."""
    strength = config.strength

    def chosen(probability: float, largest: float) -> bool:
        return bool(rng.random() < probability) and largest > 0.0

    def factor(largest: float) -> Callable[[], float]:
        return lambda: float(np.exp(rng.uniform(-1.0, 1.0) * np.log1p(largest) * strength))

    def per_channel(value: Callable[[], float]) -> tuple[float, ...]:
        return _per_channel(value, channels, rng)

    def sigma() -> float:
        return float(rng.uniform(0.0, config.max_noise) * strength)

    def shift() -> float:
        return float(rng.uniform(-config.max_brightness, config.max_brightness) * strength)

    drawn: dict[str, Any] = {}
    if chosen(config.blur, config.max_blur):
        drawn["blur"] = float(rng.uniform(0.3, 1.0)) * config.max_blur * strength
    if chosen(config.low_resolution, config.max_low_resolution - 1):
        drawn["low_resolution"] = (
            1 + float(rng.uniform(0.2, 1.0)) * (config.max_low_resolution - 1) * strength
        )
    if chosen(config.gamma, config.max_gamma):
        drawn["gamma"] = per_channel(factor(config.max_gamma))
    if chosen(config.contrast, config.max_contrast):
        drawn["contrast"] = per_channel(factor(config.max_contrast))
    if chosen(config.brightness, config.max_brightness):
        drawn["brightness"] = per_channel(shift)
    if chosen(config.illumination, config.max_illumination):
        drawn["illumination"] = _draw_illumination(config.max_illumination * strength, frame, rng)
    if chosen(config.noise, config.max_noise):
        drawn["noise"] = Noise(per_channel(sigma), int(rng.integers(2**62)))
    if chosen(config.missing_slices, config.max_missing_slices):
        drawn["missing"] = _draw_missing(config.max_missing_slices * strength, frame, rng)
    return IntensityParameters(**drawn)


def _per_channel(value: Callable[[], float], channels: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Return one value for all channels or, half of the time, one for each."""
    if channels == 1 or rng.random() < 0.5:
        return (value(),)
    return tuple(value() for _ in range(channels))


def _draw_illumination(largest: float, frame: Frame, rng: np.random.Generator) -> Gradient | SliceLight:
    if frame.slice_axis is None:
        depth = float(min(rng.uniform(0.2, 1.0) * largest, 0.9))
        return Gradient(depth, float(rng.uniform(0.0, 360.0)))
    slices = frame.patch_size[frame.slice_axis]
    gains = np.exp(rng.normal(0.0, SLICE_GAIN * largest, slices))
    shifts = rng.normal(0.0, SLICE_SHIFT * largest, slices)
    return SliceLight(tuple(gains.tolist()), tuple(shifts.tolist()))


def _draw_missing(share: float, frame: Frame, rng: np.random.Generator) -> MissingSlices | None:
    """Return the slices that go missing; None where there are too few to lose one."""
    slices = 0 if frame.slice_axis is None else frame.patch_size[frame.slice_axis]
    largest = min(max(int(np.ceil(slices * share)), 1), slices // 4)
    if largest < 1:
        return None
    positions = rng.choice(slices, size=int(rng.integers(1, largest + 1)), replace=False)
    return MissingSlices(tuple(sorted(int(p) for p in positions)), float(rng.choice((0.0, 0.5, 1.0))))
