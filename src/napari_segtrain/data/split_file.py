"""Reads the ``split.json`` of a data folder."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from ..config import did_you_mean
from .dataset import Dataset
from .records import PARTS, Record, Region, Split


def read_split(dataset: Dataset, content: Mapping[str, Any]) -> tuple[Split, list[str]]:
    """Return the split that a ``split.json`` describes, and every fault in it.

    Parameters
    ----------
    dataset
        Has the images that the file names.
    content
        ``{"train": [{"image": id, "region": [[start, stop], …]}, …], "val": …, "test": …}``; without a
        region the whole image is meant. The name of a stack stands for all its planes; a region with one
        more axis than the planes chooses planes by its first axis. Other keys whose value is no list are
        remarks.

    Returns
    -------
    split : Split
        The valid entries.
    faults : list of str
        A sentence for each invalid entry, and for images or regions that two parts claim.
    """
    reader = _Reader(dataset)
    for key, value in content.items():
        if key not in PARTS and isinstance(value, list):
            reader.faults.append(f"{reader.file}: unknown part {key!r}. {did_you_mean(key, PARTS)}")
    parts: dict[str, tuple[Region, ...]] = {}
    for part in PARTS:
        entries = content.get(part, [])
        if not isinstance(entries, list):
            reader.faults.append(f"{reader.file}: {part} is not a list of images.")
            entries = []
        parts[part] = tuple(region for entry in entries for region in reader.regions(part, entry))
    if not parts["train"] and not reader.faults:
        reader.faults.append(f"{reader.file}: no image is in train. Name at least one.")
    reader.faults += _double_claims(reader.file, parts)
    return Split(**parts), reader.faults


class _Reader:
    def __init__(self, dataset: Dataset) -> None:
        self.file = f"{dataset.origin}/split.json"
        self.faults: list[str] = []
        self._groups: dict[str, list[Record]] = {}
        for record in dataset.records.values():
            self._groups.setdefault(record.group or record.id, []).append(record)
            if record.group != record.id:
                self._groups[record.id] = [record]
        # What could not be opened is reported once, not again wherever it is named.
        self._broken = dataset.broken

    def regions(self, part: str, entry: Any) -> list[Region]:
        """Return what one entry of a part stands for; faults are noted."""
        value = {"image": entry} if isinstance(entry, str) else entry
        if not isinstance(value, dict) or not isinstance(value.get("image"), str):
            self.faults.append(
                f'{self.file}: {part} has {entry!r}; an entry is {{"image": id, "region": …}}.'
            )
            return []
        name, box = value["image"], value.get("region")
        records = self._groups.get(name)
        if records is None:
            if name not in self._broken:
                self.faults.append(
                    f"{self.file}: {part} names the image {name!r}, which is not there. "
                    + did_you_mean(name, self._groups)
                )
            return []
        if box is None:
            return [Region(r.id, (0,) * r.ndim, r.shape) for r in records]
        return self._boxes(part, name, records, box)

    def _boxes(self, part: str, name: str, records: list[Record], box: Any) -> list[Region]:
        ndim, shape = records[0].ndim, records[0].shape
        stacked = isinstance(box, list) and len(box) == ndim + 1 and records[0].group != records[0].id
        sizes = (len(records), *shape) if stacked else shape
        bounds = _bounds(box, sizes)
        if bounds is None:
            self.faults.append(
                f"{self.file}: {part} asks for the region {box} of {name!r}, which does not lie in its shape "
                f"{sizes}; a region is [[start, stop], …] in array order, stop not included."
            )
            return []
        if stacked:
            records = records[slice(*bounds[0])]
            bounds = bounds[1:]
        starts, stops = tuple(a for a, _ in bounds), tuple(b for _, b in bounds)
        return [Region(record.id, starts, stops) for record in records]


def _bounds(box: Any, sizes: tuple[int, ...]) -> list[tuple[int, int]] | None:
    if not isinstance(box, list) or len(box) != len(sizes):
        return None
    bounds = []
    for pair, size in zip(box, sizes, strict=True):
        if not isinstance(pair, list) or len(pair) != 2 or not all(type(v) is int for v in pair):
            return None
        if not 0 <= pair[0] < pair[1] <= size:
            return None
        bounds.append((pair[0], pair[1]))
    return bounds


def _double_claims(file: str, parts: Mapping[str, tuple[Region, ...]]) -> list[str]:
    """Return a sentence for every image whose voxels are in two parts: its score would mean nothing."""
    faults: dict[str, None] = {}
    for one, other in itertools.combinations(PARTS, 2):
        mine: dict[str, list[Region]] = {}
        for region in parts[one]:
            mine.setdefault(region.record, []).append(region)
        for region in parts[other]:
            if any(region.overlaps(first) for first in mine.get(region.record, ())):
                faults[
                    f"{file}: {one} and {other} both claim voxels of {region.record!r}. Give each part its "
                    "own."
                ] = None
    return list(faults)
