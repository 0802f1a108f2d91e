"""Says in words what a split uses which image, or which part of it, for."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .dataset import Dataset
from .naming import first_names
from .records import PARTS, Part, Record, Region, Split

NAMES: dict[Part, str] = {"train": "train", "val": "validation", "test": "test"}


def describe_split(dataset: Dataset, split: Split) -> tuple[str, ...]:
    """Return a line for each part of a split, and one for what no part uses.

    Parameters
    ----------
    dataset
        Has the images of the split.
    split
        As `make_split` returns it.

    Returns
    -------
    tuple of str
        Such as ``"train: 2 images: a, b"``, ``"train: 8 of 12 planes: stack[0] to stack[7]"`` or ``"train: 1
        block: a [0:40, 0:64]"``. The test part has a line only where there is one.
    """
    lines = []
    for part in PARTS:
        regions = split.part(part)
        if regions or part != "test":
            lines.append(f"{NAMES[part]}: {_part(dataset, regions)}")
    return (*lines, *_rest(dataset, split))


def _part(dataset: Dataset, regions: Sequence[Region]) -> str:
    if not regions:
        return "nothing"
    if not all(_is_whole(dataset.records[region.record], region) for region in regions):
        boxes = [f"{region.record} {_box(region)}" for region in regions]
        return f"{_count(len(boxes), 'block')}: {first_names(boxes)}"
    ids = [region.record for region in regions]
    groups = {dataset.records[i].group or i for i in ids}
    stack = [record.id for record in dataset.records.values() if record.group in groups]
    if len(groups) == 1 and len(stack) > 1:
        runs = _runs([stack.index(i) for i in ids])
        shown = [stack[a] if a == b else f"{stack[a]} to {stack[b]}" for a, b in runs]
        return f"{len(ids)} of {_count(len(stack), 'plane')}: {first_names(shown)}"
    if len(groups) < len(ids):
        return f"{_count(len(ids), 'image')} of {_count(len(groups), 'stack')}: {first_names(sorted(groups))}"
    return f"{_count(len(ids), 'image')}: {first_names(ids)}"


def _rest(dataset: Dataset, split: Split) -> list[str]:
    """Say what is left out although it is labelled: gaps, and images that no part names."""
    used = [region for part in PARTS for region in split.part(part)]
    named = {region.record for region in used}
    lines = []
    if gap := sum(_voxels(dataset.records[i]) for i in named) - sum(_size(region) for region in used):
        total = sum(_voxels(dataset.records[i]) for i in named)
        lines.append(f"gap: {gap / total:.1%} of the voxels are between the parts and used by none")
    idle = [record.id for record in dataset.labelled_records() if record.id not in named]
    if idle:
        lines.append(f"used by none: {first_names(idle)}")
    return lines


def _is_whole(record: Record, region: Region) -> bool:
    return not any(region.start) and region.stop == record.shape


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and the last of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _box(region: Region) -> str:
    bounds = zip(region.start, region.stop, strict=True)
    return "[" + ", ".join(f"{a}:{b}" for a, b in bounds) + "]"


def _voxels(record: Record) -> int:
    return math.prod(record.shape)


def _size(region: Region) -> int:
    return math.prod(region.shape)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
