from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QMessageBox, QPushButton

from napari_segtrain.config import DatasetConfig, ExperimentConfig, TargetConfig
from napari_segtrain.widgets.docks.step_dock import StepDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.layers import step_layers
from napari_segtrain.widgets.layers.step_layers import own_layers
from napari_segtrain.widgets.sessions.engine_session import EngineSession

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
Notes = list[tuple[str, str]]
PATIENCE = 90.0
STEPS = (
    "initialize_optimizer",
    "prepare_batch",
    "zero_gradients",
    "forward_pass",
    "calculate_loss",
    "backward_pass",
    "optimizer_step",
)


def config(run_name: str | None = None, **training: Any) -> ExperimentConfig:
    dataset = DatasetConfig(targets={"nuclei": TargetConfig(labels="cells_nuclei", unlabelled=0)})
    changes = {"tr_setup.run_name": run_name, **training}
    return ExperimentConfig(dataset_config=dataset).with_overrides(changes)


@pytest.fixture
def dock(viewer: Any, cells: Any, make_dock: Callable[[type], Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The Step dock, beside a Train dock that has chosen the cells and has no engine."""
    with monkeypatch.context() as patch:
        patch.setattr(EngineSession, "warm", lambda self: None)
        make_dock(TrainDock).set_value(config())
    return make_dock(StepDock)


def press(qtbot: Any, dock: Any, action: str) -> None:
    button = dock.findChild(QPushButton, action)
    assert button.isEnabled(), action
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def enabled(dock: Any) -> set[str]:
    every = {**dock.panel.buttons, **dock.checks.buttons}
    return {name for name, button in every.items() if button.isEnabled()}


def take(qtbot: Any, dock: Any, until: Until, *actions: str) -> None:
    for action in actions:
        press(qtbot, dock, action)
        until(lambda: not dock.session.waits)


def layer_of(viewer: Any, group: str) -> Any:
    [layer] = own_layers(viewer, {group})
    return layer


def test_from_the_model_through_all_steps_to_the_end(
    qtbot: Any,
    viewer: Any,
    cells: Any,
    dock: Any,
    until: Until,
    notes: Notes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert enabled(dock) == {"define_model"}
    take(qtbot, dock, until, "define_model")
    assert dock.panel.text == "A network"
    press(qtbot, dock, STEPS[0])
    assert (dock.panel.text, dock.panel.progress.maximum()) == ("Optimizer …", 0), "it is under way"
    assert not dock.panel.progress.isHidden()
    until(lambda: not dock.session.waits)
    assert dock.panel.progress.isHidden()
    for step in (*STEPS[1:], *STEPS[1:]):
        assert enabled(dock) & {*STEPS, "define_model"} == {step}, "only the next one is legal"
        assert "end" in enabled(dock)
        take(qtbot, dock, until, step)
        assert dock.panel.text == f"{step} is done"
    look_at_layers(viewer, cells[0])
    assert dock.curves.points("loss") == ([1.0, 2.0], [1.0, 0.5])
    run_several(qtbot, viewer, dock, until)
    ask_what_if(qtbot, dock, until)
    walk_by_keyboard(viewer, dock, until)
    assert notes == []
    save_and_end(qtbot, dock, until, tmp_path, monkeypatch)
    assert enabled(dock) == {"define_model"}
    assert dock.panel.text == "Ended; the network is gone, the layers stay"
    assert not list((tmp_path / "project" / ".scratch").iterdir()), "nothing is left shared"
    shown = len(own_layers(viewer))
    take(qtbot, dock, until, "define_model", *STEPS[:4])
    assert len(own_layers(viewer)) == shown, "the next network takes them over"
    show_a_stage(qtbot, viewer, cells[0], dock, until)


def save_and_end(qtbot: Any, dock: Any, until: Until, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be lost is asked about, here and by napari's window, until it is saved."""
    asked: list[str] = []

    def cancel(*given: Any) -> Any:
        asked.append(given[2])
        return QMessageBox.StandardButton.Cancel

    monkeypatch.setattr(QMessageBox, "question", cancel)
    press(qtbot, dock, "end")
    assert dock.session.busy, "the user thought better of it"
    assert asked == ["The network of 5 steps is not saved, and End forgets it. Save… keeps it in a file."]
    assert "its network of 5 steps is gone: Save…" in dock.session._note._text
    file = folder / "network.ckpt"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(file), ""))
    take(qtbot, dock, until, "save")
    assert dock.panel.text == f"Saved {file}" and file.is_file()
    assert dock.session._note._text == ""
    file.write_text("good")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(file.with_suffix("")), ""))
    press(qtbot, dock, "save")
    assert asked[1:] == [f"{file} exists already. Replace it?"]
    assert not dock.session.waits and dock.session.busy, "nothing is written"
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.StandardButton.Yes)
    take(qtbot, dock, until, "save")
    assert dock.panel.text == f"Saved {file}" and not file.with_suffix("").exists()
    monkeypatch.setattr(QMessageBox, "question", cancel)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(folder / "other.v2"), ""))
    take(qtbot, dock, until, "save")
    assert dock.panel.text == f"Saved {folder / 'other.v2.ckpt'}", "nobody is asked about a new file"
    press(qtbot, dock, "end")
    until(lambda: not dock.session.busy)
    assert len(asked) == 2


