"""What the buttons of the Runs dock do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices, QPixmap
from qtpy.QtWidgets import QLineEdit, QMessageBox, QPushButton, QSpinBox

from napari_segtrain.config import DataError, DatasetConfig, ExperimentConfig, TargetConfig
from napari_segtrain.data import open_dataset
from napari_segtrain.runs import (
    ProjectLock,
    RunFolder,
    RunState,
    list_runs,
    note_predictions,
    read_data,
    write_data,
)
from napari_segtrain.runs.label_store import LabelStore
from napari_segtrain.training.label_history import LabelHistory
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.layers.accept import Acceptance, Values
from napari_segtrain.widgets.layers.regions import Region
from napari_segtrain.widgets.layers.stored_results import add_stored, read_stored
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
Notes = list[tuple[str, str]]


@pytest.fixture
def train(make_dock: Callable[[type], Any]) -> Any:
    return make_dock(TrainDock)


@pytest.fixture
def dock(make_dock: Callable[[type], Any]) -> Any:
    return make_dock(RunsDock)


def button(dock: Any, name: str) -> Any:
    return dock.panel.buttons[name]


def press(dock: Any, until: Until, name: str) -> None:
    dock.projects.look()
    until(lambda: button(dock, name).isEnabled())
    button(dock, name).click()
    until(lambda: not any(train._opening for train in dock.window().findChildren(TrainDock)))


def choose(dock: Any, until: Until, *runs: RunFolder) -> None:
    dock.projects.look()
    until(lambda: {run.path for run in runs} <= {row.run.path for row in dock.table.runs.runs})
    dock.table.select([run.path for run in runs])
    until(lambda: len(dock._details()) == len(runs))


def made(project: Path, name: str, *states: RunState) -> RunFolder:
    run = RunFolder.create(project, name)
    run.write_config(ExperimentConfig())
    for state in states:
        run.set_state(state, **({} if state is RunState.RUNNING else {"reason": "stopped"}))
    return run


def test_a_run_is_stopped_resumed_retried_and_duplicated(
    train: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    train.findChild(QSpinBox, "num_epochs").setValue(500)
    train.start()
    until(lambda: len(train.curves.points("val", "loss")[0]) >= 2)
    [run] = list_runs(Path(train.project.value()))
    painted = np.array(cells[1].data)
    choose(dock, until, run)
    for name in ("resume_run", "retry_run"):
        until(lambda name=name: "A training run is already active" in button(dock, name).toolTip())
        assert not button(dock, name).isEnabled()
    press(dock, until, "stop_run")
    until(lambda: train.session.state is State.IDLE)
    assert run.state is RunState.INTERRUPTED

    press(dock, until, "resume_run")
    before = len(run.read_metrics())
    assert before >= 2
    until(lambda: train.session.state is State.RUNNING)
    assert train.session.run == run.path
    until(lambda: len(run.read_metrics()) > before)
    press(dock, until, "stop_run")
    until(lambda: train.session.state is State.IDLE)

    with ProjectLock(run.project).acquire("elsewhere"):
        dock.projects.look()
        until(lambda: button(dock, "retry_run").text() == "Retry next")
        press(dock, until, "retry_run")
        until(lambda: train.session.state is State.WAITING)
        assert not (run.path / "attempts").exists()
    until(lambda: (run.path / "attempts" / "1" / "metrics.json").is_file())
    until(lambda: train.session.state is State.RUNNING)
    until(lambda: len(run.read_metrics()) >= 1)
    assert run.read_metrics()[0]["epoch"] == 1
    press(dock, until, "stop_run")
    until(lambda: train.session.state is State.IDLE)
    assert [one.name for one in list_runs(run.project)] == ["base"], "all of it in one folder"

    train.set_value(ExperimentConfig())
    train.form.images.set_value(())
    train.project.set_value(run.project.parent / "another")
    press(dock, until, "duplicate_run")
    assert train.value() == run.read_config()
    assert train.project.value() == run.project
    assert [layer.name for layer in train.form.images.layers()] == ["cells"]
    assert train.panel.text.startswith("The form has the settings of base and its layers")
    assert train.session.state is State.IDLE, "nothing is trained before Start"
    np.testing.assert_array_equal(cells[1].data, painted)
    assert not [text for level, text in notes if level == "error"]


ELSEWHERE = """
import signal, sys, threading
from napari_segtrain.runs import ProjectLock, RunFolder, RunState
run, asked = RunFolder.open(sys.argv[1]), threading.Event()
signal.signal(signal.SIGTERM, lambda *_: asked.set())
with ProjectLock(run.project).acquire(run.name):
    run.set_state(RunState.RUNNING)
    while not asked.wait(0.05):
        pass
    run.finish(RunState.INTERRUPTED, "stopped")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends the process instead")
