"""Seeds of one object that was found in pieces: those that lie near each other in the foreground."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_segtrain.targets.compiled import as_volume, compiled

Labels = npt.NDArray[np.int32]

_UNIT = 1000
"""Ways are whole numbers of so many parts of a voxel: sums of them do not depend on their order."""
_FAR = 1 << 30


def reach(seed_distance: float, spacing: Sequence[float]) -> tuple[int, ...]:
    """Return how many voxels around a place, along each axis, decide which seeds are near there."""
    least = min(spacing)
    return tuple(math.floor(seed_distance / 2 * least / step) + 2 for step in spacing)


def warm_up() -> None:
    """Compile, or load what was compiled."""
    line = np.array([[1, 0, 2]], np.int32)
    near_seeds(line, line >= 0, 3.0)


def near_seeds(
    seeds: Labels,
    foreground: npt.NDArray[np.bool_],
    seed_distance: float,
    spacing: Sequence[float] | None = None,
) -> Labels:
    """Return for each seed the least number of those that are one object's with it.

    Two seeds are, when a way from one to the other through the foreground, from voxel to neighbouring voxel
    (also across edges and corners), is shorter than `seed_distance`; and so are seeds that are joined by
    others. What lies farther than half of the distance from any seed has no part in it.

    Parameters
    ----------
    seeds
        `(*spatial)`, numbered 1, 2, …; 0 elsewhere.
    foreground
        `(*spatial)`, True at least at the seeds.
    seed_distance
        In voxels, along the axis of the smallest ones.
    spacing
        Size of a voxel in array order; None where all its edges are alike.

    Returns
    -------
    ndarray of int32
        By the number of a seed; 0 stays 0.

    Notes
    -----
    Every voxel learns the way to the nearest seed, and which it is, in sweeps over the volume (Rosenfeld
    and Pfaltz 1966) until nothing changes. Where neighbours have learned of two seeds, the ways of both and
    the step between them are a way from seed to seed; of a shortest one every step is of that kind.
    """
    count = int(seeds.max(initial=0))
    most = round(seed_distance * _UNIT)
    table = np.arange(count + 1, dtype=np.int32)
    if count < 2 or most <= 0:
        return table
    steps, lengths = _steps(seeds.ndim, spacing if spacing is not None else (1.0,) * seeds.ndim)
    owner = as_volume(seeds).astype(np.int32, copy=True)
    inside = as_volume(foreground)
    away = np.where(owner > 0, np.int32(0), np.int32(_FAR))
    while _sweep(inside, steps, lengths, (most - 1) // 2, away, owner):
        pass
    _join(inside, steps, lengths, most, away, owner, table)
    return table


def _steps(ndim: int, spacing: Sequence[float]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Return the steps to those neighbours that come before a voxel in raster order, and their lengths."""
    every = itertools.product(*((0,),) * (3 - ndim), *((-1, 0, 1),) * ndim)
    steps = np.array([step for step in every if step < (0, 0, 0)], np.int64)
    edges = np.array([1.0] * (3 - ndim) + [size / min(spacing) for size in spacing])
    lengths = np.rint(_UNIT * np.sqrt(((steps * edges) ** 2).sum(axis=1)))
    return steps, np.minimum(lengths, _FAR).astype(np.int32)


@compiled
def _sweep(inside: Any, steps: Any, lengths: Any, most: Any, away: Any, owner: Any) -> Any:
    """Let ways grow through a volume, forth and back; return whether any became shorter."""
    depth, height, width = inside.shape
    changed = False
    for turn in range(2):
        sign = 1 - 2 * turn
        for index in range(depth * height * width):
            place = index if turn == 0 else depth * height * width - 1 - index
            z, y, x = place // (height * width), place // width % height, place % width
            if not inside[z, y, x] or away[z, y, x] == 0:
                continue
            for k in range(len(lengths)):
                a, b, c = z + sign * steps[k, 0], y + sign * steps[k, 1], x + sign * steps[k, 2]
                if not (0 <= a < depth and 0 <= b < height and 0 <= c < width) or not inside[a, b, c]:
                    continue
                found = away[a, b, c] + lengths[k]
                if found <= most and found < away[z, y, x]:
                    away[z, y, x] = found
                    owner[z, y, x] = owner[a, b, c]
                    changed = True
    return changed


@compiled
def _join(inside: Any, steps: Any, lengths: Any, most: Any, away: Any, owner: Any, table: Any) -> None:
    """Join the seeds of neighbouring voxels where their ways are short together; table: see `near_seeds`."""
    depth, height, width = inside.shape
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if owner[z, y, x] == 0 or not inside[z, y, x]:
                    continue
                for k in range(len(lengths)):
                    a, b, c = z + steps[k, 0], y + steps[k, 1], x + steps[k, 2]
                    if not (0 <= a < depth and 0 <= b < height and 0 <= c < width):
                        continue
                    one, other = owner[z, y, x], owner[a, b, c]
                    if other == 0 or other == one or not inside[a, b, c]:
                        continue
                    if away[z, y, x] + away[a, b, c] + lengths[k] < most:
                        while table[one] != one:
                            one = table[one]
                        while table[other] != other:
                            other = table[other]
                        table[max(one, other)] = min(one, other)
    for number in range(len(table)):
        table[number] = table[table[number]]
