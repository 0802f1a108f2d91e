"""Finds what makes scores too good: parts of a split that share voxels, or images of the same content."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .blocks import Box, iter_blocks
from .dataset import Dataset
from .naming import first_names
from .records import PARTS, Part, Region, Split
from .scan import BLOCK_VOXELS, MOST_IMAGE_VOXELS
from .sources.base import Source
from .split import whole
from .split_words import NAMES

PROBE = 32
"""Voxels along an axis of the piece by which images are told apart before they are read."""
_EDGE = 128
_SEEDS = 100


def find_leakage(dataset: Dataset, split: Split) -> tuple[str, ...]:
    """Return a sentence for each way in which two parts of a split are not separate.

    Regions that share voxels are found by their bounds, equal images by their content: a small piece in the
    middle of every region is read, and only regions of two parts whose pieces agree are read as a whole, in
    blocks, of very large ones evenly spread blocks. Images that differ in a single voxel are different.

    Parameters
    ----------
    dataset
        Has the images of the split.
    split
        The parts. What the data set does not have is passed over: a part may be all that is at hand.

    Returns
    -------
    tuple of str
        Nothing when the parts are separate.

    Raises
    ------
    DataError
        When an image cannot be read.
    """
    there = {part: tuple(r for r in split.part(part) if _is_there(dataset, r)) for part in PARTS}
    return (*_overlaps(split), *_copies(dataset, Split(**there)))


def seed_that_separates(dataset: Dataset, split_of: Callable[[int], Split], seed: int) -> int | None:
    """Return a seed that deals images of the same content into one part; their content is read once.

    Parameters
    ----------
    dataset
        Has the images.
    split_of
        Returns the split of a seed: of whole images.
    seed
        That of a split whose parts are not separate.

    Returns
    -------
    int or None
        The first of a hundred seeds; None where none of them does, where nothing is equal, or where a
        ``split.json`` decides.

    Raises
    ------
    DataError
        When an image cannot be read.
    """
    if dataset.split_file is not None:
        return None
    copies = _equal_images(dataset)
    if not copies:
        return None  # what leaks is something else, such as regions that share voxels
    for other in range(_SEEDS):
        split = split_of(other) if other != seed else None
        if split is None:
            continue
        parts = {region.record: part for part in PARTS for region in split.part(part)}
        if all(len({parts[name] for name in same if name in parts}) < 2 for same in copies):
            return other
    return None


def _equal_images(dataset: Dataset) -> list[set[str]]:
    """Return groups of labelled images that have the same content, by id."""
    regions = [whole(record) for record in dataset.labelled_records()]
    sources = {region: dataset.records[region.record].image for region in regions}
    alike = _by_key(regions, lambda region: _probe(sources[region], region))
    share = MOST_IMAGE_VOXELS // max(1, sum(map(len, alike)))
    equal = (_by_key(group, lambda region: _digest(sources[region], region, share)) for group in alike)
    return [{region.record for region in same} for groups in equal for same in groups]


def _by_key(regions: Iterable[Region], key: Callable[[Region], Any]) -> list[list[Region]]:
    """Return regions with equal keys, where there are several."""
    groups: dict[Any, list[Region]] = {}
    for region in regions:
        groups.setdefault(key(region), []).append(region)
    return [group for group in groups.values() if len(group) > 1]


def _is_there(dataset: Dataset, region: Region) -> bool:
    record = dataset.records.get(region.record)
    if record is None or len(record.shape) != len(region.stop):
        return False
    return all(b <= n for b, n in zip(region.stop, record.shape, strict=True))


def _overlaps(split: Split) -> list[str]:
    found = []
    for one, other in itertools.combinations(PARTS, 2):
        mine: dict[str, list[Region]] = {}
        for region in split.part(one):
            mine.setdefault(region.record, []).append(region)
        shared = dict.fromkeys(
            region.record
            for region in split.part(other)
            if any(region.overlaps(known) for known in mine.get(region.record, ()))
        )
        if shared:
            found.append(
                f"{NAMES[one]} and {NAMES[other]} share voxels of {first_names(list(shared))}: the scores "
                f"on {NAMES[other]} are too good. Give each part regions of its own (split.json)."
            )
    return found


def _copies(dataset: Dataset, split: Split) -> list[str]:
    """Compare the content of regions, in two rounds: a piece of each, then all of those that agree."""
    regions = [(part, region) for part in PARTS for region in split.part(part)]
    sources = {region.record: dataset.records[region.record].image for _, region in regions}
    alike = _groups(regions, {region: _probe(sources[region.record], region) for _, region in regions})
    suspects = {region for group in alike for _, region in group}
    share = MOST_IMAGE_VOXELS // max(1, len(suspects))
    whole = {region: _digest(sources[region.record], region, share) for region in suspects}
    pairs: dict[tuple[Part, Part], list[str]] = {}
    for group in alike:
        for same in _groups(group, whole):
            for (one, a), (other, b) in itertools.combinations(same, 2):
                # One image may be in two parts with regions of equal content; its own overlap is told above.
                if one != other and not a.overlaps(b):
                    pairs.setdefault((one, other), []).append(_equal(a, b))
    return [
        f"{NAMES[one]} and {NAMES[other]} have the same image content: {first_names(words)}. The scores on "
        f"{NAMES[other]} are too good; take the copies out, or put them into one part (split.json)."
        for (one, other), words in pairs.items()
    ]


def _groups(
    regions: list[tuple[Part, Region]], keys: Mapping[Region, Any]
) -> list[list[tuple[Part, Region]]]:
    """Return regions with equal keys, where they are of more than one part."""
    groups: dict[Any, list[tuple[Part, Region]]] = {}
    for part, region in regions:
        groups.setdefault(keys[region], []).append((part, region))
    return [group for group in groups.values() if len({part for part, _ in group}) > 1]


def _probe(source: Source, region: Region) -> tuple[Any, ...]:
    """Return size, and the digest of a piece in the middle, of a region."""
    sizes = [min(n, PROBE) for n in region.shape]
    starts = [a + (n - m) // 2 for a, n, m in zip(region.start, region.shape, sizes, strict=True)]
    middle = tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
    return region.shape, source.channels, _hash(source, [middle])


def _digest(source: Source, region: Region, most_voxels: int) -> bytes:
    """Return the digest of a region; of one with more voxels than so many, that of evenly spread blocks."""
    shape = region.shape
    # Not along the stored chunks: those of two equal images may differ.
    edges = tuple(min(n, _EDGE) for n in shape)
    boxes = iter_blocks((0,) * len(shape), shape, edges, BLOCK_VOXELS)
    count = max(1, min(len(boxes), int(len(boxes) * most_voxels / math.prod(shape))))
    chosen = [boxes[i * len(boxes) // count] for i in range(count)]
    return _hash(source, [_moved(box, region) for box in chosen])


def _moved(box: Box, region: Region) -> Box:
    return tuple(slice(s.start + a, s.stop + a) for s, a in zip(box, region.start, strict=True))


def _hash(source: Source, boxes: list[Box]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for box in boxes:
        # The same picture may be stored with several types of numbers.
        digest.update(np.ascontiguousarray(source.read(box), np.float32).tobytes())
    return digest.digest()


def _equal(one: Region, other: Region) -> str:
    return f"{one.record} = {other.record}"
