"""What is measured of separated objects: size, place, intensity."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .tiling import Slices

_AT_ONCE = 2**20
"""Voxels that are looked at together."""

Table = dict[str, npt.NDArray[Any]]


def measure_objects(
    labels: Any,
    intensity: Callable[[Slices], npt.NDArray[Any]] | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> Table | None:
    """Measure every object of an array of object numbers, in pieces.

    Parameters
    ----------
    labels
        `(*spatial)`: 0 is background; an array in memory or on the disk.
    intensity
        Returns the image, `(channels, *where)`, of a part; None where there is no image.
    go_on
        Asked before each piece; False ends the work.

    Returns
    -------
    dict of ndarray or None
        A row an object: ``label``; ``voxels``, how many; ``centre``, (objects, axes), the mean of their
        indices; ``intensity``, (objects, channels), the mean over their voxels, where there is an image.
        None when it was ended.
    """
    count = np.zeros(1, np.int64)
    place = np.zeros((labels.ndim, 1))
    light = np.zeros((0, 1))
    for where in _pieces(labels.shape):
        if not go_on():
            return None
        piece = np.asarray(labels[where])
        inside = np.nonzero(piece)
        numbers = piece[inside]
        if not numbers.size:
            continue
        length = max(int(numbers.max()) + 1, len(count))
        count = _sum(count, np.bincount(numbers, minlength=length))
        moved = [axis + side.start for axis, side in zip(inside, where, strict=True)]
        place = _sum(place, np.stack([np.bincount(numbers, axis, length) for axis in moved]))
        if intensity is not None:
            seen = [np.bincount(numbers, channel[inside], length) for channel in intensity(where)]
            light = _sum(light if len(light) else np.zeros((len(seen), 1)), np.stack(seen))
    found = np.flatnonzero(count)
    table: Table = {"label": found, "voxels": count[found]}
    table["centre"] = (place[:, found] / count[found]).T
    if intensity is not None:
        known = light[:, found] if len(light) else np.zeros((1, 0))
        table["intensity"] = (known / count[found]).T
    return table


def _sum(known: npt.NDArray[Any], more: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the sum of two tables, the first of which may lack columns."""
    more[..., : known.shape[-1]] += known
    return more


def _pieces(shape: tuple[int, ...]) -> list[Slices]:
    """Cut an array into boxes: along the first axes, until they are small."""
    edges = list(shape)
    for axis in range(len(shape)):
        rest = int(np.prod(shape[axis + 1 :], dtype=np.int64))
        edges[axis] = int(np.clip(_AT_ONCE // max(rest, 1), 1, max(shape[axis], 1)))
        if edges[axis] > 1:
            break
    sides = [
        [slice(a, min(a + edge, size)) for a in range(0, size, edge)]
        for size, edge in zip(shape, edges, strict=True)
    ]
    return list(itertools.product(*sides))
