"""The nearest voxel with another number: how far it is, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import as_volume, compiled, three_spacings

_NOBODY = -(1 << 31)


@dataclass(frozen=True)
class Nearest:
    """What `nearest_other` found.

    Attributes
    ----------
    distance
        ``(*spatial)``, between voxel centres, in the units of the spacing; infinite where no voxel has
        another number, 0 where it was not asked for.
    """

    distance: NDArray[np.float32]
    _ids: NDArray[np.int32] = field(repr=False)
    _winners: NDArray[np.int16] = field(repr=False)
    _spacing: NDArray[np.float32] = field(repr=False)

    def vectors(self, where: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the vectors from voxels to their nearest voxel of another number.

        Parameters
        ----------
        where
            ``(*spatial)``, which voxels; all of them with a finite distance above 0.

        Returns
        -------
        ndarray of float32
            ``(ndim, *spatial)``, components in array order and in the units of the spacing, 0 elsewhere.
        """
        ndim = where.ndim
        found = _vectors(self._ids, self._winners, self._spacing, as_volume(where))
        return np.asarray(found[3 - ndim :]).reshape(ndim, *where.shape)


def nearest_other(ids: NDArray[Any], spacing: tuple[float, ...], *, skip: int | None = None) -> Nearest:
    """Find the nearest voxel of another number for every voxel.

    Parameters
    ----------
    ids
        ``(*spatial)`` whole numbers (or booleans) that fit into 32 bits.
    spacing
        Size of a voxel in array order.
    skip
        Voxels of this number are not asked for.

    Notes
    -----
    Exact Euclidean, an axis after the other, by lower envelopes of parabolas (Felzenszwalb and
    Huttenlocher 2012, "Distance Transforms of Sampled Functions"); all numbers in one go, since within a
    run of one number the nearest other voxel of the row is at the run's end. Each axis remembers which
    place won, from which the voxel itself is found again.
    """
    volume = as_volume(np.asarray(ids, np.int32))
    steps = three_spacings(spacing)
    nobody = np.int32(_NOBODY if skip is None else skip)
    winners = np.full((3, *volume.shape), -1, np.int16)
    squares = np.zeros(volume.shape, np.float32)
    _along_x(volume, steps[2], nobody, winners[2], squares)
    for axis, scan in ((1, _along_y), (0, _along_z)):
        if volume.shape[axis] > 1:
            scan(volume, steps[axis], nobody, winners[axis], squares)
    distance = np.sqrt(squares, out=squares).reshape(np.shape(ids))
    return Nearest(distance, volume, winners, steps)


@compiled
def _along_x(ids: Any, step: Any, skip: Any, winners: Any, squares: Any) -> None:
    depth, height, width = ids.shape
    for z in range(depth):
        for y in range(height):
            first = 0
            while first < width:
                own = ids[z, y, first]
                end = first + 1
                while end < width and ids[z, y, end] == own:
                    end += 1
                if own != skip:
                    for x in range(first, end):
                        place = first - 1  # -1 at the border: nothing is known there
                        if end < width and (first == 0 or end - x < x - place):
                            place = end
                        winners[z, y, x] = place
                        away = np.float32(x - place) * step
                        squares[z, y, x] = away * away if place >= 0 else np.float32(np.inf)
                first = end


@compiled
def _line(ids: Any, heights: Any, square: Any, skip: Any, winners: Any, out: Any, envelope: Any) -> None:
    """Extend squared distances by an axis along one line of voxels.

    Within a run of one number parabolas stand on its own voxels, as high as the squared distance over the
    axes before, and on the two voxels at its ends, which have another number, at height 0.
    """
    places, bases, edges, halves = envelope
    n = len(ids)
    per = 1.0 / square
    first = 0
    while first < n:
        own = ids[first]
        end = first + 1
        while end < n and ids[end] == own:
            end += 1
        if own != skip:
            top = -1
            for place in range(first - 1, end + 1):
                inside = first <= place < end
                if place < 0 or place >= n or (inside and heights[place] == np.inf):
                    continue
                base = float(place * place)
                if inside:
                    base += heights[place] * per
                edge = -np.inf
                while top >= 0:
                    edge = (base - bases[top]) * halves[place - places[top]]
                    if edge > edges[top]:
                        break
                    top -= 1
                top += 1
                places[top] = place
                bases[top] = base
                edges[top] = edge if top > 0 else -np.inf
            edges[top + 1] = np.inf
            current = 0
            for i in range(first, end):
                if top < 0:
                    winners[i] = -1
                    out[i] = np.float32(np.inf)
                    continue
                while edges[current + 1] < i:
                    current += 1
                place = places[current]
                height = heights[place] if first <= place < end else np.float32(0)
                winners[i] = place
                out[i] = height + square * np.float32((i - place) * (i - place))
        first = end


@compiled
def _workspace(n: int) -> Any:
    halves = 0.5 / np.maximum(np.arange(n + 2), 1)
    return np.empty(n + 2, np.int64), np.empty(n + 2), np.empty(n + 3), halves


@compiled
def _along_y(ids: Any, step: Any, skip: Any, winners: Any, squares: Any) -> None:
    depth, n, width = ids.shape
    line, heights, out = np.empty(n, np.int32), np.empty(n, np.float32), np.empty(n, np.float32)
    found, envelope = np.empty(n, np.int16), _workspace(n)
    for z in range(depth):
        for x in range(width):
            for i in range(n):
                line[i] = ids[z, i, x]
                heights[i] = squares[z, i, x]
            _line(line, heights, step * step, skip, found, out, envelope)
            for i in range(n):
                if line[i] != skip:
                    winners[z, i, x] = found[i]
                    squares[z, i, x] = out[i]


@compiled
def _along_z(ids: Any, step: Any, skip: Any, winners: Any, squares: Any) -> None:
    n, height, width = ids.shape
    line, heights, out = np.empty(n, np.int32), np.empty(n, np.float32), np.empty(n, np.float32)
    found, envelope = np.empty(n, np.int16), _workspace(n)
    for y in range(height):
        for x in range(width):
            for i in range(n):
                line[i] = ids[i, y, x]
                heights[i] = squares[i, y, x]
            _line(line, heights, step * step, skip, found, out, envelope)
            for i in range(n):
                if line[i] != skip:
                    winners[i, y, x] = found[i]
                    squares[i, y, x] = out[i]


@compiled
def _vectors(ids: Any, winners: Any, spacing: Any, where: Any) -> Any:
    depth, height, width = ids.shape
    out = np.zeros((3, depth, height, width), np.float32)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if not where[z, y, x]:
                    continue
                own = ids[z, y, x]
                # The last axis decided last: its winner, if of the same number, points on.
                zz = z if winners[0, z, y, x] < 0 else winners[0, z, y, x]
                yy, xx = y, x
                if ids[zz, y, x] == own:
                    yy = y if winners[1, zz, y, x] < 0 else winners[1, zz, y, x]
                    if ids[zz, yy, x] == own:
                        xx = winners[2, zz, yy, x]
                out[0, z, y, x] = (zz - z) * spacing[0]
                out[1, z, y, x] = (yy - y) * spacing[1]
                out[2, z, y, x] = (xx - x) * spacing[2]
    return out
