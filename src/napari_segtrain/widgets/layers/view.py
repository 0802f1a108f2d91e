"""What the user looks at, in voxels of a layer."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

Box = tuple[tuple[int, int], ...]

_FILLED = 0.6
"""Share of the canvas that a patch takes which is gone to."""


def current_step(viewer: Any, layer: Any) -> tuple[int, ...]:
    """Return the index of the slice that is shown, on every axis of the layer (of its finest level)."""
    shape = (layer.data[0] if layer.multiscale else layer.data).shape[: layer.ndim]
    point = layer.world_to_data(viewer.dims.point)
    return tuple(int(np.clip(round(float(p)), 0, n - 1)) for p, n in zip(point, shape, strict=True))


def displayed_axes(viewer: Any, layer: Any) -> tuple[int, ...]:
    """Return which axes of a layer lie in the canvas; layers with fewer axes lack the first ones."""
    lacking = viewer.dims.ndim - layer.ndim
    return tuple(sorted(axis - lacking for axis in viewer.dims.displayed if axis >= lacking))


def covers_middle(viewer: Any, layer: Any) -> bool:
    """Return whether a layer lies in the middle of the canvas."""
    point = np.array(viewer.dims.point, float)
    shown = list(viewer.dims.displayed)
    # The camera belongs to the scene since napari 0.9, to the viewer before.
    point[shown] = getattr(viewer, "scene", viewer).camera.center[-len(shown) :]
    place = np.asarray(layer.world_to_data(point))
    shape = (layer.data[0] if layer.multiscale else layer.data).shape
    return all(-0.5 <= place[axis] <= shape[axis] - 0.5 for axis in displayed_axes(viewer, layer))


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


def looked_at_box(viewer: Any, layer: Any) -> Box:
    """Return the visible part of the shown slice; in 3D view a cube around the middle of the view.

    The cube is as wide as the canvas, which is what the camera surely shows of a volume that is larger. Where
    the camera looks past the layer, the voxels nearest to it count.
    """
    if viewer.dims.ndisplay != 3:
        return visible_box(viewer, layer)
    camera, size = _camera(viewer)
    shown = viewer.dims.displayed
    centre = np.nan_to_num(np.asarray(camera.center, float)[-len(shown) :])
    reach = min(size) / 2.0 / max(float(camera.zoom), 1e-9)
    corners = []
    for side in itertools.product((-reach, reach), repeat=len(shown)):
        world = np.array(viewer.dims.point, float)
        world[list(shown)] = centre + side
        corners.append(layer.world_to_data(world)[-layer.ndim :])
    box = list(slice_box(viewer, layer))
    for axis in displayed_axes(viewer, layer):
        length = box[axis][1]
        low = int(np.clip(np.floor(min(corner[axis] for corner in corners)), 0, length - 1))
        high = int(np.clip(np.ceil(max(corner[axis] for corner in corners)), low + 1, length))
        box[axis] = (low, high)
    return tuple(box)


def _camera(viewer: Any) -> tuple[Any, tuple[int, int]]:
    """Return the camera, and height and width of the canvas in its pixels."""
    # They belong to the scene since napari 0.9, to the viewer before.
    canvas = getattr(viewer, "canvas", None)
    size = canvas.size if canvas is not None else viewer._canvas_size
    return getattr(viewer, "scene", viewer).camera, (int(size[0]), int(size[1]))


def look_at(viewer: Any, place: Any) -> None:
    """Move sliders and camera so that a box of a layer (`Place`) fills most of the canvas."""
    geometry, layer = place.geometry, place.image.layer
    corners = np.array([np.zeros(geometry.ndim), np.array(place.size) - 1.0])
    inside = corners @ geometry.linear.T + geometry.translate
    world = inside @ geometry.affine[:-1, :-1].T + geometry.affine[:-1, -1]
    middle, extent = world.mean(axis=0), np.abs(world[1] - world[0])
    lacking = viewer.dims.ndim - layer.ndim
    axes = [axis + lacking for axis in place.image.kept]
    for axis, point in zip(axes, middle, strict=True):
        viewer.dims.set_point(axis, float(point))
    shown = viewer.dims.displayed
    point = [float(middle[axes.index(axis)]) if axis in axes else 0.0 for axis in shown]
    camera, size = _camera(viewer)
    camera.center = point
    widest = max((float(extent[axes.index(axis)]) for axis in shown if axis in axes), default=0.0)
    if widest > 0:
        camera.zoom = _FILLED * min(size) / widest


def coarser_box(box: Box, factors: Any) -> Box:
    """Return a box in the voxels of a coarser level that covers it."""
    return tuple(
        (int(low // factor), max(int(low // factor) + 1, int(np.ceil(high / factor))))
        for (low, high), factor in zip(box, factors, strict=True)
    )


def name_sliders(viewer: Any, inside: int) -> None:
    """Say what the sliders go through that are in front of the image's axes, unless they have names.

    Parameters
    ----------
    viewer
        The napari viewer.
    inside
        Number of the image's axes.
    """
    names = list(viewer.dims.axis_labels)
    for place, name in ((-inside - 1, "patch"), (-inside - 2, "feature")):
        if len(names) >= -place and names[place] == str(place):
            names[place] = name
    viewer.dims.axis_labels = names
