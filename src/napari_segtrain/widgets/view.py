"""What the user looks at, in voxels of a layer."""

from __future__ import annotations

from typing import Any

import numpy as np

Box = tuple[tuple[int, int], ...]


def current_step(viewer: Any, layer: Any) -> tuple[int, ...]:
    """Return the index of the slice that is shown, on every axis of the layer (of its finest level)."""
    shape = (layer.data[0] if layer.multiscale else layer.data).shape[: layer.ndim]
    point = layer.world_to_data(viewer.dims.point)
    return tuple(int(np.clip(round(float(p)), 0, n - 1)) for p, n in zip(point, shape, strict=True))


def displayed_axes(viewer: Any, layer: Any) -> tuple[int, ...]:
    """Return which axes of a layer lie in the canvas; layers with fewer axes lack the first ones."""
    lacking = viewer.dims.ndim - layer.ndim
    return tuple(sorted(axis - lacking for axis in viewer.dims.displayed if axis >= lacking))


def slice_box(viewer: Any, layer: Any) -> Box:
    """Return the slice that is shown, as start and stop on every axis of the layer."""
    shape = (layer.data[0] if layer.multiscale else layer.data).shape[: layer.ndim]
    shown = displayed_axes(viewer, layer)
    step = current_step(viewer, layer)
    return tuple(
        (0, int(size)) if axis in shown else (step[axis], step[axis] + 1) for axis, size in enumerate(shape)
    )


def visible_box(viewer: Any, layer: Any) -> Box:
    """Return the part of the shown slice that lies in the canvas; in 3D view the whole layer."""
    box = list(slice_box(viewer, layer))
    if viewer.dims.ndisplay == 3:
        return tuple(box)
    factors = np.ones(layer.ndim)
    if layer.multiscale:
        factors = np.asarray(layer.downsample_factors[layer.data_level])[: layer.ndim]
    corners = np.asarray(layer.corner_pixels)[:, : layer.ndim]
    for axis in displayed_axes(viewer, layer):
        low = int(np.floor(corners[0, axis] * factors[axis]))
        high = int(np.ceil((corners[1, axis] + 1) * factors[axis]))
        low, high = max(low, box[axis][0]), min(high, box[axis][1])
        if high > low:
            box[axis] = (low, high)
    return tuple(box)


def coarser_box(box: Box, factors: Any) -> Box:
    """Return a box in the voxels of a coarser level that covers it."""
    return tuple(
        (int(low // factor), max(int(low // factor) + 1, int(np.ceil(high / factor))))
        for (low, high), factor in zip(box, factors, strict=True)
    )
