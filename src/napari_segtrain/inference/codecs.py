"""How many chunks of a store are decoded or encoded together, and by how many threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def few_chunks_at_a_time() -> Iterator[None]:
    """Let Zarr work on a quarter as many chunks as there are processor cores, at least on one.

    One thread reads ahead and another writes behind as it is. Zarr would spread each of them over ten chunks
    and as many threads, each of which keeps the heap of its largest chunk: memory that grows with the number
    of blocks until all threads had their turn.
    """
    if "zarr" not in sys.modules:  # neither input nor output is a store
        yield
        return
    import zarr

    with zarr.config.set({"async.concurrency": _few()}):
        yield


def few_threads_for_chunks() -> None:
    """Let Zarr have a quarter as many threads as there are processor cores, until the process ends.

    Every thread keeps a heap with room for the largest chunk it ever encoded, which no call gives back. For
    a process that predicts and does nothing else; of no effect where Zarr has made its threads already.
    """
    import zarr

    zarr.config.set({"threading.max_workers": _few()})


def _few() -> int:
    return max(1, (os.cpu_count() or 1) // 4)
