"""The patch positions of one region, with how much of each is labelled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Box, iter_blocks
from .cells import Cells
from .counting import FAR, Meaning
from .grid import Grid
from .index_rules import EVERYWHERE, Held, IndexRules
from .patches import PatchSpec
from .prefetch import Prefetch
from .records import Record, Region
from .sources.base import Source
from .written import WrittenChunks

BLOCK_VOXELS = 2**21
"""Label voxels that are read at a time, where chunks are not larger."""
READ_BYTES = 2**23
"""Of neighbouring chunks that were written, so much is read in one call, where that is faster."""


class RegionIndex:
    """Cells and positions of one region.

    Parameters
    ----------
    record
        The image and its labels.
    region
        Which part of it.
    patch, stride
        Size of a patch and distance of two positions, in voxels.
    rules
        What is counted.
    """

    def __init__(
        self,
        record: Record,
        region: Region,
        patch: tuple[int, ...],
        stride: tuple[int, ...],
        rules: IndexRules,
    ) -> None:
        self.region = region
        self.patch = patch
        self.grid = Grid.plan(region.shape, patch, stride)
        self.rules = rules
        self._record = record
        # Half a step to either side reaches every start, and the share of labelled voxels stays similar.
        self._reach = tuple(s // 2 for s in stride)
        self._meanings: dict[str, Meaning] = {}
        self.cells: dict[str, Cells] = {
            name: Cells.empty(self.grid, rules.balances(name))
            for name in rules.targets
            if name in record.labels
        }

    def count_all(self) -> None:
        """Count every voxel of the region, block by block."""
        self._count(self.cells, tuple(slice(0, n) for n in self.grid.shape), sparse=True)

    def recount(self, targets: Iterable[str], box: Box) -> Box | None:
        """Count the cells again that `box` touches, in the record's coordinates; return them, if any."""
        mine = [target for target in targets if target in self.cells]
        inside = tuple(
            slice(max(s.start - a, 0), min(s.stop, b) - a)
            for s, a, b in zip(box, self.region.start, self.region.stop, strict=True)
        )
        if not mine or any(s.stop <= s.start for s in inside):
            return None
        touched = self.grid.touching(inside)
        for target in mine:
            self.cells[target].clear(touched)
        edges = zip(self.grid.edges, touched, strict=True)
        self._count(mine, tuple(slice(int(e[s.start]), int(e[s.stop])) for e, s in edges))
        return touched

    def _count(self, targets: Iterable[str], box: Box, *, sparse: bool = False) -> None:
        """Count the voxels in `box`, relative to the region, whose cells are clear.

        Targets that read the same labels share one reading of them. With `sparse` the storage is asked
        first what was ever written, which costs the volume's files, not the box's.
        """
        shared: dict[int, list[str]] = {}
        for target in targets:
            shared.setdefault(id(self._record.labels[target]), []).append(target)
        for group in shared.values():
            self._count_source(self._record.labels[group[0]], group, box, sparse)

    def _count_source(self, source: Source, targets: Sequence[str], box: Box, sparse: bool) -> None:
        start = [s.start + o for s, o in zip(box, self.region.start, strict=True)]
        stop = [s.stop + o for s, o in zip(box, self.region.start, strict=True)]
        stored = iter_blocks(start, stop, source.chunks, BLOCK_VOXELS)
        if sparse:
            limit = READ_BYTES // source.dtype.itemsize if getattr(source, "joined_reads", False) else 0
            stored, empty = WrittenChunks(source).divide(stored, limit)
            for target in targets:
                self._count_zeros(source, target, empty)
        # A block is decoded while the one before it is counted; a single one is not worth a thread.
        with ThreadPoolExecutor(1, "labels") as pool:
            ahead = partial(Prefetch, pool, lambda i: source.read(stored[i]), range(len(stored)), 1)
            arrays = ahead() if len(stored) > 1 else map(source.read, stored)
            for block, labels in zip(stored, arrays, strict=True):
                masks: dict[int, NDArray[Any]] = {}
                for target in targets:
                    self._count_block(target, block, labels, self._read_mask(target, block, masks))

    def _count_zeros(self, source: Source, target: str, blocks: Sequence[Box]) -> None:
        """Count blocks that were never written; one voxel tells what they mean."""
        single = np.zeros((source.channels, *[1] * len(source.shape)), source.dtype)
        voxels, meaning, by_class = self._voxels(target, single, None)
        value = int(voxels.flat[0])
        if not meaning.labels(value):
            return
        for block in blocks:
            if target in self._record.masks:
                zeros = np.zeros((source.channels, *[s.stop - s.start for s in block]), source.dtype)
                self._count_block(target, block, zeros, self._read_mask(target, block, {}))
            else:
                place = self._inside(block)
                self.cells[target].add_constant(self.grid, place, meaning, value, by_class=by_class)

    def _count_block(self, target: str, block: Box, labels: NDArray[Any], mask: NDArray[Any] | None) -> None:
        voxels, meaning, by_class = self._voxels(target, labels, mask)
        valid = None if mask is None else (mask != 0).all(axis=0)
        place = self._inside(block)
        self.cells[target].add(self.grid, place, voxels, meaning, valid, by_class=by_class)

    def _voxels(
        self, target: str, labels: NDArray[Any], mask: NDArray[Any] | None
    ) -> tuple[NDArray[Any], Meaning, bool]:
        """Return what to count, what it means, and whether its values can be classes."""
        if labels.shape[0] != 1 or labels.dtype.kind not in "biu":
            return *self.rules.states(labels, mask, target), False
        if target not in self._meanings:
            self._meanings[target] = self.rules.meaning(target, labels.dtype)
        return labels[0], self._meanings[target], True

    def _read_mask(self, target: str, block: Box, read: dict[int, NDArray[Any]]) -> NDArray[Any] | None:
        """Read the mask of a target; one that several targets share is read once."""
        mask = self._record.masks.get(target)
        if mask is None:
            return None
        if id(mask) not in read:
            read[id(mask)] = mask.read(block)
        return read[id(mask)]

    def _inside(self, block: Box) -> Box:
        """Return a block of the record as one of the region."""
        return tuple(slice(s.start - o, s.stop - o) for s, o in zip(block, self.region.start, strict=True))

    def usable(self) -> dict[Held, NDArray[np.int64]]:
        """Return flat indices of the positions with enough labels, in all and by what they hold.

        Keys are `EVERYWHERE`, ``(target, None)`` for a target's foreground and ``(target, value)`` for one
        of its classes; only what there is has a key.
        """
        good = np.zeros(self.grid.positions, np.bool_)
        for cells in self.cells.values():
            counts = self.grid.window_sum(cells.labelled)
            enough = (counts > 0) & (counts / math.prod(self.grid.extent) >= self.rules.min_ratio)
            if self.rules.min_box > 0:
                enough &= self._box_share(cells) >= self.rules.min_box
            good |= enough
        found: dict[Held, NDArray[np.bool_]] = {EVERYWHERE: good}
        for target, cells in self.cells.items():
            found[target, None] = good & (self.grid.window_sum(cells.foreground) > 0)
            for value, counted in (cells.classes or {}).items():
                found[target, value] = good & (self.grid.window_sum(counted) > 0)
        return {what: np.flatnonzero(where) for what, where in found.items() if where.any()}

    def holding(self, cells: Box) -> NDArray[np.int64]:
        """Return flat indices of the positions that hold labelled voxels of a range of cells."""
        counts = self._counts(None, None)
        found = counts[cells] > 0 if counts is not None else np.zeros((0,) * len(cells), np.bool_)
        within: list[NDArray[np.int64]] = []
        for axis, part in enumerate(cells):
            first = np.maximum(self.grid.first(axis) - part.start, 0)
            last = np.minimum(self.grid.last(axis) - part.start, part.stop - part.start)
            near = np.flatnonzero(first < last)
            padding = [(1, 0) if a == axis else (0, 0) for a in range(found.ndim)]
            table = np.pad(np.cumsum(found, axis=axis, dtype=np.int64), padding)
            found = table.take(last[near], axis) > table.take(first[near], axis)
            within.append(near)
        places = [near[at] for near, at in zip(within, np.nonzero(found), strict=True)]
        return np.ravel_multi_index(places, self.grid.positions).astype(np.int64)

    def largest_share(self) -> float:
        """Return the largest labelled share of any position and target."""
        volume = math.prod(self.grid.extent)
        shares = [self.grid.window_sum(cells.labelled).max() / volume for cells in self.cells.values()]
        return float(max(shares, default=0.0))

    def fullest(self) -> tuple[tuple[float, float], PatchSpec]:
        """Return the position with the most labelled voxels, and of several the one with most foreground.

        Before it come the two shares, of all targets together; foreground beyond a half counts no more.
        """
        volume = math.prod(self.grid.extent) * max(1, len(self.cells))
        half = math.prod(self.grid.extent) // 2
        labelled = np.zeros(self.grid.positions, np.int64)
        foreground = np.zeros(self.grid.positions, np.int64)
        for cells in self.cells.values():
            labelled += self.grid.window_sum(cells.labelled)
            foreground += np.minimum(self.grid.window_sum(cells.foreground), half)
        best = int(np.argmax(labelled * (volume + 1) + foreground))
        shares = float(labelled.flat[best]) / volume, float(foreground.flat[best]) / volume
        return shares, self.spec(best)

    def _box_share(self, cells: Cells) -> NDArray[np.float64]:
        volume = np.ones(self.grid.positions, np.int64)
        for axis in range(volume.ndim):
            low = self.grid.window_min(cells.low[axis])
            high = -self.grid.window_min(cells.high[axis]).astype(np.int64)
            volume *= np.where(low == FAR, 0, high - low + 1)
        return np.asarray(volume / math.prod(self.grid.extent))

    def _counts(self, target: str | None, value: int | None) -> NDArray[np.int64] | None:
        if target is None:
            total = np.zeros(self.grid.cells, np.int64)
            for cells in self.cells.values():
                total = np.maximum(total, cells.labelled)
            return total
        if target not in self.cells:
            return None
        cells = self.cells[target]
        return cells.foreground if value is None else (cells.classes or {}).get(value)

    def spec(self, flat: int) -> PatchSpec:
        """Return the position with this flat index, not moved."""
        start = self._start([int(s[i]) for s, i in zip(self.grid.starts, self._unflat(flat), strict=True)])
        return PatchSpec(self.region, start, self.patch, start)

    def moved(
        self,
        flat: int,
        random: np.random.Generator,
        target: str | None = None,
        value: int | None = None,
        *,
        within: Box | None = None,
    ) -> PatchSpec:
        """Return the position moved by up to half a step, inside the region.

        One of its cells with labelled voxels (with `target`: with its foreground; with `value` too: with
        that class; with `within`: in that range) is drawn and stays wholly inside, so that the patch has
        something to learn from.
        """
        position = self._unflat(flat)
        anchor = [int(s[i]) for s, i in zip(self.grid.starts, position, strict=True)]
        counts = self._counts(target, value)
        keep = None if counts is None else self._cell_to_keep(position, random, counts, within)
        start: list[int] = []
        for axis, first in enumerate(anchor):
            extent, size = self.grid.extent[axis], self.grid.shape[axis]
            low, high = max(first - self._reach[axis], 0), min(first + self._reach[axis], size - extent)
            if keep is not None:
                low, high = max(low, keep[axis].stop - extent), min(high, keep[axis].start)
            start.append(int(random.integers(low, high + 1)))
        return PatchSpec(self.region, self._start(start), self.patch, self._start(anchor))

    def _cell_to_keep(
        self,
        position: tuple[int, ...],
        random: np.random.Generator,
        counts: NDArray[np.int64],
        within: Box | None,
    ) -> Box | None:
        cells = self.grid.cells_of(position)
        if within is not None:
            cells = tuple(
                slice(max(a.start, b.start), max(a.start, b.start, min(a.stop, b.stop)))
                for a, b in zip(cells, within, strict=True)
            )
        inside = np.argwhere(counts[cells] > 0)
        # Labels may have changed since the position was drawn.
        if not len(inside):
            return None
        chosen = inside[int(random.integers(len(inside)))]
        box = []
        for edges, part, i in zip(self.grid.edges, cells, chosen, strict=True):
            cell = part.start + int(i)
            box.append(slice(int(edges[cell]), int(edges[cell + 1])))
        return tuple(box)

    def _unflat(self, flat: int) -> tuple[int, ...]:
        return tuple(int(i) for i in np.unravel_index(flat, self.grid.positions))

    def _start(self, inside: list[int]) -> tuple[int, ...]:
        """Turn a start inside the region into one in the record, centring the region in a larger patch."""
        return tuple(
            base + first - (length - extent) // 2
            for base, first, length, extent in zip(
                self.region.start, inside, self.patch, self.grid.extent, strict=True
            )
        )
