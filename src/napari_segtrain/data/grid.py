"""Where patches may start in a box, and the cells that this cuts the box into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Box


@dataclass(frozen=True)
class Grid:
    """Positions of a patch in a box, and the cells that they are made of.

    All coordinates are relative to the box; everything is in array order, an array for each axis.
    """

    shape: tuple[int, ...]
    """Size of the box."""
    extent: tuple[int, ...]
    """Size of the patch's part in the box: the patch, or the box where that is smaller."""
    starts: tuple[NDArray[np.int64], ...]
    """Starts of the positions, ascending; the last is ``shape - extent``."""
    edges: tuple[NDArray[np.int64], ...]
    """Where cells begin and end, from 0 to ``shape``."""

    @classmethod
    def plan(cls, shape: tuple[int, ...], patch: tuple[int, ...], stride: tuple[int, ...]) -> Grid:
        """Lay positions every `stride` voxels, and a last one flush with the end."""
        extent = tuple(min(p, n) for p, n in zip(patch, shape, strict=True))
        starts = tuple(_starts(n, e, s) for n, e, s in zip(shape, extent, stride, strict=True))
        edges = tuple(
            np.unique(np.concatenate([s, s + e, [0, n]]))
            for n, e, s in zip(shape, extent, starts, strict=True)
        )
        return cls(shape, extent, starts, edges)

    @property
    def positions(self) -> tuple[int, ...]:
        """Number of positions along each axis."""
        return tuple(len(s) for s in self.starts)

    @property
    def cells(self) -> tuple[int, ...]:
        """Number of cells along each axis."""
        return tuple(len(e) - 1 for e in self.edges)

    def first(self, axis: int) -> NDArray[np.int64]:
        """Return the first cell of each position along `axis`."""
        return np.searchsorted(self.edges[axis], self.starts[axis])

    def last(self, axis: int) -> NDArray[np.int64]:
        """Return one beyond the last cell of each position along `axis`."""
        return np.searchsorted(self.edges[axis], self.starts[axis] + self.extent[axis])

    def touching(self, box: Box) -> Box:
        """Return the range of cells that `box` (voxels) touches."""
        return tuple(
            slice(int(np.searchsorted(e, s.start, "right")) - 1, int(np.searchsorted(e, s.stop, "left")))
            for e, s in zip(self.edges, box, strict=True)
        )

    def cells_of(self, position: tuple[int, ...]) -> Box:
        """Return the range of cells that the position with these indices covers."""
        box = []
        for axis, i in enumerate(position):
            start = self.starts[axis][i]
            low, high = np.searchsorted(self.edges[axis], (start, start + self.extent[axis]))
            box.append(slice(int(low), int(high)))
        return tuple(box)

    def window_sum(self, counts: NDArray[Any]) -> NDArray[np.int64]:
        """Sum cells over each position: differences of the summed-area table, an axis at a time."""
        for axis in range(counts.ndim):
            padding = [(1, 0) if a == axis else (0, 0) for a in range(counts.ndim)]
            table = np.pad(np.cumsum(counts, axis=axis, dtype=np.int64), padding)
            counts = table.take(self.last(axis), axis) - table.take(self.first(axis), axis)
        return counts

    def window_min(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the smallest cell value of each position."""
        for axis in range(values.ndim):
            first, last = self.first(axis), self.last(axis)
            best = values.take(first, axis)
            for offset in range(1, int((last - first).max())):
                best = np.minimum(best, values.take(np.minimum(first + offset, last - 1), axis))
            values = best
        return values


def _starts(size: int, extent: int, stride: int) -> NDArray[np.int64]:
    starts = np.arange(0, size - extent + 1, stride, dtype=np.int64)
    return starts if starts[-1] == size - extent else np.append(starts, size - extent)
