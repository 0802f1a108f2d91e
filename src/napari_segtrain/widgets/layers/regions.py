"""Regions of a layer that the user means: what is visible, or what lies inside drawn shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...config import DataError
from .boxes import Box, volume
from .polygon import fill_polygon
from .view import displayed_axes, visible_box

_ROUND = 128
"""Corners of the polygon that stands for an ellipse."""
_FLAT = 0.5
"""Voxels by which the corners of a shape may leave a plane."""
_SMALL = 2**16
"""Voxels of a box in which a shape is filled at once, to see whether it holds any."""


@dataclass(frozen=True)
class Mapping:
    """An affine map, ``matrix · index + offset``."""

    matrix: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]

    def __call__(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Map points, (n, axes)."""
        return points @ self.matrix.T + self.offset


@dataclass(frozen=True)
class Region:
    """A box of a layer's voxels, and which of them belong to it.

    Attributes
    ----------
    box
        Where they lie.
    corners
        The polygon on the two axes of `plane` inside which they lie; None where all belong to it.
    plane
        Axes of the polygon.
    """

    box: Box
    corners: npt.NDArray[np.float64] | None = None
    plane: tuple[int, ...] = ()

    def mask(self) -> npt.NDArray[np.bool_] | None:
        """Return which voxels of the box belong to it, None for all; of a large one it takes a moment."""
        if self.corners is None:
            return None
        sides = [self.box[axis] for axis in self.plane]
        start = np.array([side.start for side in sides])
        rows, columns = (side.stop - side.start for side in sides)
        return fill_polygon(self.corners - start, (rows, columns)).reshape(
            [side.stop - side.start for side in self.box]
        )


def mapping(viewer: Any, source: Any, goal: Any) -> Mapping:
    """Return the map from the indices of one layer to those of another.

    Where the other layer has more axes, the place of the view counts on those that are lacking; where it has
    fewer, the first axes do not matter.
    """
    point = np.asarray(viewer.dims.point, float)
    total = max(len(point), source.ndim, goal.ndim)
    rest = np.zeros(total)
    rest[total - len(point) :] = point

    def carry(index: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        world = rest.copy()
        world[total - source.ndim :] = source.data_to_world(index)
        return np.asarray(goal.world_to_data(world[total - goal.ndim :]), float)

    offset = carry(np.zeros(source.ndim))
    columns = [carry(unit) - offset for unit in np.eye(source.ndim)]
    return Mapping(np.stack(columns, axis=1), offset)


def visible_region(viewer: Any, layer: Any) -> Region:
    """Return the visible part of the slice of a layer that is shown; in 3D view all of it."""
    return Region(tuple(slice(*side) for side in visible_box(viewer, layer)))


def drawn_regions(viewer: Any, shapes: Any, layer: Any) -> list[Region]:
    """Return what lies inside the selected shapes of a Shapes layer, of all where none is selected.

    Large shapes are not filled yet: that is left to who looks at their voxels, away from the main thread.

    A shape is flat: it means the slice that it was drawn in, and one that has fewer axes than the layer the
    slice that is shown.

    Raises
    ------
    DataError
        When there is no shape, or one is open, not flat in the layer, or outside it.
    """
    chosen = sorted(shapes.selected_data) or list(range(len(shapes.data)))
    if not chosen:
        raise DataError(f"Shapes layer {shapes.name!r} is empty; draw a polygon, rectangle or ellipse in it")
    carry = mapping(viewer, shapes, layer)
    plane = displayed_axes(viewer, layer)[-2:]
    found = []
    for number in chosen:
        region = _bounded(carry(_outline(shapes, number)), plane, layer)
        if region is not None:
            found.append(region)
    if not found:
        raise DataError(
            f"the shapes of {shapes.name!r} lie outside {layer.name!r}; draw them where its labels are"
        )
    return found


def _outline(shapes: Any, number: int) -> npt.NDArray[np.float64]:
    """Return the corners of a shape in the indices of its layer."""
    kind, corners = shapes.shape_type[number], np.asarray(shapes.data[number], float)
    if kind in ("line", "path"):
        raise DataError(
            f"Shapes layer {shapes.name!r} holds a {kind}, which has no inside; select polygons, rectangles "
            "or ellipses"
        )
    if kind != "ellipse":
        return corners
    middle = corners.mean(axis=0)
    first, second = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angles = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)[:, np.newaxis]
    return np.asarray(middle + np.cos(angles) * first + np.sin(angles) * second)


def _bounded(corners: npt.NDArray[np.float64], plane: tuple[int, ...], layer: Any) -> Region | None:
    """Return the voxels inside a polygon, None if there are none."""
    extent = np.ptp(corners, axis=0)
    others = [axis for axis in range(layer.ndim) if axis not in plane]
    if any(extent[axis] > _FLAT for axis in others):
        raise DataError(
            f"a shape leaves the slice of {layer.name!r} in which it begins; draw it in one slice, seen as "
            "it is now"
        )
    shape = layer.data.shape
    box = [slice(0, 0)] * layer.ndim
    for axis in others:
        place = round(float(corners[:, axis].mean()))
        if not 0 <= place < shape[axis]:
            return None
        box[axis] = slice(place, place + 1)
    for axis in plane:
        low = max(0, int(np.ceil(corners[:, axis].min())))
        high = min(shape[axis], int(np.floor(corners[:, axis].max())) + 1)
        if high <= low:
            return None
        box[axis] = slice(low, high)
    region = Region(tuple(box), corners[:, plane], plane)
    if volume(region.box) <= _SMALL:
        mask = region.mask()
        return region if mask is None or mask.any() else None
    return region
