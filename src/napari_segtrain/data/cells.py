"""Counts of labelled voxels in the cells of a grid: what makes a patch index cheap and exact.

A patch position covers whole cells when the grid is cut at every start and every end of a position. A
patch's counts are then sums over cells, got from a summed-area table of the cells, and never from the
voxels again; a stroke changes the cells it touches and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Box
from .counting import FAR, Meaning, count_values
from .grid import Grid

MOST_CLASSES = 64
"""A target with more foreground values than this has instances, and nothing to balance."""


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
        voxels: NDArray[Any],
        meaning: Meaning,
        valid: NDArray[np.bool_] | None = None,
        *,
        by_class: bool = False,
    ) -> None:
        """Count the voxels of one block.

        Parameters
        ----------
        grid
            The grid of these cells.
        box
            Where the block lies in the grid's box.
        voxels
            The block, whole numbers.
        meaning
            What the values mean, of the type of `voxels`.
        valid
            Where the labels count, of the block's shape; None: everywhere.
        by_class
            Whether these are labels whose values can be classes.
        """
        place, bounds = _place(grid, box)
        for value in self.classes or () if by_class else ():
            if value not in meaning.values:
                meaning = meaning.also(value)
        unknown: int | None = 0
        while unknown is not None:
            every = by_class and self.classes is not None and bool(meaning.foreground[-1])
            low, high = self.low[(slice(None), *place)], self.high[(slice(None), *place)]
            counts, unknown = count_values(voxels, valid, bounds, meaning, low, high, every=every)
            if unknown is not None:
                meaning = meaning.also(unknown)
                self.of_class(unknown)
                self._end_of_classes()
        self.labelled[place] += counts[meaning.labelled].sum(axis=0)
        self.foreground[place] += counts[meaning.foreground].sum(axis=0)
        if by_class and self.classes is not None:
            self._add_classes(place, meaning, counts)

    def _add_classes(self, place: Box, meaning: Meaning, counts: NDArray[np.int64]) -> None:
        for value, foreground, found in zip(meaning.values, meaning.foreground, counts, strict=False):
            if foreground and found.any():
                self.of_class(int(value))[place] += found
        self._end_of_classes()

    def _end_of_classes(self) -> None:
        """Give up counting by class when there are so many values that they are numbers of objects."""
        if self.classes is not None and len(self.classes) > MOST_CLASSES:
            self.classes = None

    def of_class(self, value: int) -> NDArray[np.int64]:
        """Return the counts of one label value, zeros when it is new."""
        if self.classes is None:
            self.classes = {}
        return self.classes.setdefault(value, np.zeros(self.labelled.shape, np.int64))

    def add_constant(self, grid: Grid, box: Box, meaning: Meaning, value: int, *, by_class: bool) -> None:
        """Count a block in which every voxel is labelled, with one `value`; the rest is as in `add`."""
        place, bounds = _place(grid, box)
        volume: Any = 1
        for axis, bound in enumerate(bounds):
            along = [1] * len(bounds)
            along[axis] = -1
            volume = volume * np.diff(bound).reshape(along)
            low, high = bound[:-1].reshape(along), (1 - bound[1:]).reshape(along)
            self.low[axis][place] = np.minimum(self.low[axis][place], low)
            self.high[axis][place] = np.minimum(self.high[axis][place], high)
        self.labelled[place] += volume
        if meaning.foreground[meaning.code(value)]:
            self.foreground[place] += volume
            if by_class and self.classes is not None:
                self.of_class(value)[place] += volume
                self._end_of_classes()


def _place(grid: Grid, box: Box) -> tuple[Box, list[NDArray[np.int64]]]:
    """Return the range of cells that a block is in, and where they begin and end: in the block, at most."""
    place, bounds = [], []
    for edges, part in zip(grid.edges, box, strict=True):
        first = int(edges.searchsorted(part.start, "right")) - 1
        beyond = int(edges.searchsorted(part.stop, "left"))
        cut = edges[first : beyond + 1].copy()
        cut[0], cut[-1] = part.start, part.stop
        place.append(slice(first, beyond))
        bounds.append(cut)
    return tuple(place), bounds
