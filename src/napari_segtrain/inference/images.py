"""Arrays as the sources a network can predict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_segtrain.config import DataError
from napari_segtrain.data.sources import Source, open_source
from napari_segtrain.network import NetworkPlan

from .resampling import in_unit

_SPACING_TOLERANCE = 0.1


def as_source(
    image: Any, plan: NetworkPlan, spacing: Sequence[float] | None = None, unit: str | None = None
) -> Source:
    """Return an array, path or source as an image that fits the network's dimension and channels.

    Parameters
    ----------
    image
        Array `(*spatial)`, `(C, *spatial)` or `(*spatial, C)`, for a 2D network also with a leading axis
        along which planes are stacked; or anything that `open_source` opens; or a source.
    plan
        The network.
    spacing
        Size of a voxel, (z,) y, x; None to take the stored one.
    unit
        Unit of `spacing`, where that is given.
    """
    if isinstance(image, Source):
        return image
    source = _open(image, plan, spacing)
    if spacing is not None and unit is not None:
        source.unit = unit
    return source


def _open(image: Any, plan: NetworkPlan, spacing: Sequence[float] | None) -> Source:
    if not hasattr(image, "shape") or not hasattr(image, "dtype"):
        return open_source(image, ndim=plan.ndim, spacing=spacing)
    shape = tuple(int(n) for n in image.shape)
    axis = channel_axis(shape, plan)
    spatial = len(shape) - (axis is not None)
    colour = axis is None and shape[-1] in (3, 4) and spatial == plan.ndim + 1 and plan.in_channels == 3
    # None: of an array with three axes its type tells whether they are a stack of planes or a colour image.
    ndim = plan.ndim if spatial <= plan.ndim or colour else (None if plan.ndim == 2 else 3)
    return open_source(image, ndim=ndim, channel_axis=axis, spacing=spacing)


def channel_axis(shape: Sequence[int], plan: NetworkPlan) -> int | None:
    """Return which axis of an array has as many entries as the network has channels; None for none.

    Looked for where channels may stand: first, last, or second in a stack of planes.
    """
    extra = len(shape) - plan.ndim
    if extra <= 0:
        return None
    candidates = [0, len(shape) - 1] if extra == 1 else [len(shape) - 1, 1, 0]
    if extra == 1 and plan.in_channels in (3, 4) and shape[0] == shape[-1]:
        candidates.reverse()
    fitting = [axis for axis in candidates if shape[axis] == plan.in_channels]
    return fitting[0] if fitting else None


def check_source(
    source: Source, plan: NetworkPlan, spacing: Sequence[float] | None, unit: str = "pixel"
) -> list[str]:
    """Return sentences about what is unusual in an image.

    Parameters
    ----------
    source
        What is to be predicted.
    plan
        The network.
    spacing
        Size of a voxel in the training data, or None when it is not known.
    unit
        Unit of `spacing`.

    Raises
    ------
    DataError
        When the network cannot predict it.
    """
    if source.channels != plan.in_channels:
        raise DataError(
            f"{name_of(source)} has {source.channels} channel(s), but the network was trained on "
            f"{plan.in_channels}; give an image with {plan.in_channels} channel(s), or say which axis "
            "holds them (channel_axis)"
        )
    dimension = len(source.shape)
    if dimension != plan.ndim and not (plan.ndim == 2 and dimension == 3):
        raise DataError(
            f"{name_of(source)} has {dimension} spatial axes, but the network was trained on {plan.ndim}D "
            "data; give "
            f"{'a volume' if plan.ndim == 3 else 'a plane, or a stack of planes'}"
        )
    if spacing is None:
        return []
    given = source.spacing[-plan.ndim :]
    ratio = np.divide(given, spacing) * in_unit(1.0, source.unit, unit)
    # Sizes in pixels on either side mean that nobody measured: only proportions could be compared.
    if source.unit == "pixel" or np.allclose(ratio, 1.0, atol=_SPACING_TOLERANCE):
        return []
    return [
        f"The image has voxels of {_text(given)} {source.unit}, the network was trained on {_text(spacing)}"
        f"{'' if unit in ('pixel', source.unit) else ' ' + unit}. Objects will look larger or smaller to it "
        "than those it knows; have the image resampled (inference_config.resample, --resample)."
    ]


def name_of(source: Source) -> str:
    """Return what messages call an image: its file or layer, where it is known."""
    name = str(getattr(source, "name", ""))
    return f"image {name}" if name else "the image"


def _text(numbers: Sequence[float]) -> str:
    return " × ".join(f"{n:g}" for n in numbers)
