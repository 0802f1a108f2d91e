"""What is said of an image that is trained on; of labels see `test_strokes`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_segtrain.widgets.layers.layer_notes import ImageNotes

pytestmark = pytest.mark.gui

CHANGES: dict[str, tuple[Callable[[Any, Any], None], str]] = {
    "moved": (lambda v, x: setattr(x, "translate", (3, 4)), "its previews stay where it was"),
    "renamed": (lambda v, x: setattr(x, "name", "b"), "Layer 'a' is called 'b' now"),
    "replaced": (
        lambda v, x: setattr(x, "data", np.ones((5, 6, 7))),
        "'a' has another array now: the training",
    ),
    "deleted": (
        lambda v, x: v.layers.remove(x),
        "'a' was deleted or converted: the training goes on with the",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_done_to_an_image_is_said_once(change: str, notes: list[tuple[str, str]]) -> None:
    from napari.components import ViewerModel
    from napari.utils._proxies import PublicOnlyProxy

    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((24, 32)), name="a")
    other = viewer.add_image(np.zeros((24, 32)), name="other")
    seen = PublicOnlyProxy(viewer)  # what napari gives a plugin instead of the viewer
    said = ImageNotes(seen, seen.layers["a"])
    act, words = CHANGES[change]
    viewer.layers.remove(other)
    act(viewer, layer)
    layer.scale = layer.scale
    [(_, text)] = notes
    assert words in text
    said.close()
    layer.data = np.zeros((3, 3))
    assert len(notes) == 1
