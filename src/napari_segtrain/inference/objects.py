"""The second half of a prediction with instances: from the parts a sink holds to numbered objects."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from napari_segtrain.config import InferenceConfig

from .instances import Evidence, Floats, Labels, separate_instances
from .layout import BlockLayout
from .outputs import InstanceParts, OutputPlan
from .sinks import Sink
from .stitching import WHOLE_VOXELS, separate_blocks
from .stream import CancelCheck, ProgressCallback
from .tiling import Slices


def write_instances(
    sink: Sink,
    plan: OutputPlan,
    layout: BlockLayout,
    ndim: int,
    inference: InferenceConfig,
    progress: ProgressCallback | None,
    cancel: CancelCheck | None,
) -> bool:
    """Separate the objects of all instance targets that a finished stream has left the parts of.

    Parameters
    ----------
    sink
        Holds the parts and takes the objects.
    plan
        Says which targets.
    layout
        Of the stream; its blocks are the pieces in which large outputs are worked on.
    ndim
        Axes of the network. The planes of a stack are separate images: no object lies in two of them, and
        numbers go on from one plane to the next.
    inference
        Thresholds and smallest size.
    progress, cancel
        As for the stream.

    Returns
    -------
    bool
        Whether it was finished.
    """
    size = layout.grid.size
    stack = [range(extent) for extent in size[: len(size) - ndim]]
    places = list(itertools.product(plan.instances.items(), itertools.product(*stack)))
    begin = time.perf_counter()
    last: dict[str, int] = {}
    for done, ((name, parts), plane) in enumerate(places):

        def advance(share: float, done: int = done) -> bool:
            fraction = (done + share) / len(places)
            if progress is not None:
                spent = time.perf_counter() - begin
                progress(fraction, spent / fraction - spent if fraction > 0 else None)
            return not (cancel is not None and cancel())

        piece = _Piece(sink, name, parts, plane, last.get(name, 0))
        if not piece.separate(size[len(plane) :], layout.block[len(plane) :], inference, advance):
            return False
        last[name] = piece.highest
    if progress is not None:
        progress(1.0, 0.0)
    return True


class _Piece:
    """One target in one volume, or in one plane of a stack."""

    def __init__(
        self, sink: Sink, name: str, parts: InstanceParts, plane: tuple[int, ...], offset: int
    ) -> None:
        self._sink, self._name, self._parts = sink, name, parts
        self._plane = tuple(slice(place, place + 1) for place in plane)
        self._offset = self.highest = offset

    def separate(
        self,
        size: tuple[int, ...],
        block: tuple[int, ...],
        inference: InferenceConfig,
        advance: Callable[[float], bool],
    ) -> bool:
        if math.prod(size) <= WHOLE_VOXELS:
            if not advance(0.0):
                return False
            everything = tuple(slice(0, extent) for extent in size)
            evidence = self._read(everything)
            labels = separate_instances(evidence.foreground, evidence.boundary, evidence.distance, inference)
            self._write(everything, labels)
            return True
        with TemporaryDirectory(prefix="instances-", dir=self._sink.scratch) as folder:
            return separate_blocks(self._read, self._write, size, block, inference, Path(folder), advance)

    def _read(self, where: Slices) -> Evidence:
        def part(name: str) -> Floats:
            values = self._sink.read(f"{name}~part", (*self._plane, *where))
            return values.reshape(values.shape[1 + len(self._plane) :])

        boundary, distance = self._parts.boundary, self._parts.distance
        return Evidence(
            part(self._parts.foreground),
            part(boundary) if boundary is not None else None,
            part(distance) if distance is not None else None,
        )

    def _write(self, where: Slices, labels: Labels) -> None:
        numbered = np.where(labels > 0, labels + self._offset, 0).astype(np.int32)
        self.highest = max(self.highest, int(numbered.max(initial=0)))
        lead = (1,) * (1 + len(self._plane))
        self._sink.replace(self._name, (*self._plane, *where), numbered.reshape(*lead, *labels.shape))
