"""Keeps decoded blocks in memory, bounded, shared by all sources and threads."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Regions

MOST_BYTES = 2 * 2**30
"""The cache never grows beyond this, and never beyond a quarter of the free memory."""


class BlockCache:
    """A cache of arrays that forgets what was not used for longest.

    Parameters
    ----------
    max_bytes
        Most memory that the kept arrays may take.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._blocks: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._gates: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the array kept under `key`; call `load` once when there is none.

        Threads that ask for one key at a time wait for one load. An array larger than the whole
        cache is returned without being kept.

        Returns
        -------
        ndarray
            Not writable: others hold it too.
        """
        with self._lock:
            block = self._found(key)
            if block is not None:
                return block
            gate = self._gates.setdefault(key, threading.Lock())
        with gate:
            with self._lock:
                block = self._found(key)
            if block is None:
                try:
                    block = load()
                    block.setflags(write=False)
                    self._keep(key, block)
                finally:
                    with self._lock:
                        self._gates.pop(key, None)
            return block

    def _found(self, key: Hashable) -> NDArray[Any] | None:
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
        return block

    def _keep(self, key: Hashable, block: NDArray[Any]) -> None:
        if block.nbytes > self.max_bytes:
            return
        with self._lock:
            self._blocks[key] = block
            self.nbytes += block.nbytes
            while self.nbytes > self.max_bytes:
                _, oldest = self._blocks.popitem(last=False)
                self.nbytes -= oldest.nbytes


@cache
def shared_cache() -> BlockCache:
    """Return the cache of this process."""
    return BlockCache(_budget(1))


def share_cache(processes: int) -> None:
    """Let the cache of this process leave room for those of others on this machine that read the same."""
    shared_cache().max_bytes = min(shared_cache().max_bytes, _budget(processes))


def _budget(processes: int) -> int:
    from ..ram import main_memory

    return min(MOST_BYTES, main_memory().free // 4) // processes


def fetch_chunks(
    index: Regions,
    *,
    key: Hashable,
    chunks: tuple[int, ...],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    fetch: Callable[[Regions], NDArray[Any]],
    stamp: Callable[[tuple[int, ...]], Hashable] | None = None,
) -> NDArray[Any]:
    """Return a part of a chunked array, with every chunk decoded once and kept in the shared cache.

    Parameters
    ----------
    index
        One slice an axis, inside `shape`, without steps.
    key
        Names the array in the cache.
    chunks, shape, dtype
        Of the stored array.
    fetch
        Decodes the part of the stored array that lies in the given slices.
    stamp
        Takes the index of a chunk and returns what changes whenever the chunk is written again.
    """

    def kept(cell: tuple[int, ...], box: Regions) -> NDArray[Any]:
        full_key = (key, cell, stamp(cell) if stamp is not None else None)
        return shared_cache().get(full_key, partial(_decoded, fetch, box))

    return assemble(index, chunks, shape, dtype, kept)


def assemble(
    index: Regions,
    chunks: tuple[int, ...],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    load: Callable[[tuple[int, ...], Regions], NDArray[Any]],
) -> NDArray[Any]:
    """Return a part of a chunked array, put together from the chunks that it touches.

    Parameters
    ----------
    index
        One slice an axis, inside `shape`, without steps.
    chunks, shape, dtype
        Of the array.
    load
        Takes the index of a chunk and the slices of the array that it fills, and returns these voxels.
    """
    out = np.empty([s.stop - s.start for s in index], dtype)
    cells = [range(s.start // c, -(-s.stop // c)) for s, c in zip(index, chunks, strict=True)]
    for cell in itertools.product(*cells):
        box = tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(cell, chunks, shape, strict=True))
        block = load(cell, box)
        inside = [slice(max(s.start, b.start), min(s.stop, b.stop)) for s, b in zip(index, box, strict=True)]
        take = tuple(slice(i.start - b.start, i.stop - b.start) for i, b in zip(inside, box, strict=True))
        put = tuple(slice(i.start - s.start, i.stop - s.start) for i, s in zip(inside, index, strict=True))
        out[put] = block[take]
    return out


def _decoded(fetch: Callable[[Regions], NDArray[Any]], box: Regions) -> NDArray[Any]:
    return np.ascontiguousarray(fetch(box))
