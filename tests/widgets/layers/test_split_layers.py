from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import basic_indices

from napari_segtrain.config import DatasetConfig, TargetConfig
from napari_segtrain.runs import SplitReady
from napari_segtrain.widgets.layers.data_spec import training_data
from napari_segtrain.widgets.layers.layer_choice import is_image, is_labels
from napari_segtrain.widgets.layers.split_layers import BoxLabels, prepare, show

GEOMETRY = {
    "scale": (4.0, 2.0, 0.5),
    "translate": (7, -3, 1),
    "affine": np.array([[1, 0, 0, 2], [0, 0, -1, 0], [0, 1, 0, 5], [0, 0, 0, 1.0]]),
    "units": ("µm", "µm", "µm"),
    "axis_labels": ("z", "y", "x"),
}


@given(st.data(), st.integers(1, 3))
@settings(deadline=None)
def test_boxes_are_read_like_an_array(data: st.DataObject, ndim: int) -> None:
    shape = tuple(data.draw(st.integers(1, 6)) for _ in range(ndim))
    full = np.full(shape, 4, np.uint8)
    boxes = []
    for value in (1, 2):
        low = [data.draw(st.integers(0, n - 1)) for n in shape]
        box = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(low, shape, strict=True))
        full[box] = value
        boxes.append((box, value))
    made = BoxLabels(shape, boxes, 4)
    index = data.draw(basic_indices(shape, allow_newaxis=False))
    np.testing.assert_array_equal(made[index], full[index])
    np.testing.assert_array_equal(np.asarray(made), full)


def shown(viewer: Any, split: dict[str, Any], *shapes: tuple[int, ...], ndim: int = 3, **options: Any) -> Any:
    images = [viewer.add_image(np.zeros(s, np.uint8), name=f"im{k}", **options) for k, s in enumerate(shapes)]
    paints = [
        viewer.add_labels(np.ones(s, np.uint8), name=f"im{k}_a", **options) for k, s in enumerate(shapes)
    ]
    config = DatasetConfig(targets={"a": TargetConfig()}, ndim=ndim)
    data = training_data(images, {"a": (paints[0], None)}, config, all_layers=list(viewer.layers))
    found = prepare(SplitReady(split={"train": [], "val": [], "test": []} | split, words=("words",)), data)
    viewer.layers.selection = {paints[0]}
    added = show(viewer, found)
    assert viewer.layers.selection == {paints[0]}, "the user goes on painting where they were"
    return found, added


@pytest.fixture
def viewer() -> Any:
    from napari.components import ViewerModel

    return ViewerModel()


def test_parts_lie_on_the_image_and_are_nothing_to_train_on(viewer: Any) -> None:
    split = {
        "train": [{"image": "im0", "region": [[0, 8], [0, 6], [0, 20]]}],
        "val": [{"image": "im0", "region": [[0, 8], [0, 6], [24, 30]]}],
    }
    found, (layer,) = shown(viewer, split, (8, 6, 30), **GEOMETRY)
    image = viewer.layers["im0"]
    assert layer.name == "im0 · split"
    values = np.asarray(layer.data)
    assert [np.unique(values[..., x]).tolist() for x in (0, 19, 20, 23, 24, 29)] == [
        [1],
        [1],
        [4],
        [4],
        [2],
        [2],
    ]
    for point in ((0, 0, 0), (7, 5, 29)):
        np.testing.assert_allclose(layer.data_to_world(point), image.data_to_world(point))
    assert (layer.units, layer.axis_labels) == (image.units, image.axis_labels)
    assert not layer.editable
    assert not is_labels(layer) and not is_image(layer)
    np.testing.assert_array_equal(layer.get_value(image.data_to_world((3, 3, 26)), world=True), 2)
    again = show(viewer, found)
    assert [layer for layer in viewer.layers if "split" in layer.name] == again


def test_whole_images_are_told_in_words_and_planes_of_a_stack_are_shown(viewer: Any) -> None:
    whole = [[0, 9], [0, 12]]
    split = {"train": [{"image": "im0", "region": whole}], "val": [{"image": "im1", "region": whole}]}
    found, added = shown(viewer, split, (9, 12), (9, 12), ndim=2)
    assert (found.images, found.words, added) == ((), ("words",), [])
    viewer.layers.clear()
    planes = {
        "train": [{"image": f"im0[{k}]", "region": whole} for k in (0, 1)],
        "test": [{"image": "im0[4]", "region": whole}],
    }
    _, (layer,) = shown(viewer, planes, (5, 9, 12), ndim=2)
    assert [np.unique(layer.data[k]).tolist() for k in range(5)] == [[1], [1], [4], [4], [3]]
