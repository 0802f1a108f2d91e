from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QLabel, QLineEdit, QProgressBar, QPushButton, QSpinBox, QWidget
from superqt import QCollapsible

from napari_segtrain.config import (
    SGD,
    ConfigError,
    DatasetConfig,
    DistanceTransformTask,
    ExperimentConfig,
    InferenceConfig,
    LossConfig,
    NetworkConfig,
    RunError,
    SurfaceNormalsTask,
    TargetConfig,
    TrConfig,
    TrSetup,
)
from napari_segtrain.runs import list_runs
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.widgets.docks.correct_dock import CorrectDock
from napari_segtrain.widgets.docks.label_dock import LabelDock
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.forms.focus import tab_stops
from napari_segtrain.widgets.layers.sample_layers import as_layers
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
Notes = list[tuple[str, str]]
TABLES = ("targets", "auxiliary_tasks")


@pytest.fixture
def dock(make_dock: Callable[[type], Any]) -> Any:
    return make_dock(TrainDock)


def press(qtbot: Any, dock: Any, action: str) -> None:
    qtbot.mouseClick(dock.findChild(QPushButton, action), Qt.MouseButton.LeftButton)


def epochs(dock: Any, number: int) -> None:
    dock.findChild(QSpinBox, "num_epochs").setValue(number)


# ------------------------------------------------------------------------------------ the schema


@pytest.mark.parametrize(
    "config",
    [
        ExperimentConfig(),
        ExperimentConfig(
            tr_setup=TrSetup(run_name="mine", device="cuda:1", seed=3),
            tr_config=TrConfig(optimizer=SGD(momentum=0.5), patch_size=(32, 32), max_time=1.5),
            network=NetworkConfig(features=(16, 32), kernel_sizes=((1, 3), (3, 3)), decoders="shared"),
            inference_config=InferenceConfig(overlap=0.25, targets=("nuclei",)),
            dataset_config=DatasetConfig(
                ndim=2,
                channel_axis=0,
                targets={
                    "nuclei": TargetConfig(kind="instances", losses=("SoftDiceLoss",), mask="field"),
                    "cells": TargetConfig(labels="nuclei", unlabelled=0, values=(1, 2)),
                    "self": TargetConfig(labels="self", kind="regression"),
                },
            ),
            auxiliary_tasks={
                "depth": DistanceTransformTask(source_target="cells", clip=4.5, distance_type="inside"),
                "normals": SurfaceNormalsTask(
                    source_target="nuclei", losses=(LossConfig(name="CosineSimilarityLoss", start_epoch=2),)
                ),
            },
        ),
    ],
)
def test_the_dock_speaks_the_schema(dock: Any, config: ExperimentConfig) -> None:
    dock.set_value(config)
    assert dock.value() == config
    assert ExperimentConfig.parse(dock.value().to_dict()) == config


def test_every_key_of_the_experiment_has_a_control(dock: Any, cells: Any) -> None:
    dock.set_value(
        ExperimentConfig(
            dataset_config=DatasetConfig(targets={"nuclei": TargetConfig()}),
            auxiliary_tasks={"depth": DistanceTransformTask(source_target="nuclei")},
        )
    )
    for section, keys in dock.value().to_dict().items():
        if section == "inference_config":
            continue
        box = dock.findChild(QWidget, section)
        assert box is not None, section
        for key in keys if section != "auxiliary_tasks" else keys["depth"]:
            # Targets have a table; several devices never train from napari.
            if key not in ("targets", "devices", "num_nodes", "strategy"):
                assert box.findChild(QWidget, key) is not None, f"{section}.{key}"
    row = dock.findChild(QWidget, "targets")
    for key in TargetConfig.model_fields:
        assert row.findChild(QWidget, key) is not None, key


# ------------------------------------------------------------------------------- layers and rows


