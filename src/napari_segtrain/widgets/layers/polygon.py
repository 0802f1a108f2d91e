"""Filling polygons, row by row: each edge is looked at only in the rows that it crosses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]

_SLACK = 1e-9
"""Voxels by which rounding may be off where an edge crosses a row."""


def fill_polygon(corners: _Floats, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Return which voxels of a plane have their middle in a polygon or on its edge.

    Where the polygon covers itself twice is outside, as in a Shapes layer.

    Parameters
    ----------
    corners
        Places of the corners, (n, 2), in voxels of the plane; the last is joined to the first.
    size
        Rows and columns of the plane.
    """
    begins = np.zeros((size[0], size[1] + 1), np.int32)
    """How many more stretches of the polygon begin at a voxel than have ended before it."""
    ends = np.roll(corners, -1, axis=0)
    up = corners[:, 0] <= ends[:, 0]
    upper, lower = np.where(up[:, None], corners, ends), np.where(up[:, None], ends, corners)
    # An edge has either its first row or its last one, not both: a corner between two edges counts once. The
    # first leaves out the lowest corners of the polygon, the last the highest.
    for first in (np.ceil, _after):
        _add(begins, *_stretches(upper, lower, first, size[0]))
    level = (upper[:, 0] == lower[:, 0]) & (upper[:, 0] == np.floor(upper[:, 0]))
    level &= (upper[:, 0] >= 0) & (upper[:, 0] < size[0])
    sides = np.sort(np.stack([upper[level, 1], lower[level, 1]]), axis=0)
    _add(begins, upper[level, 0].astype(np.intp), sides[0], sides[1])
    np.cumsum(begins, axis=1, out=begins)
    return begins[:, :-1] > 0


def _after(place: _Floats) -> _Floats:
    return np.floor(place) + 1


def _stretches(
    upper: _Floats, lower: _Floats, first: Callable[[_Floats], _Floats], rows: int
) -> tuple[npt.NDArray[np.intp], _Floats, _Floats]:
    """Return row, start and end of what lies between an odd crossing of a row and the next one."""
    start = np.clip(first(upper[:, 0]), 0, rows).astype(np.intp)
    counts = np.clip(first(lower[:, 0]), 0, rows).astype(np.intp) - start
    edge = np.repeat(np.arange(len(counts)), counts)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts) + start[edge]
    share = (row - upper[edge, 0]) / (lower - upper)[edge, 0]
    place = upper[edge, 1] + share * (lower - upper)[edge, 1]
    order = np.lexsort((place, row))
    row, place = row[order], place[order]
    return row[::2], place[::2], place[1::2]


def _add(begins: npt.NDArray[np.int32], row: npt.NDArray[np.intp], start: _Floats, end: _Floats) -> None:
    """Note stretches of rows, ends included."""
    columns = begins.shape[1] - 1
    low = np.clip(np.ceil(start - _SLACK), 0, columns).astype(np.intp)
    high = np.clip(np.floor(end + _SLACK) + 1, 0, columns).astype(np.intp)
    np.add.at(begins, (row, low), 1)
    np.add.at(begins, (row, np.maximum(low, high)), -1)
