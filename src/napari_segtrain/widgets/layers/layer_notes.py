"""What is said of a followed layer to which something is done that the training does not take up."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..forms.notify import Say, say
from .axes import unpaintable
from .geometry import Geometry

_PLACING = ("scale", "translate", "rotate", "shear", "affine")


class _Notes:
    """Tells the user, once each, that a layer is moved or renamed.

    Parameters
    ----------
    layer
        A layer that is trained on.
    tell
        Tells the user.
    """

    _stays = ""
    """What comes of moving it, besides a voxel size that stays."""

    def __init__(self, layer: Any, tell: Say) -> None:
        self._layer, self._tell = layer, tell
        self._began, self._name = Geometry.of(layer), layer.name
        for name in _PLACING:
            getattr(layer.events, name).connect(self._on_placed)
        layer.events.name.connect(self._on_name)

    def close(self) -> None:
        """Say nothing any more."""
        self._ignore_placing()
        self._layer.events.name.disconnect(self._on_name)

    def _ignore_placing(self) -> None:
        for name in _PLACING:
            getattr(self._layer.events, name).disconnect(self._on_placed)

    def _on_placed(self, event: Any) -> None:
        now = Geometry.of(self._layer)
        if all(np.array_equal(getattr(now, name), getattr(self._began, name)) for name in _PLACING):
            return
        self._ignore_placing()
        self._tell(
            "warning",
            f"Layer {self._layer.name!r} was moved or scaled: the training goes on with the voxel size that "
            f"it began with, and {self._stays}.",
        )

    def _on_name(self, event: Any) -> None:
        if self._layer.name == self._name:
            return
        self._layer.events.name.disconnect(self._on_name)
        self._tell(
            "note",
            f"Layer {self._name!r} is called {self._layer.name!r} now: the training goes on with it. To "
            f"resume the run later on open layers, call it {self._name!r} again.",
        )


class LayerNotes(_Notes):
    """Tells the user, once each, that a layer is moved, renamed or cannot be painted on.

    None of it disturbs a training: strokes are followed voxel by voxel, in the layer, whatever its name.

    Parameters
    ----------
    layer
        A layer whose strokes are followed.
    tell
        Tells the user.
    """

    _stays = "strokes reach the voxels that they are painted on"

    def __init__(self, layer: Any, tell: Say = say) -> None:
        super().__init__(layer, tell)
        why_not = unpaintable(layer)
        if why_not:
            tell(
                "warning",
                f"Layer {layer.name!r} can be trained on, but not painted on: {why_not}. To paint while it "
                "trains, open a copy that may be written to",
            )


class ImageNotes(_Notes):
    """Tells the user, once each, that an image is moved, renamed, deleted or has another array.

    Parameters
    ----------
    viewer
        The napari viewer.
    layer
        An image that is trained on.
    tell
        Tells the user.
    """

    _stays = "its previews stay where it was"

    def __init__(self, viewer: Any, layer: Any, tell: Say = say) -> None:
        super().__init__(layer, tell)
        self._viewer = viewer
        self._followed = True
        layer.events.data.connect(self._on_data)
        viewer.layers.events.removed.connect(self._on_removed)

    def close(self) -> None:
        """Say nothing any more."""
        if self._followed:
            self._followed = False
            super().close()
            self._layer.events.data.disconnect(self._on_data)
            self._viewer.layers.events.removed.disconnect(self._on_removed)

    def _on_data(self, event: Any) -> None:
        self._end("has another array now")

    def _on_removed(self, event: Any) -> None:
        if event.value == self._layer:  # one of them may be behind the proxy that plugins get
            self._end("was deleted or converted")

    def _end(self, what: str) -> None:
        self.close()
        self._tell(
            "warning",
            f"Image layer {self._layer.name!r} {what}: the training goes on with the image it had. Stop and "
            "start again to train on another one.",
        )