def test_samples_open_ready_to_train(viewer: Any, dock: Any) -> None:
    from napari_segtrain.data.samples import coins, tubes_and_blobs

    for data, options, kind in as_layers(coins()):
        getattr(viewer, f"add_{kind}")(data, **options)
    assert dock.form.images.value() == ("coins",)
    assert dock.value().dataset_config.targets == {"foreground": TargetConfig(kind="binary", unlabelled=0)}
    viewer.layers.clear()
    for data, options, kind in as_layers(tubes_and_blobs((16, 32, 32), blobs=3, tubes=2)):
        getattr(viewer, f"add_{kind}")(data, **options)
    assert dock.form.images.value() == ("volume",)
    assert {name: t.kind for name, t in dock.value().dataset_config.targets.items()} == {
        "blobs": "instances",
        "tubes": "binary",
    }
    assert "volume of 16 × 32 × 32, 1 channel, voxel 2 × 1 × 1 µm" in dock.form.facts.text()


def test_rows_are_added_named_and_removed(qtbot: Any, viewer: Any, dock: Any, cells: Any) -> None:
    assert list(dock.value().dataset_config.targets) == ["nuclei"], "the first labels are suggested"
    assert dock.value().dataset_config.targets["nuclei"].unlabelled == 0, "they look like scribbles"
    viewer.add_labels(np.zeros((48, 64), int), name="borders (drawn)")
    press(qtbot, dock, "add_target")
    assert list(dock.value().dataset_config.targets) == ["nuclei", "borders_drawn"]
    assert dock.value().dataset_config.targets["borders_drawn"].labels == "borders (drawn)"
    press(qtbot, dock, "add_auxiliary")
    assert dock.value().auxiliary_tasks["distance_transform"].source_target == "nuclei"
    dock.form.auxiliary.cards[0].type.set_value("surface_normals")
    assert dock.value().auxiliary_tasks["surface_normals"].source_target == "nuclei"
    press(qtbot, dock, "add_auxiliary")
    dock.form.auxiliary.cards[1].type.set_value("surface_normals")
    assert list(dock.value().auxiliary_tasks) == ["surface_normals", "surface_normals_2"]
    dock.form.auxiliary.cards[1].name.setText("mine")
    dock.form.auxiliary.cards[1].type.set_value("distance_transform")
    assert list(dock.value().auxiliary_tasks) == ["surface_normals", "mine"]
    card = dock.form.targets.cards[0]
    qtbot.mouseClick(card.remove, Qt.MouseButton.LeftButton)
    with pytest.raises(ConfigError, match="source_target: 'nuclei' is not a target"):
        dock.value()


def test_a_dense_labels_layer_is_not_taken_for_scribbles(viewer: Any, dock: Any) -> None:
    viewer.add_labels(np.repeat(np.arange(64), 64).reshape(64, 64), name="instances")
    assert dock.value().dataset_config.targets["instances"].unlabelled is None


def test_an_auxiliary_task_of_an_instance_target_can_be_trained_as_it_is_added(
    qtbot: Any, dock: Any, cells: Any
) -> None:
    dock.form.targets.cards[0].form.editors["kind"].set_value("instances")
    press(qtbot, dock, "add_auxiliary")
    names = [*dock.value().auxiliary_tasks, "nuclei", "nuclei_boundary", "nuclei_distance"]
    assert len(set(names)) == 4, "the network has an output of each name"


def test_two_rows_of_one_name_are_refused(qtbot: Any, dock: Any, cells: Any) -> None:
    press(qtbot, dock, "add_target")
    for card in dock.form.targets.cards:
        card.name.setText("same")
    with pytest.raises(ConfigError, match="two targets are called 'same'"):
        dock.value()


def test_layers_are_followed_by_what_they_are_not_by_their_name(viewer: Any, dock: Any, cells: Any) -> None:
    cells[1].name = "painted"
    assert dock.value().dataset_config.targets["nuclei"].labels == "painted"
    viewer.layers.remove(cells[1])
    card = dock.form.targets.cards[0] if dock.form.targets.cards else None
    assert card is None, "an untouched suggestion goes with its layer"


