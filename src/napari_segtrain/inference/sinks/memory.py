"""Output as arrays in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..layout import BlockLayout
from ..outputs import Output
from ..tiling import Slices
from .base import Job, default_chunks


class MemorySink:
    """Keeps whole outputs.

    Parameters
    ----------
    keep_parts
        Keep what instances are made of, too.

    Attributes
    ----------
    arrays
        Output name to `(channels, *spatial)`.
    """

    def __init__(self, *, keep_parts: bool = False) -> None:
        self._keep_parts = keep_parts
        self.arrays: dict[str, npt.NDArray[Any]] = {}
        self.title = "the result"
        self.scratch: Path | None = None
        self._parts: list[str] = []

    @property
    def complete(self) -> bool:
        """Never: nothing outlives the process."""
        return False

    def chunks(self, size: tuple[int, ...], ndim: int) -> tuple[int, ...]:
        """See `Sink.chunks`."""
        return default_chunks(size, ndim)

    def open(self, job: Job, outputs: Sequence[Output], block: tuple[int, ...]) -> tuple[int, ...]:
        """See `Sink.open`."""
        self.arrays = {o.name: np.zeros((o.channels, *job.size), o.dtype) for o in outputs}
        self._parts = [o.name for o in outputs if o.form == "part"]
        return block

    def pending(self, layout: BlockLayout) -> npt.NDArray[np.bool_]:
        """All blocks."""
        return np.ones(layout.counts, np.bool_)

    def write(self, where: Slices, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """See `Sink.write`."""
        for name, values in arrays.items():
            self.replace(name, where, values)

    def read(self, name: str, where: Slices) -> npt.NDArray[Any]:
        """See `Sink.read`."""
        return self.arrays[name][(slice(None), *where)]

    def replace(self, name: str, where: Slices, values: npt.NDArray[Any]) -> None:
        """See `Sink.replace`."""
        self.arrays[name][(slice(None), *where)] = values

    def close(self, completed: bool) -> None:
        """Forget the parts that instances were made of."""
        if completed and not self._keep_parts:
            for name in self._parts:
                self.arrays.pop(name, None)
