"""Boxes of voxels: what was edited, in as few boxes as are still tight."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

Box = tuple[slice, ...]
"""A slice with start and stop for each axis of an array."""

_SMALL = 2**16
"""Voxels up to which one box is cheaper than two."""


def edited_boxes(edit: Iterable[Any], shape: Sequence[int]) -> list[Box]:
    """Return the box of each part of an edit, such as the dabs of a stroke.

    Parameters
    ----------
    edit
        A history item of a Labels layer, as napari's `events.paint` gives it: parts that have the slices
        of a box as `slice_key`, or index arrays first.
    shape
        Shape of the labels.
    """
    boxes = []
    for part in edit:
        key = getattr(part, "slice_key", None)
        if key is None:
            # Index arrays count from the end where they are negative.
            axes = [np.asarray(axis) % size for axis, size in zip(part[0], shape, strict=True)]
            key = [slice(int(axis.min()), int(axis.max()) + 1) if axis.size else slice(0, 0) for axis in axes]
        box = tuple(slice(*side.indices(size)[:2]) for side, size in zip(key, shape, strict=True))
        if volume(box):
            boxes.append(box)
    return boxes


def joined(boxes: Iterable[Box]) -> list[Box]:
    """Join boxes that follow each other, as long as that adds next to nothing to what they hold.

    A stroke through a volume stays a chain of boxes: the one box around it would be the volume.
    """
    chain: list[Box] = []
    for box in boxes:
        if chain:
            last = chain[-1]
            union = tuple(
                slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(last, box, strict=True)
            )
            if volume(union) <= max(_SMALL, volume(last) + volume(box)):
                chain[-1] = union
                continue
        chain.append(box)
    return chain


def volume(box: Box) -> int:
    """Return the number of voxels in a box."""
    return math.prod(max(0, side.stop - side.start) for side in box)


def overlap(one: Box, other: Box) -> Box | None:
    """Return the box that two boxes share, None where they share nothing."""
    both = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return both if volume(both) else None


def within(box: Box, outer: Box) -> Box:
    """Return a box as counted from the first voxel of a box around it."""
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, outer, strict=True))


def whole(shape: Sequence[int]) -> Box:
    """Return the box of all voxels."""
    return tuple(slice(0, int(size)) for size in shape)


def around(changed: np.ndarray, place: Box) -> Box | None:
    """Return the smallest box that holds everything that is true, None when nothing is.

    Parameters
    ----------
    changed
        Booleans, one a voxel of `place`.
    place
        Where they lie.
    """
    if not changed.any():
        return None
    box = []
    for axis, side in enumerate(place):
        others = tuple(other for other in range(changed.ndim) if other != axis)
        found = np.flatnonzero(changed.any(axis=others))
        low, high = int(found[0]), int(found[-1]) + 1
        changed = changed[(slice(None),) * axis + (slice(low, high),)]
        box.append(slice(side.start + low, side.start + high))
    return tuple(box)
