"""Splits data into training, validation and test parts that share no voxel and no neighbourhood."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..config import DataError, wrong_axes
from .block_split import split_by_blocks
from .dataset import Dataset
from .records import Record, Region, Split
from .split_file import read_split

STACK_GAP = 4
"""Most planes that are left out between the training and the validation planes of a stack."""


def make_split(
    dataset: Dataset, train_split: float = 0.8, seed: int = 0, patch_size: Sequence[int] | None = None
) -> Split:
    """Return which regions are trained on, validated on and tested on.

    A ``split.json`` of the data folder decides alone. Else whole images are drawn where several are
    labelled (whole stacks, where there are several). The planes of a single stack are cut into two runs
    with a gap, since neighbours look alike. A single image is cut into two blocks with a gap of at
    least half a patch (see `split_by_blocks`).

    Parameters
    ----------
    dataset
        Images without labels are not used.
    train_split
        Share of the images, of the planes or of the labelled voxels that is trained on.
    seed
        Decides which; the same seed gives the same split.
    patch_size
        Patch size, (z,) y, x; needed for a single image. None: a gap of half of 64 voxels, at most
        half the image.

    Returns
    -------
    Split
        `val` is empty when the labelled voxels of a single image lie too close together for a gap.

    Raises
    ------
    DataError
        When nothing is labelled, or the ``split.json`` is not valid; lists all its faults.
    """
    if dataset.split_file is not None:
        split, faults = read_split(dataset, dataset.split_file)
        if faults:
            raise DataError.listing(faults)
        return split
    if not 0 < train_split < 1:
        raise DataError(f"the training share is {train_split}, but must lie between 0 and 1, such as 0.8.")
    records = dataset.labelled_records()
    if not records:
        raise DataError(f"{dataset.origin}: no image has labels, so that there is nothing to train on.")
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.group or record.id, []).append(record)
    rng = np.random.default_rng(seed)
    if len(groups) > 1:
        return _by_groups(list(groups.values()), train_split, rng)
    if len(records) > 1:
        return _by_planes(records, train_split, rng)
    size = tuple(patch_size) if patch_size is not None else (64,) * records[0].ndim
    fault = wrong_axes("tr_config.patch_size", size, records[0].ndim)
    if fault:
        raise DataError(fault)
    return split_by_blocks(dataset, records[0], train_split, size, rng)


def whole(record: Record) -> Region:
    """Return all of a record as a region."""
    return Region(record.id, (0,) * record.ndim, record.shape)


def _by_groups(groups: Sequence[Sequence[Record]], train_split: float, rng: np.random.Generator) -> Split:
    count = min(max(1, round(train_split * len(groups))), len(groups) - 1)
    chosen = set(rng.permutation(len(groups))[:count].tolist())
    parts: dict[bool, list[Region]] = {True: [], False: []}
    for place, group in enumerate(groups):
        parts[place in chosen].extend(whole(record) for record in group)
    return Split(train=tuple(parts[True]), val=tuple(parts[False]))


def _by_planes(records: Sequence[Record], train_split: float, rng: np.random.Generator) -> Split:
    """Cut one stack into a run of planes to train on and one to validate on, at a drawn end."""
    count = len(records)
    gap = min(STACK_GAP, (count - 2) // 4)
    validated = min(max(1, math.ceil((1 - train_split) * (count - gap))), count - gap - 1)
    planes = list(records) if rng.random() < 0.5 else list(records)[::-1]
    train, val = planes[: count - gap - validated], planes[count - validated :]
    order = {record.id: place for place, record in enumerate(records)}
    return Split(
        train=tuple(whole(r) for r in sorted(train, key=lambda r: order[r.id])),
        val=tuple(whole(r) for r in sorted(val, key=lambda r: order[r.id])),
    )
