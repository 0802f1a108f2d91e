"""Finds objects that share a number, in labels where every object should have its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .naming import first_names

_MOST_OBJECTS = 200
"""Objects that are searched for a waist, the largest ones."""
_MOST_VOXELS = 2**20
"""Voxels of the box around an object that is searched."""
_CRUMB = 0.1
"""A piece smaller than this share of the largest piece of its number is a slip of the brush, no object."""
_CORE = 0.65
"""Voxels at least this deep, as a share of the greatest depth, are the core of an object."""
_FULL = 1.6
"""How many times as large as balls in its cores an object may be that is taken for touching balls."""


def number_faults(labels: NDArray[Any], spacing: Sequence[float] = ()) -> list[str]:
    """Say which numbers are used for several objects.

    Parameters
    ----------
    labels
        Numbers of objects, ((z,) y, x); 0 is none.
    spacing
        Size of a voxel, in the same order; 1 when empty.

    Returns
    -------
    list of str
        A sentence about pieces of one number that lie far apart, and one about single pieces that look
        like two objects that touch.
    """
    import cc3d

    if not labels.any():
        return []
    _, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape).astype(np.uint32)
    if labels.min() != 0 or 0 not in labels:
        compact += 1
    pieces, count = cc3d.connected_components(
        compact, connectivity=8 if labels.ndim == 2 else 26, out_dtype=np.uint32, return_N=True
    )
    statistics = cc3d.statistics(pieces)
    numbers = np.zeros(count + 1, labels.dtype)
    numbers[pieces.reshape(-1)] = labels.reshape(-1)
    boxes, sizes = statistics["bounding_boxes"], statistics["voxel_counts"]
    by_number: dict[int, list[int]] = {}
    for piece in range(1, count + 1):
        by_number.setdefault(int(numbers[piece]), []).append(piece)
    apart = sorted(n for n, own in by_number.items() if len(own) > 1 and _far_apart(own, boxes, sizes))
    faults = []
    if apart:
        faults.append(
            f"{_listed(apart)} for objects far apart. Give every object a number of its own, or set kind to "
            "binary."
        )
    steps = tuple(spacing) or (1.0,) * labels.ndim
    usual = float(np.median(sizes[1:]))
    large = np.argsort(-sizes[1:].astype(np.int64), kind="stable")[:_MOST_OBJECTS] + 1
    waisted = {
        int(numbers[piece])
        for piece in large
        if sizes[piece] > max(30, usual * (1.25 if count > 2 else 0))
        and _touching(pieces, piece, boxes, steps)
    } - set(apart)
    if waisted:
        faults.append(
            f"{_listed(sorted(waisted))} for what looks like objects that touch. Give each its own number."
        )
    return faults


def _listed(numbers: Sequence[int]) -> str:
    one = len(numbers) == 1
    return (
        f"Number{'' if one else 's'} {first_names([str(n) for n in numbers])} {'is' if one else 'are'} used"
    )


def _far_apart(own: Sequence[int], boxes: Sequence[Any], sizes: NDArray[Any]) -> bool:
    """Return whether a piece lies further from the largest one than half of what that one measures."""
    largest = max(own, key=lambda piece: sizes[piece])
    here = boxes[largest]
    reach = max(side.stop - side.start for side in here)
    for piece in own:
        if piece == largest or sizes[piece] < _CRUMB * sizes[largest]:
            continue
        gap = max(max(a.start - b.stop, b.start - a.stop) for a, b in zip(boxes[piece], here, strict=True))
        if gap > max(3, reach / 2):
            return True
    return False


def _touching(pieces: NDArray[Any], piece: int, boxes: Sequence[Any], spacing: tuple[float, ...]) -> bool:
    """Return whether an object consists of two or three round parts with a waist between them."""
    import cc3d
    from scipy import ndimage

    box = boxes[piece]
    if math.prod(side.stop - side.start for side in box) > _MOST_VOXELS:
        return False
    inside = np.pad(pieces[box] == piece, 1)
    depth = ndimage.distance_transform_edt(inside, sampling=spacing)
    cores, count = cc3d.connected_components(
        depth >= _CORE * depth.max(), connectivity=8 if inside.ndim == 2 else 26, return_N=True
    )
    if not 2 <= count <= 3:
        return False
    radii = ndimage.maximum(depth, cores, range(1, count + 1))
    balls = sum(math.pi * r**2 if inside.ndim == 2 else 4 / 3 * math.pi * r**3 for r in radii)
    return bool(np.count_nonzero(inside) * math.prod(spacing) <= _FULL * balls)
