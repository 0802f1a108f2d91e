"""Chunks of common Zarr arrays on this machine, decoded without Zarr's bookkeeping.

Zarr plans and schedules every read; for a chunk or two that takes several times as long as reading the file
and decoding it. Whatever is not common, or does not work, is left to Zarr.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Regions
from .cache import assemble

MOST_CHUNKS = 8
"""A region of more chunks is left to Zarr, which reads many at a time: what counts on a slow network."""
_DECODERS = ("zstd", "blosc", "gzip", "zlib", "lz4")


def chunk_files(array: Any, folder: Path | None) -> ChunkFiles | None:
    """Return what reads the chunks of a `zarr.Array` from their files; None when only Zarr can.

    Parameters
    ----------
    array
        Of version 2 or 3.
    folder
        Where its files are on this machine; None when they are elsewhere.
    """
    decoders = _decoders(array) if folder is not None and _is_plain(array) else None
    return None if folder is None or decoders is None else ChunkFiles(array, str(folder), decoders)


def _is_plain(array: Any) -> bool:
    """Return whether every chunk is one file that holds, compressed, its voxels as numpy would."""
    from zarr.storage import LocalStore

    serializer = getattr(array, "serializer", None)
    if serializer is not None:
        endian = getattr(getattr(serializer, "endian", None), "value", sys.byteorder)
        if type(serializer).__name__ != "BytesCodec" or endian != sys.byteorder:
            return False
    unsharded = getattr(array, "shards", None) is None
    in_order = getattr(array.metadata, "order", "C") == "C"
    return type(array.store) is LocalStore and unsharded and in_order and not getattr(array, "filters", True)


def _decoders(array: Any) -> tuple[Callable[[bytes], Any], ...] | None:
    """Return what undoes each compression, the last one first; None when one of them is not known."""
    import numcodecs

    found: list[Callable[[bytes], Any]] = []
    for codec in reversed(array.compressors):
        name = codec.codec_id if isinstance(codec, numcodecs.abc.Codec) else codec.to_dict().get("name")
        if name not in _DECODERS:
            return None
        found.append(numcodecs.get_codec({"id": name}).decode)
    return tuple(found)


@dataclass(frozen=True)
class ChunkFiles:
    """A Zarr array whose chunks are files.

    Attributes
    ----------
    array
        A `zarr.Array`.
    folder
        Where its chunks are.
    decoders
        What turns a file's content into voxels, in turn.
    """

    array: Any
    folder: str
    decoders: tuple[Callable[[bytes], Any], ...]

    def read(self, index: Regions) -> NDArray[Any]:
        """Return a part of the array, decoded here when it is of few chunks."""
        array = self.array
        touched = [-(-s.stop // c) - s.start // c for s, c in zip(index, array.chunks, strict=True)]
        if math.prod(touched) <= MOST_CHUNKS:
            # Decoders raise types of their own; whatever is wrong, Zarr reads it after all or says it better.
            with suppress(Exception):
                return assemble(index, array.chunks, array.shape, array.dtype, self._chunk)
        region: NDArray[Any] = array.get_basic_selection(index)
        return region

    def _chunk(self, cell: tuple[int, ...], box: Regions) -> NDArray[Any]:
        """Return the voxels of a chunk, read-only, without what lies beyond the array."""
        array = self.array
        sizes = tuple(s.stop - s.start for s in box)
        name = f"{self.folder}/{array.metadata.encode_chunk_key(cell)}"
        try:
            with open(name, "rb") as file:  # noqa: PTH123 - once a chunk: Path is slower
                content: Any = file.read()
        except FileNotFoundError:
            return np.broadcast_to(np.asarray(array.fill_value, array.dtype), sizes)
        for decode in self.decoders:
            content = decode(content)
        voxels = np.frombuffer(content, array.dtype).reshape(array.chunks)
        return voxels[tuple(slice(0, n) for n in sizes)]