def test_a_run_of_another_program_is_stopped(dock: Any, until: Until, notes: Notes) -> None:
    run = made(Path(dock.project.value()), "a")
    with subprocess.Popen([sys.executable, "-c", ELSEWHERE, str(run.path)]) as process:
        try:
            until(lambda: run.state is RunState.RUNNING)
            choose(dock, until, run)
            press(dock, until, "stop_run")
            until(lambda: process.poll() is not None)
        finally:
            process.kill()
    assert run.state is RunState.INTERRUPTED
    until(lambda: dock.panel.text.startswith("a was asked to stop"))
    assert notes == []


def test_a_run_whose_data_is_gone_says_so(train: Any, dock: Any, until: Until, notes: Notes) -> None:
    run = made(Path(dock.project.value()), "a", RunState.RUNNING, RunState.INTERRUPTED)
    choose(dock, until, run)
    press(dock, until, "resume_run")
    assert notes[-1][0] == "error"
    assert "data" in notes[-1][1]
    assert train.session.state is State.IDLE
    press(dock, until, "duplicate_run")
    assert train.panel.text.startswith("The form has the settings of a now; open and tick the images")
    assert f"segtrain duplicate {run.path}, then segtrain train --resume NEW_RUN -i" in train.panel.text
    (run.path / "config.yaml").write_text("tr_config: {batch_size: no}")
    (run.path / "config.json").write_text("{}")
    press(dock, until, "duplicate_run")
    assert notes[-1][0] == "error"
    assert "config" in notes[-1][1]


def test_a_run_that_learned_from_a_folder_is_duplicated_with_it(
    train: Any, dock: Any, disc_folder: Callable[..., Path], until: Until, notes: Notes
) -> None:
    run, folder = made(Path(dock.project.value()), "a"), disc_folder(count=2)
    config = ExperimentConfig().with_overrides({"tr_config.num_epochs": 1})
    dataset = config.dataset_config.replace(targets={"cells": TargetConfig()})
    run.write_config(config.replace(dataset_config=dataset))
    write_data(run, str(folder))
    choose(dock, until, run)
    press(dock, until, "duplicate_run")
    assert f"trains on its folder {folder}; change what you like" in train.panel.text
    assert train.form.folder.isVisibleTo(train)
    assert train.form.images.value() == (), "of open images none is trained on"
    train.findChild(QPushButton, "preview_targets").click()
    assert "press Open image" in notes.pop()[1]
    train.findChild(QPushButton, "start").click()
    until(lambda: ("info", "base is trained; use it in the Predict dock.") in notes)
    assert read_data(RunFolder.open(run.project / "runs" / "base")) == str(folder)
    train.findChild(QPushButton, "use_layers").click()
    assert train.form.images.isVisibleTo(train)
    train.findChild(QPushButton, "start").click()
    assert notes[-1][0] == "error", "there is no layer"


def test_a_run_is_used_in_the_predict_dock(
    make_dock: Callable[[type], Any], dock: Any, tmp_path: Path, until: Until
) -> None:
    predict = make_dock(PredictDock)
    runs = [made(tmp_path / "project", name) for name in ("a", "b")]
    choose(dock, until, runs[0])
    assert not button(dock, "use_run").isEnabled()
    for run in runs:
        (run.checkpoints / "best.ckpt").touch()
    predict.project.set_value(tmp_path / "another")
    press(dock, until, "use_run")
    assert predict.run.value() == runs[0].path
    assert predict.project.value() == tmp_path / "project"


