from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QPushButton, QWidget

from napari_segtrain.config import (
    DatasetConfig,
    DistanceTransformTask,
    ExperimentConfig,
    InferenceConfig,
    TargetConfig,
)
from napari_segtrain.runs import RunFolder
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.layers.prediction_data import Scope, prediction_data
from napari_segtrain.widgets.sessions import followers, trained_watch

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
Notes = list[tuple[str, str]]
PATIENCE = 90.0


@pytest.fixture
def dock(make_dock: Callable[[type], Any]) -> Any:
    return make_dock(PredictDock)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that the project of the dock holds."""
    config = ExperimentConfig(
        dataset_config=DatasetConfig(targets={"mask": TargetConfig()}),
        auxiliary_tasks={
            "distance": DistanceTransformTask(source_target="mask"),
            "normals": {"type": "surface_normals", "source_target": "mask"},  # type: ignore[dict-item]
        },
        inference_config=InferenceConfig(overlap=0.25),
    )
    run = RunFolder.create(tmp_path / "project", "first")
    run.write_config(config)
    (run.checkpoints / "best.ckpt").write_bytes(b"")
    return run


@pytest.fixture
def volume(viewer: Any) -> Any:
    rng = np.random.default_rng(0)
    space = {"scale": (2, 0.5, 0.25), "translate": (3, 4, 5), "rotate": 0, "units": ("um",) * 3}
    space["rotate"] = (0, 0, 10)
    return viewer.add_image(rng.integers(0, 255, (8, 48, 64)).astype(np.uint8), name="cells", **space)


def look(dock: Any, until: Until) -> None:
    dock.run.refresh()
    until(lambda: dock.run.value() is not None and dock.run.known)


def press(qtbot: Any, dock: Any, action: str) -> None:
    qtbot.mouseClick(dock.findChild(QPushButton, action), Qt.MouseButton.LeftButton)


def predict(qtbot: Any, dock: Any, until: Until) -> None:
    press(qtbot, dock, "predict")
    assert dock.session.busy, dock.panel.status.text()
    until(lambda: not dock.session.busy)


@pytest.mark.parametrize(
    "config",
    [
        InferenceConfig(),
        InferenceConfig(targets=("b", "a"), overlap=0.3, tile_size=(32, 64), instances=True, output="uint8"),
    ],
)
def test_the_dock_speaks_the_schema(dock: Any, config: InferenceConfig) -> None:
    dock.set_value(config)
    assert dock.value() == config
    for key in InferenceConfig.model_fields:
        assert dock.findChild(QWidget, key) is not None, key


def test_runs_of_the_project_are_offered_with_their_outputs(
    dock: Any, run: RunFolder, tmp_path: Path, until: Until
) -> None:
    (run.project / "runs" / "no_run").mkdir()
    RunFolder.create(run.project, "never_trained")
    look(dock, until)
    assert dock.run.value() == run.path
    assert dock.run.choice.currentText() == "first · epoch 0"
    assert f"pending\n{run.path}" in dock.run.choice.toolTip()
    assert dock.value().overlap == 0.25, "the run's own settings are the start"
    assert [box.text() for box in dock.outputs.boxes] == ["all outputs", "mask", "distance", "normals"]
    dock.outputs.boxes[1].click()
    assert dock.value().targets == ("mask",)
    dock.outputs.boxes[1].click()
    assert dock.value().targets is None
    dock.project.set_value(tmp_path / "elsewhere")
    assert dock.run.value() is None
    dock.run.set_value(run.path / "checkpoints" / "best.ckpt")
    until(lambda: dock.run.known)
    assert dock.run.config() == run.read_config()
    assert dock.value().overlap == 0.25
    assert len(dock.run.choice.offered()) == 1, "nothing of the project before"


def test_a_project_that_hangs_keeps_nobody_waiting(
    dock: Any, run: RunFolder, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, asked = threading.Event(), threading.Event()

    def slow(project: Path) -> list[RunFolder]:
        asked.set()
        hangs.wait(PATIENCE)
        return [run]

    monkeypatch.setattr(trained_watch, "list_runs", slow)
    dock.run.refresh()
    until(asked.is_set)
    dock.run.set_value(run.path)
    assert dock.run.value() == run.path, "chosen while the disk is being read"
    hangs.set()
    until(lambda: dock.run.choice.currentText() == "first · epoch 0")
    assert dock.run.choice.offered() == [run.path]


def test_the_whole_layer_becomes_aligned_layers(
    qtbot: Any, viewer: Any, dock: Any, run: RunFolder, volume: Any, until: Until
) -> None:
    look(dock, until)
    buttons = dock.panel.buttons
    press(qtbot, dock, "predict")
    assert not buttons["predict"].isEnabled()
    assert buttons["cancel"].isEnabled()
    until(lambda: "left" in dock.panel.progress.format())
    until(lambda: not dock.session.busy)
    assert buttons["predict"].isEnabled()
    names = ("mask", "distance", "normals z", "normals x")
    mask, distance, *normals = (viewer.layers[f"cells · {name}"] for name in names)
    assert [type(layer).__name__ for layer in (mask, distance, *normals)] == ["Labels", *["Image"] * 3]
    np.testing.assert_array_equal(mask.data, volume.data > volume.data.mean())
    for layer in (mask, distance, *normals):
        np.testing.assert_allclose(layer.data_to_world((3, 5, 7)), volume.data_to_world((3, 5, 7)))
        assert layer.units == volume.units
    assert isinstance(mask.data, np.ndarray)
    assert "Predicted in" in dock.panel.status.text()
    assert not list((run.project / ".scratch").iterdir())


def test_the_current_slice_only(
    qtbot: Any, viewer: Any, dock: Any, run: RunFolder, volume: Any, until: Until
) -> None:
    look(dock, until)
    dock.scope.set_value(Scope.SLICE)
    viewer.dims.set_current_step(0, 5)
    place = viewer.dims.point
    predict(qtbot, dock, until)
    distance = viewer.layers["cells · distance"]
    assert distance.data.shape == (1, 48, 64)
    shown = round(float(volume.world_to_data(place)[0]))
    np.testing.assert_array_equal(distance.data[0], volume.data[shown])
    np.testing.assert_allclose(distance.data_to_world((0, 2, 3)), volume.data_to_world((shown, 2, 3)))
    assert viewer.dims.point == place, "the view stays where it was"


def test_the_visible_region_only(viewer: Any, volume: Any) -> None:
    volume.corner_pixels = np.array([[0, 10, 20], [0, 19, 39]])
    data = prediction_data(viewer, volume, Scope.VISIBLE)
    shown = round(float(volume.world_to_data(viewer.dims.point)[0]))
    assert (data.start, data.stop) == ((shown, 10, 20), (shown + 1, 20, 40))
    part = viewer.add_image(np.zeros((1, 10, 20)), **data.geometry.kwargs())
    np.testing.assert_allclose(part.data_to_world((0, 1, 1)), volume.data_to_world((shown, 11, 21)))


def test_a_multiscale_region_is_counted_at_the_level_of_the_run(viewer: Any) -> None:
    layer = viewer.add_image([np.zeros((64, 80)), np.zeros((32, 40))], multiscale=True, scale=(3, 3))
    layer.corner_pixels, layer._data_level = np.array([[4, 6], [7, 9]]), 1
    data = prediction_data(viewer, layer, Scope.VISIBLE, DatasetConfig(level=1))
    assert (data.start, data.stop) == ((4, 6), (8, 10))
    assert data.spacing == (6.0, 6.0)
    whole = prediction_data(viewer, layer, Scope.VISIBLE)
    assert (whole.start, whole.stop) == ((8, 12), (16, 20))


@pytest.mark.parametrize(
    ("shape", "options", "letters"),
    [
        ((20, 30, 3), {"rgb": True}, "yxs"),
        ((5, 20, 30), {"axis_labels": ("t", "y", "x")}, "zyx"),
        ((3, 20, 30), {"axis_labels": ("c", "y", "x")}, "cyx"),
        ((2, 5, 20, 30), {}, "zyx"),
    ],
)
def test_layers_of_every_kind_can_be_predicted(viewer: Any, shape: Any, options: Any, letters: str) -> None:
    layer = viewer.add_image(np.zeros(shape, np.uint8), **options)
    data = prediction_data(viewer, layer, Scope.LAYER)
    assert data.spec["axes"] == letters
    assert data.geometry.ndim == len(letters.strip("cs"))


def test_a_zarr_layer_is_passed_by_its_path(viewer: Any, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=np.zeros((8, 8), np.uint8))
    layer = viewer.add_image(da.from_zarr(str(tmp_path / "a.zarr")))
    data = prediction_data(viewer, layer, Scope.LAYER)
    assert not data.copies.items
    assert data.spec["path"] == str(tmp_path / "a.zarr")


def test_a_result_can_be_a_store_that_is_opened_lazily(
    qtbot: Any, viewer: Any, dock: Any, run: RunFolder, volume: Any, until: Until, tmp_path: Path
) -> None:
    look(dock, until)
    dock.destination.set_value("store")
    dock.store.set_value(tmp_path / "out.zarr")
    dock.set_value(dock.value().replace(targets=("mask", "normals")))
    predict(qtbot, dock, until)
    layers = [layer.name for layer in viewer.layers]
    assert layers == ["cells", "cells · normals z", "cells · normals y", "cells · normals x", "cells · mask"]
    assert isinstance(viewer.layers["cells · mask"].data, zarr.Array)
    assert isinstance(viewer.layers["cells · normals y"].data, da.Array)
    assert (tmp_path / "out.zarr" / "mask").is_dir()


def test_an_unfinished_store_is_gone_on_with_or_replaced(
    qtbot: Any, dock: Any, run: RunFolder, volume: Any, until: Until, tmp_path: Path, monkeypatch: Any
) -> None:
    button = dock.findChild(QPushButton, "predict")
    box = dock.findChild(QWidget, "overwrite")
    look(dock, until)
    dock.destination.set_value("store")
    for name, complete in (("half.zarr", False), ("whole.zarr", True)):
        zarr.create_group(tmp_path / name, attributes={"segtrain": {"complete": complete}})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("mine")
    for name, note, text, offered in (
        ("new.zarr", "", "Predict", False),
        ("mine", "something else", "Predict", False),
        ("whole.zarr", "finished", "Predict", True),
        ("half.zarr", "unfinished: it goes on", "Go on", True),
    ):
        dock.store.set_value(tmp_path / name)
        until(lambda: dock.store_note.known)
        assert dock.store_note.label.text().startswith(note) and button.text() == text, name
        assert box.isVisibleTo(dock.store_note) is offered
    sent: list[Any] = []
    monkeypatch.setattr(dock.engine, "send", sent.append)
    press(qtbot, dock, "predict")
    until(lambda: sent)
    assert sent[0].output == str(tmp_path / "half.zarr") and sent[0].overwrite is False
    dock.session._end(True, "")
    box.setChecked(True)
    assert button.text() == "Predict"
    press(qtbot, dock, "predict")
    until(lambda: len(sent) > 1)
    assert sent[1].overwrite is True
    dock.session._end(True, "")
    assert not box.isChecked(), "it was meant for what lay there then"
    dock.destination.set_value("layers")
    assert button.text() == "Predict"


def test_a_prediction_can_be_cancelled(
    qtbot: Any, viewer: Any, dock: Any, run: RunFolder, volume: Any, until: Until, notes: Notes
) -> None:
    look(dock, until)
    press(qtbot, dock, "predict")
    until(lambda: dock.panel.status.text() == "Predicting …")
    press(qtbot, dock, "cancel")
    until(lambda: not dock.session.busy)
    assert dock.panel.status.text() == "Cancelled"
    assert [layer.name for layer in viewer.layers] == ["cells"]
    assert not notes


def test_what_cannot_be_predicted_is_said(
    qtbot: Any,
    viewer: Any,
    dock: Any,
    run: RunFolder,
    volume: Any,
    until: Until,
    notes: Notes,
    tmp_path: Path,
) -> None:
    dock.project.set_value(tmp_path / "nothing")
    press(qtbot, dock, "predict")
    assert "no trained network is chosen" in notes[-1][1]
    dock.project.set_value(run.project)
    look(dock, until)
    dock.destination.set_value("store")
    press(qtbot, dock, "predict")
    assert "no Zarr store is chosen" in notes[-1][1]
    dock.destination.set_value("layers")
    (run.path.parent / "broken").mkdir()
    dock.run.set_value(run.path.parent / "broken")
    press(qtbot, dock, "predict")  # also before the run was read
    until(lambda: notes[-1] == ("error", "the checkpoint is damaged; choose another one"))
    viewer.layers.clear()
    press(qtbot, dock, "predict")
    assert "no image layer is chosen" in notes[-1][1]


def test_a_result_that_cannot_be_read_back_is_said(
    qtbot: Any,
    dock: Any,
    run: RunFolder,
    volume: Any,
    until: Until,
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(event: Any) -> None:
        raise OSError("stale file handle")

    monkeypatch.setattr(followers, "read_all", gone)
    look(dock, until)
    predict(qtbot, dock, until)
    expected = "the prediction cannot be read back (stale file handle); is the disk still there?"
    assert notes == [("error", expected)]
    assert dock.panel.buttons["predict"].isEnabled()


def test_results_are_no_images_and_labels_lie_on_top(
    qtbot: Any, viewer: Any, dock: Any, run: RunFolder, volume: Any, until: Until
) -> None:
    look(dock, until)
    predict(qtbot, dock, until)
    names = [getattr(layer, "name", layer) for layer in dock.image.offered()]
    assert names == ["cells"]
    assert viewer.layers["cells · mask"].visible
    assert not viewer.layers["cells · distance"].visible, "it would hide the mask"


def test_both_docks_work_on_a_machine_with_a_single_thread(
    qtbot: Any,
    viewer: Any,
    make_dock: Callable[[type], Any],
    run: RunFolder,
    volume: Any,
    until: Until,
) -> None:
    from qtpy.QtCore import QThreadPool

    pool = QThreadPool.globalInstance()
    threads = pool.maxThreadCount()
    pool.setMaxThreadCount(1)
    try:
        make_dock(TrainDock)
        dock = make_dock(PredictDock)
        look(dock, until)
        predict(qtbot, dock, until)
        assert "cells · mask" in viewer.layers
    finally:
        pool.setMaxThreadCount(threads)


def test_instances_can_be_ticked_where_an_output_has_objects(dock: Any, tmp_path: Path, until: Until) -> None:
    run = RunFolder.create(tmp_path / "project", "two")
    targets = {"kinds": TargetConfig(kind="classes"), "mask": TargetConfig(kind="binary")}
    run.write_config(ExperimentConfig(dataset_config=DatasetConfig(targets=targets)))
    (run.checkpoints / "best.ckpt").write_bytes(b"")
    look(dock, until)
    box = dock.form.editors["instances"]
    assert (box.isEnabled(), box.text()) == (True, "")
    for output in ("kinds", "mask", "kinds", "mask"):
        dock.findChild(QCheckBox, f"targets/{output}").click()  # ticks it, later unticks it
        ticked = dock.value().targets
        assert box.isEnabled() is (ticked is None or "mask" in ticked), ticked
        assert box.text() == ("" if box.isEnabled() else "these outputs have no objects")
    assert ticked is None
