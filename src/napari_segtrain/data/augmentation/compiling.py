"""How the inner loops are compiled by numba.

Signatures are explicit, so that a module of loops is compiled, or loaded from disk, when it is imported and
never in the middle of training: one kind of array for each argument, read-only ones included. Loops run
along x without branches, which LLVM turns into vector code. Fast arithmetic (reordered sums, no care for
NaN) is safe here: coordinates are finite by construction, and an index computed from data is cut to its
table before it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba import types

F = TypeVar("F", bound=Callable[..., Any])

float32, float64 = types.float32, types.float64
int32, int64, uint64 = types.int32, types.int64, types.uint64
WORDS = (types.uint8, types.uint16, types.uint32, types.uint64)


def reads(dtype: Any, ndim: int) -> Any:
    """Return the type of a contiguous array that is only read; writeable ones convert to it."""
    return types.Array(dtype, ndim, "C", readonly=True)


def writes(dtype: Any, ndim: int) -> Any:
    """Return the type of a contiguous array that is written."""
    return types.Array(dtype, ndim, "C")


def compiled(*arguments: tuple[Any, ...]) -> Callable[[F], F]:
    """Compile a function for each tuple of argument types, without a result.

    It runs without the interpreter lock, and is kept on disk between processes.
    """
    signatures = [types.void(*types_) for types_ in arguments]
    return cast("Callable[[F], F]", numba.njit(signatures, cache=True, nogil=True, fastmath=True))
