"""From doubt voxel by voxel to the few regions of an image where labels would help most."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .layout import BlockLayout
from .outputs import Output
from .sinks.base import Job, default_chunks
from .tiling import Slices
from .uncertainty import Measure, Reason

_CELLS = 4
"""Cells along each edge of a region: regions are found to within a quarter of their size."""
_DECIMALS = 6
"""Of scores: what is less than that is rounding, and depends on how blocks fell."""

_BESIDE = 0.5
"""What the doubt of a region counts beside one that is taken."""

OpenVoxels = Callable[[Slices, str], npt.NDArray[np.bool_]]
"""Returns which voxels of a box may be proposed for a target: `(*box)`, True where nothing is labelled."""


@dataclass(frozen=True)
class Doubtful:
    """A region that is worth labelling.

    Attributes
    ----------
    record
        The image.
    target
        The target that is doubted most there.
    start, stop
        First voxel and the one after the last, a number a spatial axis.
    score
        Mean doubt, 0 … 1, of its voxels; those that have labels count as 0.
    reason
        The measure that exceeds its mean over all images most.
    doubts
        Each measure's mean by reason, as `score`.
    """

    record: str
    target: str
    start: tuple[int, ...]
    stop: tuple[int, ...]
    score: float
    reason: Reason
    doubts: Mapping[Reason, float]


@dataclass(frozen=True)
class Cells:
    """Sums of an image's doubt over the cells of a grid: what is kept of it, however large it is.

    Attributes
    ----------
    record
        The image.
    box
        The part of it that was looked at.
    cell
        Size of a cell in voxels; the last one along an axis may be smaller.
    window
        Size of a region in cells.
    measures
        What was measured.
    sums
        ``(len(measures), *cells)`` float64, over the voxels that may be proposed.
    """

    record: str
    box: Slices
    cell: tuple[int, ...]
    window: tuple[int, ...]
    measures: tuple[Measure, ...]
    sums: npt.NDArray[np.float64]

    def bounds(self, index: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return start and stop, in voxels, of the region whose first cell is at `index`."""
        sides = zip(index, self.box, self.cell, strict=True)
        start = tuple(part.start + number * cell for number, part, cell in sides)
        ends = zip(start, self.window, self.cell, self.box, strict=True)
        return start, tuple(min(first + count * cell, part.stop) for first, count, cell, part in ends)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of the box in voxels."""
        return tuple(part.stop - part.start for part in self.box)


class CellSink:
    """Takes blocks of doubt and keeps their sums over cells; see `Sink`.

    Parameters
    ----------
    record
        Name of the image.
    box
        The part of it that is predicted.
    size
        Size of a region in voxels; a box that is smaller is one region along that axis.
    measures
        What the channels are.
    may_propose
        Which voxels count.
    """

    def __init__(
        self,
        record: str,
        box: Slices,
        size: Sequence[int],
        measures: Sequence[Measure],
        may_propose: OpenVoxels,
    ) -> None:
        shape = tuple(part.stop - part.start for part in box)
        edges = tuple(min(edge, extent) for edge, extent in zip(size, shape, strict=True))
        cell = tuple(-(-edge // _CELLS) for edge in edges)
        window = tuple(-(-edge // step) for edge, step in zip(edges, cell, strict=True))
        counts = tuple(-(-extent // step) for extent, step in zip(shape, cell, strict=True))
        sums = np.zeros((len(measures), *counts))
        self.cells = Cells(record, box, cell, window, tuple(measures), sums)
        self.title = "the regions to label"
        self.scratch: Path | None = None
        self._may_propose = may_propose

    @property
    def complete(self) -> bool:
        """Never: nothing outlives the process."""
        return False

    def chunks(self, size: tuple[int, ...], ndim: int) -> tuple[int, ...]:
        """See `Sink.chunks`."""
        return default_chunks(size, ndim)

    def open(self, job: Job, outputs: Sequence[Output], block: tuple[int, ...]) -> tuple[int, ...]:
        """See `Sink.open`."""
        return block

    def pending(self, layout: BlockLayout) -> npt.NDArray[np.bool_]:
        """All blocks."""
        return np.ones(layout.counts, np.bool_)

    def write(self, where: Slices, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add a block, `(measures, *block)`, to the cells that it touches; `where` counts from the box."""
        [values] = arrays.values()
        targets = {measure.target for measure in self.cells.measures}
        offsets = zip(where, self.cells.box, strict=True)
        inside = tuple(slice(part.start + of.start, part.stop + of.start) for part, of in offsets)
        may = {target: self._may_propose(inside, target) for target in targets}
        for measure, own, sums in zip(self.cells.measures, values, self.cells.sums, strict=True):
            found = np.where(may[measure.target], own, np.float32(0)).astype(np.float64)
            places = []
            for axis, (part, step) in enumerate(zip(where, self.cells.cell, strict=True)):
                first, last = part.start // step, -(-part.stop // step)
                edges = np.maximum(np.arange(first, last) * step - part.start, 0)
                found = np.add.reduceat(found, edges, axis=axis)
                places.append(slice(first, last))
            sums[tuple(places)] += found

    def read(self, name: str, where: Slices) -> npt.NDArray[Any]:
        """Nothing of a single voxel is kept."""
        raise LookupError(name)

    def replace(self, name: str, where: Slices, values: npt.NDArray[Any]) -> None:
        """Nothing is made after predicting."""
        raise LookupError(name)

    def close(self, completed: bool) -> None:
        """Keep the sums."""


