"""The one pass over labels that a patch index is made from: how often each value is in each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numba
import numpy as np
from numpy.typing import NDArray

FAR = np.iinfo(np.int32).max
ROWS = 16
"""Rows that are looked at together, for most of them are of one value."""
NO_MASK = np.zeros((0, 0, 0), np.bool_)


@dataclass(frozen=True)
class Meaning:
    """What the values of labels mean, for one type of voxels.

    Attributes
    ----------
    values
        The values that are told apart.
    labelled, foreground
        What each of them means, and as the last entry what every other value means.
    """

    values: NDArray[Any]
    labelled: NDArray[np.bool_]
    foreground: NDArray[np.bool_]

    def labels(self, value: int) -> bool:
        """Return whether a value means that the voxel is labelled."""
        return bool(self.labelled[self.code(value)])

    def code(self, value: int) -> int:
        """Return the place of a value in the arrays."""
        return next((place for place, known in enumerate(self.values) if known == value), -1)

    def also(self, value: int) -> Self:
        """Return the meaning with one of the other values told apart as well."""
        values = np.append(self.values, self.values.dtype.type(value))
        places = [*range(len(self.values)), -1, -1]
        return type(self)(values, self.labelled[places], self.foreground[places])


def count_values(
    voxels: NDArray[Any],
    valid: NDArray[np.bool_] | None,
    bounds: Sequence[NDArray[np.int64]],
    meaning: Meaning,
    low: NDArray[np.int32],
    high: NDArray[np.int32],
    *,
    every: bool = False,
) -> tuple[NDArray[np.int64], int | None]:
    """Count the values of one block, and widen the bounding boxes of what is labelled.

    Parameters
    ----------
    voxels
        The labels, whole numbers, (z,) y, x.
    valid
        Where they count, of the same shape; None: everywhere.
    bounds
        For each axis, where cells begin and end: the coordinates of the block's voxels go from the first
        to the last.
    meaning
        The values to tell apart, of the type of `voxels`.
    low, high
        First labelled coordinate in each cell and the negative of the last, ``(axes, *cells)``; changed in
        place. `FAR` where nothing is labelled.
    every
        Whether each value must be told apart, so that the first other one ends the counting.

    Returns
    -------
    counts : ndarray, (values + 1, *cells)
        Voxels of each value, and last of all others.
    unknown : int or None
        A value that ended the counting; then the counts are of no use.
    """
    axes = 3 - voxels.ndim
    cuts = (*[np.array([0, 1], np.int64)] * axes, *bounds)
    counts = np.zeros((len(meaning.values) + 1, *(len(cut) - 1 for cut in cuts)), np.int64)

    def solid(array: NDArray[Any], first: int = 0) -> NDArray[Any]:
        return array.reshape(*array.shape[:first], *(1,) * axes, *array.shape[first:])

    # Only equality matters, so that four unsigned types stand for all: four versions to compile.
    bits = np.dtype(f"u{voxels.dtype.itemsize}")
    place = _count(
        solid(np.ascontiguousarray(voxels)).view(bits),
        NO_MASK if valid is None else solid(np.ascontiguousarray(valid)),
        *cuts,
        meaning.values.view(bits),
        meaning.labelled,
        every,
        counts,
        solid(low, 1),
        solid(high, 1),
    )
    unknown = int(voxels.reshape(-1)[place]) if place >= 0 else None
    return counts.reshape(-1, *counts.shape[1 + axes :]), unknown


@numba.njit(nogil=True, cache=True)
def _same(part):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return whether all values are equal; without an early end, which lets the processor compare many."""
    equal = True
    for i in range(part.size - 1):
        equal &= part[i] == part[i + 1]
    return equal


@numba.njit(nogil=True, cache=True)
def _mark_ends(part, ends):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Set 1 where a run of equal values ends, 0 elsewhere; both arrays have one size."""
    for i in range(part.size - 1):
        ends[i] = part[i] != part[i + 1]
    ends[part.size - 1] = 1


@numba.njit(nogil=True, cache=True)
def _code(value, values):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Return the place of a value among those told apart, and one beyond them for any other."""
    for place in range(values.size):
        if values[place] == value:
            return place
    return values.size


@numba.njit(nogil=True, cache=True)
def _widen(box, z, first, last, left, right):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Take a rectangle of plane z, from its first voxel to its last, into a box: lowest, then -highest."""
    box[0], box[3] = min(box[0], z), min(box[3], -z)
    box[1], box[4] = min(box[1], first), min(box[4], -last)
    box[2], box[5] = min(box[2], left), min(box[5], -right)


@numba.njit(nogil=True, cache=True)
def _count(  # type: ignore[no-untyped-def]  # pragma: no cover
    voxels, valid, bz, by, bx, values, labelled, every, counts, low, high
):
    """Fill `counts`, `low` and `high`; return where a value is that is not among `values`, else -1.

    Labels come in runs: a few rows of one value are counted at once; of others the ends of runs are marked,
    where a row or a cell ends too, and found again eight voxels at a time.
    """
    _, ny, nx = voxels.shape
    flat, mask = voxels.reshape(-1), valid.reshape(-1)
    masked = mask.size > 0
    boxes = np.full((*counts.shape[1:], 6), FAR, np.int32)
    words = np.zeros(ROWS * nx // 8 + 1, np.uint64)
    ends, more = words.view(np.uint8), np.zeros(ROWS * nx, np.uint8)
    for i in range(bz.size - 1):
        for z in range(bz[i], bz[i + 1]):
            for j in range(by.size - 1):
                for y in range(by[j], by[j + 1], ROWS):
                    below = min(y + ROWS, by[j + 1])
                    start = ((z - bz[0]) * ny + y - by[0]) * nx
                    size = (below - y) * nx
                    stop = start + size
                    if _same(flat[start:stop]) and (not masked or _same(mask[start:stop])):
                        if masked and not mask[start]:
                            continue
                        code = _code(flat[start], values)
                        if every and code == values.size:
                            return start
                        for k in range(bx.size - 1):
                            counts[code, i, j, k] += (below - y) * (bx[k + 1] - bx[k])
                            if labelled[code]:
                                _widen(boxes[i, j, k], z, y, below - 1, bx[k], bx[k + 1] - 1)
                        continue
                    words[(size - 1) // 8] = 0
                    _mark_ends(flat[start:stop], ends[:size])
                    if masked:
                        _mark_ends(mask[start:stop], more[:size])
                        for at in range(size):
                            ends[at] |= more[at]
                    for row in range(0, size, nx):
                        for k in range(1, bx.size):
                            ends[row + bx[k] - bx[0] - 1] = 1
                    first, k, line, row = 0, 0, y, 0
                    for word in range((size + 7) // 8):
                        if words[word] == 0:
                            continue
                        for last in range(8 * word, 8 * word + 8):
                            if ends[last] == 0:
                                continue
                            if not masked or mask[start + first]:
                                code = _code(flat[start + first], values)
                                if every and code == values.size:
                                    return start + first
                                counts[code, i, j, k] += last + 1 - first
                                if labelled[code]:
                                    left, right = first - row + bx[0], last - row + bx[0]
                                    _widen(boxes[i, j, k], z, line, line, left, right)
                            first = last + 1
                            if first - row == bx[k + 1] - bx[0]:
                                k += 1
                                if k == bx.size - 1:
                                    k, line, row = 0, line + 1, first
    skipped = 3 - low.shape[0]
    for axis in range(low.shape[0]):
        low[axis] = np.minimum(low[axis], boxes[..., axis + skipped])
        high[axis] = np.minimum(high[axis], boxes[..., axis + skipped + 3])
    return -1
