"""Taking a prediction over into labels, as one step that napari's own undo takes back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...config import DataError
from . import regions
from .axes import level_data
from .boxes import Box, overlap, volume, within
from .covered import check_finished, covered_of
from .edits import LayerEdits
from .largest_label import LargestLabel, Look
from .matched_objects import Overlaps, follow_objects
from .regions import Region
from .results import OURS

_AT_ONCE = 2**20
"""Voxels that are computed together."""
MOST_VOXELS = 2**24
"""Voxels of the regions that are written in one step: the viewer waits for it, a tenth of a second."""


@dataclass(frozen=True)
class Values:
    """What a predicted value is written as.

    Attributes
    ----------
    table
        Label by predicted value; what is not named is not written. None writes every value as it is,
        background too.
    as_objects
        Every predicted number but 0 is an object. It goes on with the painted object with which it shares
        more than half of the smaller of the two, of several the one with which it shares most; any other
        becomes a new object, numbered after those that are there.
    unlabelled
        The label that means unlabelled: only there is anything written, unless `overwrite`.
    overwrite
        Write over labels too. Then no two predicted objects go on with the same painted one.
    background
        A label that is no object though it is painted.
    """

    table: Mapping[int, int] | None = None
    as_objects: bool = False
    unlabelled: int = 0
    overwrite: bool = False
    background: int = 0


class _Step(NamedTuple):
    """An item of a Labels layer's history: a box with what it held and what it holds now."""

    indices: Box
    before: npt.NDArray[Any]
    after: npt.NDArray[Any]

    @property
    def slice_key(self) -> Box:
        """The box, as napari's own items name it."""
        return self.indices


class _Looked(NamedTuple):
    """A region with what is predicted in it, where that is to be written, and what the labels hold."""

    region: Region
    proposed: npt.NDArray[np.int64]
    chosen: npt.NDArray[np.bool_]
    before: npt.NDArray[Any]


