"""Colours of what a head says, for pictures and layers: of targets and of predictions alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .head import Head, HeadKind

BELOW_AND_ABOVE = ((33, 102, 172), (146, 197, 222), (247, 247, 247), (244, 165, 130), (178, 24, 43))
"""Blue below 0, white at 0, red above (ColorBrewer's RdBu, turned round)."""

UPWARDS = ((0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))
"""Dark at the lowest value, light at the highest (matplotlib's magma)."""

CLASSES = (
    (20, 20, 24),
    (56, 211, 159),
    (255, 180, 84),
    (199, 146, 234),
    (92, 207, 230),
    (255, 122, 156),
    (212, 225, 87),
)
"""Background, and the classes one after the other, over and over."""

FOREGROUNDS = (
    (255, 210, 63),
    (61, 220, 151),
    (255, 111, 181),
    (140, 158, 255),
    (255, 140, 66),
    (198, 241, 53),
)
"""Outputs that are foreground against background, one after the other: told apart on grey images, also from
the first colours of painted labels."""

_FLAT = 1e-3


def image_colours(image: NDArray[Any], limits: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Return colours ``(*spatial, 3)`` of an image ``(C, *spatial)``: its three channels, or the first.

    Colours of 8 bits are as they are; other values reach from black to white between `limits`, by default
    with a hundredth cut off at either end.
    """
    if len(image) == 3 and image.dtype == np.uint8:
        return np.ascontiguousarray(np.moveaxis(image, 0, -1))
    values = np.moveaxis(image if len(image) == 3 else image[:1], 0, -1).astype(np.float32)
    low, high = limits or (float(limit) for limit in np.percentile(values, (1, 99)))
    shown = np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255
    return np.broadcast_to(shown.astype(np.uint8), (*shown.shape[:-1], 3)).copy()


def head_colours(head: Head, values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return a colour for every voxel of a target or a prediction.

    Parameters
    ----------
    head
        What the values are of.
    values
        ``(C, *spatial)``; class numbers of classes are ``(1, *spatial)``.
    valid
        ``(*spatial)``, where they are known.

    Returns
    -------
    ndarray of uint8
        ``(*spatial, 4)``: red, green, blue, and 0 where nothing is known.
    """
    if head.kind in ("vector", "line", "tensor"):
        colours = direction_colours(values, head.kind)
    elif head.kind == "scalar":
        colours = number_colours(values[0], scalar_limits(values[0], valid))
    else:
        colours = numbered_colours(class_numbers(values), np.array(CLASSES, np.uint8))
    return np.concatenate([colours, np.where(valid, 255, 0).astype(np.uint8)[..., None]], axis=-1)


def class_colours(heads: Iterable[Head]) -> dict[str, NDArray[np.uint8]]:
    """Return the colours ``(n, 3)`` of background and classes of every segmentation among `heads`, by name.

    Outputs that are foreground against background have a colour each, the same as their layers.
    """
    tables: dict[str, NDArray[np.uint8]] = {}
    binary = 0
    for head in heads:
        if head.encoding == "binary":
            tables[head.name] = np.array([CLASSES[0], FOREGROUNDS[binary % len(FOREGROUNDS)]], np.uint8)
            binary += 1
        elif head.kind == "segmentation":
            tables[head.name] = np.array(CLASSES, np.uint8)
    return tables


def class_numbers(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return classes ``(*spatial)`` of probabilities ``(C, *spatial)``, or of the one channel of numbers."""
    chosen: NDArray[Any] = values.argmax(axis=0) if len(values) > 1 else np.round(values[0])
    return chosen.astype(np.int64)


def scalar_limits(values: NDArray[Any], valid: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the range to colour: 0 in its middle where there are values on both of its sides.

    The farthest hundredth of the values counts as the last of the others: few voxels are far from anything.
    """
    known = values[valid]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(limit) for limit in np.percentile(known, (1, 99)))
    if low < 0:
        high = max(-low, high)
        return -high, high
    return low, max(high, low + 1e-6 * max(1.0, abs(low)))


def numbered_colours(numbers: NDArray[np.int64], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ``(*spatial, 3)``: background, and every class in its own colour as far as those reach."""
    return table[np.where(numbers > 0, 1 + (numbers - 1) % (len(table) - 1), 0)]


def number_colours(values: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """Return colours ``(*spatial, 3)`` of numbers: `BELOW_AND_ABOVE` where limits have two signs."""
    low, high = limits
    anchors = np.array(BELOW_AND_ABOVE if low < 0 else UPWARDS, float)
    place = np.clip((values - low) / (high - low), 0, 1) * (len(anchors) - 1)
    channels = [np.interp(place, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def direction_colours(values: NDArray[Any], kind: HeadKind) -> NDArray[np.uint8]:
    """Return a colour for the direction of every voxel.

    Parameters
    ----------
    values
        ``(C, *spatial)``: components in array order, or the upper triangle of tensors.
    kind
        ``vector``, ``line`` or ``tensor``.

    Returns
    -------
    ndarray of uint8
        ``(*spatial, 3)``, red, green and blue for the axes in array order. Vectors: grey is 0, and longer
        ones than 1 are shown by their direction. Lines: how much of them lies along an axis. Tensors: how
        much of the trace lies along an axis, as diffusion tensors are coloured. Black is nothing.
    """
    ndim = values.ndim - 1
    colours = np.full((*values.shape[1:], 3), 127 if kind == "vector" else 0, np.uint8)
    if kind == "vector":
        shown = 127.5 * (values / np.maximum(np.sqrt((values**2).sum(axis=0)), 1.0) + 1.0)
    elif kind == "line":
        shown = 255.0 * np.abs(values)
    else:
        places = [int(place) for place in np.flatnonzero(np.equal(*np.triu_indices(ndim)))]
        own = np.maximum(values[places], 0.0)
        trace = own.sum(axis=0)
        shown = 255.0 * np.divide(own, trace, out=np.zeros_like(own), where=trace > _FLAT)
    for axis, channel in enumerate(shown[:3]):
        colours[..., axis] = np.clip(channel, 0, 255)
    return colours
