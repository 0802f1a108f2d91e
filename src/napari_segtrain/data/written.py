"""Skips the parts of a store that nobody ever wrote to."""

from __future__ import annotations

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

    def divide(self, blocks: Iterable[Box]) -> tuple[list[Box], list[Box]]:
        """Return the blocks in which something may be written, and those in which nothing ever was."""
        if self._chunks is None:
            return list(blocks), []
        written: list[Box] = []
        empty: list[Box] = []
        for block in blocks:
            (written if self._chunks[self._part(block)].any() else empty).append(block)
        return written, empty

    def _part(self, box: Box) -> Box:
        chunks = self._source.chunks
        return tuple(slice(s.start // c, -(-s.stop // c)) for s, c in zip(box, chunks, strict=True))
