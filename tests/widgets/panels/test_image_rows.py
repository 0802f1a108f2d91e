"""Several open images: which labels and masks belong to which, and what cannot be learned together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QSpinBox

from napari_segtrain.config import DataError
from napari_segtrain.data import open_dataset
from napari_segtrain.engine.protocol import Preview
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.docks.train_form import TrainForm
from napari_segtrain.widgets.layers.layer_choice import LayerWatch
from napari_segtrain.widgets.layers.reattach import reattach
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = pytest.mark.gui


def open_images(viewer: Any, *names: str) -> None:
    """Open an image and a labels layer of each name, side by side."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        place = {"translate": (0, 70 * number), "scale": (1, 1)}
        viewer.add_image(rng.integers(0, 255, (48, 64)).astype(np.uint8), name=name, **place)
        painted = np.zeros((48, 64), np.uint8)
        painted[5:9, 5:30], painted[20:30, 20:40] = 1, 2
        viewer.add_labels(painted, name=f"{name}_nuclei", **place)


@pytest.fixture
def form(viewer: Any) -> Iterator[TrainForm]:
    open_images(viewer, "a", "b")
    watch = LayerWatch(viewer)
    form = TrainForm(watch)
    form.images.set_value(("a", "b"))
    yield form
    watch.stop()


def labels_of(form: TrainForm) -> list[tuple[str, list[str], list[str]]]:
    """Return each image with the names of its labels and mask layers."""
    return [
        (
            entry["id"],
            [spec["name"] for spec in entry["labels"].values()],
            [spec["name"] for spec in entry["masks"].values()],
        )
        for entry in form.data().layers
    ]


def test_rows_show_what_names_tell_and_take_another_choice(
    viewer: Any, form: TrainForm, tmp_path: Path
) -> None:
    (card,) = form.targets.cards
    on = {image.name: (labels, mask) for image, (_, labels, mask) in card.pairs.rows.items()}
    assert {name: labels.currentText() for name, (labels, _) in on.items()} == {
        "a": "a_nuclei (by name)",
        "b": "b_nuclei (by name)",
    }
    assert sorted(labels_of(form)) == [("a", ["a_nuclei"], []), ("b", ["b_nuclei"], [])]

    other = viewer.add_labels(np.ones((48, 64), np.uint8), name="drawn by Eve")
    field = viewer.add_labels(np.ones((48, 64), np.uint8), name="field")
    on["b"][0].setCurrentText("drawn by Eve")
    on["b"][1].setCurrentText("field")
    assert sorted(labels_of(form)) == [("a", ["a_nuclei"], []), ("b", ["drawn by Eve"], ["field"])]
    data = form.data()
    assert {mirror.record: mirror.layer for mirror in data.mirrors if mirror.layer is not field}["b"] is other
    list(data.copies.write(Scratch(tmp_path)))
    config = form.value().dataset_config
    dataset = open_dataset(data.spec or "", config)
    assert {name: set(record.masks) for name, record in dataset.records.items()} == {
        "a": set(),
        "b": {"nuclei"},
    }

    found = reattach(data.spec, config, list(viewer.layers))
    assert found.data.spec is not None, found.words
    assert other in [mirror.layer for mirror in found.data.mirrors]

    on["b"][0].setCurrentText("none")
    on["b"][1].setCurrentIndex(0)
    assert sorted(labels_of(form)) == [("a", ["a_nuclei"], []), ("b", [], [])]
    on["b"][0].setCurrentText("drawn by Eve")
    viewer.layers.remove(other)
    with pytest.raises(
        DataError, match="the labels layer 'drawn by Eve' that was chosen for 'b' is not there"
    ):
        form.data()
    form.images.set_value(("a",))
    assert card.pairs.isHidden()
    assert labels_of(form) == [("a", ["a_nuclei"], [])], "an only image has the target's own layers"


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((48, 64, 3), {"rgb": True}, "'odd' is a plane with 3 channels"),
        ((5, 48, 64), {}, "'odd' is a volume with 1 channel"),
    ],
)
def test_images_of_different_kinds_are_refused(
    viewer: Any, form: TrainForm, shape: Any, options: Any, words: str
) -> None:
    viewer.add_image(np.zeros(shape, np.uint8), name="odd", **options)
    viewer.add_labels(np.ones([n for n in shape if n != 3], np.uint8), name="odd_nuclei")
    form.images.set_value(("a", "odd"))
    with pytest.raises(DataError, match="cannot be trained on together") as caught:
        form.data()
    assert words in str(caught.value)
    assert "'a' is a plane with 1 channel" in str(caught.value)


def test_training_on_two_pairs_with_strokes_on_either(
    qtbot: Any,
    viewer: Any,
    make_dock: Callable[[type], Any],
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    open_images(viewer, "a", "b")
    dock = make_dock(TrainDock)
    dock.form.images.set_value(("a", "b"))
    dock.findChild(QSpinBox, "num_epochs").setValue(5000)
    looked: list[str] = []
    send = dock.engine.send

    def sent(command: Any) -> None:
        if isinstance(command, Preview):
            looked.append(command.hint.record)
        send(command)

    monkeypatch.setattr(dock.engine, "send", sent)
    qtbot.mouseClick(dock.findChild(QPushButton, "start"), Qt.MouseButton.LeftButton)
    names = ("a · nuclei · live", "b · nuclei · live")
    until(lambda: all(name in viewer.layers for name in names))
    for name, row in (("a", 40), ("b", 44)):
        viewer.layers[f"{name}_nuclei"].data_setitem((np.array([row]), np.array([50])), 2)
    until(lambda: viewer.layers[names[0]].data[40, 50] == 2 and viewer.layers[names[1]].data[44, 50] == 2)
    assert viewer.layers[names[0]].data[44, 50] == 0
    assert tuple(viewer.layers[names[1]].translate) == (0, 70)

    # The preview goes to the image that is in view: hidden ones are not looked at.
    for name in ("a", "b"):
        viewer.layers["a"].visible = name == "a"
        viewer.layers["b"].visible = name == "b"
        until(lambda name=name: looked[-1] == name)
    qtbot.mouseClick(dock.findChild(QPushButton, "stop"), Qt.MouseButton.LeftButton)
    until(lambda: dock.session.state is State.IDLE)
