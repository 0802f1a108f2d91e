"""Memory that is used again, and memory that is given back: the heap stays as small as what is in use."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable, Sequence
from functools import cache

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


def return_free_memory() -> None:
    """Give what the heap keeps without using it back to the system, where the C library has a call for it.

    Each thread of Zarr has a heap of its own, with room for the largest chunk it ever encoded.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, other C libraries do not