def test_runs_are_deleted_only_when_the_user_is_sure(
    dock: Any, until: Until, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Path(dock.project.value())
    runs = [made(project, name, RunState.RUNNING, RunState.COMPLETED) for name in ("a", "b", "c")]
    asked: list[str] = []
    answer = [QMessageBox.StandardButton.Cancel]
    monkeypatch.setattr(QMessageBox, "question", lambda *given: (asked.append(given[2]), answer[0])[1])
    choose(dock, until, *runs[:2])
    press(dock, until, "delete_runs")
    assert "these 2 runs" in asked[0]
    assert "a\nb" in asked[0] or "b\na" in asked[0]
    assert all(run.path.is_dir() for run in runs)
    answer[0] = QMessageBox.StandardButton.Yes
    press(dock, until, "delete_runs")
    assert not any(one.isEnabled() for one in dock.panel.buttons.values()), "one thing at a time"
    until(lambda: dock.table.model().rowCount() == 1)
    assert [run.path.exists() for run in runs] == [False, False, True]
    assert notes == []
    # One that begins to run while the user is asked is not deleted.
    choose(dock, until, runs[2])
    until(lambda: button(dock, "delete_runs").isEnabled())
    with ProjectLock(project).acquire("c"):
        button(dock, "delete_runs").click()
        until(lambda: notes)
    assert notes[0][0] == "error"
    assert "is running and cannot be deleted" in notes[0][1]
    assert runs[2].path.is_dir()


def test_folder_and_debug_picture_are_opened(
    dock: Any, until: Until, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(Path(dock.project.value()), "a")
    opened: list[QUrl] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: (opened.append(url), len(opened) == 1)[1])
    choose(dock, until, run)
    press(dock, until, "open_folder")
    assert [Path(url.toLocalFile()) for url in opened] == [run.path]
    press(dock, until, "open_folder")
    assert "open it by hand" in notes[-1][1]
    assert not button(dock, "open_picture").isEnabled()
    picture = QPixmap(20, 10)
    picture.fill(Qt.GlobalColor.red)
    picture.save(str(run.plots / "segtrain_debug.png"))
    press(dock, until, "open_picture")
    until(dock._window.isVisible)
    assert dock._window.label.pixmap().width() == 20
    dock._window.close()


def write_store(path: Path) -> None:
    """Write a store as `ZarrSink` does, of a part of an image."""
    group = zarr.create_group(str(path))
    for name, array, axes in (
        ("nuclei", np.ones((2, 4, 5), np.uint8), "zyx"),
        ("normals", np.zeros((3, 2, 4, 5), np.float32), "czyx"),
    ):
        group.create_array(name, data=array, attributes={"axes": list(axes)})
    said = {
        "spacing": [2.0, 0.5, 0.5],
        "unit": "micrometer",
        "origin": [1, 10, 0],
        "settings": {"date": "today"},
    }
    group.attrs["segtrain"] = said | {"complete": True}


def test_predictions_become_layers_where_they_belong(
    viewer: Any, dock: Any, until: Until, notes: Notes
) -> None:
    run = made(Path(dock.project.value()), "a")
    choose(dock, until, run)
    assert not button(dock, "open_predictions").isEnabled()
    folder = run.path / "predictions"
    folder.mkdir()
    write_store(folder / "volume.zarr")
    sizes = {
        "PhysicalSizeX": 0.25,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.5,
        "PhysicalSizeYUnit": "µm",
    }
    tifffile.imwrite(
        folder / "im_0_depth.tif", np.ones((6, 7), np.float32), ome=True, metadata={"axes": "YX", **sizes}
    )
    press(dock, until, "open_predictions")
    until(lambda: len(viewer.layers) == 5)
    layers = {layer.name: layer for layer in viewer.layers}
    assert set(layers) == {
        "im_0 · depth",
        "volume · nuclei",
        *(f"volume · normals {axis}" for axis in "zyx"),
    }
    for name in ("volume · nuclei", "volume · normals y"):
        np.testing.assert_allclose(layers[name].scale, (2.0, 0.5, 0.5))
        np.testing.assert_allclose(layers[name].translate, (2.0, 5.0, 0.0))
        assert [str(unit) for unit in layers[name].units] == ["micrometer"] * 3
    assert layers["volume · nuclei"].metadata["napari_segtrain"]["settings"] == {"date": "today"}
    np.testing.assert_allclose(layers["im_0 · depth"].scale, (0.5, 0.25))
    assert notes == []
    # Those that were written elsewhere, as long as they are there.
    (folder / "volume.zarr").rename(run.path / "volume.zarr")
    (folder / "im_0_depth.tif").rename(folder.parent / "im_0_depth.tif")
    note_predictions(run.path, [run.path / "volume.zarr", run.path / "moved.zarr"])
    viewer.layers.clear()
    press(dock, until, "open_predictions")
    until(lambda: len(viewer.layers) == 4)
    until(lambda: "moved or deleted" in dock.panel.text)
    assert dock.panel.text.startswith("Opened volume · n")
    assert dock.panel.text.endswith(f"moved or deleted: {run.path / 'moved.zarr'}")
    (folder / "torn.zarr").mkdir()
    press(dock, until, "open_predictions")
    until(lambda: notes)
    assert notes[-1][0] == "error"
    assert "torn.zarr: cannot be shown" in notes[-1][1]
    assert len(viewer.layers) == 4
    notes.clear()
    for path in (folder / "torn.zarr", run.path / "volume.zarr"):
        path.rename(path.with_suffix(".gone"))
    press(dock, until, "open_predictions")
    until(lambda: notes)
    assert "Predictions are no longer where they were written" in notes[-1][1]


def test_a_prediction_that_is_not_finished_is_shown_and_not_accepted(viewer: Any, tmp_path: Path) -> None:
    path = tmp_path / "volume.zarr"
    write_store(path)
    group = zarr.open_group(str(path), mode="r+")
    said = dict(group.attrs["segtrain"])

    def accept() -> bool:
        place = {name: getattr(predicted, name) for name in ("scale", "translate", "units")}
        labels = viewer.add_labels(np.zeros(predicted.data.shape, np.uint8), **place)
        where = [Region(tuple(slice(0, size) for size in labels.data.shape))]
        return Acceptance(viewer, predicted, labels, where, Values()).compute()

    for complete in (None, False, True):
        if complete is not None:
            group.attrs["segtrain"] = {**said, "complete": complete}
        layers = add_stored(viewer, read_stored([path]), tmp_path)
        [predicted] = [layer for layer in layers if "nuclei" in layer.name]
        if complete is not False:
            assert accept()
            continue
        with pytest.raises(DataError, match=r"volume\.zarr is not finished"):
            accept()
        group.attrs["segtrain"] = {**said, "complete": True}
        assert accept(), "it is meanwhile"


def test_kept_labels_are_opened_where_their_image_lies(
    viewer: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    run = made(Path(dock.project.value()), "a")
    choose(dock, until, run)
    assert not button(dock, "open_labels").isEnabled()
    assert "kept no labels" in button(dock, "open_labels").toolTip()
    image, labels = cells
    painted = np.array(labels.data)
    data = open_dataset(
        {"layers": [{"id": "cells", "image": image.data * 1.0, "labels": {"nuclei": painted}}]},
        DatasetConfig(targets={"nuclei": TargetConfig()}),
    )
    history = LabelHistory(data, LabelStore(run.path))
    history.start()
    LabelStore(run.path).note(1, history.state())
    history.close()
    labels.data = np.zeros_like(painted)
    press(dock, until, "open_labels")
    until(lambda: len(viewer.layers) == 3)
    opened = viewer.layers[-1]
    assert opened.name == "cells_nuclei · a"
    np.testing.assert_array_equal(opened.data, painted)
    np.testing.assert_allclose(opened.data_to_world((7, 9)), image.data_to_world((7, 9)))
    assert not labels.data.any(), "what is open stays as it is"
    until(lambda: dock.panel.text == "Opened cells_nuclei · a")
    assert notes == []


def test_scaled_numbers_keep_what_they_stand_for(tmp_path: Path) -> None:
    said = '{"settings": {"inference_config": {"output": "uint8"}}, "limits": [-2.0, 3.0]}'
    path = tmp_path / "a_distance.tif"
    tifffile.imwrite(path, np.zeros((6, 7), np.uint8), ome=True, metadata={"axes": "YX", "Description": said})
    [found] = read_stored([path])
    assert (found.name, list(found.arrays)) == ("a", ["distance"])
    assert found.event.limits == {"distance": (-2.0, 3.0)}
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((6, 7), np.uint16))
    [found] = read_stored([tmp_path / "plain.tif"])
    assert list(found.arrays) == ["plain"]


def test_the_dock_shows_the_project_of_the_train_dock(
    viewer: Any, train: Any, tmp_path: Path, until: Until
) -> None:
    viewer.window.show()
    try:
        runs = RunsDock(viewer)
        viewer.window.add_dock_widget(runs, name="Runs (napari-segtrain)")
        until(lambda: runs.project.value() == tmp_path / "project")
        until(lambda: runs.isVisible() and runs._placed)
        walked = []
        runs.project.line.setFocus()
        for _ in range(20):
            walked.append(runs.focusWidget())
            runs.focusNextPrevChild(True)
        names = [widget.objectName() for widget in dict.fromkeys(filter(None, walked)) if widget.objectName()]
        assert names[:3] == ["project", "browse_project", "runs"]
    finally:
        viewer.window._qt_window.hide()
    runs.shut_down()
    assert train.findChild(QLineEdit, "project").text() == str(tmp_path / "project")
