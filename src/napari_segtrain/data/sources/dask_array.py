"""Dask arrays. Dask itself is not imported: whoever passes one has it."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...config import DataError
from .base import Regions
from .cache import fetch_chunks
from .stored import OpenOptions, Stored

_keys = itertools.count()


def open_dask(array: Any, options: OpenOptions) -> Stored:
    """Open a dask array; a region computes the chunks that it touches, and nothing else.

    Parameters
    ----------
    array
        A `dask.array.Array` of known shape.
    options
        With `cache`, computed chunks are kept.

    Raises
    ------
    DataError
        When the array does not know its shape.
    """
    if any(math.isnan(n) for sizes in array.chunks for n in sizes):
        raise DataError("a dask array of unknown shape cannot be used. Call compute_chunk_sizes() on it.")
    shape = tuple(int(n) for n in array.shape)
    chunks = tuple(int(max(sizes)) for sizes in array.chunks)

    def fetch(index: Regions) -> NDArray[Any]:
        return np.asarray(array[index].compute())[...]

    name = f"dask array {shape}"
    if options.cache and not options.labels:
        cached = partial(
            fetch_chunks,
            key=("dask", next(_keys)),
            chunks=chunks,
            shape=shape,
            dtype=array.dtype,
            fetch=fetch,
        )
        return Stored(name, shape, array.dtype, cached, None, chunks)
    return Stored(name, shape, array.dtype, fetch, None, chunks)
