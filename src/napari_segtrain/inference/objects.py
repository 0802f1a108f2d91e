"""The second half of a prediction with instances: from the parts a sink holds to numbered objects."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from napari_segtrain.config import InferenceConfig

from .instances import Evidence, Floats, Labels
from .layout import BlockLayout
from .outputs import InstanceParts, OutputPlan
from .planes import separate_planes
from .sinks import Sink
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
    spacing: Sequence[float] | None = None,
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
        Thresholds, seed distance and smallest size.
    progress, cancel
        As for the stream.
    spacing
        Size of a voxel, on all axes; None where all its edges are alike.

    Returns
    -------
    bool
        Whether it was finished.
    """
    size = layout.grid.size
    begin = time.perf_counter()
    for done, (name, parts) in enumerate(plan.instances.items()):

        def advance(share: float, done: int = done) -> bool:
            fraction = (done + share) / len(plan.instances)
            if progress is not None:
                spent = time.perf_counter() - begin
                progress(fraction, spent / fraction - spent if fraction > 0 else None)
            return not (cancel is not None and cancel())

        read, write = partial(_read, sink, parts), partial(_write, sink, name)
        block, scratch = layout.block, sink.scratch
        if not separate_planes(read, write, size, block, ndim, inference, scratch, advance, spacing=spacing):
            return False
    if progress is not None:
        progress(1.0, 0.0)
    return True


def _read(sink: Sink, parts: InstanceParts, where: Slices) -> Evidence:
    def part(name: str) -> Floats:
        values: Floats = sink.read(f"{name}~part", where)[0]
        return values

    boundary, distance = parts.boundary, parts.distance
    return Evidence(
        part(parts.foreground),
        part(boundary) if boundary is not None else None,
        part(distance) if distance is not None else None,
    )


def _write(sink: Sink, name: str, where: Slices, labels: Labels) -> None:
    sink.replace(name, where, labels[np.newaxis])
