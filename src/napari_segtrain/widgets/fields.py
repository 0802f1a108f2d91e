"""How the fields of auxiliary tasks look: which are numbers, and which have a colour for their direction."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Look = Literal["scalar", "vector", "line", "tensor"]

LOOKS: dict[str, Look] = {
    "distance_transform": "scalar",
    "surface_normals": "vector",
    "structure_tensor": "tensor",
    "inplane_direction": "line",
    "nearest_component": "vector",
    "flows": "vector",
}
"""Type of an auxiliary task → what its numbers are."""

_FLAT = 1e-3


def direction_colours(block: npt.NDArray[Any], look: Look) -> npt.NDArray[np.uint8]:
    """Return a colour for every voxel.

    Parameters
    ----------
    block
        ``(C, *spatial)``: vectors, components in array order, or the upper triangle of tensors.
    look
        What they are.

    Returns
    -------
    ndarray of uint8
        ``(*spatial, 3)``, red, green and blue for the axes in array order. Vectors: grey is 0, and longer
        ones than 1 are shown by their direction. Lines: how much of them lies along an axis. Tensors: how
        much of the trace lies along an axis, as diffusion tensors are coloured. Black is nothing.
    """
    ndim = block.ndim - 1
    colours = np.full((*block.shape[1:], 3), 127 if look == "vector" else 0, np.uint8)
    if look == "vector":
        shown = 127.5 * (block / np.maximum(np.sqrt((block**2).sum(axis=0)), 1.0) + 1.0)
    elif look == "line":
        shown = 255.0 * np.abs(block)
    else:
        places = [int(place) for place in np.flatnonzero(np.equal(*np.triu_indices(ndim)))]
        own = np.maximum(block[places], 0.0)
        trace = own.sum(axis=0)
        shown = 255.0 * np.divide(own, trace, out=np.zeros_like(own), where=trace > _FLAT)
    for axis, channel in enumerate(shown[:3]):
        colours[..., axis] = np.clip(channel, 0, 255)
    return colours
