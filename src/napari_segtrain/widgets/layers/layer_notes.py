"""What is said of a followed layer to which something is done that the training does not take up."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..forms import notify
from .axes import unpaintable
from .geometry import Geometry

_PLACING = ("scale", "translate", "rotate", "shear", "affine")


class LayerNotes:
    """Tells the user, once each, that a layer is moved, renamed or cannot be painted on.

    None of it disturbs a training: strokes are followed voxel by voxel, in the layer, whatever its name.

    Parameters
    ----------
    layer
        A layer whose strokes are followed.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self._began, self._name = Geometry.of(layer), layer.name
        for name in _PLACING:
            getattr(layer.events, name).connect(self._on_placed)
        layer.events.name.connect(self._on_name)
        why_not = unpaintable(layer)
        if why_not:
            notify.warning(
                f"Layer {layer.name!r} can be trained on, but not painted on: {why_not}. To paint while it "
                "trains, open a copy that may be written to"
            )

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
        notify.warning(
            f"Layer {self._layer.name!r} was moved or scaled: the training goes on with the voxel size that "
            "it began with, and strokes reach the voxels that they are painted on."
        )

    def _on_name(self, event: Any) -> None:
        if self._layer.name == self._name:
            return
        self._layer.events.name.disconnect(self._on_name)
        notify.info(
            f"Layer {self._name!r} is called {self._layer.name!r} now: the training goes on with it. To "
            f"resume the run later on open layers, call it {self._name!r} again."
        )
