"""Every change to the voxels of a layer, announced by napari or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .boxes import Box, edited_boxes, joined

Edit = list[Any]


class LayerEdits:
    """Tells of every change to the voxels of one layer.

    napari announces a finished stroke, fill, polygon or `data_setitem` by `events.paint`, and a new array by
    `events.data`. It announces neither undo nor redo: these move items between two lists of the layer, so
    the lists are looked at after each refresh, and whenever `look` is called, because a hidden layer is
    not refreshed. A refresh for which neither those lists nor a new view give a reason is what follows
    when a script has written into the array: something may have changed anywhere. That is also how undo is
    noticed should a future napari keep its history elsewhere.

    Parameters
    ----------
    viewer
        The napari viewer.
    layer
        An Image or Labels layer.
    edited
        Called with the layer and the boxes that an edit touched, or None when it may be anywhere. Voxels
        that are edited by code are written only after the call.
    replaced
        Called with a layer that has a new array.
    """

    def __init__(
        self,
        viewer: Any,
        layer: Any,
        edited: Callable[[Any, list[Box] | None], None],
        replaced: Callable[[Any], None],
    ) -> None:
        self._viewer, self._layer = viewer, layer
        self._edited, self._replaced = edited, replaced
        self._history = _history(layer)
        self._view = self._seen_from()
        if hasattr(layer.events, "paint"):
            layer.events.paint.connect(self._on_paint)
        layer.events.data.connect(self._on_data)
        layer.events.set_data.connect(self._on_refresh)

    def close(self) -> None:
        """Tell of nothing any more."""
        if hasattr(self._layer.events, "paint"):
            self._layer.events.paint.disconnect(self._on_paint)
        self._layer.events.data.disconnect(self._on_data)
        self._layer.events.set_data.disconnect(self._on_refresh)

    def look(self) -> bool:
        """Tell of edits made, undone or redone since the last look; return whether there were any."""
        before, self._history = self._history, _history(self._layer)
        edits = _difference(before, self._history)
        self._tell(edits)
        return bool(edits)

    def _tell(self, edits: list[Edit]) -> None:
        shape = self._layer.data.shape
        boxes = joined(box for edit in edits for box in edited_boxes(edit, shape))
        if boxes:
            self._edited(self._layer, boxes)

    def _on_paint(self, event: Any) -> None:
        if not self.look():
            self._tell([event.value])

    def _on_data(self, event: Any) -> None:
        self._replaced(self._layer)

    def _on_refresh(self, event: Any) -> None:
        before, self._view = self._view, self._seen_from()
        if not self.look() and self._view == before:
            self._edited(self._layer, None)

    def _seen_from(self) -> tuple[Any, ...]:
        """Return what makes a layer refresh although its array is the same."""
        dims, layer = self._viewer.dims, self._layer
        shown = (layer.data_level, layer.corner_pixels.tobytes()) if layer.multiscale else ()
        return (dims.point, dims.thickness, dims.order, dims.ndisplay, *shown)


def is_edited(layer: Any) -> bool:
    """Return whether a layer has been painted on since it got its array."""
    return bool(_history(layer))


def was_painted(layer: Any) -> bool:
    """Return whether a layer has been painted on since it got its array, also where that was undone."""
    return is_edited(layer) or bool(getattr(layer, "_redo_history", ()))


def _history(layer: Any) -> tuple[Edit, ...]:
    """Return the edits that are in force, oldest first: what undo would take back."""
    return tuple(getattr(layer, "_undo_history", ()))


def _difference(before: tuple[Edit, ...], now: tuple[Edit, ...]) -> list[Edit]:
    """Return the edits that were made or taken back; not those so old that napari forgot them."""
    kept, known = {id(edit) for edit in now}, {id(edit) for edit in before}
    forgotten = next((place for place, edit in enumerate(before) if id(edit) in kept), 0)
    undone = [edit for edit in before[forgotten:] if id(edit) not in kept]
    return undone + [edit for edit in now if id(edit) not in known]
