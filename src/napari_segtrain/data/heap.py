"""Memory that is used again, and memory that is given back: what is freed, and who has it next."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from threading import Lock

import numpy as np
import numpy.typing as npt


class Reused:
    """One piece of memory for float32 arrays of changing shape, of which one is in use at a time.

    Large arrays that come and go leave holes in the heap, which others do not fit into: a process would
    seem to need more memory the more blocks it has seen.
    """

    def __init__(self) -> None:
        self._storage = np.empty(0, np.float32)

    def array(self, shape: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return an array of a shape, its values undefined; what was returned before is no longer valid."""
        size = math.prod(shape)
        if self._storage.size < size:
            self.free()
            self._storage = np.empty(size, np.float32)
        return self._storage[:size].reshape(shape)

    def free(self) -> None:
        """Let go of the memory."""
        self._storage = np.empty(0, np.float32)


@contextmanager
def memory_kept() -> Iterator[bool]:
    """Let the C library keep what is freed inside, for the next that asks, instead of returning it.

    Every step of a network frees what the next one needs again: arrays of megabytes, which glibc gives back
    to the system at once, and which come back as empty pages, one fault for each 4 KiB. Half of a step's
    time can go there. Afterwards memory is given back as before, and what is free at once. May be nested, and
    entered from several threads. Without glibc nothing changes.

    Yields whether nobody else keeps memory, so that it may be given back in between.

    Source: mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
    """
    global _keeping
    with _lock:
        _keeping += 1
        alone = _keeping == 1
        if alone:
            _set_thresholds(*_KEEP)
    try:
        yield alone
    finally:
        with _lock:
            _keeping -= 1
            if _keeping == 0:
                _set_thresholds(*_RETURN)
                return_free_memory()


def keep_no_memory() -> None:
    """Give back what is free, and from here on what is freed, inside `memory_kept` too: memory ran out.

    What is kept lies in pieces between others, of which the next large array may fit into none.
    """
    with _lock:
        _set_thresholds(*_RETURN)
        return_free_memory()


def return_free_memory() -> None:
    """Give what the heap keeps without using it back to the system, where the C library has a call for it.

    Each thread of Zarr has a heap of its own, with room for the largest chunk it ever encoded.
    """
    if (trim := _libc("malloc_trim")) is not None:
        trim(0)


_lock = Lock()
_keeping = 0
_MMAP, _TRIM = -3, -1
"""What `mallopt` can set: from which size on a piece is mapped by itself, and unmapped when it is freed; and
how much may be free at the end of the heap before it is made shorter."""
_KEEP = 2**30, -1
"""From 1 GiB; never."""
_LARGEST = 2**25
"""What glibc allows for the first before 2.35."""
_RETURN = 2**25, 2**26
"""What glibc arrives at by itself when the thresholds are left to it."""


def _set_thresholds(mapped: int, free: int) -> None:
    if (mallopt := _libc("mallopt")) is not None:
        if not mallopt(_MMAP, mapped):
            mallopt(_MMAP, _LARGEST)
        mallopt(_TRIM, free)


@cache
def _libc(name: str) -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), name, None)  # glibc has it, other C libraries do not