def rank_regions(found: Sequence[Cells], number: int, by: Reason | None = None) -> list[Doubtful]:
    """Return the regions that are worth labelling, best first; no two of them overlap.

    Parameters
    ----------
    found
        The images.
    number
        How many at most.
    by
        The one reason that counts; None: the mean of all that are known of a target.

    Notes
    -----
    In an image the most doubtful region comes first, and all that overlap it are dropped (greedy non-maximum
    suppression); those beside it count half, since it will teach much of what they would.

    Images take turns as parties do for seats (D'Hondt's method): of the images' next regions the one with the
    highest score over ``1 + regions that its image has already`` is taken. An image that is doubted twice as
    much as another one gets twice as many regions, but not all of them: labels of an image that the network
    knows nothing of teach it little about the others. Scores are told as they were measured, so that they
    do not fall from region to region. Of equals the first image, and in it the first in raster order, is
    taken. Regions without doubt, such as those that are labelled throughout, are never returned.
    """
    usual = _usual(found)
    waiting = [_ranked(cells, by, usual) for cells in found]
    heads = [next(regions, None) for regions in waiting]
    taken = [0] * len(found)
    ranked: list[Doubtful] = []
    while len(ranked) < number and any(heads):
        claims = [0.0 if head is None else head[0] / (1 + n) for head, n in zip(heads, taken, strict=True)]
        image = claims.index(max(claims))
        head = heads[image]
        if head is None:
            break
        ranked.append(head[1])
        taken[image] += 1
        heads[image] = next(waiting[image], None)
    return ranked


def _ranked(
    cells: Cells, by: Reason | None, usual: Mapping[Measure, float]
) -> Iterator[tuple[float, Doubtful]]:
    """Yield the regions of an image, best first, with what they count."""
    volume = math.prod(min(w * c, n) for w, c, n in zip(cells.window, cells.cell, cells.shape, strict=True))
    means = np.stack([window_sums(sums, cells.window) for sums in cells.sums]) / volume
    targets = list(dict.fromkeys(measure.target for measure in cells.measures))
    scores = np.stack([means[_chosen(cells.measures, target, by)].mean(axis=0) for target in targets])
    doubt = np.round(scores.max(axis=0), _DECIMALS)
    best = doubt.copy()
    while (worth := float(best.max())) > 0.0:
        place = int(best.argmax())
        target = targets[int(scores.reshape(len(targets), -1)[:, place].argmax())]
        here = zip(cells.measures, means.reshape(len(means), -1)[:, place].tolist(), strict=True)
        own = {measure: value for measure, value in here if measure.target == target}
        reason = by or max(own, key=lambda measure: own[measure] / max(usual[measure], 1e-12)).reason
        index = tuple(int(i) for i in np.unravel_index(place, best.shape))
        start, stop = cells.bounds(index)
        doubts = {measure.reason: value for measure, value in own.items()}
        score = float(doubt.reshape(-1)[place])
        yield worth, Doubtful(cells.record, target, start, stop, score, reason, doubts)
        best[_around(index, cells.window, 2)] *= _BESIDE
        best[_around(index, cells.window, 1)] = 0.0


def _around(index: Sequence[int], window: Sequence[int], windows: int) -> tuple[slice, ...]:
    """Return the regions that begin less than so many windows away."""
    around = zip(index, window, strict=True)
    return tuple(slice(max(0, i - windows * w + 1), i + windows * w) for i, w in around)


def _chosen(measures: Sequence[Measure], target: str, by: Reason | None) -> list[int]:
    """Return the measures that make up a target's score: the one asked for, where it is known."""
    own = [n for n, measure in enumerate(measures) if measure.target == target]
    asked = [n for n in own if measures[n].reason == by]
    return asked or own


def _usual(found: Sequence[Cells]) -> dict[Measure, float]:
    """Return the mean of each measure over all images."""
    totals: dict[Measure, float] = {}
    for cells in found:
        for measure, sums in zip(cells.measures, cells.sums, strict=True):
            totals[measure] = totals.get(measure, 0.0) + float(sums.sum())
    voxels = sum(math.prod(cells.shape) for cells in found)
    return {measure: total / max(voxels, 1) for measure, total in totals.items()}


def window_sums(values: npt.NDArray[np.float64], window: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the sum over the window that begins at each position and lies inside, `size - window + 1`."""
    for axis, width in enumerate(window):
        padding = [(1, 0) if other == axis else (0, 0) for other in range(values.ndim)]
        running = np.cumsum(np.pad(values, padding), axis=axis)
        upper = np.take(running, range(width, running.shape[axis]), axis=axis)
        values = np.maximum(upper - np.take(running, range(running.shape[axis] - width), axis=axis), 0.0)
    return values
