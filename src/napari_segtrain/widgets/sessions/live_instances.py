"""Objects of a prediction, separated again while sliders move, away from the main thread."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, QTimer, Signal

from ...config import InferenceConfig
from ...inference.again import separate_again
from ...inference.kept_parts import KeptParts
from ...inference.measured import measure_objects
from ..layers.covered import Covered, cover
from ..layers.edits import is_edited
from ..layers.geometry import Geometry
from ..layers.object_table import object_features
from ..layers.results import OURS
from ..layers.view import visible_box
from .followers import perform

_REST = 120
"""Milliseconds that the sliders must rest."""
_SHOW_EVERY = 150
"""Milliseconds between two looks at what is finished meanwhile."""
_IN_MEMORY = 2**31
"""Bytes up to which objects are in memory, else in a temporary file."""

Box = tuple[slice, ...]


class _Task:
    """One separation, or a mere measurement, as a worker thread does it; it knows arrays, not layers."""

    covered: Covered | None = None
    """Voxels of the image that were predicted when it began; None for all."""

    def __init__(
        self, labels: Any, parts: KeptParts, intensity: Any, inference: InferenceConfig | None, first: Box
    ) -> None:
        self._labels, self._parts, self._intensity = labels, parts, intensity
        self._inference, self._first = inference, first
        self.stopped = self.fresh = False

    @property
    def separates(self) -> bool:
        """Whether it separates, and does not only measure."""
        return self._inference is not None

    def run(self) -> dict[str, npt.NDArray[Any]] | None:
        """Return what was measured of the objects, None when it was stopped."""
        go_on: Callable[..., bool] = lambda *_: not self.stopped  # noqa: E731
        if self._inference is not None and not separate_again(
            self._parts, self._inference, self._write, go_on, self._first
        ):
            return None
        return measure_objects(self._labels, self._intensity, go_on)

    def _write(self, where: Box, labels: npt.NDArray[np.int32]) -> None:
        if self.stopped:
            return
        self._labels[where] = labels
        self.fresh = True


class LiveInstances(QObject):
    """Separates the objects of one layer at a time; the newest settings win.

    What is visible comes first where the whole would take long, then everything. A stored prediction is
    left as it is: its layer gets an array of its own. Of a layer that was painted on since, a copy is
    changed instead.

    Parameters
    ----------
    viewer
        The napari viewer.
    parent
        Its owner.
    """

    said = Signal(str)
    moved = Signal(object)
    """The objects are in this layer now, which is new."""

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._wanted: tuple[Any, InferenceConfig | None] | None = None
        self._task: _Task | None = None
        self._layer: Any = None
        self._worker: Any = None
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._begin)
        self._looks = QTimer(self)
        self._looks.setInterval(_SHOW_EVERY)
        self._looks.timeout.connect(self._show)

    @property
    def busy(self) -> bool:
        """Whether something is being computed, or will be."""
        return self._wanted is not None or self._task is not None

    def separate(self, layer: Any, inference: InferenceConfig, rest: int = _REST) -> None:
        """Separate the objects of a layer with these settings, soon; what is under way is given up.

        Parameters
        ----------
        layer
            A layer that keeps what its objects are made of.
        inference
            Thresholds and smallest size.
        rest
            Milliseconds to wait for newer settings.
        """
        self._ask(layer, inference, rest)

    def measure(self, layer: Any) -> None:
        """Fill the features table of a layer, unless it has one or something else is asked for."""
        if not self.busy and layer.features.empty:
            self._ask(layer, None, 0)

    def close(self) -> None:
        """Give up what is under way."""
        self._wanted = None
        self._soon.stop()
        self._looks.stop()
        if self._task is not None:
            self._task.stopped = True
        self._task = self._layer = None

    def _ask(self, layer: Any, inference: InferenceConfig | None, rest: int) -> None:
        self._wanted = (layer, inference)
        if self._task is not None:
            self._task.stopped = True
        self._soon.start(rest)

    def _begin(self) -> None:
        if self._wanted is None or self._task is not None:
            return
        (layer, inference), self._wanted = self._wanted, None
        if layer not in self._viewer.layers:
            self.said.emit("The layer of these objects was deleted; predict again, or choose another layer.")
            return
        if inference is not None:
            layer = self._own(layer)
            layer.metadata[OURS]["live"] = inference
            self.said.emit("Separating objects …")
        ours = layer.metadata[OURS]
        first = tuple(slice(*side) for side in visible_box(self._viewer, layer))
        task = _Task(layer.data, ours["parts"], ours.get("intensity"), inference, first)
        task.covered = deepcopy(ours.get("taken"))
        # Objects of a live preview may be separated by the Train dock and by sliders: the newest wins.
        if isinstance(other := ours.get("task"), _Task):
            other.stopped = True
        ours["task"] = task
        self._task, self._layer = task, layer
        self._worker = perform(task.run)
        self._worker.returned.connect(lambda result: self._on_end(task, *result))
        self._worker.start()
        self._looks.start()

    def _own(self, layer: Any) -> Any:
        """Return a layer whose array may be written: the same, or a new one where the user painted."""
        edited = is_edited(layer)
        if isinstance(layer.data, np.ndarray) and layer.data.flags.writeable and not edited:
            return layer
        shape = layer.metadata[OURS]["parts"].size
        array = _new_array(shape)
        if not edited:
            layer.data = array
            cover(layer, Covered(shape))
            return layer
        options = {**Geometry.of(layer).kwargs(), "metadata": {OURS: dict(layer.metadata[OURS])}}
        added = self._viewer.add_labels(array, name=f"{layer.name} again", **options)
        cover(added, Covered(shape))
        layer.visible = False
        self.moved.emit(added)
        return added

    def _show(self) -> None:
        if self._task is not None and self._task.fresh and self._layer in self._viewer.layers:
            self._task.fresh = False
            self._layer.refresh(extent=False, thumbnail=False)

    def _on_end(self, task: _Task, table: Any, fault: str) -> None:
        if task is not self._task:
            return
        layer = self._layer
        self._task = self._layer = None
        self._looks.stop()
        if layer in self._viewer.layers and table is not None:
            if layer.metadata[OURS].get("task") is task:
                del layer.metadata[OURS]["task"]
            if task.separates:
                cover(layer, task.covered)
            layer.refresh(extent=False)
            layer.features = object_features(table, Geometry.of(layer))
            self.said.emit(_words(len(table["label"])))
        elif fault:
            self.said.emit(f"The objects could not be separated: {fault}")
        if self._wanted is not None and not self._soon.isActive():
            self._begin()


def _new_array(shape: tuple[int, ...]) -> npt.NDArray[np.int32]:
    if 4 * math.prod(shape) <= _IN_MEMORY:
        return np.zeros(shape, np.int32)
    with tempfile.TemporaryFile() as file:
        # The map outlives the file's name and handle.
        return np.memmap(file, np.int32, "w+", shape=shape)


def _words(count: int) -> str:
    return "No object" if not count else "1 object" if count == 1 else f"{count} objects"
