"""The shared copy of a layer's array, brought up to date where the two differ."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...config import DataError, SegtrainError
from .boxes import Box, around, joined, volume, within
from .data_spec import Mirror

_AT_ONCE = 2**22
"""Voxels compared at once."""


@dataclass
class Update:
    """Brings boxes of a shared copy up to date, on any thread; `end` lets another one do so instead.

    Attributes
    ----------
    mirror
        Whose copy it is.
    array
        The layer's array; read box by box, so that it may be lazy.
    copy
        The shared array, of the same shape.
    boxes
        Where the two may differ.
    changed
        Where they did differ, tightly, as far as `run` has come.
    fault
        Why it could not go on.
    """

    mirror: Mirror
    array: Any
    copy: np.ndarray[Any, Any]
    boxes: list[Box]
    changed: list[Box] = field(default_factory=list)
    fault: SegtrainError | None = None
    _ended: bool = False
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def voxels(self) -> int:
        """How many voxels are compared."""
        return sum(volume(box) for box in self.boxes)

    def run(self) -> Iterator[None]:
        """Compare and write, a few million voxels at a step."""
        found: list[Box] = []
        try:
            for box in self.boxes:
                for place in slabs(box):
                    with self._guard:
                        if self._ended:
                            return
                        changed = self._write(place)
                    if changed is not None:
                        found.append(changed)
                    yield
        except SegtrainError as error:
            self.fault = error
        self.changed = joined(found)

    def end(self) -> None:
        """Have nothing more written, on whatever thread that is; waits for the step that is under way."""
        self._ended = True
        with self._guard:
            return

    def afresh(self) -> Update:
        """Return the same update, from the begin."""
        return Update(self.mirror, self.array, self.copy, self.boxes)

    def _write(self, place: Box) -> Box | None:
        """Write one block where it differs; return the box around the differences."""
        try:
            block = np.asarray(self.array[place])
        except Exception as error:
            # The array may be anybody's: of dask, of a store on a network.
            raise DataError(f"its voxels cannot be read ({type(error).__name__}: {error})") from error
        new = block.astype(self.copy.dtype, copy=False)
        if new.dtype != block.dtype and new.dtype.kind in "biu" and not np.array_equal(new, block):
            raise DataError(
                f"it now holds the value {block[new != block].flat[0]}, which does not fit into "
                f"{self.copy.dtype}, the type that training began with. Stop and start again to use it"
            )
        changed = around(self.copy[place] != new, place)
        if changed is not None:
            self.copy[changed] = new[within(changed, place)]
        return changed


def slabs(box: Box) -> Iterator[Box]:
    """Cut a box along its first axis, into parts of a few million voxels."""
    rows = max(1, _AT_ONCE // max(1, volume(box[1:])))
    for first in range(box[0].start, box[0].stop, rows):
        yield (slice(first, min(first + rows, box[0].stop)), *box[1:])
