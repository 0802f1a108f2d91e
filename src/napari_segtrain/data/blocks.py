"""Cuts a box of voxels into pieces that are read one at a time, so that memory stays bounded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

Box = tuple[slice, ...]


def iter_blocks(start: Sequence[int], stop: Sequence[int], chunks: Sequence[int], limit: int) -> list[Box]:
    """Return boxes that cover ``[start, stop)`` exactly once, each at most `limit` voxels.

    Blocks are whole chunks (a chunk that is cut is decompressed twice) and grow along the last axis
    first, which is the order of the voxels in a file.

    Parameters
    ----------
    start, stop
        The box, in voxels, in array order.
    chunks
        Size of the stored chunks, as `Source.chunks`.
    limit
        Most voxels a block. Only a chunk that is larger than this makes a larger block.

    Returns
    -------
    list of tuple of slice
        In array order.
    """
    size = list(chunks)
    for axis in reversed(range(len(size))):
        fitting = max(1, limit // math.prod(size))
        needed = -(-stop[axis] // chunks[axis])
        size[axis] *= max(1, min(fitting, needed))
    ranges = [_pieces(start[axis], stop[axis], size[axis]) for axis in range(len(size))]
    return list(itertools.product(*ranges))


def _pieces(start: int, stop: int, step: int) -> list[slice]:
    """Cut ``[start, stop)`` at the multiples of `step`, where chunks begin."""
    edges = [start, *range((start // step + 1) * step, stop, step), stop]
    return [slice(low, high) for low, high in itertools.pairwise(edges) if high > low]
