"""Cuts a single image into a training and a validation block with a gap between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .records import Record, Region, Split
from .scan import label_blocks, read_masks

if TYPE_CHECKING:
    from .dataset import Dataset

MOST_VOXELS = 2**28
"""Label voxels that are looked at to find a place to cut."""
ALIKE = 0.02
"""Cuts whose scores differ by less are drawn among."""


@dataclass(frozen=True)
class _Cut:
    """A cut across one axis: training on one side, validation on the other."""

    axis: int
    train: tuple[int, int]
    val: tuple[int, int]
    score: float


def split_by_blocks(
    dataset: Dataset,
    record: Record,
    train_split: float,
    patch_size: tuple[int, ...],
    rng: np.random.Generator,
) -> Split:
    """Cut one image across one axis into two blocks.

    Voxels of the gap, half a patch (or half the image, where that is smaller) wide, are in neither, so
    that no training patch reaches into a validation patch's surroundings. Axis, side and place
    are such that the training block has about `train_split` of what is labelled, labelled voxels and
    foreground counting alike, and the gap costs little of it.

    Parameters
    ----------
    dataset
        Says what the labels mean.
    record
        The image.
    train_split
        Share of what is labelled that is trained on.
    patch_size
        (z,) y, x.
    rng
        Draws among cuts that are about as good.

    Returns
    -------
    Split
        Without validation when no cut leaves something labelled on both sides.
    """
    cuts: list[_Cut] = []
    for axis, weight in enumerate(_profiles(dataset, record)):
        size = record.shape[axis]
        gap = math.ceil(min(patch_size[axis % len(patch_size)], size) / 2)
        cuts += _cuts(axis, weight, gap, train_split)
        cuts += [
            _Cut(axis, (size - c.train[1], size), (0, size - c.val[0]), c.score)
            for c in _cuts(axis, weight[::-1], gap, train_split)
        ]
    if not cuts:
        return Split(train=(Region(record.id, (0,) * record.ndim, record.shape),))
    best = min(cut.score for cut in cuts)
    good = [cut for cut in cuts if cut.score <= best + ALIKE]
    cut = good[int(rng.integers(len(good)))]
    return Split(train=(_block(record, cut.axis, cut.train),), val=(_block(record, cut.axis, cut.val),))


def _cuts(axis: int, weight: NDArray[np.float64], gap: int, train_split: float) -> list[_Cut]:
    """Return the best cut with training at the low side, none when a side would hold nothing."""
    size = len(weight)
    if size <= gap + 1 or weight.sum() <= 0:
        return []
    below = np.concatenate(([0.0], np.cumsum(weight / weight.sum())))
    ends = np.arange(1, size - gap)  # training is [0, end), validation [end + gap, size)
    train, val = below[ends], 1.0 - below[ends + gap]
    useful = (train > 1e-9) & (val > 1e-9)
    if not useful.any():
        return []
    share = train / np.maximum(train + val, 1e-12)
    scores = np.where(useful, np.abs(share - train_split) + 0.5 * (1.0 - train - val), np.inf)
    end = int(ends[np.argmin(scores)])
    return [_Cut(axis, (0, end), (end + gap, size), float(scores.min()))]


def _profiles(dataset: Dataset, record: Record) -> list[NDArray[np.float64]]:
    """Return, for each axis, how much of what is labelled lies at each coordinate; sums to a constant."""
    totals = [np.zeros(size) for size in record.shape]
    for target in record.labels:
        config = dataset.targets[target]
        labelled = [np.zeros(size) for size in record.shape]
        foreground = [np.zeros(size) for size in record.shape]
        for block, mask in label_blocks(record, target, config, MOST_VOXELS // len(record.labels)):
            masks = read_masks(block.labels, config)
            for kept, sums in zip(masks, (foreground, labelled), strict=True):
                counted = kept if mask is None else kept & mask
                if not counted.any():
                    continue
                for axis, where in enumerate(block.box):
                    others = tuple(a for a in range(counted.ndim) if a != axis)
                    sums[axis][where] += counted.sum(axis=others) * block.per_line(axis)
        for sums in (labelled, foreground):
            for total, line in zip(totals, sums, strict=True):
                total += line / max(line.sum(), 1.0)
    return totals


def _block(record: Record, axis: int, bounds: tuple[int, int]) -> Region:
    start, stop = [0] * record.ndim, list(record.shape)
    start[axis], stop[axis] = bounds
    return Region(record.id, tuple(start), tuple(stop))
