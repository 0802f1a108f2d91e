"""Prediction in bounded memory: read a block, predict its tiles, write what is finished, forget it."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_segtrain.data.heap import Reused, memory_kept, return_free_memory

from .accumulation import Accumulator
from .blending import Blending, Normaliser
from .layout import BlockLayout
from .tiling import Slices, Tile

ProgressCallback = Callable[[float, float | None], None]
"""Called with the finished share, 0 … 1, and the expected seconds that are left (None: not known yet)."""

CancelCheck = Callable[[], bool]
"""Asked before each batch of tiles; True ends the prediction."""

_SECONDS_BETWEEN_REPORTS = 0.1


class Outcome(enum.StrEnum):
    """How a prediction ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class StreamResult:
    """What a prediction did.

    Attributes
    ----------
    outcome
        How it ended. A cancelled one can be taken up again where the output can.
    tiles, skipped
        Tiles that were due, and how many of them were empty and not predicted.
    blocks
        Blocks of the output that were written now; those an earlier attempt wrote are not counted.
    seconds
        How long it took.
    """

    outcome: Outcome
    tiles: int
    skipped: int
    blocks: int
    seconds: float

    def cancelled(self) -> StreamResult:
        """Return the same with the outcome of a prediction that was ended by the user."""
        return replace(self, outcome=Outcome.CANCELLED)


class TileModel(Protocol):
    """What predicts batches of tiles."""

    batch_size: int
    channels: int
    empty: npt.NDArray[np.float32] | None

    def load(self, slot: int, values: npt.NDArray[np.float32]) -> None:
        """Put one tile's image, `(C, *tile)`, into a place of the batch."""

    def predict(self, count: int) -> npt.NDArray[np.float32]:
        """Return predictions times weights, `(count, channels, *tile)`, valid until the next call."""


@dataclass(frozen=True)
class BlockStream:
    """Everything one pass over an image needs.

    Attributes
    ----------
    layout
        Blocks and tiles.
    blending
        Weights of the tiles; `model` has multiplied its predictions by them.
    read
        Returns a part of the image as it is stored, `(C, *part)`, new and writable.
    prepare
        Normalises what was read, `(C, *part)`, into a float32 array of the same shape.
    model
        Predicts tiles.
    write
        Takes the place of a finished block in the output and its averaged predictions, `(channels,
        *part)`, which it must have copied or encoded when it returns; what it returns is run in the
        background.
    skip_empty
        Whether tiles in which every channel is constant are left out; they count as `model.empty`.
    folder
        Where sums wait on disk; None is memory.
    """

    layout: BlockLayout
    blending: Blending
    read: Callable[[Slices], npt.NDArray[Any]]
    prepare: Callable[[npt.NDArray[Any], npt.NDArray[np.float32]], None]
    model: TileModel
    write: Callable[[Slices, npt.NDArray[np.float32]], Callable[[], None]]
    skip_empty: bool = True
    folder: Path | None = None

    def run(
        self,
        pending: npt.NDArray[np.bool_] | None = None,
        progress: ProgressCallback | None = None,
        cancel: CancelCheck | None = None,
    ) -> StreamResult:
        """Predict all pending blocks.

        Parameters
        ----------
        pending
            Blocks to finish, bool of shape `layout.counts`; None is all of them.
        progress, cancel
            See `ProgressCallback` and `CancelCheck`.
        """
        pending = np.ones(self.layout.counts, np.bool_) if pending is None else pending
        clock = _Clock(self.layout.count_tiles(pending), progress)
        normaliser = Normaliser(self.layout.grid, self.blending)
        sums = Accumulator(self.layout, self.model.channels, normaliser, pending, self.folder)
        due = ((index, self.layout.tiles(index, pending)) for index in self.layout)
        work = (item for item in due if item[1] or pending[item[0]])
        blocks = 0
        outcome = Outcome.COMPLETED
        # One thread reads ahead, one writes behind; both are mostly decompression, which frees Python's lock.
        with memory_kept() as alone, ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            writing: Future[None] | None = None
            ahead = _ReadAhead(work, reader, self.read)
            image = Reused()
            try:
                for index, tiles, origin, raw in ahead:
                    sums.begin(index)
                    if not self._predict(tiles, origin, raw, image, sums, clock, cancel):
                        outcome = Outcome.CANCELLED
                        break
                    del raw
                    own = sums.finish()
                    if own is None:
                        continue
                    # Before the block is encoded: what waits to be written exists once.
                    if writing is not None:
                        writing.result()
                    if alone:  # what a training keeps beside this, it needs in its next step
                        return_free_memory()
                    writing = writer.submit(self.write(self.layout.core(index), own))
                    blocks += 1
                if writing is not None:
                    writing.result()
            finally:
                ahead.close()
                sums.close()
        clock.report(force=True)
        return StreamResult(outcome, clock.total, clock.skipped, blocks, clock.elapsed)

    def _predict(
        self,
        tiles: list[Tile],
        origin: tuple[int, ...],
        raw: npt.NDArray[Any],
        memory: Reused,
        sums: Accumulator,
        clock: _Clock,
        cancel: CancelCheck | None,
    ) -> bool:
        """Add all tiles of a block; False when the user cancelled."""
        if cancel is not None and cancel():
            return False
        wanted: list[Tile] = []
        for tile in tiles:
            if self.skip_empty and is_constant(raw[_inside(tile.crop, origin)]):
                if self.model.empty is not None:
                    sums.add(tile, self.model.empty)
                clock.skip()
            else:
                wanted.append(tile)
        image = memory.array(raw.shape if wanted else (0,))
        if wanted:
            self.prepare(raw, image)
        while wanted:
            if cancel is not None and cancel():
                return False
            # Asked each time: a model that ran out of memory takes fewer tiles from then on.
            batch, wanted = wanted[: self.model.batch_size], wanted[self.model.batch_size :]
            for slot, tile in enumerate(batch):
                values = image[_inside(tile.crop, origin)]
                self.model.load(slot, pad_tile(values, tile))
            for tile, weighted in zip(batch, self.model.predict(len(batch)), strict=True):
                sums.add(tile, weighted)
            clock.tick(len(batch))
        return True


