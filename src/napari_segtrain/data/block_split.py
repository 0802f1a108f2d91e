"""Cuts a single image into a training and a validation block with a gap between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset
from .records import Record, Region, Split
from .scan import label_blocks, read_masks

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
    foreground counting alike, that both blocks have foreground, and that the gap costs little.

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
    for axis, profile in enumerate(_profiles(dataset, record)):
        size = record.shape[axis]
        gap = math.ceil(min(patch_size[axis], size) / 2)
        cut = _best_cut(axis, profile, gap, train_split)
        if cut is not None:
            cuts.append(cut)
        cut = _best_cut(axis, profile[:, ::-1], gap, train_split)
        if cut is not None:
            cuts.append(_Cut(axis, (size - cut.train[1], size), (0, size - cut.val[0]), cut.score))
    if not cuts:
        return Split(train=(Region(record.id, (0,) * record.ndim, record.shape),))
    best = min(cut.score for cut in cuts)
    good = [cut for cut in cuts if cut.score <= best + ALIKE]
    cut = good[int(rng.integers(len(good)))]
    return Split(train=(_block(record, cut.axis, cut.train),), val=(_block(record, cut.axis, cut.val),))


def _best_cut(axis: int, profile: NDArray[np.float64], gap: int, train_split: float) -> _Cut | None:
    """Return the best cut with training at the low side, None when a side would hold nothing."""
    size = profile.shape[1]
    if size <= gap + 1 or profile[0].sum() <= 0:
        return None
    shares = profile / np.maximum(profile.sum(axis=1, keepdims=True), 1e-12)
    below = np.concatenate((np.zeros((2, 1)), np.cumsum(shares, axis=1)), axis=1)
    ends = np.arange(1, size - gap)  # training is [0, end), validation [end + gap, size)
    train, val = below[:, ends], below[:, -1:] - below[:, ends + gap]
    held = np.minimum(train, val) > 1e-9
    if not held[0].any():
        return None
    # Labelled voxels and foreground count alike; a side without foreground is a last resort.
    both = profile.any(axis=1)
    train_share, val_share = train[both].mean(axis=0), val[both].mean(axis=0)
    kept = np.maximum(train_share + val_share, 1e-12)
    scores = np.abs(train_share / kept - train_split) + 0.5 * (1.0 - kept)
    scores = np.where(held[0], scores + ~held[both].all(axis=0), np.inf)
    best = int(np.argmin(scores))
    end = int(ends[best])
    return _Cut(axis, (0, end), (end + gap, size), float(scores[best]))


def _profiles(dataset: Dataset, record: Record) -> list[NDArray[np.float64]]:
    """Return, for each axis, how much is labelled and how much is foreground at each coordinate.

    Returns
    -------
    list of ndarray, (2, size)
        Labelled voxels and foreground voxels; every target weighs the same.
    """
    totals = [np.zeros((2, size)) for size in record.shape]
    for target in record.labels:
        config = dataset.targets[target]
        mine = [np.zeros((2, size)) for size in record.shape]
        for block, mask in label_blocks(record, target, config, MOST_VOXELS // len(record.labels)):
            foreground, labelled = read_masks(block.labels, config)
            for row, kept in enumerate((labelled, foreground)):
                counted = kept if mask is None else kept & mask
                if not counted.any():
                    continue
                for axis, where in enumerate(block.box):
                    others = tuple(a for a in range(counted.ndim) if a != axis)
                    mine[axis][row, where] += counted.sum(axis=others) * block.per_line(axis)
        for total, lines in zip(totals, mine, strict=True):
            total += lines / np.maximum(lines.sum(axis=1, keepdims=True), 1.0)
    return totals


def _block(record: Record, axis: int, bounds: tuple[int, int]) -> Region:
    start, stop = [0] * record.ndim, list(record.shape)
    start[axis], stop[axis] = bounds
    return Region(record.id, tuple(start), tuple(stop))
