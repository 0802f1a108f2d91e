"""Instances of outputs that do not fit into memory: the same objects, found block by block."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from napari_segtrain.config import DataError, InferenceConfig

from .instances import Evidence, Labels, grow, kept_numbers, object_seeds
from .tiling import Slices

WHOLE_VOXELS = 2**26
"""Outputs up to this size are separated in one piece."""

_HALO = {2: 64, 3: 32}


class Merger:
    """Numbers that turn out to mean the same thing (union-find with path halving)."""

    def __init__(self) -> None:
        self._parent = np.zeros(1, np.int64)

    def reserve(self, count: int) -> int:
        """Add `count` numbers and return what to add to 1, 2, …, `count` to get them."""
        offset = len(self._parent) - 1
        self._parent = np.append(self._parent, np.arange(offset + 1, offset + count + 1))
        return offset

    def root(self, number: int) -> int:
        """Return the number that stands for all that were joined with `number`."""
        parent = self._parent
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = int(parent[number])
        return number

    def join(self, first: npt.NDArray[Any], second: npt.NDArray[Any]) -> None:
        """Say that numbers at the same place, both above 0, are the same."""
        both = (first > 0) & (second > 0)
        pairs = np.unique(np.stack([first[both], second[both]], axis=1), axis=0)
        for a, b in pairs:
            one, other = sorted((self.root(int(a)), self.root(int(b))))
            self._parent[other] = one

    def table(self) -> npt.NDArray[np.int64]:
        """Return for every number the one that stands for it."""
        return np.array([self.root(number) for number in range(len(self._parent))], np.int64)


def separate_blocks(
    read: Callable[[Slices], Evidence],
    write: Callable[[Slices, Labels], None],
    size: tuple[int, ...],
    block: tuple[int, ...],
    inference: InferenceConfig,
    scratch: Path,
    advance: Callable[[float], bool],
    spacing: Sequence[float] | None = None,
) -> bool:
    """Separate objects in a volume that is read and written in blocks.

    Seeds are those of `separate_instances` on the whole volume, exactly, since connected parts are joined
    across blocks, and so are seeds that are near each other; only their order may be another. Growing looks
    beyond a block by a halo of 64 (2D) or 32 voxels, so objects differ only where a seed grows farther than
    that past a block's border.

    Parameters
    ----------
    read
        Returns the predictions of a part of the volume.
    write
        Takes object numbers of a part of the volume.
    size, block
        Shape of the volume and of the parts.
    inference
        Thresholds, seed distance and smallest size.
    scratch
        Folder for temporary stores.
    advance
        Told the finished share; False ends the work.
    spacing
        Size of a voxel; None where all its edges are alike.

    Returns
    -------
    bool
        Whether it was finished.
    """
    joins = inference.seed_distance > 0
    steps = _Steps(size, block, advance, 4 if joins else 3)
    work = _Blockwise(
        read, inference, zarr.open_group(str(scratch / "instances.zarr"), mode="w"), size, block
    )
    for core in steps:
        work.number(core)
    if steps.were_stopped():
        return False
    if joins:
        known = work.seed_table()
        for core in steps:
            work.join_near(core, known, (1.0,) * len(size) if spacing is None else spacing)
        if steps.were_stopped():
            return False
    work.settle()
    for core in steps:
        work.grow(core)
    if steps.were_stopped():
        return False
    final = kept_numbers(work.sizes, inference.min_size)
    for core in steps:
        write(core, final[work.grown[core]])
    return not steps.were_stopped()


class _Blockwise:
    """What is known of the objects between the passes over a volume."""

    def __init__(
        self,
        read: Callable[[Slices], Evidence],
        inference: InferenceConfig,
        stores: Any,
        size: tuple[int, ...],
        block: tuple[int, ...],
    ) -> None:
        self._read, self._inference, self._size = read, inference, size
        self._seeds = stores.create_array("seeds", shape=size, chunks=block, dtype="int32")
        self._objects = stores.create_array("objects", shape=size, chunks=block, dtype="int32")
        self.grown = stores.create_array("grown", shape=size, chunks=block, dtype="int32")
        self._seed_numbers, self._object_numbers = Merger(), Merger()
        self._with_seed: set[int] = set()
        self._has_seeds = True
        self._of_seed = self._of_object = np.zeros(1, np.int64)
        self.sizes = np.zeros(1, np.int64)

    def number(self, core: Slices) -> None:
        """Find seeds and parts of the foreground in one block, and join them with those of its neighbours."""
        evidence = self._read(core)
        self._has_seeds = evidence.has_seeds
        found = object_seeds(evidence, self._inference)
        objects = _numbered(found[0], self._object_numbers)
        seeds = _numbered(found[1], self._seed_numbers)
        self._with_seed.update(np.unique(objects[seeds > 0]).tolist())
        self._objects[core] = objects
        self._seeds[core] = seeds
        _join_faces(self._objects, objects, core, self._object_numbers)
        _join_faces(self._seeds, seeds, core, self._seed_numbers)

    def seed_table(self) -> npt.NDArray[np.int64]:
        """Return for the number of every piece of a seed the one that stands for the seed."""
        return self._seed_numbers.table()

    def join_near(self, core: Slices, known: npt.NDArray[np.int64], spacing: Sequence[float]) -> None:
        """Join seeds that are near each other in one block, seen with as much around it as decides that."""
        if not self._has_seeds:
            return
        from .near_seeds import near_seeds, reach  # compiles

        distance = self._inference.seed_distance
        wide = _around(core, reach(distance, spacing), self._size)
        numbers, place = np.unique(known[self._seeds[wide]], return_inverse=True)
        # The least number is 0 only where there is something beside seeds.
        shift = int(numbers[0] != 0) if numbers.size else 0
        seeds: Labels = (place.reshape([part.stop - part.start for part in wide]) + shift).astype(np.int32)
        numbers = np.append(np.zeros(shift, np.int64), numbers)
        table = near_seeds(seeds, self._objects[wide] > 0, distance, spacing)
        self._seed_numbers.join(numbers, numbers[table])

    def settle(self) -> None:
        """Give all seeds numbers without gaps, and after them each part of the foreground that has none."""
        seed_table, object_table = self._seed_numbers.table(), self._object_numbers.table()
        roots = np.unique(seed_table)
        self._of_seed = np.searchsorted(roots, seed_table)
        seeded = object_table[np.fromiter(self._with_seed, np.int64, len(self._with_seed))]
        bare = np.setdiff1d(object_table, np.append(seeded, 0))
        numbers = np.zeros(len(object_table), np.int64)
        numbers[bare] = len(roots) - 1 + np.arange(1, len(bare) + 1)
        self._of_object = numbers[object_table]
        self.sizes = np.zeros(len(roots) + len(bare), np.int64)

    def grow(self, core: Slices) -> None:
        """Grow the seeds in and around one block, and keep and count what lies in it."""
        wide = _around(core, (_HALO[len(self._size)],) * len(self._size), self._size)
        objects, seeds = self._objects[wide], self._seeds[wide]
        markers = np.where(seeds > 0, self._of_seed[seeds], self._of_object[objects]).astype(np.int32)
        labels = grow(self._read(wide), objects > 0, markers)
        own = labels[
            tuple(slice(c.start - w.start, c.stop - w.start) for c, w in zip(core, wide, strict=True))
        ]
        self.sizes += np.bincount(own.reshape(-1), minlength=len(self.sizes))
        self.grown[core] = own


def _around(core: Slices, halo: Sequence[int], size: Sequence[int]) -> Slices:
    """Return a block with what is around it, as far as the volume goes."""
    return tuple(
        slice(max(0, part.start - more), min(extent, part.stop + more))
        for part, more, extent in zip(core, halo, size, strict=True)
    )


class _Steps:
    """Some passes over all blocks, which end early when the user cancels."""

    def __init__(
        self, size: tuple[int, ...], block: tuple[int, ...], advance: Callable[[float], bool], passes: int
    ) -> None:
        starts = [range(0, extent, step) for extent, step in zip(size, block, strict=True)]
        self._cores = [
            tuple(slice(a, min(a + b, n)) for a, b, n in zip(corner, block, size, strict=True))
            for corner in itertools.product(*starts)
        ]
        self._advance, self._passes = advance, passes
        self._done = 0
        self._stopped = False

    def were_stopped(self) -> bool:
        """Whether the user ended the work."""
        return self._stopped

    def __iter__(self) -> Iterator[Slices]:
        for core in self._cores:
            if not self._advance(self._done / (self._passes * len(self._cores))):
                self._stopped = True
                return
            yield core
            self._done += 1


def _numbered(labels: Labels, merger: Merger) -> Labels:
    count = int(labels.max(initial=0))
    offset = merger.reserve(count)
    if offset + count > np.iinfo(np.int32).max:
        raise DataError(
            "the prediction falls into more than 2^31 pieces, which is noise, not objects: raise "
            "inference_config.threshold, or train longer"
        )
    return np.where(labels > 0, labels + np.int32(offset), np.int32(0))


def _join_faces(store: Any, values: Labels, core: Slices, merger: Merger) -> None:
    """Join what touches across the faces to blocks that came before."""
    for axis, part in enumerate(core):
        if part.start == 0:
            continue
        before = list(core)
        before[axis] = slice(part.start - 1, part.start)
        merger.join(store[tuple(before)].reshape(-1), np.take(values, [0], axis=axis).reshape(-1))
