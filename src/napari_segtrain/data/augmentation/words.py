"""What was drawn for a patch, in words: for previews and whoever wants to know what was done to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from .parameters import AugmentationParameters, Gradient, IntensityParameters, SliceLight, SpatialParameters


def describe(params: AugmentationParameters) -> tuple[str, ...]:
    """Return a few words for each change, in the order in which they are applied.

    Parameters
    ----------
    params
        What was drawn for one patch.

    Returns
    -------
    tuple of str
        Such as ``("flip y", "rotate 34°", "noise 0.12 std")``; empty for a patch that stays as it is. std
        is the standard deviation of the patch.
    """
    return (*_spatial(params.spatial), *_intensity(params.intensity))


def _spatial(params: SpatialParameters) -> Iterator[str]:
    axes = "zyx"[-len(params.flips) :]
    flipped = [axis for axis, flip in zip(axes, params.flips, strict=True) if flip]
    if flipped:
        yield f"flip {', '.join(flipped)}"
    if params.turns % 4:
        yield f"turn {90 * (params.turns % 4)}°"
    if any(params.angles):
        yield f"rotate {_joined((np.rad2deg(angle) for angle in params.angles if angle), '.0f')}°"
    for shear in params.shears:
        yield f"shear {axes[shear.axis]} along {axes[shear.along]} {np.rad2deg(shear.angle):.0f}°"
    if params.scale != 1.0:
        yield f"scale {params.scale:.2f}"
    if params.elastic is not None:
        yield f"deform by up to {np.abs(params.elastic).max():.3g}"


def _intensity(params: IntensityParameters) -> Iterator[str]:
    if params.blur is not None:
        yield f"blur {params.blur:.2f} px"
    if params.low_resolution is not None:
        yield f"resolution 1/{params.low_resolution:.2f}"
    if params.gamma is not None:
        yield f"gamma {_joined(params.gamma, '.2f')}"
    if params.contrast is not None:
        yield f"contrast {_joined(params.contrast, '.2f')}"
    if params.brightness is not None:
        yield f"brightness {_joined(params.brightness, '+.2f')} std"
    if isinstance(params.illumination, Gradient):
        yield f"light ± {params.illumination.depth:.0%} along {params.illumination.angle:.0f}°"
    if isinstance(params.illumination, SliceLight):
        yield f"light of slices ± {np.std(params.illumination.shifts):.2f} std"
    if params.noise is not None:
        yield f"noise {_joined(params.noise.sigma, '.2f')} std"
    if params.missing is not None:
        yield f"missing slices {_joined(params.missing.positions, 'd')}"


def _joined(values: Iterable[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)