def look_at_layers(viewer: Any, image: Any) -> None:
    """Layers of the first batch have become those of the second, and lie where the patch was taken from."""
    shown = [layer.metadata["napari_segtrain"]["group"] for layer in own_layers(viewer)]
    assert sorted(shown) == ["batch", "gradient", "prediction"]
    batch = layer_of(viewer, "batch")
    assert (batch.data.shape, batch.data.max()) == ((2, 16, 16), 2)
    np.testing.assert_allclose(batch.data_to_world((0, 1, 2))[1:], image.data_to_world((9, 2)))
    assert tuple(batch.units)[1:] == tuple(image.units)
    assert viewer.dims.axis_labels[0] == "patch"


def ask_what_if(qtbot: Any, dock: Any, until: Until) -> None:
    """The rate that was typed, and not another one, is tried; a question is legal before the last step."""
    dock.checks.rate.set_value(0.125)
    take(qtbot, dock, until, *STEPS[1:6], "what_if")
    assert dock.panel.text == "with 0.125"
    take(qtbot, dock, until, STEPS[6])


def run_several(qtbot: Any, viewer: Any, dock: Any, until: Until) -> None:
    dock.checks.batches.set_value(12)
    take(qtbot, dock, until, "run_batches")
    assert dock.panel.text == "12 batches done"
    assert dock.curves.points("gradient_norm")[1] == [2.0] * 12
    assert layer_of(viewer, "batch").data.max() == 14
    dock.checks.patch.set_value(1)
    press(qtbot, dock, "overfit")
    assert (dock.panel.text, dock.panel.progress.maximum()) == ("Learning the patch by heart …", 0)
    assert enabled(dock) == {"stop", "end"}
    press(qtbot, dock, "stop")
    until(lambda: not dock.session.waits)
    assert dock.panel.text == "Stopped at patch 1"
    assert dock.panel.progress.isHidden(), "nothing is under way"
    assert dock.session.busy and "prepare_batch" in enabled(dock), "the network is still there"


def walk_by_keyboard(viewer: Any, dock: Any, until: Until) -> None:
    viewer.window.show()
    until(dock.isVisible)
    dock.panel.buttons["prepare_batch"].setFocus()
    for step in (*STEPS[1:], "prepare_batch"):
        assert dock.window().focusWidget() is dock.panel.buttons[step]
        QTest.keyClick(dock.window().focusWidget(), Qt.Key.Key_Return)
        until(lambda: not dock.session.waits)
    button = dock.panel.buttons["zero_gradients"]
    QTest.keyClick(button, Qt.Key.Key_Return)
    assert dock.focusWidget() is not dock.panel.buttons["end"]
    for _ in range(3):  # an impatient user
        QTest.keyClick(dock.window().focusWidget(), Qt.Key.Key_Return)
    until(lambda: not dock.session.waits)
    assert dock.session.busy, "the network is still there"
    assert dock.focusWidget() is dock.panel.buttons["forward_pass"]
    for _ in STEPS[3:]:
        QTest.keyClick(dock.window().focusWidget(), Qt.Key.Key_Return)
        until(lambda: not dock.session.waits)
    QTest.keyClick(dock.panel.buttons["prepare_batch"], Qt.Key.Key_Return)
    until(lambda: not dock.session.waits)
    viewer.window._qt_window.hide()


def show_a_stage(qtbot: Any, viewer: Any, image: Any, dock: Any, until: Until) -> None:
    """A voxel of the stage is two by two of the image; its middle lies between them."""
    assert dock.checks.stage.offered() == ["", "encoder 1", "encoder 2"]
    dock.checks.stage.set_value("encoder 2")
    take(qtbot, dock, until, "show_activations")
    features = layer_of(viewer, "activations")
    assert features.visible and layer_of(viewer, "prediction").visible, "they are of one batch"
    assert features.data.shape == (3, 2, 8, 8)
    assert viewer.dims.axis_labels[:2] == ("feature", "patch")
    for voxel, place in (((0, 0), (8.5, 0.5)), ((7, 7), (22.5, 14.5))):
        np.testing.assert_allclose(features.data_to_world((0, 0, *voxel))[2:], image.data_to_world(place))
    take(qtbot, dock, until, *STEPS[4:])
    assert layer_of(viewer, "gradient").visible and not features.visible
    take(qtbot, dock, until, *STEPS[1:4])
    assert features.visible and layer_of(viewer, "prediction").visible, "the stage is shown over it"


