"""What the axes of an image are, chosen in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segtrain.data import open_dataset
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.widgets.docks.train_form import TrainForm
from napari_segtrain.widgets.layers.layer_choice import LayerWatch
from napari_segtrain.widgets.layers.placing import place_of
from napari_segtrain.widgets.layers.prediction_data import Scope, prediction_data

pytestmark = pytest.mark.gui


@pytest.fixture
def form(viewer: Any) -> Iterator[TrainForm]:
    watch = LayerWatch(viewer)
    yield TrainForm(watch)
    watch.stop()


def offered(form: TrainForm) -> list[str]:
    return [form.axes.itemText(row) for row in range(form.axes.count())]


@pytest.mark.parametrize(
    ("shape", "options", "texts"),
    [
        ((40, 50), {}, ["y, x: one image"]),
        (
            (5, 40, 50),
            {},
            ["z, y, x: one volume", "t, y, x: 5 separate images", "c, y, x: one image, 5 channels"],
        ),
        (
            (5, 40, 50),
            {"axis_labels": ("c", "y", "x")},
            ["c, y, x: one image, 5 channels", "z, y, x: one volume"],
        ),
        (
            (5, 40, 50),
            {"axis_labels": ("t", "y", "x")},
            ["t, y, x: 5 separate images", "z, y, x: one volume", "c, y, x: one image, 5 channels"],
        ),
        ((40, 50, 3), {"rgb": True}, ["y, x, c: one image, RGB"]),
    ],
)
def test_every_reading_is_offered_the_labelled_one_first(
    viewer: Any, form: TrainForm, shape: Any, options: Any, texts: list[str]
) -> None:
    viewer.add_image(np.zeros(shape, np.uint8), **options)
    assert offered(form) == texts
    assert form.axes.currentText() == texts[0]


@pytest.mark.parametrize(
    ("shape", "painted", "text", "records", "channels"),
    [
        ((3, 40, 50), (3, 40, 50), "t, y, x: 3 separate images", ["film[0]", "film[1]", "film[2]"], 1),
        ((3, 40, 50), (40, 50), "c, y, x: one image, 3 channels", ["film"], 3),
        ((40, 50, 3), (40, 50), "y, x, c: one image, 3 channels", ["film"], 3),
        ((2, 3, 40, 50), (2, 40, 50), "t, c, y, x: 2 separate images, 3 channels", ["film[0]", "film[1]"], 3),
        ((2, 3, 40, 50), (2, 40, 50), "z, c, y, x: one volume, 3 channels", ["film"], 3),
    ],
)
def test_the_choice_reaches_data_preview_and_prediction(
    viewer: Any,
    form: TrainForm,
    tmp_path: Path,
    shape: Any,
    painted: Any,
    text: str,
    records: Any,
    channels: int,
) -> None:
    image = np.arange(np.prod(shape)).reshape(shape).astype(np.uint16)
    layer = viewer.add_image(image, rgb=False, name="film", scale=range(1, len(shape) + 1))
    viewer.add_labels(np.ones(painted, np.uint8), name="film_cells")
    form.axes.setCurrentIndex(offered(form).index(text))
    assert form.axes.currentText() == text
    config = form.value()
    data = form.data()
    list(data.copies.write(Scratch(tmp_path)))
    dataset = open_dataset(data.spec or "", config.dataset_config)
    assert list(dataset.records) == records
    record = dataset.records[records[-1]]
    assert record.image.channels == channels
    assert record.shape[-2:] == (40, 50)
    corner = record.image.read((slice(0, 1),) * record.ndim)
    last = image[-1] if len(records) > 1 else image
    assert corner.ravel()[0] == last.ravel()[0]

    # A preview of the last record lies where its planes lie.
    place = place_of(data.images, records[-1], (0,) * record.ndim, record.shape)
    assert place is not None
    axes = [axis for axis, size in enumerate(shape) if size != channels or channels == 1]
    assert tuple(place.geometry.scale) == tuple(np.array(layer.scale)[axes])
    moved = len(records) - 1 if len(records) > 1 else 0
    assert place.geometry.translate[0] == moved * layer.scale[axes[0]]

    predicted = prediction_data(viewer, layer, Scope.LAYER, config.dataset_config)
    assert predicted.spec.get("channel_axis") == config.dataset_config.channel_axis
    assert predicted.geometry.ndim == len(axes)


def test_images_that_name_their_channels_differently_are_read_each_in_its_way(
    viewer: Any, form: TrainForm
) -> None:
    viewer.add_image(np.zeros((3, 40, 50), np.uint8), name="first", axis_labels=("c", "y", "x"))
    assert form.dataset.value().channel_axis == 0, "of an only image it is shown"
    viewer.add_image(np.zeros((40, 50, 3), np.uint8), name="last", axis_labels=("y", "x", "c"), rgb=False)
    for name in ("first_cells", "last_cells"):
        viewer.add_labels(np.ones((40, 50), np.uint8), name=name)
    form.images.set_value(("first", "last"))
    assert form.dataset.value().channel_axis is None
    assert [entry["image"]["axes"] for entry in form.data().layers] == ["yxc", "cyx"]
