from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers._layer_actions import _duplicate_layer
from napari.utils.interactions import mouse_press_callbacks, mouse_release_callbacks

from napari_segtrain.widgets.layers.closed import close_to_painting

pytestmark = pytest.mark.gui


def stroke(viewer: Any, layer: Any, place: tuple[float, ...]) -> None:
    """Choose the brush and press the mouse, as napari passes it on."""
    layer.mode = "paint"
    layer.selected_label = 7
    event = SimpleNamespace(
        type="mouse_press",
        button=1,
        buttons=[1],
        modifiers=[],
        is_dragging=False,
        position=place,
        view_direction=None,
        dims_displayed=list(viewer.dims.displayed),
        dims_point=list(viewer.dims.point),
    )
    mouse_press_callbacks(layer, event)
    event.type = "mouse_release"
    mouse_release_callbacks(layer, event)


def test_a_stroke_changes_nothing_whatever_napari_does_to_the_layer() -> None:
    viewer = ViewerModel()
    layer = viewer.add_labels(np.zeros((4, 20, 30), np.uint8))
    stroke(viewer, layer, (0, 5, 5))
    assert (layer.data == 7).any(), "that is how one paints"
    layer.data = np.zeros((4, 20, 30), np.uint8)
    close_to_painting(layer)

    def new_array() -> None:
        layer.data = np.zeros((4, 20, 30), np.uint16)

    def turn() -> None:
        viewer.dims.ndisplay = 3
        viewer.dims.ndisplay = 2
        viewer.dims.order = (1, 0, 2)

    for change in (lambda: None, new_array, layer.refresh, turn, lambda: viewer.dims.set_current_step(0, 2)):
        change()
        assert not layer.editable
        stroke(viewer, layer, (2, 5, 5))
        assert layer.mode == "pan_zoom" and not layer.data.any()
    viewer.layers.selection = {layer}
    _duplicate_layer(viewer.layers)
    copy = viewer.layers[-1]
    stroke(viewer, copy, (2, 5, 5))
    assert copy is not layer and (copy.data == 7).any(), "a duplicate is the user's"
    assert not layer.data.any()
