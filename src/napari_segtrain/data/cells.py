"""Counts of labelled voxels in the cells of a grid: what makes a patch index cheap and exact.

A patch position covers whole cells when the grid is cut at every start and every end of a position. A
patch's counts are then sums over cells, got from a summed-area table of the cells, and never from the
voxels again; a stroke changes the cells it touches and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from .blocks import Box
from .grid import Grid

FAR = np.iinfo(np.int32).max


@dataclass
class Cells:
    """Counts of one target in the cells of a grid, arrays of shape `Grid.cells`."""

    labelled: NDArray[np.int64]
    foreground: NDArray[np.int64]
    low: NDArray[np.int32]
    """First labelled coordinate in each cell, ``(axes, *cells)``; `FAR` where there is none."""
    high: NDArray[np.int32]
    """The negative of the last labelled coordinate, so that both are minima."""
    classes: dict[int, NDArray[np.int64]] | None = None
    """Foreground voxels of each label value; None when they are not counted one by one."""

    @classmethod
    def empty(cls, grid: Grid, by_class: bool = False) -> Cells:
        """Return cells without any labelled voxel."""
        shape = grid.cells
        boxes = (len(shape), *shape)
        return cls(
            np.zeros(shape, np.int64),
            np.zeros(shape, np.int64),
            np.full(boxes, FAR, np.int32),
            np.full(boxes, FAR, np.int32),
            {} if by_class else None,
        )

    def clear(self, cells: Box) -> None:
        """Forget what was counted in a range of cells."""
        for counts in (self.labelled, self.foreground, *(self.classes or {}).values()):
            counts[cells] = 0
        self.low[(slice(None), *cells)] = FAR
        self.high[(slice(None), *cells)] = FAR

    def add(
        self,
        grid: Grid,
        box: Box,
        labelled: NDArray[np.bool_],
        foreground: NDArray[np.bool_],
        classes: Mapping[int, NDArray[np.bool_]],
    ) -> None:
        """Count the voxels of one block.

        Parameters
        ----------
        grid
            The grid of these cells.
        box
            Where the block lies in the grid's box.
        labelled, foreground
            Of the block's shape.
        classes
            For each label value to be counted by itself, where it is; of the block's shape.
        """
        axes = 3 - labelled.ndim
        cuts = [_cuts(e, s) for e, s in zip(grid.edges, box, strict=True)]
        whole = np.array([0, 1], np.int64)
        segments = (*[(whole, 0)] * axes, *cuts)
        bounds = [bound for bound, _ in segments]
        firsts = np.array([first for _, first in segments], np.int64)
        origin = np.array([0] * axes + [s.start for s in box], np.int64)

        def solid(array: NDArray[Any]) -> NDArray[Any]:
            return array.reshape((1,) * axes + array.shape)

        low, high = (a.reshape(a.shape[0], *(1,) * axes, *a.shape[1:]) for a in (self.low, self.high))
        _count_with_boxes(
            solid(_bytes(labelled)), *bounds, firsts, origin, axes, solid(self.labelled), low, high
        )
        _count(solid(_bytes(foreground)), *bounds, firsts, solid(self.foreground))
        for value, where in classes.items():
            _count(solid(_bytes(where)), *bounds, firsts, solid(self.of_class(value)))

    def of_class(self, value: int) -> NDArray[np.int64]:
        """Return the counts of one label value, zeros when it is new."""
        if self.classes is None:
            self.classes = {}
        return self.classes.setdefault(value, np.zeros(self.labelled.shape, np.int64))


def fill_constant(
    cells: Cells, grid: Grid, box: Box, labelled: bool, foreground: bool, value: int | None
) -> None:
    """Count a block in which every voxel is the same, without looking at the voxels.

    Parameters
    ----------
    cells, grid
        What is counted into.
    box
        Where the block lies in the grid's box.
    labelled, foreground
        What every voxel is.
    value
        The label value to count by itself; None: not to.
    """
    if not labelled:
        return
    cuts = [_cuts(e, s) for e, s in zip(grid.edges, box, strict=True)]
    place = tuple(slice(first, first + len(bound) - 1) for bound, first in cuts)
    volume: Any = 1
    for axis, (bound, _) in enumerate(cuts):
        along = [1] * len(cuts)
        along[axis] = -1
        volume = volume * np.diff(bound).reshape(along)
        low = (bound[:-1] + box[axis].start).reshape(along)
        high = (1 - bound[1:] - box[axis].start).reshape(along)
        cells.low[axis][place] = np.minimum(cells.low[axis][place], low)
        cells.high[axis][place] = np.minimum(cells.high[axis][place], high)
    cells.labelled[place] += volume
    if foreground:
        cells.foreground[place] += volume
        if value is not None:
            cells.of_class(value)[place] += volume


def _bytes(array: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).view(np.uint8)


def _cuts(edges: NDArray[np.int64], part: slice) -> tuple[NDArray[np.int64], int]:
    """Return the cell bounds inside `part`, relative to its start, and the number of the first cell."""
    first = int(np.searchsorted(edges, part.start, "right")) - 1
    inside = edges[(edges > part.start) & (edges < part.stop)]
    bounds = [part.start, *inside.tolist(), part.stop]
    return np.array(bounds, np.int64) - part.start, first


@numba.njit(nogil=True, cache=True)
def _count(voxels, bz, by, bx, firsts, counts):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Add the non-zero voxels of each cell; 3D, `b*` are the cells' bounds, `firsts` the first cells."""
    for i in range(bz.size - 1):
        for j in range(by.size - 1):
            for z in range(bz[i], bz[i + 1]):
                for y in range(by[j], by[j + 1]):
                    row = voxels[z, y]
                    for k in range(bx.size - 1):
                        total = 0
                        for x in range(bx[k], bx[k + 1]):
                            total += row[x]
                        counts[firsts[0] + i, firsts[1] + j, firsts[2] + k] += total


@numba.njit(nogil=True, cache=True)
def _count_with_boxes(  # type: ignore[no-untyped-def]  # pragma: no cover
    voxels, bz, by, bx, firsts, origin, skip, counts, low, high
):
    """Add the non-zero voxels of each cell and widen their bounding boxes.

    `origin` is added to coordinates; the first `skip` axes are not axes of the data. `high` is negative.
    """
    point = np.empty(3, np.int64)
    for i in range(bz.size - 1):
        for j in range(by.size - 1):
            for z in range(bz[i], bz[i + 1]):
                for y in range(by[j], by[j + 1]):
                    row = voxels[z, y]
                    for k in range(bx.size - 1):
                        total = 0
                        for x in range(bx[k], bx[k + 1]):
                            total += row[x]
                        if total == 0:
                            continue
                        a, b, c = firsts[0] + i, firsts[1] + j, firsts[2] + k
                        counts[a, b, c] += total
                        point[0], point[1] = z + origin[0], y + origin[1]
                        left = bx[k]
                        while row[left] == 0:
                            left += 1
                        right = bx[k + 1] - 1
                        while row[right] == 0:
                            right -= 1
                        for axis in range(skip, 3):
                            near = point[axis] if axis < 2 else left + origin[2]
                            far = point[axis] if axis < 2 else right + origin[2]
                            low[axis - skip, a, b, c] = min(low[axis - skip, a, b, c], near)
                            high[axis - skip, a, b, c] = min(high[axis - skip, a, b, c], -far)
