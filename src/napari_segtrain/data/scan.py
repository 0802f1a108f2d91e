"""Looks at labels and images block by block, in bounded memory, for facts and faults."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import TargetConfig
from ..targets import label_masks
from .blocks import iter_blocks
from .records import Record
from .sources.base import Regions, Source, full_region

BLOCK_VOXELS = 2**21
"""Voxels that are in memory at a time."""
MOST_LABEL_VOXELS = 2**30
"""Label voxels of one target that are looked at, over all records; of more, evenly spread blocks."""
MOST_IMAGE_VOXELS = 2**27
"""Image voxels that are looked at, over all records."""
MOST_VALUES = 256
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class LabelScan:
    """What the labels of one target on one record look like.

    Attributes
    ----------
    integer
        Whether all values are whole numbers.
    finite
        Whether no value is NaN or infinite.
    values
        The smallest distinct values, at most `MOST_VALUES`, sorted; only of whole numbers.
    minimum, maximum
        Over the finite values; 0 when there is none.
    labelled, foreground
        Voxels that count, and those of them that are not background.
    voxels
        Voxels that were looked at.
    channels
        Channels of the label array.
    counts
        Pairs of a value that counts and its voxels, of whole numbers; at most `MOST_VALUES`.
    runs
        Along each axis, (z,) y, x, into how many pieces the foreground is cut by other values: foreground
        divided by them is the mean length of what is painted. A border between two blocks counts as a cut.
        Empty where labels have several channels.
    """

    integer: bool = True
    finite: bool = True
    values: tuple[int, ...] = ()
    minimum: float = 0.0
    maximum: float = 0.0
    labelled: int = 0
    foreground: int = 0
    voxels: int = 0
    channels: int = 1
    counts: tuple[tuple[int, int], ...] = ()
    runs: tuple[int, ...] = ()


@dataclass(frozen=True)
class ImageScan:
    """What the voxels of one image look like.

    Attributes
    ----------
    finite
        Whether no voxel is NaN, infinite, or infinite as a 32-bit number.
    minimum, maximum
        Over the finite voxels, a number a channel.
    """

    finite: bool
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]


@dataclass(frozen=True)
class LabelBlock:
    """Labels of a box, (C, *spatial); a block of equal voxels is stored as one voxel, `repeats` times."""

    box: Regions
    labels: NDArray[Any]
    repeats: int = 1

    def per_line(self, axis: int) -> float:
        """Return how many voxels one stored voxel stands for at each coordinate of an axis."""
        return self.repeats / (self.box[axis].stop - self.box[axis].start) if self.repeats > 1 else 1.0


def scan_labels(record: Record, target: str, config: TargetConfig, *, shares: int = 1) -> LabelScan:
    """Look at the labels of one target on one record.

    Parameters
    ----------
    record
        Has labels of `target`.
    target
        Name of the target.
    config
        Says what is unlabelled and what is foreground.
    shares
        Number of scans that share the limit `MOST_LABEL_VOXELS`.

    Raises
    ------
    DataError
        When labels or mask cannot be read.
    """
    source = record.labels[target]
    total = _Totals()
    for block, mask in label_blocks(record, target, config, MOST_LABEL_VOXELS // shares):
        total.add(block, mask, config)
    values = tuple(sorted(total.values)[:MOST_VALUES]) if total.integer else ()
    return LabelScan(
        integer=total.integer,
        finite=total.finite,
        values=values,
        minimum=0.0 if math.isinf(total.minimum) else total.minimum,
        maximum=0.0 if math.isinf(total.maximum) else total.maximum,
        labelled=total.labelled,
        foreground=total.foreground,
        voxels=total.voxels,
        channels=source.channels,
        counts=tuple(sorted(total.counts.items())[:MOST_VALUES]) if total.integer else (),
        runs=tuple(total.runs),
    )


def label_blocks(
    record: Record, target: str, config: TargetConfig, most_voxels: int
) -> Iterator[tuple[LabelBlock, NDArray[np.bool_] | None]]:
    """Yield the labels of a record with the mask of each block, None where the labels count everywhere.

    What a chunked store never wrote is not read where that means unlabelled. When more than `most_voxels`
    are there, evenly spread blocks are read.

    Raises
    ------
    DataError
        When labels or mask cannot be read.
    """
    source, mask = record.labels[target], record.masks.get(target)
    for box in _boxes(source, most_voxels, sparse=config.unlabelled == 0):
        labels = source.read(box)
        counts = None if mask is None else np.asarray(mask.read(box)[0] != 0)
        if counts is None and labels.dtype.kind in "biu" and not labels.any():
            # Most of a sparsely painted volume is empty: one voxel tells all about the block.
            single = labels[(slice(None), *(slice(0, 1) for _ in box))]
            yield LabelBlock(box, single, math.prod(labels.shape[1:])), None
        else:
            yield LabelBlock(box, labels), counts


def scan_image(source: Source, *, shares: int = 1) -> ImageScan:
    """Look at the voxels of an image; of a large one at evenly spread blocks.

    Parameters
    ----------
    source
        The image.
    shares
        Number of scans that share the limit `MOST_IMAGE_VOXELS`.

    Raises
    ------
    DataError
        When the image cannot be read.
    """
    finite = True
    low = np.full(source.channels, np.inf)
    high = np.full(source.channels, -np.inf)
    for box in _boxes(source, MOST_IMAGE_VOXELS // shares):
        block = source.read(box).reshape(source.channels, -1)
        if block.dtype.kind == "f":
            good = np.isfinite(block)
            if block.dtype.itemsize > 4:
                # The network computes in 32 bits, in which larger numbers are infinite.
                good &= np.abs(block) <= _LARGEST
            if not good.all():
                finite = False
                block = np.where(good, block, np.nan)
                if not good.any(axis=1).all():
                    continue
                low = np.minimum(low, np.nanmin(block, axis=1))
                high = np.maximum(high, np.nanmax(block, axis=1))
                continue
        low = np.minimum(low, block.min(axis=1))
        high = np.maximum(high, block.max(axis=1))
    return ImageScan(finite, tuple(low.tolist()), tuple(high.tolist()))


def _boxes(source: Source, most_voxels: int, *, sparse: bool = False) -> list[Regions]:
    """Return the boxes to read, evenly thinned out to `most_voxels`; if `sparse`, the written ones only."""
    ask = getattr(source, "written_boxes", None)
    written: list[Regions] | None = ask() if sparse and callable(ask) else None
    if written is None:
        written = [full_region(source.shape)]
    boxes: list[Regions] = []
    for box in written:
        starts, stops = [s.start for s in box], [s.stop for s in box]
        boxes += iter_blocks(starts, stops, source.chunks, BLOCK_VOXELS)
    total = sum(math.prod(s.stop - s.start for s in box) for box in boxes)
    if total > most_voxels:
        count = max(1, int(len(boxes) * most_voxels / total))
        boxes = [boxes[i * len(boxes) // count] for i in range(count)]
    return boxes


class _Totals:
    """Adds up what blocks of labels hold."""

    def __init__(self) -> None:
        self.integer = self.finite = True
        self.minimum, self.maximum = math.inf, -math.inf
        self.labelled = self.foreground = self.voxels = 0
        self.values: set[int] = set()
        self.counts: dict[int, int] = {}
        self.runs: list[int] = []

    def add(self, block: LabelBlock, mask: NDArray[np.bool_] | None, config: TargetConfig) -> None:
        labels = block.labels
        self.voxels += math.prod(labels.shape[1:]) * block.repeats
        foreground, labelled = read_masks(labels, config)
        if mask is not None:
            foreground, labelled = foreground & mask, labelled & mask
        self.labelled += int(np.count_nonzero(labelled)) * block.repeats
        self.foreground += int(np.count_nonzero(foreground)) * block.repeats
        values = labels if mask is None else labels[:, mask]
        if values.dtype.kind == "f":
            good = np.isfinite(values)
            self.finite &= bool(good.all())
            values = values[good]
        if not values.size:
            return
        self.minimum = min(self.minimum, float(values.min()))
        self.maximum = max(self.maximum, float(values.max()))
        if self.integer:
            self._collect(values.reshape(-1), block.repeats)
        if labels.shape[0] == 1:
            self._cut(labels[0], foreground)

    def _cut(self, labels: NDArray[Any], foreground: NDArray[np.bool_]) -> None:
        """Count along each axis the voxels at which something painted begins."""
        self.runs = self.runs or [0] * labels.ndim
        if not foreground.any():
            return
        for axis in range(labels.ndim):
            here, there = np.moveaxis(labels, axis, 0), np.moveaxis(foreground, axis, 0)
            begins = there[1:] & ((here[1:] != here[:-1]) | ~there[:-1])
            self.runs[axis] += int(np.count_nonzero(there[0])) + int(np.count_nonzero(begins))

    def _collect(self, flat: NDArray[Any], repeats: int) -> None:
        """Add distinct values; labels come in runs, so that only the ends of runs are sorted."""
        starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
        distinct, place = np.unique(flat[starts], return_inverse=True)
        if distinct.dtype.kind == "f" and bool((distinct != np.rint(distinct)).any()):
            self.integer = False
            return
        self.values |= {int(v) for v in distinct[: MOST_VALUES + 1]}
        lengths = np.bincount(place.reshape(-1), np.diff(starts, append=len(flat)))[: MOST_VALUES + 1]
        for value, length in zip(distinct.tolist(), lengths.tolist(), strict=False):
            if int(value) in self.values:
                self.counts[int(value)] = self.counts.get(int(value), 0) + int(length) * repeats
        if len(self.values) > 4 * MOST_VALUES:
            self.values = set(sorted(self.values)[:MOST_VALUES])
            self.counts = {value: n for value, n in self.counts.items() if value in self.values}


def read_masks(labels: NDArray[Any], config: TargetConfig) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return foreground and labelled, (*spatial), of labels as a source gives them, (C, *spatial)."""
    ndim = labels.ndim - 1
    measured = config.kind == "regression" or labels.shape[0] > 1
    if measured and config.kind != "regression":
        config = config.replace(kind="regression", values=None)
    return label_masks(labels if measured else labels[0], config, ndim=ndim)
