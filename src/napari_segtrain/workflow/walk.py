"""In which order a live preview goes through an image: what is looked at, then outward, then over again."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Slices = tuple[slice, ...]
_Points = npt.NDArray[np.int64]
"""Voxels, (axes,) or (number, axes)."""
_Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """A part of an image that is predicted at once.

    Attributes
    ----------
    window
        What the network sees, as large as a tile where the image is.
    paste
        The part of it that is shown.
    """

    window: Slices
    paste: Slices


class Walk:
    """Goes through an image in blocks of a tile each, without an end.

    First comes what is looked at, in as few blocks as cover it, around its middle. Then the rest of the
    image, the nearest first; between any two of its blocks comes one of what is looked at, which so stays
    fresh however large the image is. When the image is covered, it begins again. What was covered stays so
    when the view moves: the walk goes on with the blocks that were not, from the new place.

    Parameters
    ----------
    shape
        Shape of the image, (z,) y, x; of a stack of planes with their number first.
    tile
        Size of a block along each of these axes.
    spacing
        Size of a voxel along each of them.
    outward
        Go further than one block in the middle of what is looked at.
    """

    def __init__(
        self, shape: Sequence[int], tile: Sequence[int], spacing: Sequence[float], *, outward: bool = True
    ) -> None:
        self._shape = np.array(shape, np.int64)
        self._tile = np.minimum(np.array(tile, np.int64), self._shape)
        self._spacing = np.array(spacing, float)
        self._outward = outward
        counts = -(-self._shape // self._tile) if outward else self._shape * 0
        self._starts = np.indices(tuple(counts.tolist())).reshape(len(counts), -1).T * self._tile
        self._stops = np.minimum(self._starts + self._tile, self._shape)
        self._due = np.ones(len(self._starts), np.bool_)
        self._view = self._shape * 0, self._shape * 0
        self._seen: deque[tuple[_Points, _Points]] = deque()
        self._fresh = self._seen.copy()
        self._queue: deque[int] = deque()
        self._inside = ~self._due
        self._again = False
        self.look(None)

    def look(self, view: tuple[Sequence[int], Sequence[int]] | None) -> None:
        """Go on from elsewhere, at once; without effect where that is looked at already.

        Parameters
        ----------
        view
            First voxel of what is looked at, and one past its last; None for the middle of the image.
        """
        if view is None:
            view = (self._shape // 2).tolist(), (self._shape // 2 + 1).tolist()
        low = np.clip(np.array(view[0], np.int64), 0, self._shape - 1)
        high = np.clip(np.array(view[1], np.int64), low + 1, self._shape)
        if not all(map(np.array_equal, self._view, (low, high))):
            self._view = low, high
            self._begin()

    def next(self) -> Block:
        """Return the next block."""
        if not self._fresh and not self._queue:
            self._due[:] = True
            self._begin()
        if self._fresh:
            place = self._fresh.popleft()
            if not self._fresh:
                self._due[self._inside] = False
            return self._block(*place)
        self._again = not self._again
        if self._again:
            self._seen.rotate(-1)
            return self._block(*self._seen[-1])
        number = self._queue.popleft()
        self._due[number] = False
        return self._block(self._starts[number], self._stops[number])

    def _begin(self) -> None:
        low, high = self._view
        middle = (low + high) / 2
        if not self._outward:
            low, high = np.floor(middle).astype(np.int64), np.floor(middle).astype(np.int64) + 1
        sides = [_cover(*side) for side in zip(low, high, self._tile, self._shape, strict=True)]
        places = [np.array(corners, np.int64).T for corners in itertools.product(*sides)]
        places.sort(key=lambda place: float(self._apart(place[0], place[1], middle, middle)))
        self._seen = deque((start, stop) for start, stop in places)
        self._fresh = self._seen.copy()
        self._again = True
        first = np.array([side[0][0] for side in sides])
        last = np.array([side[-1][1] for side in sides])
        self._inside = ((self._starts >= first) & (self._stops <= last)).all(axis=1)
        waiting = np.flatnonzero(self._due & ~self._inside)
        starts, stops = self._starts[waiting], self._stops[waiting]
        # Those as far from what is looked at come in the order of their distances from its middle.
        keys = self._apart(starts, stops, middle, middle), self._apart(starts, stops, low, high)
        self._queue = deque(waiting[np.lexsort(keys)].tolist())

    def _apart(
        self, starts: _Points, stops: _Points, low: _Points | _Numbers, high: _Points | _Numbers
    ) -> _Numbers:
        """Return the squared distances between boxes and one box, in the unit of the spacing."""
        gaps = np.maximum(np.maximum(starts - high, low - stops), 0) * self._spacing
        return np.asarray((gaps**2).sum(axis=-1))

    def _block(self, start: _Points, stop: _Points) -> Block:
        first = np.minimum(start, self._shape - self._tile)
        return Block(_slices(first, first + self._tile), _slices(start, stop))


def _cover(low: int, high: int, tile: int, size: int) -> list[tuple[int, int]]:
    """Return the bounds of as few tiles as cover a part of an axis, around its middle."""
    count = math.ceil((high - low) / tile)
    first = int(np.clip((low + high - count * tile) // 2, 0, max(0, size - count * tile)))
    return [
        (start, min(start + tile, size)) for start in range(first, first + count * tile, tile) if start < size
    ]


def _slices(start: _Points, stop: _Points) -> Slices:
    return tuple(slice(a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True))