def test_layers_that_are_deleted_come_again_and_closing_hangs_nothing(
    qtbot: Any, viewer: Any, cells: Any, dock: Any, until: Until, notes: Notes
) -> None:
    take(qtbot, dock, until, "define_model", *STEPS[:4])
    image, labels = cells
    batch, prediction = layer_of(viewer, "batch"), layer_of(viewer, "prediction")
    assert prediction.visible
    viewer.layers.selection.active = labels
    viewer.layers.remove(batch)
    viewer.layers.remove(image)  # what is trained on is shared already
    take(qtbot, dock, until, *STEPS[4:], STEPS[1])
    assert layer_of(viewer, "batch") is not batch
    assert layer_of(viewer, "prediction") is prediction and not prediction.visible, "it is of another batch"
    take(qtbot, dock, until, *STEPS[2:4])
    assert prediction.visible and not layer_of(viewer, "gradient").visible
    assert viewer.layers.selection.active is labels
    viewer.layers.clear()
    take(qtbot, dock, until, *STEPS[4:6])
    assert [layer.name for layer in viewer.layers] == ["step · gradient · nuclei"]
    assert notes == []
    take(qtbot, dock, until, *STEPS[6:], *STEPS[1:5])  # the third batch has no loss
    assert notes == [("error", "the loss is no number")]
    assert dock.panel.text == "the loss is no number"
    assert "calculate_loss" in enabled(dock), "the network is still there"
    press(qtbot, dock, "overfit")
    viewer.window.remove_dock_widget(dock)
    until(lambda: dock.engine.engine.job is None)
    assert own_layers(viewer)


def test_a_duplicate_is_the_users_and_what_cannot_be_shown_is_said(
    qtbot: Any,
    viewer: Any,
    cells: Any,
    notes: Notes,
    dock: Any,
    until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari.layers._layer_actions import _duplicate_layer

    take(qtbot, dock, until, "define_model", *STEPS[:2])
    viewer.layers.selection = {layer_of(viewer, "batch")}
    _duplicate_layer(viewer.layers)
    mine = next(layer for layer in viewer.layers if layer.name.endswith("copy"))
    take(qtbot, dock, until, *STEPS[2:], STEPS[1])
    assert mine in viewer.layers and mine.data.max() == 1, "what is kept for comparison stays as it is"

    def refuse(*_: object) -> None:
        raise ValueError("limits must increase")

    monkeypatch.setattr(step_layers, "_renew", refuse)
    monkeypatch.setattr(step_layers, "_add", refuse)
    take(qtbot, dock, until, *STEPS[2:], STEPS[1])
    assert ("warning", "What came of the step cannot be shown: limits must increase") in notes
    assert "zero_gradients" in enabled(dock), "the training goes on"


def test_contrast_that_the_user_sets_stays(
    qtbot: Any, viewer: Any, cells: Any, dock: Any, until: Until
) -> None:
    take(qtbot, dock, until, "define_model", *STEPS[:4])
    batch, prediction = layer_of(viewer, "batch"), layer_of(viewer, "prediction")
    assert tuple(batch.contrast_limits) == tuple(prediction.contrast_limits) == (0.0, 10.0)
    batch.contrast_limits = (2.0, 5.0)
    take(qtbot, dock, until, *STEPS[4:], *STEPS[1:4])
    assert tuple(batch.contrast_limits) == (2.0, 5.0)
    assert tuple(prediction.contrast_limits) == (0.0, 11.0), "what nobody set follows the values"


def test_a_process_that_dies_ends_the_training_and_another_one_begins_anew(
    qtbot: Any, viewer: Any, cells: Any, dock: Any, until: Until, notes: Notes
) -> None:
    dock._train_dock().set_value(config("dies"))
    take(qtbot, dock, until, "define_model")
    press(qtbot, dock, STEPS[0])
    until(lambda: not dock.session.busy)
    [(level, words)] = notes
    assert level == "error" and words == dock.panel.text and "process" in words
    assert enabled(dock) == {"define_model"} and dock.panel.progress.isHidden()
    dock._train_dock().set_value(config())
    take(qtbot, dock, until, "define_model", *STEPS[:2])
    assert dock.panel.text == "prepare_batch is done"

    process = dock.engine.engine
    os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.01)  # and no event is seen: the dock does not know yet
    press(qtbot, dock, "end")
    until(lambda: not dock.session.busy)
    assert enabled(dock) == {"define_model"}
    assert len(notes) == 2 and notes[1] == ("error", dock.panel.text)


def test_an_experiment_that_cannot_be_is_refused_in_words(
    qtbot: Any, viewer: Any, dock: Any, until: Until, notes: Notes
) -> None:
    dock._train_dock().set_value(config("refuse"))
    press(qtbot, dock, "define_model")
    until(lambda: not dock.session.busy)
    assert enabled(dock) == {"define_model"}
    assert notes.pop() == ("error", "labels 'x': no voxel is labelled; paint some")
    viewer.layers.clear()
    press(qtbot, dock, "define_model")
    assert not dock.session.busy
    assert enabled(dock) == {"define_model"}
    assert notes.pop() == ("error", dock.panel.text)
