"""Skips the parts of a store that nobody ever wrote to."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .blocks import Box
from .sources.base import Source


class WrittenChunks:
    """Knows which blocks of a source hold nothing but zeros, where the storage can tell."""

    def __init__(self, source: Source) -> None:
        self._source = source
        ask = getattr(source, "written_boxes", None)
        boxes = ask() if ask is not None else None
        self._chunks: NDArray[np.bool_] | None = None
        if boxes is not None:
            counts = [-(-n // c) for n, c in zip(source.shape, source.chunks, strict=True)]
            self._chunks = np.zeros(counts, np.bool_)
            for box in boxes:
                self._chunks[self._part(box)] = True

    def divide(self, blocks: Iterable[Box], limit: int = 0) -> tuple[list[Box], list[Box]]:
        """Return the blocks in which something may be written, and those in which nothing ever was.

        Parameters
        ----------
        blocks
            In array order.
        limit
            Written blocks that are neighbours along the last axis become one, of at most so many voxels: a
            store decodes several chunks in one call faster than in several.
        """
        if self._chunks is None:
            return list(blocks), []
        written: list[Box] = []
        empty: list[Box] = []
        for block in blocks:
            if not self._chunks[self._part(block)].any():
                empty.append(block)
            elif written and (joined := _joined(written[-1], block, limit)) is not None:
                written[-1] = joined
            else:
                written.append(block)
        return written, empty

    def _part(self, box: Box) -> Box:
        chunks = self._source.chunks
        return tuple(slice(s.start // c, -(-s.stop // c)) for s, c in zip(box, chunks, strict=True))


def _joined(first: Box, second: Box, limit: int) -> Box | None:
    """Return two neighbours along the last axis as one box, None when they are not, or it were too large."""
    if first[:-1] != second[:-1] or first[-1].stop != second[-1].start:
        return None
    both = (*first[:-1], slice(first[-1].start, second[-1].stop))
    return both if math.prod(s.stop - s.start for s in both) <= limit else None