def is_constant(values: npt.NDArray[Any]) -> bool:
    """Return whether every channel of `(C, *spatial)` has one value only."""
    first = values[(slice(None), *(slice(0, 1),) * (values.ndim - 1))]
    # Most tiles of real images differ within a few voxels: a sparse sample decides those at once.
    sample = values[(slice(None), *(slice(None, None, 16),) * (values.ndim - 1))]
    return bool((sample == first).all()) and bool((values == first).all())


def pad_tile(values: npt.NDArray[np.float32], tile: Tile) -> npt.NDArray[np.float32]:
    """Reflect the image at its border where it is smaller than the tile."""
    if not any(after for _, after in tile.pad):
        return values
    return np.pad(values, ((0, 0), *tile.pad), mode="reflect" if min(values.shape[1:]) > 1 else "edge")


def _inside(crop: Slices, origin: tuple[int, ...]) -> tuple[slice, ...]:
    parts = (slice(c.start - o, c.stop - o) for c, o in zip(crop, origin, strict=True))
    return (slice(None), *parts)


Work = Iterator[tuple[tuple[int, ...], list[Tile]]]


class _ReadAhead:
    """Yields blocks with their image, the next one being read meanwhile."""

    def __init__(
        self, work: Work, pool: ThreadPoolExecutor, read: Callable[[Slices], npt.NDArray[Any]]
    ) -> None:
        self._work, self._pool, self._read = work, pool, read
        self._next = self._submit()

    def _submit(self) -> tuple[tuple[int, ...], list[Tile], tuple[int, ...], Future[Any] | None] | None:
        try:
            index, tiles = next(self._work)
        except StopIteration:
            return None
        if not tiles:
            return index, tiles, (), None
        crops = [tile.crop for tile in tiles]
        box = tuple(
            slice(min(c[axis].start for c in crops), max(c[axis].stop for c in crops))
            for axis in range(len(crops[0]))
        )
        return index, tiles, tuple(part.start for part in box), self._pool.submit(self._read, box)

    def __iter__(self) -> _ReadAhead:
        return self

    def __next__(self) -> tuple[tuple[int, ...], list[Tile], tuple[int, ...], npt.NDArray[Any]]:
        if self._next is None:
            raise StopIteration
        index, tiles, origin, future = self._next
        raw = future.result() if future is not None else np.empty(0)
        self._next = self._submit()
        return index, tiles, origin, raw

    def close(self) -> None:
        """Drop what was read and not asked for."""
        if self._next is not None and self._next[3] is not None:
            self._next[3].cancel()
        self._next = None


class _Clock:
    """Counts tiles and tells how long the rest will take."""

    def __init__(self, total: int, progress: ProgressCallback | None) -> None:
        self.total, self.skipped, self._done = total, 0, 0
        self._progress = progress
        self._begin = self._reported = time.perf_counter()

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._begin

    def skip(self) -> None:
        self.skipped += 1
        self._done += 1

    def tick(self, tiles: int) -> None:
        self._done += tiles
        self.report()

    def report(self, force: bool = False) -> None:
        now = time.perf_counter()
        if self._progress is None or (not force and now - self._reported < _SECONDS_BETWEEN_REPORTS):
            return
        self._reported = now
        predicted = self._done - self.skipped
        left = self.elapsed / predicted * (self.total - self._done) if predicted else None
        self._progress(self._done / max(self.total, 1), left)
