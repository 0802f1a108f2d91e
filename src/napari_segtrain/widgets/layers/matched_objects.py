"""Which predicted object is which painted one: by the voxels that they share."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .boxes import Box, volume

_MOST_AROUND = 2**23
"""Voxels around a region up to which its objects are followed."""

Numbers = npt.NDArray[np.int64]
Read = Callable[[Box], Iterable[tuple[Numbers, Numbers]]]
"""Returns, piece by piece, the predicted and the painted numbers of a box; 0 is no object."""


class Overlaps:
    """Counts the voxels of predicted objects, of painted ones, and those that they share."""

    def __init__(self) -> None:
        self._predicted: dict[int, int] = defaultdict(int)
        self._painted: dict[int, int] = defaultdict(int)
        self._shared: dict[tuple[int, int], int] = defaultdict(int)

    def add(self, predicted: Numbers, painted: Numbers) -> None:
        """Count the voxels of one more piece."""
        for sizes, numbers in ((self._predicted, predicted), (self._painted, painted)):
            for number, count in zip(*_counts(numbers[numbers > 0]), strict=True):
                sizes[int(number)] += int(count)
        both = (predicted > 0) & (painted > 0)
        one, other = predicted[both], painted[both]
        ones, others = _counts(one)[0], _counts(other)[0]
        pairs = np.searchsorted(ones, one) * len(others) + np.searchsorted(others, other)
        for pair, count in zip(*_counts(pairs), strict=True):
            first, second = divmod(int(pair), len(others))
            self._shared[int(ones[first]), int(others[second])] += int(count)

    def merge(self, other: Overlaps) -> None:
        """Take over what was counted of another region, which may have seen the same objects."""
        for mine, theirs in ((self._predicted, other._predicted), (self._painted, other._painted)):
            for number, count in theirs.items():
                mine[number] = max(mine[number], count)
        for pair, count in other._shared.items():
            self._shared[pair] = max(self._shared[pair], count)

    def partners(self, objects: Collection[int]) -> set[int]:
        """Return the painted objects that share voxels with predicted ones."""
        return {painted for predicted, painted in self._shared if predicted in objects}

    def matches(self, *, once: bool) -> dict[int, int]:
        """Return which painted object a predicted one is.

        It is one with which it shares more than half of the smaller of the two; of several the one with
        which it shares most.

        Parameters
        ----------
        once
            A painted object is one predicted object only: that which shares most with it.
        """
        found: dict[int, int] = {}
        taken: set[int] = set()
        for (predicted, painted), shared in sorted(
            self._shared.items(), key=lambda item: (-item[1], item[0])
        ):
            smaller = min(self._predicted[predicted], self._painted[painted])
            free = predicted not in found and not (once and painted in taken)
            if free and 2 * shared > smaller:
                found[predicted] = painted
                taken.add(painted)
        return found


def follow_objects(
    overlaps: Overlaps,
    region: Box,
    size: Sequence[int],
    axes: Sequence[int],
    objects: Collection[int],
    read: Read,
) -> None:
    """Count what objects share around a region too, as far as they and their partners reach.

    Parameters
    ----------
    overlaps
        What they share in the region; gets the rest.
    region
        Box in which the objects lie in part.
    size
        Shape of the labels, which is as far as one can look.
    axes
        Axes along which a predicted object can end; others are not followed.
    objects
        The predicted objects.
    read
        Returns what is predicted and painted in a box.
    """
    box, left = list(region), _MOST_AROUND
    faces = deque((axis, upper) for axis in axes for upper in (False, True))
    steps = dict.fromkeys(faces, 1)
    done: list[tuple[int, bool]] = []
    while faces and objects:
        axis, upper = face = faces.popleft()
        slab = _beyond(box, axis, upper, steps[face], size)
        # A layer of voxels is looked at on every side, however large the region is.
        if not volume(slab) or (left <= 0 and steps[face] > 1):
            continue
        left -= volume(slab)
        goes_on = False
        for predicted, painted in read(slab):
            overlaps.add(predicted, painted)
            goes_on = goes_on or _any_of(predicted, objects)
            goes_on = goes_on or _any_of(painted, overlaps.partners(objects))
        low, high = box[axis].start, box[axis].stop
        box[axis] = slice(min(low, slab[axis].start), max(high, slab[axis].stop))
        if goes_on:
            steps[face] *= 2
            faces.extend([face, *done] if left > 0 else [])
            done = []
        else:
            done.append(face)


def _beyond(box: Sequence[slice], axis: int, upper: bool, step: int, size: Sequence[int]) -> Box:
    """Return the layers that follow on one side of a box."""
    side = box[axis]
    beyond = slice(side.stop, min(side.stop + step, size[axis])) if upper else (
        slice(max(side.start - step, 0), side.start)
    )  # fmt: skip
    return (*box[:axis], beyond, *box[axis + 1 :])


def _any_of(numbers: Numbers, wanted: Collection[int]) -> bool:
    return bool(np.isin(numbers, np.fromiter(wanted, np.int64, len(wanted))).any())


def _counts(numbers: Numbers) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the values of an array in order, and how often each occurs."""
    if not numbers.size:
        return numbers, numbers
    low, high = int(numbers.min()), int(numbers.max())
    if high - low > max(numbers.size, 2**16):
        return np.unique(numbers, return_counts=True)
    counts = np.bincount(numbers - low)
    found = np.flatnonzero(counts)
    return found + low, counts[found]
