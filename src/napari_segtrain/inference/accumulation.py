"""The running sum of weighted tiles: one block open at a time, finished parts handed out and freed."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_segtrain.data.heap import Reused

from .blending import Normaliser
from .layout import BlockLayout
from .parking import Parking
from .tiling import Slices, Tile


class Accumulator:
    """Adds weighted tiles in place, block after block in the order of the layout.

    Parameters
    ----------
    layout
        Blocks and tiles.
    channels
        Channels of a tile's prediction.
    normaliser
        Divides by the sum of the weights.
    pending
        Which blocks are to be finished, bool of shape `layout.counts`; sums for others are dropped.
    folder
        Where sums wait for later blocks; None is memory.
    """

    def __init__(
        self,
        layout: BlockLayout,
        channels: int,
        normaliser: Normaliser,
        pending: npt.NDArray[np.bool_],
        folder: Path | None,
    ) -> None:
        self._layout = layout
        self._channels = channels
        self._normaliser = normaliser
        self._pending = pending
        self._parking = Parking(folder)
        self._storage = Reused()
        self._index: tuple[int, ...] = ()
        self._extent: Slices = ()
        self._sum: npt.NDArray[np.float32] = self._storage.array((0,))

    def begin(self, index: tuple[int, ...]) -> None:
        """Open a block, with what earlier blocks left for it."""
        self._index = index
        self._extent = self._layout.extent(index)
        shape = (self._channels, *(part.stop - part.start for part in self._extent))
        self._sum = self._storage.array(shape)
        self._sum.fill(0.0)
        for source, values in self._parking.take(self._layout.flat(index)):
            view = self._view(self._shared(index, self._layout.position(source)))
            np.add(view, values, out=view)

    def add(self, tile: Tile, weighted: npt.NDArray[np.float32]) -> None:
        """Add a tile's prediction times its weights, `(C, *tile)`, to the open block."""
        view = self._view(tile.paste)
        np.add(view, weighted[(slice(None), *tile.keep)], out=view)

    def finish(self) -> npt.NDArray[np.float32] | None:
        """Close the block: leave to later blocks what is theirs and return the block's own part.

        Returns
        -------
        ndarray or None
            Averaged predictions, `(C, *core)`, valid until the next `begin`; None for a block that was
            not pending.
        """
        number = self._layout.flat(self._index)
        ranges = [range(part.start, part.stop) for part in self._layout.touched(self._extent)]
        for index in itertools.product(*ranges):
            if index == self._index or not self._pending[index]:
                continue
            left = self._view(self._shared(index, self._index))
            self._parking.put(self._layout.flat(index), number, left)
        if not self._pending[self._index]:
            return None
        core = self._layout.core(self._index)
        own = self._view(core)
        self._normaliser.apply(own, core)
        return own

    def close(self) -> None:
        """Free the memory and remove what was parked on disk."""
        self._parking.close()
        self._storage.free()
        self._sum = self._storage.array((0,))

    def _shared(self, index: tuple[int, ...], source: tuple[int, ...]) -> Slices:
        """Return the part of a block that the tiles of another one reach."""
        both = zip(self._layout.core(index), self._layout.extent(source), strict=True)
        return tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in both)

    def _view(self, where: Slices) -> npt.NDArray[np.float32]:
        inside = (
            slice(part.start - origin.start, part.stop - origin.start)
            for part, origin in zip(where, self._extent, strict=True)
        )
        return self._sum[(slice(None), *inside)]
