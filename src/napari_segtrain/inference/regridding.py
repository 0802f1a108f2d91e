"""Summed predictions on the grid of the training data, brought to that of the image block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .layout import BlockLayout
from .moving import write_block
from .outputs import OutputPlan
from .resampling import resample
from .sinks import Sink
from .stream import CancelCheck, ProgressCallback
from .tiling import Slices


class Regridded:
    """An output of a sink, as it is on another grid that covers the same extent.

    Parameters
    ----------
    sink
        Has the output, of a part of its grid.
    output
        Its name; `(channels, *part)`.
    channels
        How many it has.
    shape
        Spatial shape of the grid.
    part
        The part of it that the sink has.
    """

    def __init__(self, sink: Sink, output: str, channels: int, shape: Sequence[int], part: Slices) -> None:
        self._sink, self._output, self._channels = sink, output, channels
        self._shape, self._part = shape, part

    def write_to(
        self,
        sink: Sink,
        plan: OutputPlan,
        layout: BlockLayout,
        pending: npt.NDArray[np.bool_],
        progress: ProgressCallback | None,
        cancel: CancelCheck | None,
    ) -> bool:
        """Write the pending blocks of another sink from it; returns whether nobody cancelled.

        Parameters
        ----------
        sink
            Open, for the outputs of `plan`.
        layout
            Its blocks, on its grid.
        pending
            Bool, `layout.counts`.
        progress
            Told the finished share.
        cancel
            Asked before each block.
        """
        grid = layout.grid
        for number, index in enumerate(layout):
            if cancel is not None and cancel():
                return False
            if pending[index]:
                core = layout.core(index)
                where = tuple(
                    slice(b.start + c.start, b.start + c.stop) for b, c in zip(grid.bounds, core, strict=True)
                )
                values = resample(self._read, self._channels, self._shape, grid.shape, where)
                write_block(sink, plan, core, values)()
            if progress is not None:
                progress((number + 1) / len(layout), None)
        return True

    def _read(self, where: Slices) -> npt.NDArray[Any]:
        inside = (slice(w.start - p.start, w.stop - p.start) for w, p in zip(where, self._part, strict=True))
        return self._sink.read(self._output, tuple(inside))
