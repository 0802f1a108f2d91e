"""The largest label of a layer: read once, and then only where the layer was edited."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .boxes import Box, whole
from .edits import LayerEdits

_AT_ONCE = 2**22
"""Voxels that are read together, unless a chunk of the array has more."""


@dataclass(frozen=True)
class Look:
    """What a worker has to read to know the largest label of a layer.

    Attributes
    ----------
    data
        Array of the layer.
    ignored
        A label that does not count: the one that means unlabelled.
    known
        A number that no label of the layer exceeded when it was last looked at; None when nothing is known.
    boxes
        Where it was edited since.
    turn
        How often the layer has become unknown.
    """

    data: Any
    ignored: int
    known: int | None
    boxes: tuple[Box, ...]
    turn: int

    def read(self, advance: Callable[[float], bool]) -> int | None:
        """Return a number that no label exceeds, None when it was ended.

        Parameters
        ----------
        advance
            Told the finished share; False ends it.
        """
        pieces = blocks_of(self.data) if self.known is None else list(self.boxes)
        largest = self.known or 0
        for done, piece in enumerate(pieces):
            if not advance(done / len(pieces)):
                return None
            labels = np.asarray(self.data[piece])
            if self.ignored > 0:
                labels = labels[labels != self.ignored]
            largest = max(largest, int(np.max(labels, initial=0)))
        return largest

    def anew(self) -> Look:
        """Return what is to be read to know it exactly: everything."""
        return replace(self, known=None)


class LargestLabel:
    """Knows the largest label of one layer; made, asked and told on the main thread.

    What is taken back by an undo is not forgotten, so that it may be too large. What a script writes into a
    store is not noticed.

    Parameters
    ----------
    viewer
        The napari viewer.
    layer
        A Labels layer.
    """

    def __init__(self, viewer: Any, layer: Any) -> None:
        self._layer = layer
        self._known: int | None = None
        self._boxes: tuple[Box, ...] = ()
        self._ignored = self._turn = 0
        self._edits = LayerEdits(viewer, layer, self._on_edit, self._forget)

    def look(self, ignored: int) -> Look:
        """Return what has to be read when a label, that which means unlabelled, does not count."""
        self._edits.look()  # of a hidden layer
        if ignored != self._ignored:
            self._ignored = ignored
            self._forget(self._layer)
        return Look(self._layer.data, ignored, self._known, self._boxes, self._turn)

    def keep(self, look: Look, largest: int) -> None:
        """Remember what was read."""
        if look.turn == self._turn:
            self._known = largest
            self._boxes = self._boxes[len(look.boxes) :]

    def close(self) -> None:
        """Follow the edits of the layer no more."""
        self._edits.close()

    def _on_edit(self, layer: Any, boxes: list[Box] | None) -> None:
        if boxes is None:
            # A refresh without a reason, such as of a layer that is shown again, may be a script's that wrote
            # somewhere. An array in memory is soon read; for a store that is read whole there are too many.
            if getattr(layer.data, "chunks", None) is None:
                self._forget(layer)
        elif self._known is not None:
            self._boxes += tuple(boxes)

    def _forget(self, _: Any) -> None:
        self._known, self._boxes, self._turn = None, (), self._turn + 1


def blocks_of(array: Any) -> list[Box]:
    """Cut an array into blocks that are read in one go, of whole chunks where it has chunks."""
    shape = tuple(int(size) for size in array.shape)
    size = list(_chunk(array, shape))
    for axis in reversed(range(len(shape))):
        count = max(1, _AT_ONCE // math.prod(size))
        size[axis] = min(shape[axis], size[axis] * count)
    return list(_cut(whole(shape), size))


def _chunk(array: Any, shape: Sequence[int]) -> tuple[int, ...]:
    chunk = getattr(array, "shards", None) or getattr(array, "chunks", None)
    plain = isinstance(chunk, tuple) and len(chunk) == len(shape) and all(isinstance(n, int) for n in chunk)
    return tuple(chunk) if plain and chunk else (1,) * len(shape)


def _cut(box: Box, size: Sequence[int]) -> Iterator[Box]:
    sides = (
        [slice(start, min(start + step, side.stop)) for start in range(side.start, side.stop, step)]
        for side, step in zip(box, size, strict=True)
    )
    return itertools.product(*sides)
