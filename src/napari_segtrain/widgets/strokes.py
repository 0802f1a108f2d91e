"""Brush strokes on their way to the running training: blocks, not volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QTimer

from ..config import SegtrainError
from ..engine.protocol import LabelsChanged
from ..runs.control import LabelChange
from ..runs.scratch import Scratch
from . import notify
from .data_spec import Mirror

Box = tuple[slice, ...]


class StrokeForwarder:
    """Writes painted blocks into the shared arrays and tells the engine their bounds.

    Strokes that are painted while the arrays are still being written wait until `open` is called. A layer
    that is deleted, or gets another shape, is no longer followed: the training goes on with the labels it
    has, and the user is told.

    Parameters
    ----------
    viewer
        The napari viewer.
    mirrors
        The layers to follow.
    scratch
        The shared arrays.
    send
        Takes the command for the engine.
    """

    def __init__(
        self,
        viewer: Any,
        mirrors: Sequence[Mirror],
        scratch: Scratch,
        send: Callable[[LabelsChanged], None],
    ) -> None:
        self._viewer = viewer
        self._scratch = scratch
        self._send = send
        self._waiting: list[tuple[Mirror, Box]] = []
        self._open = False
        self._mirrors: list[Mirror] = []
        # napari announces a stroke before it writes the voxels when it comes from code and not from the
        # mouse: they are read when the event loop has its turn.
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._flush)
        for mirror in mirrors:
            self._follow(mirror)
        viewer.layers.events.removed.connect(self._on_removed)

    def open(self) -> None:
        """Pass on the strokes that waited, and from now on every stroke at once."""
        self._open = True
        self._flush()

    def close(self) -> None:
        """Follow no layer any more."""
        self._timer.stop()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for mirror in list(self._mirrors):
            self._forget(mirror)

    def _follow(self, mirror: Mirror) -> None:
        self._mirrors.append(mirror)
        if type(mirror.layer).__name__ == "Labels":
            mirror.layer.events.paint.connect(self._on_paint)
        mirror.layer.events.data.connect(self._on_data)

    def _forget(self, mirror: Mirror) -> None:
        self._mirrors.remove(mirror)
        if any(other.layer is mirror.layer for other in self._mirrors):
            return
        if type(mirror.layer).__name__ == "Labels":
            mirror.layer.events.paint.disconnect(self._on_paint)
        mirror.layer.events.data.disconnect(self._on_data)

    def _of(self, layer: Any) -> list[Mirror]:
        return [mirror for mirror in self._mirrors if mirror.layer is layer]

    def _on_paint(self, event: Any) -> None:
        box = painted_box(event.value, event.source.data.shape)
        if box is not None:
            for mirror in self._of(event.source):
                self._later(mirror, box)

    def _on_data(self, event: Any) -> None:
        """Take a layer's new array as one large stroke."""
        for mirror in self._of(event.source):
            data = mirror.layer.data
            shape = tuple(getattr(data, "shape", ()))
            if shape != mirror.shape:
                self._forget(mirror)
                notify.warning(
                    f"Labels layer {mirror.layer.name!r} now has the shape {shape}, training began with "
                    f"{mirror.shape}: it goes on with the labels it had. Stop and start again to use the new "
                    "ones."
                )
            else:
                self._later(mirror, tuple(slice(0, size) for size in shape))

    def _on_removed(self, event: Any) -> None:
        gone = self._of(event.value)
        for mirror in gone:
            self._forget(mirror)
        if gone:
            notify.warning(
                f"Labels layer {event.value.name!r} was deleted; training goes on with the labels it had."
            )

    def _later(self, mirror: Mirror, box: Box) -> None:
        if (mirror, box) not in self._waiting:
            self._waiting.append((mirror, box))
        if self._open:
            self._timer.start(0)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for mirror, box in waiting:
            if mirror in self._mirrors:
                self._forward(mirror, box)

    def _forward(self, mirror: Mirror, box: Box) -> None:
        try:
            if mirror.copy is not None:
                block = np.asarray(mirror.layer.data[box])
                self._scratch.write_block(mirror.copy, [side.start for side in box], block)
            self._send(LabelsChanged(changes=tuple(_changes(mirror, box))))
        except SegtrainError as error:
            self._forget(mirror)
            notify.warning(f"Strokes on {mirror.layer.name!r} no longer reach the training: {error}")


def painted_box(atoms: Iterable[Any], shape: Sequence[int]) -> Box | None:
    """Return the smallest box around what was painted.

    Parameters
    ----------
    atoms
        The history items of a stroke, as napari's `events.paint` gives them: each with index arrays
        first, or with the slices of a box.
    shape
        Shape of the labels.

    Returns
    -------
    tuple of slice, or None
        None when nothing changed.
    """
    low, high = np.array(shape), np.zeros(len(shape), int)
    for atom in atoms:
        key = getattr(atom, "slice_key", None)
        if key is None:
            indices = atom[0]
            if not indices or np.size(indices[0]) == 0:
                continue
            first = [int(np.min(axis)) for axis in indices]
            last = [int(np.max(axis)) + 1 for axis in indices]
        else:
            bounds = [_bounds(side, size) for side, size in zip(key, shape, strict=False)]
            first, last = [b[0] for b in bounds], [b[1] for b in bounds]
        low[: len(first)] = np.minimum(low[: len(first)], first)
        high[: len(last)] = np.maximum(high[: len(last)], last)
    if (high <= low).any():
        return None
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _bounds(side: Any, size: int) -> tuple[int, int]:
    if isinstance(side, slice):
        start, stop, _ = side.indices(size)
        return start, stop
    return int(side), int(side) + 1


def _changes(mirror: Mirror, box: Box) -> Iterable[LabelChange]:
    """Name the changed block on the axes that the engine counts: images of a stack, then space."""
    axes = mirror.axes
    order = [axis for axis in axes.stack if mirror.shape[axis] != 1] + list(axes.spatial)
    start = tuple(box[axis].start for axis in order)
    stop = tuple(box[axis].stop for axis in order)
    for target in mirror.targets:
        yield LabelChange(record=mirror.record, target=target, start=start, stop=stop)