class Acceptance:
    """One prediction into one Labels layer; made and applied on the main thread, computed by a worker.

    Parameters
    ----------
    viewer
        The napari viewer.
    prediction
        A Labels layer with predicted values, of any place and size.
    labels
        The layer that is written to.
    where
        Regions of `labels`.
    values
        What is written.
    largest
        Knows the largest label of `labels`; without it all of them are read for new objects.

    Raises
    ------
    DataError
        When one of the layers cannot serve, or the regions are too large for one step.

    Attributes
    ----------
    in_part
        Whether some of the regions was not predicted, which stays as it was; known when it is computed.
    stopped
        Set by whoever wants it to end early.
    share
        How much of the labels was read to find a free number; None while that is not what it does.
    """

    def __init__(
        self,
        viewer: Any,
        prediction: Any,
        labels: Any,
        where: Sequence[Region],
        values: Values,
        largest: LargestLabel | None = None,
    ) -> None:
        _check(prediction, labels, where)
        self._viewer, self._prediction, self._labels = viewer, prediction, labels
        self._source, self._covered = level_data(prediction, 0), covered_of(prediction)
        self._ours, self.in_part = prediction.metadata.get(OURS, {}), False
        self._carry = regions.mapping(viewer, labels, prediction)
        self._where, self._values = list(where), values
        self._data = labels.data
        self._largest = largest
        free = values.unlabelled
        self._look = Look(self._data, free, None, (), 0) if largest is None else largest.look(free)
        self._found: int | None = None
        self.stopped = False
        self.share: float | None = None
        self._steps: list[_Step] = []
        self._count, self._limits = 0, (0, 0)
        self._edited = False
        self._edits = LayerEdits(viewer, labels, self._on_edit, self._on_edit)

    def _on_edit(self, *_: Any) -> None:
        self._edited = True

    @property
    def stale(self) -> bool:
        """Whether the labels changed since it was made, so that a worker may not have read what is there."""
        # napari tells of a stroke when it ends, and keeps its parts back until then.
        return self._edited or bool(getattr(self._labels, "_block_history", False))

    def compute(self) -> bool:
        """Look up what is predicted in the regions; return whether anything is there to write."""
        self._steps, self._count, self._limits = [], 0, (0, 0)
        check_finished(self._ours)
        looked = [self._look_up(region) for region in self._where]
        found = any(one.chosen.any() for one in looked)
        if self._values.as_objects:
            self._number(looked)
        if self.stopped:
            return False
        for one in looked:
            self._compare(*one)
        return found

    def _compare(
        self,
        region: Region,
        proposed: npt.NDArray[np.int64],
        chosen: npt.NDArray[np.bool_],
        before: npt.NDArray[Any],
    ) -> None:
        """Remember what a region holds and what it is to hold."""
        for step in self._steps:
            both = overlap(step.indices, region.box)
            if both is not None:
                before[within(both, region.box)] = step.after[within(both, step.indices)]
        wanted = self._wanted(chosen, before)
        if wanted.any():
            new = proposed[wanted]
            self._limits = min(self._limits[0], int(new.min())), max(self._limits[1], int(new.max()))
            after = before.copy()
            after[wanted] = new
            self._count += int(np.count_nonzero(before != after))
            self._steps.append(_Step(region.box, before, after))

    def _wanted(self, chosen: npt.NDArray[np.bool_], before: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        return chosen if self._values.overwrite else chosen & (before == self._values.unlabelled)

    def _number(self, looked: Sequence[_Looked]) -> None:
        """Turn predicted numbers into those of the objects that they go on with, or into new ones."""
        overlaps, objects = Overlaps(), set[int]()
        # Where the prediction is the same all along an axis no object ends, and none is followed.
        axes = [axis for axis in range(len(self._data.shape)) if self._carry.matrix[:, axis].any()]
        for one in looked:
            written = one.proposed[self._wanted(one.chosen, one.before)]
            here = {int(number) for number in np.unique(written)}
            shared = Overlaps()
            for piece in _pieces(one.chosen.shape):
                shared.add(one.proposed[piece], self._painted(one.before[piece]))
            follow_objects(shared, one.region.box, self._data.shape, axes, here, self._read_both)
            overlaps.merge(shared)
            objects |= here
        numbers = overlaps.matches(once=self._values.overwrite)
        new = sorted(objects - set(numbers))
        numbers.update(zip(new, self._free_numbers(len(new)), strict=True))
        known = np.array(sorted(objects), np.int64)
        table = np.array([numbers[number] for number in known.tolist()], np.int64)
        for one in looked:
            one.chosen[...] &= np.isin(one.proposed, known)
            one.proposed[one.chosen] = table[np.searchsorted(known, one.proposed[one.chosen])]

    def _free_numbers(self, count: int) -> list[int]:
        """Return so many numbers that no label has."""
        if not count:
            return []
        found = self._look.read(self._advance)
        most = np.iinfo(self._data.dtype).max
        if found is not None and self._look.known is not None and found + count > most:
            found = self._look.anew().read(self._advance)  # of what was taken back, numbers are free again
        self._found, self.share = found, None
        first = (found or 0) + 1
        taken = (self._values.unlabelled, self._values.background)
        return [number for number in range(first, first + count + 2) if number not in taken][:count]

    def _advance(self, share: float) -> bool:
        self.share = share
        return not self.stopped

    def _read_both(self, box: Box) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """Yield, piece by piece, the numbers of predicted and of painted objects in a box; 0 is none."""
        for piece in _pieces([side.stop - side.start for side in box]):
            if self.stopped:
                return
            part = tuple(
                slice(side.start + inner.start, side.start + inner.stop)
                for side, inner in zip(box, piece, strict=True)
            )
            seen, inside = self._sample(
                [side.start for side in part], [side.stop - side.start for side in part]
            )
            yield np.where(inside, seen, 0), self._painted(self._data[part])

    def _painted(self, labels: Any) -> npt.NDArray[np.int64]:
        """Return the numbers of painted objects; 0 is none."""
        painted = np.array(labels, np.int64)
        painted[(painted == self._values.unlabelled) | (painted == self._values.background)] = 0
        return painted

    def again(self) -> Acceptance:
        """Return the same for what the layers hold now.

        Raises
        ------
        DataError
            When one of the layers cannot serve any more.
        """
        self.close()
        return Acceptance(
            self._viewer, self._prediction, self._labels, self._where, self._values, self._largest
        )

    def close(self) -> None:
        """Follow the edits of the layer no more."""
        self._edits.close()
        if self._largest is not None and self._found is not None:
            self._largest.keep(self._look, self._found)
        self._found = None

    def apply(self) -> int:
        """Write, as one step of the layer's history, and return how many voxels changed.

        Raises
        ------
        DataError
            When the layer is gone or has another shape now, its type is too small, or it cannot be written.
        """
        self.close()
        if self._labels not in self._viewer.layers:
            raise DataError("the Labels layer was deleted meanwhile; choose another one")
        _check_shape(self._labels, self._where)
        _check_type(self._labels, *self._limits)
        written: list[_Step] = []
        try:
            for step in self._steps:
                self._labels.data[step.indices] = step.after
                written.append(step)
        except (OSError, ValueError, TypeError, NotImplementedError) as error:
            for step in reversed(written):
                self._labels.data[step.indices] = step.before
            raise DataError(
                f"layer {self._labels.name!r} cannot be written ({error}); save it to where you may write, "
                "or choose another layer"
            ) from error
        if written:
            # Who watches the layer finds the reason of the refresh in its history, as with an undo.
            self._labels._redo_history.clear()
            self._labels._undo_history.append(written)
            self._labels.refresh()
            self._labels.events.paint(value=written)
        return self._count

    def _look_up(self, region: Region) -> _Looked:
        """Return what to write in a region, and where."""
        size = tuple(side.stop - side.start for side in region.box)
        proposed, chosen = np.zeros(size, np.int64), np.zeros(size, np.bool_)
        reached = chosen.copy()
        for piece in _pieces(size):
            start = [side.start + part.start for side, part in zip(region.box, piece, strict=True)]
            seen, inside = self._sample(start, [part.stop - part.start for part in piece])
            proposed[piece], known = _translated(seen, self._values)
            reached[piece], chosen[piece] = inside, inside & known
        mask = region.mask()
        if mask is not None:
            chosen &= mask
        self.in_part |= not (reached if mask is None else reached[mask]).all()
        return _Looked(region, proposed, chosen, np.array(self._data[region.box]))

    def _sample(
        self, start: Sequence[int], size: Sequence[int]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return the nearest predicted values of a box of labels, and where there are any."""
        grid = np.indices(tuple(size), sparse=True)
        places, inside = [], np.ones(tuple(size), np.bool_)
        for row, shift, extent in zip(
            self._carry.matrix, self._carry.offset, self._source.shape, strict=True
        ):
            place = np.full(tuple(size), shift)
            for step, axis, first in zip(row, grid, start, strict=True):
                if step:
                    place += step * (axis + first)
            # The half between two voxels belongs to the upper one; a hair is what rounding may be off.
            nearest = np.floor(place + 0.5 + 1e-6).astype(np.intp)
            inside &= (nearest >= 0) & (nearest < extent)
            places.append(nearest)
        seen = np.zeros(tuple(size), np.int64)
        if inside.any():
            low = [int(place[inside].min()) for place in places]
            high = [int(place[inside].max()) + 1 for place in places]
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            # First what is predicted, then the values: a preview may write one more block between the two.
            covered = None if self._covered is None else self._covered.read(box)
            block = np.asarray(self._source[box])
            index = tuple(place[inside] - a for place, a in zip(places, low, strict=True))
            seen[inside] = block[index]
            if covered is not None:
                inside[inside] = covered[index]
        return seen, inside


def _check(prediction: Any, labels: Any, where: Sequence[Region]) -> None:
    if prediction is labels:
        raise DataError(
            f"{labels.name!r} cannot be accepted into itself; choose the Labels layer you paint on"
        )
    if labels.multiscale:
        raise DataError(
            f"layer {labels.name!r} has resolution levels, on which napari cannot paint; choose one without"
        )
    if hasattr(labels.data, "dask") or not hasattr(labels.data, "__setitem__"):
        raise DataError(
            f"the array of {labels.name!r} cannot be painted on; save the layer and open it again, or choose "
            "another one"
        )
    if labels.ndim < prediction.ndim and any(n != 1 for n in prediction.data.shape[: -labels.ndim]):
        raise DataError(
            f"{prediction.name!r} has {prediction.ndim} axes and {labels.name!r} has {labels.ndim}; choose "
            "labels with as many axes"
        )
    _check_shape(labels, where)
    total = sum(volume(region.box) for region in where)
    if total > MOST_VOXELS:
        raise DataError(
            f"{total / 1e6:.1f} million voxels are too many for one step, which takes at most "
            f"{MOST_VOXELS / 1e6:.1f}; zoom in, show a slice, or draw a shape"
        )


def _check_shape(labels: Any, where: Sequence[Region]) -> None:
    size = labels.data.shape
    if any(side.stop > n for region in where for side, n in zip(region.box, size, strict=True)):
        raise DataError(f"layer {labels.name!r} has another shape now; accept again")


def _check_type(labels: Any, smallest: int, largest: int) -> None:
    limits = np.iinfo(labels.data.dtype)
    if largest > limits.max or smallest < limits.min:
        raise DataError(
            f"layer {labels.name!r} of type {labels.data.dtype} has no room for the label {largest}; "
            "convert it to a larger type first (right-click on the layer, Convert data type)"
        )


def _translated(
    seen: npt.NDArray[np.int64], values: Values
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the label of every predicted value, and where there is one to write; of objects the value."""
    if values.as_objects:
        return seen, seen > 0
    if values.table is None:
        return seen, np.ones(seen.shape, np.bool_)
    labels, known = np.zeros_like(seen), np.zeros(seen.shape, np.bool_)
    for predicted, label in values.table.items():
        same = seen == predicted
        labels[same] = label
        known |= same
    return labels, known


def _pieces(shape: Sequence[int]) -> list[Box]:
    """Cut a box into slabs that are computed in one go."""
    rows = max(1, _AT_ONCE // max(1, math.prod(shape[1:])))
    if rows == 1 and len(shape) > 1 and math.prod(shape[1:]) > _AT_ONCE:
        return [
            (slice(row, row + 1), *rest)
            for row, rest in itertools.product(range(shape[0]), _pieces(shape[1:]))
        ]
    rest = [slice(0, size) for size in shape[1:]]
    return [(slice(a, min(a + rows, shape[0])), *rest) for a in range(0, shape[0], rows)]
