"""Telling the running training where the user looks, so that previews come there first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from qtpy.QtCore import QTimer

from ...engine.protocol import Preview
from ...runs.control import PreviewHint
from ..layers.data_spec import TrainedImage
from ..layers.view import coarser_box, covers_middle, looked_at_box

_REST = 300
"""Milliseconds that the view must rest before the training is told."""


class Gaze:
    """Follows camera and sliders while a training runs.

    Parameters
    ----------
    viewer
        The napari viewer.
    images
        The images that are trained on; the one in view is looked at (`in_view`).
    send
        Takes the command for the engine.
    moved
        Called whenever the view moves.
    """

    def __init__(
        self,
        viewer: Any,
        images: Iterable[TrainedImage],
        send: Callable[[Preview], None],
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self._viewer = viewer
        self._images = list(images)
        self._send = send
        self._moved = moved
        self._last: PreviewHint | None = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REST)
        self._timer.timeout.connect(self.tell)
        for events in self._events():
            events.connect(self._on_move)

    def _events(self) -> list[Any]:
        # The camera belongs to the scene since napari 0.9, to the viewer before.
        camera = getattr(self._viewer, "scene", self._viewer).camera.events
        dims = self._viewer.dims.events
        shown = [image.layer.events.visible for image in self._images]
        return [camera.center, camera.zoom, dims.current_step, dims.order, dims.ndisplay, *shown]

    def close(self) -> None:
        """Follow no more."""
        self._timer.stop()
        for events in self._events():
            events.disconnect(self._on_move)

    def _on_move(self, event: Any = None) -> None:
        self._moved()
        self._timer.start()

    def tell(self) -> None:
        """Send where the user looks now, unless it was sent already."""
        image = in_view(self._viewer, self._images)
        if image is None:
            return
        hint = looked_at(self._viewer, image)
        if hint != self._last:
            self._last = hint
            self._send(Preview(hint=hint))


def in_view(viewer: Any, images: Iterable[TrainedImage]) -> TrainedImage | None:
    """Return the image that lies in the middle of the canvas, else the first visible one; None without any.

    Parameters
    ----------
    viewer
        The napari viewer.
    images
        The topmost one first.
    """
    shown = [image for image in images if image.layer in viewer.layers and image.layer.visible]
    shown = [image for image in shown if image.is_still_there]
    return next((image for image in shown if covers_middle(viewer, image.layer)), next(iter(shown), None))


def looked_at(viewer: Any, image: TrainedImage) -> PreviewHint:
    """Return the visible part of an image, on the axes that the engine counts.

    The images of a stack are numbered through, over all axes that they are stacked along.
    """
    box = looked_at_box(viewer, image.layer)
    if image.level:
        box = coarser_box(box, image.layer.downsample_factors[image.level][: image.layer.ndim])
    kept = [box[axis] for axis in image.kept]
    bounds = [kept[axis] for axis in image.axes.spatial]
    stacked = image.counted[: -len(bounds)]
    if stacked:
        # Of several axes the last ones may be ranges; else what is in the middle stands for a range.
        sizes = [image.shape[axis] for axis in stacked]
        *first, last = [kept[axis] for axis in stacked]
        middles = [(low + high) // 2 for low, high in first]
        number = int(np.ravel_multi_index([*middles, last[0]], sizes, mode="clip"))
        bounds.insert(0, (number, number + last[1] - last[0]))
    return PreviewHint(
        record=image.id, start=tuple(low for low, _ in bounds), stop=tuple(high for _, high in bounds)
    )
