"""What the Train dock offers beyond one training: a size that fits, waiting for others, going on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit, QPushButton, QSpinBox

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import (
    Finding,
    ProjectLock,
    RunFolder,
    RunInfo,
    RunState,
    Warned,
    list_runs,
    read_data,
)
from napari_segtrain.runs.info import now
from napari_segtrain.runs.scratch import open_memmap
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.panels.keep_row import longer
from napari_segtrain.widgets.sessions import project_watch
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
Notes = list[tuple[str, str]]


@pytest.fixture
def dock(make_dock: Callable[[type], Any]) -> Any:
    return make_dock(TrainDock)


def button(dock: Any, action: str) -> Any:
    return dock.findChild(QPushButton, action)


def press(qtbot: Any, dock: Any, action: str) -> None:
    qtbot.mouseClick(button(dock, action), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not dock._opening)


def name(dock: Any, text: str) -> None:
    dock.findChild(QLineEdit, "run_name").setText(text)


def epochs(dock: Any, number: int) -> None:
    dock.findChild(QSpinBox, "num_epochs").setValue(number)


# ---------------------------------------------------------------------------------------- memory


def test_a_size_that_fits_is_offered_and_start_then_works(
    qtbot: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    name(dock, "memory")
    epochs(dock, 1)
    before = dock.value()
    use = button(dock, "use_fitting_size")
    assert not use.isVisibleTo(dock)
    press(qtbot, dock, "start")
    until(lambda: notes)
    assert notes == [("error", "this machine's memory is not enough for batches of 64")]
    assert use.isVisibleTo(dock)
    assert "patches of 32 × 48 in batches of 2" in dock.fitting.label.text()
    press(qtbot, dock, "use_fitting_size")
    changed = before.tr_config.replace(patch_size=(32, 48), batch_size=2)
    assert dock.value() == before.replace(tr_config=changed)
    assert not use.isVisibleTo(dock)
    assert "press Start" in dock.panel.status.text()
    press(qtbot, dock, "start")
    until(lambda: ("info", "memory_2 is trained; use it in the Predict dock.") in notes)


def test_an_offer_that_is_not_taken_ends_with_the_next_start(
    qtbot: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    name(dock, "memory")
    press(qtbot, dock, "start")
    until(lambda: button(dock, "use_fitting_size").isVisibleTo(dock))
    until(lambda: dock.session.state is State.IDLE)
    name(dock, "base")
    epochs(dock, 1)
    press(qtbot, dock, "start")
    assert not button(dock, "use_fitting_size").isVisibleTo(dock)
    until(lambda: dock.session.state is State.IDLE)


# ------------------------------------------------------------------------------------------ lock


def test_start_waits_for_a_run_of_another_process(
    qtbot: Any, viewer: Any, dock: Any, cells: Any, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, start = Path(dock.project.value()), button(dock, "start")
    dock.projects._tick.setInterval(50)
    viewer.window.show()
    try:
        until(lambda: dock.projects.state.project == project)
        assert start.isEnabled()
        with ProjectLock(project).acquire("elsewhere"):
            until(lambda: not start.isEnabled())
            for text in (start.toolTip(), dock.panel.status.text()):
                assert text.startswith("A training run is already active")
                assert "'elsewhere'" in text
        until(start.isEnabled)
        assert start.toolTip() == "Train with these settings"
        assert dock.panel.status.text() == ""
    finally:
        viewer.window._qt_window.hide()
    assert not dock.projects._tick.isActive(), "nobody looks, so nobody asks the file system"


def test_a_start_may_wait_for_the_end_of_a_run_elsewhere(
    qtbot: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    project, wait = Path(dock.project.value()), button(dock, "wait")
    epochs(dock, 1)
    dock.projects.look()
    until(lambda: dock.projects.state.project == project)
    assert not wait.isVisibleTo(dock)
    with ProjectLock(project).acquire("elsewhere"):
        dock.projects.look()
        until(lambda: wait.isVisibleTo(dock))
        assert not button(dock, "start").isEnabled()
        press(qtbot, dock, "wait")
        until(lambda: dock.session.state is State.WAITING)
        until(lambda: "already active" in dock.panel.text and "'elsewhere'" in dock.panel.text)
        assert not wait.isVisibleTo(dock)
        press(qtbot, dock, "stop")
        until(lambda: dock.session.state is State.IDLE)
        assert "stopped while waiting, nothing was started" in dock.panel.text
        dock.projects.look()
        until(lambda: wait.isVisibleTo(dock))
        press(qtbot, dock, "wait")
        until(lambda: dock.session.state is State.WAITING)
        assert list_runs(project) == []
    until(lambda: ("info", "base is trained; use it in the Predict dock.") in notes)
    assert not [text for level, text in notes if level == "error"]


def test_a_typed_project_is_looked_at_once_it_is_typed(
    dock: Any, until: Until, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    real = project_watch.look_at
    monkeypatch.setattr(
        project_watch, "look_at", lambda path, known=None: (seen.append(path), real(path, known))[1]
    )
    with ProjectLock(tmp_path / "taken").acquire("elsewhere"):
        for end in range(len("taken") + 1):
            dock.project.set_value(tmp_path / "taken"[:end])
        until(lambda: not button(dock, "start").isEnabled())
    assert set(seen) == {tmp_path / "taken"}, "what was half typed was never looked at"
    dock.project.set_value(tmp_path / "free")
    until(button(dock, "start").isEnabled)


def test_the_docks_own_run_is_nobody_elses(qtbot: Any, dock: Any, cells: Any, until: Until) -> None:
    epochs(dock, 500)
    press(qtbot, dock, "start")
    until(lambda: dock.session.state is State.RUNNING)
    dock.projects.look()
    press(qtbot, dock, "stop")
    until(lambda: dock.session.state is State.IDLE)
    dock.projects.look()
    until(button(dock, "start").isEnabled)
    assert "already active" not in dock.panel.status.text()


# ---------------------------------------------------------------------------------------- resume


def stopped_run(qtbot: Any, dock: Any, until: Until) -> RunFolder:
    """Train some epochs, stop, and return the run once it is offered."""
    epochs(dock, 500)
    press(qtbot, dock, "start")
    until(lambda: len(dock.curves.points("val", "loss")[0]) >= 2)
    press(qtbot, dock, "stop")
    until(lambda: dock.session.state is State.IDLE)
    dock.projects.look()
    until(lambda: button(dock, "resume").isVisibleTo(dock))
    [run] = list_runs(Path(dock.project.value()))
    assert dock.resumable.value() == run.path
    return run


def shorten(run: RunFolder, more: int) -> int:
    """Let a run end some epochs after those it has."""
    config = run.read_config()
    end = run.read_info().epoch + more
    run.write_config(config.replace(tr_config=config.tr_config.replace(num_epochs=end)))
    return end


def test_resume_goes_on_with_the_open_layers_and_its_curves(
    qtbot: Any, viewer: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    assert not button(dock, "resume").isVisibleTo(dock)
    run = stopped_run(qtbot, dock, until)
    assert dock.resumable.choice.currentText().startswith("base · epoch ")
    end = shorten(run, 3)
    cells[1].paint((40, 50), 1)
    name(dock, "other settings")
    with ProjectLock(run.project).acquire("elsewhere"):
        dock.projects.look()
        until(lambda: button(dock, "resume").text() == "Resume when it ends")
        assert "'elsewhere'" in button(dock, "resume").toolTip()
        press(qtbot, dock, "resume")
        until(lambda: dock.session.state is State.WAITING)
        assert run.state is RunState.INTERRUPTED
    assert not button(dock, "resume").isVisibleTo(dock)
    assert dock.value() == run.read_config(), "the dock shows what is trained"
    words = "base goes on with the open layers and the labels as they are now in 'cells_nuclei'."
    assert ("info", words) in notes
    until(lambda: ("info", "base is trained; use it in the Predict dock.") in notes)
    assert [r.name for r in list_runs(run.project)] == ["base"]
    until(lambda: dock.curves.points("val", "loss")[0] == [float(n) for n in range(1, end + 1)])
    assert viewer.layers["nuclei · live"].data[40, 50] == 1, "painted before it went on"
    assert len(viewer.layers) == 3, "its earlier preview goes on"
    dock.projects.look()
    until(lambda: not button(dock, "resume").isVisibleTo(dock))
    assert not list(run.scratch.iterdir())


def test_a_completed_run_keeps_learning_with_the_labels_as_they_are(
    qtbot: Any, viewer: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    assert not button(dock, "keep_learning").isVisibleTo(dock)
    epochs(dock, 2)
    press(qtbot, dock, "start")
    until(lambda: dock.session.state is State.IDLE and notes)
    dock.projects.look()
    until(lambda: button(dock, "keep_learning").isVisibleTo(dock))
    [run] = list_runs(Path(dock.project.value()))
    assert dock.completed.value() == run.path and not run.resumable
    cells[1].name = "renamed"
    press(qtbot, dock, "keep_learning")
    assert (
        "'cells_nuclei' is not open. The run was trained on open layers, and keeps no copies" in notes[-1][1]
    )
    assert run.state is RunState.COMPLETED and dock.session.state is State.IDLE
    cells[1].name = "cells_nuclei"
    cells[1].paint((40, 50), 1)
    dock.findChild(QSpinBox, "more_epochs").setValue(3)
    del notes[:]
    with ProjectLock(run.project).acquire("elsewhere"):
        dock.projects.look()
        until(lambda: button(dock, "keep_learning").text() == "Keep learning when it ends")
        press(qtbot, dock, "keep_learning")
        until(lambda: dock.session.state is State.WAITING)
    words = "goes on with the open layers and the labels as they are now in 'cells_nuclei', up to epoch 5."
    assert ("info", f"base {words}") in notes
    until(lambda: ("info", "base is trained; use it in the Predict dock.") in notes)
    assert [row["epoch"] for row in run.read_metrics()] == [1, 2, 3, 4, 5]
    assert viewer.layers["nuclei · live"].data[40, 50] == 1, "painted before it went on"


def test_what_ended_a_run_does_not_end_it_again() -> None:
    config = ExperimentConfig().with_overrides({"tr_config.early_stopping": 5, "tr_config.max_time": 60.0})
    info = RunInfo(id="a", name="a", created=now(), epoch=20, num_epochs=50)
    for reason, kept in (("all_epochs", (5, 60.0)), ("early_stopping", (0, 60.0)), ("max_time", (5, None))):
        ended = info.replace(finish_reason=reason)
        assert ended.has_less_than(30) is (reason != "all_epochs") and not ended.has_less_than(20)
        tr = longer(config, ended, 10).tr_config
        assert (tr.num_epochs, tr.early_stopping, tr.max_time) == (30, *kept)


def test_resume_in_a_new_dock_goes_on_with_what_the_run_has_kept(
    qtbot: Any, viewer: Any, make_dock: Callable[[type], Any], cells: Any, until: Until, notes: Notes
) -> None:
    dock = make_dock(TrainDock)
    run = stopped_run(qtbot, dock, until)
    painted = np.array(cells[1].data)
    viewer.window.remove_dock_widget(dock)
    viewer.layers.remove("nuclei · live")
    viewer.layers.remove(cells[1])
    kept = read_data(run)["layers"][0]["labels"]["nuclei"]
    np.testing.assert_array_equal(open_memmap(kept), painted)

    dock = make_dock(TrainDock)
    until(lambda: button(dock, "resume").isVisibleTo(dock))
    end = shorten(run, 60)
    press(qtbot, dock, "resume")
    assert "base goes on with the copies of its layers, with the labels it had" in notes[-1][1]
    until(lambda: "nuclei · live" in viewer.layers)
    preview = viewer.layers["nuclei · live"]
    np.testing.assert_allclose(preview.data_to_world((7, 9)), cells[0].data_to_world((7, 9)))
    np.testing.assert_array_equal(preview.data, painted)
    press(qtbot, dock, "pause")
    until(lambda: dock.session.state is State.PAUSED)
    x, _ = dock.curves.points("train", "loss")
    assert x[:2] == [1.0, 2.0], "earlier epochs are shown"
    press(qtbot, dock, "stop")
    until(lambda: dock.session.state is State.IDLE)
    info = run.read_info()
    assert info.status is RunState.INTERRUPTED
    assert info.epoch < end


def test_a_run_that_failed_after_a_checkpoint_can_go_on(
    qtbot: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    name(dock, "die")
    epochs(dock, 2)
    press(qtbot, dock, "start")
    until(lambda: ("error" in dict(notes)) and dock.session.state is State.IDLE)
    [run] = list_runs(Path(dock.project.value()))
    assert run.state is RunState.FAILED
    dock.projects.look()
    until(lambda: dock.projects.state.project == Path(dock.project.value()))
    assert not button(dock, "resume").isVisibleTo(dock), "it has no checkpoint"
    offered = dock.fitting.label.text()
    assert offered == "If memory ran out, this should fit: patches of 32 × 48 in batches of 2"
    (run.checkpoints / "last.ckpt").touch()
    dock.projects.look()
    until(lambda: button(dock, "resume").isVisibleTo(dock))


def test_a_run_that_cannot_go_on_says_why(
    qtbot: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    run = stopped_run(qtbot, dock, until)
    (run.path / "data.json").unlink()
    press(qtbot, dock, "resume")
    assert notes[-1][0] == "error"
    assert "say where the data is" in notes[-1][1]
    assert dock.session.state is State.IDLE


def test_a_run_that_diverged_goes_on_with_the_learning_rate_that_was_applied(
    qtbot: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    name(dock, "nan")
    epochs(dock, 3)
    dock.set_value(dock.value().with_overrides({"tr_config.optimizer.lr": 0.5}))
    press(qtbot, dock, "start")
    until(lambda: dock.session.state is State.IDLE and dock.findings.value())
    [run] = list_runs(Path(dock.project.value()))
    assert run.state is RunState.FAILED
    press(qtbot, dock, "apply_finding")
    assert dock.panel.text.endswith("press Start, or Resume to go on with nan.")
    dock.projects.look()
    until(lambda: button(dock, "resume").isVisibleTo(dock))
    assert run.read_config().tr_config.optimizer.lr == 0.5
    press(qtbot, dock, "resume")
    assert ("info", notes[-1][1]) == notes[-1]
    assert notes[-1][1].endswith("'cells_nuclei', with tr_config.optimizer.lr = 0.01 as applied.")
    assert dock.value().tr_config.optimizer.lr == 0.01
    until(lambda: ("info", "nan is trained; use it in the Predict dock.") in notes)
    assert run.read_config().tr_config.optimizer.lr == 0.01
    assert dock.value() == run.read_config(), "the dock shows what is trained"


def test_what_is_applied_to_a_running_training_counts_when_it_is_resumed(
    qtbot: Any, dock: Any, cells: Any, until: Until, notes: Notes
) -> None:
    epochs(dock, 500)
    press(qtbot, dock, "start")
    until(lambda: len(dock.curves.points("val", "loss")[0]) >= 1)
    rate = {"tr_config.optimizer.lr": 0.0003}
    dock._on_event(Warned(message="a", finding=Finding(rule="a", severity="note", sentence="a", remedy=rate)))
    press(qtbot, dock, "apply_finding")
    assert dock.panel.text.endswith("it counts for the next run, and on resuming base.")
    press(qtbot, dock, "stop")
    until(lambda: dock.session.state is State.IDLE)
    dock.projects.look()
    until(lambda: button(dock, "resume").isVisibleTo(dock))
    [run] = list_runs(Path(dock.project.value()))
    shorten(run, 2)
    press(qtbot, dock, "resume")
    until(lambda: ("info", "base is trained; use it in the Predict dock.") in notes)
    assert run.read_config().tr_config.optimizer.lr == 0.0003
