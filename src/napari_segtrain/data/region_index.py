"""The patch positions of one region, with how much of each is labelled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Box, iter_blocks
from .cells import FAR, Cells, fill_constant
from .grid import Grid
from .index_rules import EVERYWHERE, MOST_CLASSES, Held, IndexRules
from .patches import PatchSpec
from .records import Record, Region
from .written import WrittenChunks

BLOCK_VOXELS = 2**21
"""Label voxels that are in memory at a time while counting."""


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
        self.cells: dict[str, Cells] = {
            name: Cells.empty(self.grid, rules.balances(name))
            for name in rules.targets
            if name in record.labels
        }

    def count_all(self) -> None:
        """Count every voxel of the region, block by block."""
        for target in self.cells:
            self._count(target, tuple(slice(0, n) for n in self.grid.shape))

    def recount(self, target: str, box: Box) -> bool:
        """Count the cells again that `box` touches, in the record's coordinates; False if there are none."""
        if target not in self.cells:
            return False
        inside = tuple(
            slice(max(s.start - a, 0), min(s.stop, b) - a)
            for s, a, b in zip(box, self.region.start, self.region.stop, strict=True)
        )
        if any(s.stop <= s.start for s in inside):
            return False
        touched = self.grid.touching(inside)
        self.cells[target].clear(touched)
        edges = zip(self.grid.edges, touched, strict=True)
        self._count(target, tuple(slice(int(e[s.start]), int(e[s.stop])) for e, s in edges))
        return True

    def _count(self, target: str, box: Box) -> None:
        """Count the voxels in `box`, relative to the region, whose cells are clear."""
        source, mask = self._record.labels[target], self._record.masks.get(target)
        offset = self.region.start
        start = [s.start + o for s, o in zip(box, offset, strict=True)]
        stop = [s.stop + o for s, o in zip(box, offset, strict=True)]
        written = WrittenChunks(source)
        for block in iter_blocks(start, stop, source.chunks, BLOCK_VOXELS):
            place = tuple(slice(s.start - o, s.stop - o) for s, o in zip(block, offset, strict=True))
            labels = source.read(block) if written.touches(block) else written.zeros(block)
            valid = mask.read(block) if mask is not None else None
            self._count_block(target, place, labels, valid)

    def _count_block(self, target: str, place: Box, labels: NDArray[Any], valid: NDArray[Any] | None) -> None:
        cells = self.cells[target]
        balance = cells.classes is not None and labels.shape[0] == 1 and labels.dtype.kind in "iub"
        if _constant(labels) and (valid is None or _constant(valid)):
            corner = (slice(None), *(slice(0, 1) for _ in place))
            one = self.rules.read(labels[corner], None if valid is None else valid[corner], target)
            value = int(labels.flat[0]) if balance else None
            fill_constant(cells, self.grid, place, bool(one[0].all()), bool(one[1].all()), value)
            return
        labelled, foreground = self.rules.read(labels, valid, target)
        classes: dict[int, NDArray[np.bool_]] = {}
        if balance:
            values = np.unique(labels[0][foreground])
            if len({*(cells.classes or {}), *values.tolist()}) > MOST_CLASSES:
                cells.classes = None
            else:
                classes = {int(v): foreground & (labels[0] == v) for v in values}
        cells.add(self.grid, place, labelled, foreground, classes)

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
        self, flat: int, random: np.random.Generator, target: str | None = None, value: int | None = None
    ) -> PatchSpec:
        """Return the position moved by up to half a step, inside the region.

        One of its cells with labelled voxels (with `target`: with its foreground; with `value` too: with
        that class) is drawn and stays wholly inside, so that the patch has something to learn from.
        """
        position = self._unflat(flat)
        anchor = [int(s[i]) for s, i in zip(self.grid.starts, position, strict=True)]
        keep = self._cell_to_keep(position, random, target, value)
        start: list[int] = []
        for axis, first in enumerate(anchor):
            extent, size = self.grid.extent[axis], self.grid.shape[axis]
            low, high = max(first - self._reach[axis], 0), min(first + self._reach[axis], size - extent)
            if keep is not None:
                low, high = max(low, keep[axis].stop - extent), min(high, keep[axis].start)
            start.append(int(random.integers(low, high + 1)))
        return PatchSpec(self.region, self._start(start), self.patch, self._start(anchor))

    def _cell_to_keep(
        self, position: tuple[int, ...], random: np.random.Generator, target: str | None, value: int | None
    ) -> Box | None:
        cells = self.grid.cells_of(position)
        counts = self._counts(target, value)
        inside = np.argwhere(counts[cells] > 0) if counts is not None else ()
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


def _constant(array: NDArray[Any]) -> bool:
    """Return whether all values are equal, for most arrays at a glance."""
    if array.flat[0] != array.flat[-1]:
        return False
    # A broadcast array is one value in memory however large it looks.
    return not any(array.strides) or bool(array.min() == array.max())
