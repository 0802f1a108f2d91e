"""The output cut into blocks: which tiles begin in a block, and how far they reach out of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .tiling import Slices, Tile, TileGrid

MEMORY_BUDGET = 96 * 2**20
"""Bytes that blocks of input and output may take while they are open."""


@dataclass(frozen=True)
class BlockLayout:
    """Blocks of the output in raster order, last axis fastest; a tile belongs to the block it begins in.

    A tile reaches from its own block into later ones only, so a block is finished once its own tiles
    and what earlier blocks left for it are added up. All coordinates are those of the grid's region.

    Attributes
    ----------
    grid
        The tiles.
    block
        Size of a block; the last one along an axis may be smaller.
    """

    grid: TileGrid
    block: tuple[int, ...]

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks along each axis."""
        return tuple(-(-size // block) for size, block in zip(self.grid.size, self.block, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return itertools.product(*(range(count) for count in self.counts))

    def flat(self, index: Sequence[int]) -> int:
        """Return the running number of a block."""
        return int(np.ravel_multi_index(tuple(index), self.counts))

    def position(self, flat: int) -> tuple[int, ...]:
        """Return the block of a running number."""
        return tuple(int(number) for number in np.unravel_index(flat, self.counts))

    def core(self, index: Sequence[int]) -> Slices:
        """Return the part of the output that a block is responsible for."""
        return tuple(
            slice(number * block, min((number + 1) * block, size))
            for number, block, size in zip(index, self.block, self.grid.size, strict=True)
        )

    def extent(self, index: Sequence[int]) -> Slices:
        """Return the block's part of the output together with all that its tiles reach into."""
        parts = []
        for axis, core in enumerate(self.core(index)):
            first, last = self._owned[axis][index[axis]]
            reach = int(self._stops[axis][last - 1]) if last > first else core.stop
            parts.append(slice(core.start, max(core.stop, reach)))
        return tuple(parts)

    def tiles(self, index: Sequence[int], pending: npt.NDArray[np.bool_]) -> list[Tile]:
        """Return the block's tiles that reach a block which is still `pending` (bool, shape `counts`)."""
        ranges = [range(*self._owned[axis][number]) for axis, number in enumerate(index)]
        tiles = (self.grid.at(position) for position in itertools.product(*ranges))
        return [tile for tile in tiles if pending[self.touched(tile.paste)].any()]

    def touched(self, part: Slices) -> Slices:
        """Return the range of blocks, a slice of `counts` an axis, that a part of the output touches."""
        return tuple(
            slice(p.start // block, -(-p.stop // block)) for p, block in zip(part, self.block, strict=True)
        )

    def count_tiles(self, pending: npt.NDArray[np.bool_]) -> int:
        """Return how many tiles have to be predicted so that all `pending` blocks get finished."""
        if pending.all():
            return len(self.grid)
        return sum(len(self.tiles(index, pending)) for index in self)

    @cached_property
    def _stops(self) -> tuple[npt.NDArray[np.int64], ...]:
        grid = self.grid
        return tuple(
            np.minimum(starts + tile, part.stop) - part.start
            for starts, tile, part in zip(grid.starts, grid.tile, grid.bounds, strict=True)
        )

    @cached_property
    def _owned(self) -> tuple[list[tuple[int, int]], ...]:
        """For each axis and block the range of tile positions that begin in it."""
        owned = []
        for starts, part, block, count in zip(
            self.grid.starts, self.grid.bounds, self.block, self.counts, strict=True
        ):
            # A tile that begins before the region pastes at its border.
            owner = np.maximum(starts - part.start, 0) // block
            edges = np.searchsorted(owner, np.arange(count + 1))
            owned.append([(int(a), int(b)) for a, b in itertools.pairwise(edges)])
        return tuple(owned)


def choose_block(
    grid: TileGrid, chunks: Sequence[int], bytes_per_voxel: float, budget: int
) -> tuple[int, ...]:
    """Return the size of blocks: multiples of `chunks`, as large as the memory budget allows.

    A block's memory is that of its extent, which tiles make larger than the block by what they overlap.
    The larger a block, the less of it is handed over to neighbours; so the axis on which tiles reach
    farthest, in relation, grows first. The size does not depend on the image beyond being cut to it,
    which is why memory does not grow with the image.

    Parameters
    ----------
    grid
        The tiles.
    chunks
        What a block must be a multiple of, in voxels; smaller than that only where the output is.
    bytes_per_voxel
        What an open block takes for each of its voxels.
    budget
        Bytes.
    """
    size = [min(chunk, extent) for chunk, extent in zip(chunks, grid.size, strict=True)]
    reach = [round(tile * share) for tile, share in zip(grid.tile, grid.overlap, strict=True)]

    def cost(block: Sequence[int]) -> float:
        return bytes_per_voxel * math.prod(b + r for b, r in zip(block, reach, strict=True))

    growing = True
    while growing:
        growing = False
        for axis in sorted(range(len(size)), key=lambda a: (-reach[a] / size[a], -a)):
            larger = list(size)
            larger[axis] = min(grid.size[axis], 2 * max(size[axis], chunks[axis]))
            if larger[axis] > size[axis] and cost(larger) <= budget:
                size, growing = larger, True
                break
    return tuple(size)