def test_a_chosen_layer_that_is_deleted_is_missed_not_replaced(
    qtbot: Any, viewer: Any, dock: Any, cells: Any, notes: Notes
) -> None:
    press(qtbot, dock, "add_target")
    viewer.add_labels(np.zeros((48, 64), int), name="other")
    viewer.layers.remove(cells[1])
    assert "cells_nuclei (missing)" in dock.form.targets.cards[0].labels.currentText()
    press(qtbot, dock, "start")
    assert notes[0][0] == "error"
    assert "target 'nuclei': its labels layer 'cells_nuclei' is not there" in notes[0][1]


def test_the_channel_axis_is_prefilled_from_axis_labels(viewer: Any, dock: Any) -> None:
    viewer.add_image(np.zeros((3, 32, 32), np.uint8), name="rgbish", axis_labels=("c", "y", "x"))
    assert dock.value().dataset_config.channel_axis == 0
    assert "image of 32 × 32, 3 channels" in dock.form.facts.text()


# ------------------------------------------------------------------------------------ a training


def test_training_from_start_to_end(
    qtbot: Any, viewer: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    epochs(dock, 3)
    buttons = dock.panel.buttons
    assert [buttons[name].isEnabled() for name in ("start", "pause", "stop")] == [True, False, False]
    press(qtbot, dock, "start")
    assert not buttons["start"].isEnabled()
    until(lambda: dock.session.state is State.RUNNING)
    assert buttons["pause"].isEnabled()
    until(lambda: "left" in dock.findChild(QProgressBar, "progress").format())
    until(lambda: dock.session.state is State.IDLE)
    assert ("info", "base is trained; use it in the Predict dock.") in notes
    preview = viewer.layers["nuclei · live"]
    np.testing.assert_array_equal(preview.data, cells[1].data)
    np.testing.assert_allclose(preview.data_to_world((7, 9)), cells[0].data_to_world((7, 9)))
    assert (preview.units, tuple(preview.scale)) == (cells[0].units, tuple(cells[0].scale))
    assert type(preview).__name__ == "Labels"
    assert buttons["start"].isEnabled()
    steps, losses = dock.curves.points("train", "loss")
    assert len(steps) == 15
    assert losses[0] == 1.0
    assert dock.curves.points("val", "loss")[0] == [1.0, 2.0, 3.0]
    assert dock.curves.points("train", "a_loss")[1][0] == 0.5
    run = list_runs(Path(dock.project.value()))[0]
    assert run.read_config() == dock.value()
    assert not list((Path(dock.project.value()) / ".scratch").iterdir()), "shared arrays are tidied away"


def test_pause_resume_and_stop(qtbot: Any, dock: Any, cells: Any, until: Until) -> None:
    epochs(dock, 500)
    press(qtbot, dock, "start")
    until(lambda: dock.session.state is State.RUNNING)
    press(qtbot, dock, "pause")
    until(lambda: dock.session.state is State.PAUSED)
    assert dock.panel.status.text() == "Paused"
    assert dock.panel.buttons["pause"].text() == "Resume"
    press(qtbot, dock, "pause")
    until(lambda: dock.session.state is State.RUNNING)
    assert dock.panel.status.text() != "Paused"
    press(qtbot, dock, "stop")
    assert dock.session.state is State.STOPPING
    until(lambda: dock.session.state is State.IDLE)
    assert "Run base keeps what it learned" in dock.panel.status.text()
    [run] = list_runs(Path(dock.project.value()))
    assert list(run.scratch.iterdir()), "an interrupted run keeps its data"
    assert not list((Path(dock.project.value()) / ".scratch").iterdir()), "the dock does not"


def test_a_killed_process_is_reported_and_the_dock_goes_on(
    qtbot: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    dock.findChild(QLineEdit, "run_name").setText("die")
    epochs(dock, 500)
    press(qtbot, dock, "start")
    until(lambda: dock.session.state is State.RUNNING)
    until(lambda: dock.session.state is State.IDLE)
    errors = [text for level, text in notes if level == "error"]
    assert len(errors) == 1, "said once"
    assert "kill" in errors[0].lower()
    assert dock.panel.buttons["start"].isEnabled()
    dock.findChild(QLineEdit, "run_name").setText("again")
    epochs(dock, 1)
    press(qtbot, dock, "start")
    until(lambda: ("info", "again is trained; use it in the Predict dock.") in notes)


def test_what_the_engine_refuses_is_said(
    qtbot: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    dock.findChild(QLineEdit, "run_name").setText("refuse")
    press(qtbot, dock, "start")
    until(lambda: notes)
    assert notes == [("error", "labels 'x': no voxel is labelled; paint some")]
    assert dock.panel.status.text() == "labels 'x': no voxel is labelled; paint some"
    assert dock.session.state is State.IDLE


def test_a_disk_that_is_full_while_layers_are_shared(
    qtbot: Any, dock: Any, cells: Any, until: Until, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Scratch, *args: Any, **options: Any) -> None:
        raise RunError("labels.raw: cannot be written (No space left on device)")

    monkeypatch.setattr(Scratch, "add", full)
    press(qtbot, dock, "start")
    until(lambda: notes)
    assert notes == [("error", "labels.raw: cannot be written (No space left on device)")]
    assert dock.session.state is State.IDLE
    assert dock.panel.buttons["start"].isEnabled()


def test_what_the_dock_itself_refuses(
    qtbot: Any, viewer: Any, dock: Any, notes: Notes, tmp_path: Path, cells: Any
) -> None:
    dock.findChild(QLineEdit, "patch_size").setText("64, 64, 64, 64")
    press(qtbot, dock, "start")
    assert "give two (2D) or three (3D) numbers" in notes[-1][1]
    dock.findChild(QLineEdit, "patch_size").setText("")
    (tmp_path / "file").write_text("")
    dock.project.set_value(tmp_path / "file")
    press(qtbot, dock, "start")
    assert "cannot be written" in notes[-1][1]
    dock.project.set_value(tmp_path / "project")
    viewer.add_labels(np.zeros((48, 65), int), name="wide")
    dock.form.targets.cards[0].labels.set_value("wide")
    press(qtbot, dock, "start")
    assert "labels and masks must cover their image voxel by voxel" in notes[-1][1]
    assert dock.session.state is State.IDLE


def test_a_preview_layer_that_is_deleted_comes_back(
    qtbot: Any, viewer: Any, dock: Any, cells: Any, until: Until
) -> None:
    epochs(dock, 500)
    press(qtbot, dock, "start")
    until(lambda: "nuclei · live" in viewer.layers)
    viewer.layers.remove("nuclei · live")
    until(lambda: "nuclei · live" in viewer.layers)
    assert dock.form.images.value() == ("cells",), "previews are not offered as images"
    press(qtbot, dock, "stop")
    until(lambda: dock.session.state is State.IDLE)


@pytest.mark.parametrize("stack", [False, True], ids=["volume", "stack"])
def test_volumes_and_stacks_get_previews_of_their_own_shape(
    qtbot: Any, viewer: Any, dock: Any, until: Until, stack: bool
) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 255, (4, 24, 32)).astype(np.uint8)
    viewer.add_image(data, name="v", scale=(3, 1, 1))
    labels = viewer.add_labels((data > 128).astype(np.uint8), name="v_bright", scale=(3, 1, 1))
    if stack:
        dock.form.dataset.editors["ndim"].set_value(2)
    epochs(dock, 1)
    press(qtbot, dock, "start")
    until(lambda: dock.session.state is not State.IDLE)
    until(lambda: dock.session.state is State.IDLE)
    preview = viewer.layers["bright · live"]
    np.testing.assert_array_equal(preview.data, labels.data)
    assert tuple(preview.scale) == (3, 1, 1)


def test_warnings_of_the_training_are_shown(
    qtbot: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    dock.findChild(QLineEdit, "run_name").setText("warn")
    epochs(dock, 1)
    press(qtbot, dock, "start")
    until(lambda: ("warning", "this patch is larger than the image") in notes)
    until(lambda: dock.session.state is State.IDLE)


def test_a_dock_that_is_closed_while_training_stops_its_process(
    qtbot: Any, viewer: Any, dock: Any, cells: Any, until: Until
) -> None:
    epochs(dock, 500)
    press(qtbot, dock, "start")
    until(lambda: dock.session.state is State.RUNNING)
    viewer.window.remove_dock_widget(dock)
    until(lambda: not dock.engine.engine.alive)
    cells[1].paint((3, 3), 1)
    viewer.add_labels(np.zeros((48, 64), int), name="later")


def test_a_viewer_that_is_closed_while_training_stops_the_process(
    qtbot: Any, make_viewer: Callable[[], Any], make_dock: Callable[..., Any], until: Until
) -> None:
    viewer = make_viewer()
    viewer.add_image(np.zeros((48, 64), np.uint8), name="a")
    viewer.add_labels(np.arange(48 * 64).reshape(48, 64) % 3, name="a_b")
    dock = make_dock(TrainDock, viewer)
    epochs(dock, 500)
    press(qtbot, dock, "start")
    until(lambda: dock.session.state is State.RUNNING)
    engine = dock.engine.engine
    with patch.object(viewer.window._qt_window, "_save_current_window_settings"):
        viewer.close()
    until(lambda: not engine.alive)


def test_the_training_is_told_where_the_user_looks(
    qtbot: Any, viewer: Any, dock: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_segtrain.engine.protocol import Preview

    volume = viewer.add_image(np.zeros((9, 24, 32), np.uint8), name="v", scale=(3, 1, 1))
    viewer.add_labels(np.arange(9 * 24 * 32).reshape(9, 24, 32) % 3, name="v_a", scale=(3, 1, 1))
    sent: list[Any] = []
    send = dock.engine.send
    monkeypatch.setattr(dock.engine, "send", lambda command: (sent.append(command), send(command)))
    epochs(dock, 500)
    press(qtbot, dock, "start")
    until(lambda: dock.session.state is State.RUNNING)
    hints = [command.hint for command in sent if isinstance(command, Preview)]
    assert len(hints) == 1, "the view did not move"
    volume.corner_pixels = np.array([[0, 4, 5], [0, 9, 14]])
    viewer.dims.set_point(0, 6)
    until(lambda: len([1 for command in sent if isinstance(command, Preview)]) > 1)
    hint = sent[-1].hint
    assert (hint.record, hint.start[0], hint.stop[0]) == ("v", 2, 3)
    press(qtbot, dock, "stop")
    until(lambda: dock.session.state is State.IDLE)


def test_settings_travel_by_file(
    dock: Any, cells: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, notes: Notes, until: Until
) -> None:
    from qtpy.QtWidgets import QFileDialog

    file = tmp_path / "e.yaml"
    epochs(dock, 17)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "e"), ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(file), ""))
    dock.save.click()
    until(lambda: file.is_file() and "17" in file.read_text())
    epochs(dock, 3)
    dock.open.click()
    until(lambda: dock.value().tr_config.num_epochs == 17)
    file.write_text("tr_config: {num_epoch: 3}")
    dock.open.click()
    until(lambda: notes)
    assert "Did you mean 'num_epochs'" in notes[-1][1]
    assert dock.value().tr_config.num_epochs == 17


def test_torch_stays_out_of_the_viewer_process(engine_path: Any, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = """
import sys, napari
viewer = napari.Viewer(show=False)
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.docks.correct_dock import CorrectDock
from napari_segtrain.widgets.docks.label_dock import LabelDock
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.layers.sample_layers import coins
docks = [TrainDock(viewer, sys.argv[1:]), PredictDock(viewer, sys.argv[1:])]
for data, options, kind in coins():
    getattr(viewer, "add_" + kind)(data, **options)
assert docks[0].value()
viewer.close()
print([name for name in ("torch", "lightning", "albumentations") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *engine_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr
    assert done.returncode == 0, done.stderr


def test_empty_tables_say_what_they_are_for(qtbot: Any, viewer: Any, dock: Any) -> None:
    hints = {name: dock.findChild(QWidget, name).findChild(QLabel, "hint") for name in TABLES}
    assert "labels layer" in hints["targets"].text()
    assert not any(hint.isHidden() for hint in hints.values())
    assert "No image layer is ticked" in dock.form.facts.text()
    press(qtbot, dock, "add_target")
    assert hints["targets"].isHidden()
    qtbot.mouseClick(dock.form.targets.cards[0].remove, Qt.MouseButton.LeftButton)
    assert not hints["targets"].isHidden()


def test_the_tabulator_walks_as_one_reads(qtbot: Any, viewer: Any, dock: Any, cells: Any) -> None:
    viewer.window.show()
    qtbot.waitUntil(dock.isVisible)
    order = [stop.objectName() for stop in tab_stops(dock)]
    landmarks = ("open_config", "ndim", "labels", "add_target", "num_epochs", "project", "start")
    assert [name for name in order if name in landmarks] == list(landmarks)
    dock.form.targets.cards[0].name.setFocus()
    for widget in ("preview_row", "remove", "labels", "kind"):
        qtbot.keyClick(dock.focusWidget(), Qt.Key.Key_Tab)
        assert dock.focusWidget().objectName() == widget
    dock.form.targets.add.setFocus()
    qtbot.keyClick(dock.focusWidget(), Qt.Key.Key_Backtab)
    assert dock.form.targets.cards[0].isAncestorOf(dock.focusWidget()), "the row was made after the button"


def test_editors_stand_in_one_column(qtbot: Any, viewer: Any, dock: Any, cells: Any) -> None:
    viewer.window.show()
    qtbot.waitUntil(dock.isVisible)
    for section in dock.findChildren(QCollapsible):
        section.expand(animate=False)
    qtbot.waitUntil(dock.findChild(QWidget, "compile").isVisible)
    names = ("ndim", "format", "normalisation", "flip", "kind", "activation", "patch_size", "optimizer", "lr",
             "decoders", "pooling", "compile")  # fmt: skip
    places = {name: dock.findChild(QWidget, name).mapTo(dock, QPoint(0, 0)).x() for name in names}
    assert max(places.values()) - min(places.values()) <= 2, places


def test_all_docks_share_a_place(
    qtbot: Any, viewer: Any, make_dock: Callable[[type], Any], dock: Any
) -> None:
    viewer.window.show()
    qtbot.waitUntil(dock.isVisible)
    window, others = dock.window(), []
    for number, kind in enumerate((PredictDock, RunsDock, CorrectDock, LabelDock), start=1):
        others.append(make_dock(kind))
        qtbot.waitUntil(lambda n=number: len(window.tabifiedDockWidgets(dock.parent())) == n)
    assert set(window.tabifiedDockWidgets(dock.parent())) == {other.parent() for other in others}
    qtbot.waitUntil(others[-1].isVisible)


def test_nothing_is_cut_off_at_the_side(viewer: Any, dock: Any, cells: Any, until: Until) -> None:
    from qtpy.QtWidgets import QScrollArea

    losses = (LossConfig(name="WeightedSmoothL1Loss", kwargs={"beta": 0.5}, start_epoch=3),)
    config = DatasetConfig(targets={"nuclei": TargetConfig(losses=losses)})
    dock.set_value(ExperimentConfig(dataset_config=config))
    scroll = dock.findChild(QScrollArea, "scroll")
    until(lambda: scroll.minimumWidth() >= dock.form.minimumSizeHint().width())
    assert dock.minimumSizeHint().width() <= 480, "a screen of 1200 pixels has room for the canvas"
