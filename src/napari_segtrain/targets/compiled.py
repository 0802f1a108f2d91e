"""Compiling single passes over a patch, which numpy would need many of, by numba.

Kernels work on three axes; planes get a first axis of length 1. They release the interpreter's lock, so
that sampler threads run side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile, keeping the machine code on disk where a folder for it can be written."""
    try:
        return cast(F, numba.njit(function, nogil=True, cache=True))
    except RuntimeError:
        return cast(F, numba.njit(function, nogil=True))


def as_volume(array: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous array of three axes."""
    return np.ascontiguousarray(array).reshape((1,) * (3 - array.ndim) + array.shape)


def three_spacings(spacing: Sequence[float]) -> NDArray[np.float32]:
    """Return three spacings, 1 for a missing first axis."""
    return np.array([1.0] * (3 - len(spacing)) + list(spacing), np.float32)
