"""Arrays in memory, memory-mapped files, and anything else that is sliced like an array."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ...config import DataError
from .stored import OpenOptions, Stored, check_level


def open_array(array: Any, options: OpenOptions) -> Stored:
    """Open an array that is there already: numpy, h5py, tensorstore, xarray.

    Parameters
    ----------
    array
        Has ``shape``, ``dtype`` and slicing; is not copied.
    options
        Not needed.

    Raises
    ------
    DataError
        When its type is none of numpy's.
    """
    shape = tuple(int(n) for n in array.shape)
    try:
        dtype = np.dtype(array.dtype)
    except TypeError:
        raise DataError(
            f"array {shape}: voxels of type {array.dtype} cannot be read. Give a numpy array; of a tensor, "
            "tensor.cpu().numpy()."
        ) from None
    # `[...]` makes a view of what may be the array itself, so that the reader knows to copy it.
    return Stored(f"array {shape}", shape, dtype, lambda index: np.asarray(array[index])[...])


def open_npy(path: Path, options: OpenOptions) -> Stored:
    """Memory-map a ``.npy`` file.

    Raises
    ------
    DataError
        When the file is damaged, truncated, or holds Python objects.
    """
    check_level(str(path), options.level, 1)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not a readable .npy file ({error}). Save the array again.") from error
    return Stored(str(path), array.shape, array.dtype, lambda index: array[index], path=path)


def open_memmap(spec: dict[str, Any], options: OpenOptions) -> Stored:
    """Memory-map the raw file that stands for a layer: ``path``, ``shape``, ``dtype``, ``offset``.

    What another process writes into the file is seen at once.

    Raises
    ------
    DataError
        When the file is missing, or smaller than the array.
    """
    path = Path(spec["path"])
    try:
        shape, dtype = tuple(int(n) for n in spec["shape"]), np.dtype(spec["dtype"])
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(
            f"{path}: a memory map needs the shape and the dtype of its array, such as "
            f'"shape": [64, 512, 512], "dtype": "uint8"; {error!r} was found.'
        ) from error
    offset = int(spec.get("offset", 0))
    needed = math.prod(shape) * dtype.itemsize + offset
    if not path.is_file():
        raise DataError(f"{path}: the file of this layer does not exist (any more). Choose the layer again.")
    if path.stat().st_size < needed:
        raise DataError(
            f"{path}: {path.stat().st_size} bytes are there, {needed} are needed for {shape} of {dtype}. The "
            "layer changed its shape, or the disk is full; choose the layer again."
        )
    check_level(str(path), options.level, 1)
    array = np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape)
    return Stored(str(path), shape, dtype, lambda index: array[index], path=path)
