"""Changed labels on their way to the running training: blocks, not volumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from qtpy.QtCore import QTimer

from ...config import DataError
from ...engine.protocol import LabelsChanged
from ...runs.control import LabelChange
from ...runs.scratch import Scratch
from ..forms.notify import Say, say
from ..layers.axes import store_spec
from ..layers.boxes import Box, joined, whole
from ..layers.data_spec import Mirror
from ..layers.edits import LayerEdits
from ..layers.layer_notes import LayerNotes
from ..layers.shared_copy import Update
from .followers import update_copies

_LOOK_EVERY = 500
"""Milliseconds between two looks at what layers do not announce."""
_AT_ONCE = 2**20
"""Voxels that the main thread compares and copies: about a millisecond."""


class StrokeForwarder:
    """Writes changed labels into the shared arrays and tells the engine where, tightly.

    What a stroke or its undo touched is compared and copied at once. What is large, or may be anywhere in
    a layer because a script wrote into its array or gave it another, is compared by a worker thread; what
    is painted meanwhile waits for it, so that no older value is written over a newer one. Edits while the
    arrays are still being written for the first time wait until `open` is called.

    A layer that is deleted, or gets another shape, is no longer followed: the training goes on with the
    labels it has, and the user is told. So it is with a layer whose own store the engine reads, when it
    gets an array that is not that store.

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
    tell
        Tells the user.
    """

    def __init__(
        self,
        viewer: Any,
        mirrors: Sequence[Mirror],
        scratch: Scratch,
        send: Callable[[LabelsChanged], None],
        tell: Say = say,
    ) -> None:
        self._viewer = viewer
        self._scratch = scratch
        self._send, self._say = send, tell
        self._mirrors = list(mirrors)
        self._stores = {mirror.layer: store_spec(mirror.array) for mirror in mirrors if mirror.copy is None}
        self._waiting: dict[Mirror, list[Box]] = {}
        self._open = False
        self._worker: Any = None
        self._comparing: list[Update] = []
        # napari announces an edit before it writes the voxels when it comes from code and not from the
        # mouse: they are read when the event loop has its turn.
        self._soon = QTimer()
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._flush)
        layers = dict.fromkeys(mirror.layer for mirror in mirrors)
        self._edits = {
            layer: LayerEdits(viewer, layer, self._on_edited, self._on_replaced) for layer in layers
        }
        self._notes = {layer: LayerNotes(layer, tell) for layer in layers}
        self._looks = QTimer()
        self._looks.timeout.connect(self._look)
        self._looks.start(_LOOK_EVERY)
        viewer.layers.events.removed.connect(self._on_removed)

    def open(self) -> None:
        """Pass on the edits that waited, and from now on every edit at once."""
        self._open = True
        self._flush()

    def finish(self) -> None:
        """Pass on all that waits before anything else happens: the viewer closes."""
        if not self._open:
            return
        self._look()
        self._worker, comparing = None, self._comparing
        for update in comparing:
            update.end()  # or what the worker has read before a stroke would be written over it
            for _ in update.afresh().run():
                pass
        self._send_changes(
            [change for update in comparing for change in _changes(update.mirror, update.boxes)]
        )
        self._flush(at_once=True)

    def close(self) -> None:
        """Follow no layer any more."""
        self._soon.stop()
        self._looks.stop()
        if self._worker is not None:
            self._worker.quit()
            self._worker = None
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        for layer in list(self._edits):
            self._leave(layer)
        self._mirrors = []

    def _leave(self, layer: Any) -> None:
        """Follow a layer no more; what was painted on it before is still passed on."""
        self._edits.pop(layer).close()
        self._notes.pop(layer).close()

    def _of(self, layer: Any) -> list[Mirror]:
        return [mirror for mirror in self._mirrors if mirror.layer is layer]

    def _forget(self, layer: Any) -> None:
        self._leave(layer)
        self._mirrors = [mirror for mirror in self._mirrors if mirror.layer is not layer]

    def _look(self) -> None:
        for edits in list(self._edits.values()):
            edits.look()

    def _on_edited(self, layer: Any, boxes: list[Box] | None) -> None:
        for mirror in self._of(layer):
            if boxes is not None:
                self._later(mirror, boxes)
            elif mirror.copy is not None and getattr(mirror.array, "chunks", None) is None:
                # Only what is in memory is compared on a mere suspicion: a lazy array would be computed.
                self._later(mirror, [whole(mirror.shape)])

    def _on_replaced(self, layer: Any) -> None:
        for mirror in self._of(layer):
            other = self._how_it_differs(mirror)
            if other:
                self._forget(layer)
                self._say(
                    "warning",
                    f"Labels layer {layer.name!r} {other}: it goes on with the labels it had. Stop and "
                    "start again to use the new ones.",
                )
                return
            self._later(mirror, [whole(mirror.shape)])

    def _how_it_differs(self, mirror: Mirror) -> str:
        """Say why a layer's new array cannot take the place of the one that training began with."""
        try:
            shape = tuple(int(n) for n in mirror.array.shape)
        except DataError:
            return f"now lacks the resolution level {mirror.level} that training began with"
        if shape != mirror.shape:
            return f"now has the shape {shape}, training began with {mirror.shape}"
        if mirror.copy is None and store_spec(mirror.array) != self._stores[mirror.layer]:
            return "now has another array than the file that training reads"
        return ""

    def _on_removed(self, event: Any) -> None:
        if event.value in self._edits:
            self._edits[event.value].look()
            self._leave(event.value)
            self._say(
                "warning",
                f"Labels layer {event.value.name!r} was deleted or converted: the training goes on with the "
                "labels it had. Stop and start again to train on another layer.",
            )

    def _later(self, mirror: Mirror, boxes: list[Box]) -> None:
        waiting = self._waiting.setdefault(mirror, [])
        waiting.extend(box for box in boxes if box not in waiting)
        if self._open:
            self._soon.start(0)

    def _flush(self, *, at_once: bool = False) -> None:
        if self._worker is not None:
            return
        waiting, self._waiting = self._waiting, {}
        changes: list[LabelChange] = []
        large: list[Update] = []
        for mirror, edited in waiting.items():
            if mirror not in self._mirrors:
                continue
            boxes = joined(edited)
            if mirror.copy is None:
                changes += _changes(mirror, boxes)
                continue
            update = Update(mirror, mirror.array, self._scratch.array(mirror.copy), boxes)
            if update.voxels > _AT_ONCE and not at_once:
                large.append(update)
                continue
            for _ in update.run():
                pass
            changes += self._taken(update)
        self._send_changes(changes)
        # Telling may have found the engine gone, and then no layer is followed any more.
        large = [update for update in large if update.mirror in self._mirrors]
        if large:
            self._compare(large)

    def _compare(self, updates: list[Update]) -> None:
        worker = update_copies(updates)
        worker.finished.connect(lambda: self._on_compared(worker, updates))
        self._worker, self._comparing = worker, updates
        worker.start()

    def _on_compared(self, worker: Any, updates: list[Update]) -> None:
        if worker is not self._worker:
            return
        self._worker, self._comparing = None, []
        self._send_changes([change for update in updates for change in self._taken(update)])
        self._flush()

    def _taken(self, update: Update) -> list[LabelChange]:
        """Return what to tell of an update, and stop following a layer that could not be read."""
        mirror = update.mirror
        if update.fault is not None and mirror.layer in self._edits:
            self._forget(mirror.layer)
            self._say(
                "warning", f"Strokes on {mirror.layer.name!r} no longer reach the training: {update.fault}"
            )
        return list(_changes(mirror, update.changed))

    def _send_changes(self, changes: list[LabelChange]) -> None:
        if changes:
            self._send(LabelsChanged(changes=tuple(changes)))


def _changes(mirror: Mirror, boxes: Iterable[Box]) -> Iterable[LabelChange]:
    """Name changed boxes on the axes that the engine counts: images of a stack, then space."""
    for box in boxes:
        sides = [slice(0, 1) if axis is None else box[axis] for axis in mirror.axes]
        start, stop = tuple(side.start for side in sides), tuple(side.stop for side in sides)
        for target in mirror.targets:
            yield LabelChange(record=mirror.record, target=target, start=start, stop=stop)
