"""The Runs dock: what it shows of runs, as they change on the disk, off the main thread."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import Qt

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import (
    EpochDone,
    EventWriter,
    Finished,
    Progress,
    ProjectLock,
    RunFolder,
    RunState,
    Warned,
)
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.panels.runs_model import COLUMNS
from napari_segtrain.widgets.sessions import runs_watch

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
Notes = list[tuple[str, str]]


@pytest.fixture
def dock(make_dock: Callable[[type], Any]) -> Any:
    return make_dock(RunsDock)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return tmp_path / "project"


def make_run(project: Path, name: str, *states: RunState, epochs: int = 3, **settings: Any) -> RunFolder:
    """Write a run as a training leaves it, without one."""
    run = RunFolder.create(project, name)
    overrides = {key.replace("__", "."): value for key, value in settings.items()}
    run.write_config(ExperimentConfig().with_overrides(overrides))
    for state in states:
        run.set_state(state, **({"reason": "stopped"} if state not in (RunState.RUNNING,) else {}))
    for epoch in range(1, epochs + 1):
        run.append_metrics(
            {"epoch": epoch, "val_loss": 1 / epoch, "train_loss": 2 / epoch, "val_a_dice": None}
        )
    run.update_info(epoch=epochs, num_epochs=9, best={"epoch": 2, "monitor": "val_loss", "value": 0.51234})
    return run


def texts(dock: Any) -> list[list[str]]:
    """Return what the table shows, row by row."""
    model = dock.table.model()
    return [
        [str(model.index(row, column).data() or "") for column in range(len(COLUMNS))]
        for row in range(model.rowCount())
    ]


def look(dock: Any) -> None:
    dock.projects.look()


def test_each_run_is_a_row_in_words(dock: Any, project: Path, until: Until) -> None:
    make_run(project, "done", RunState.RUNNING, RunState.COMPLETED)
    make_run(project, "waits", epochs=0).update_info(best=None)
    (RunFolder.create(project, "torn").path / "run.json").write_text("{")
    look(dock)
    until(lambda: dock.table.model().rowCount() == 3)
    rows = {row[0]: row[1:] for row in texts(dock)}
    assert rows["done"][:3] == ["completed", "3/9", "0.512"]
    assert ":" in rows["done"][4]
    assert rows["waits"] == ["pending", "0/9", "", "", ""]
    assert rows["torn"] == ["damaged", "", "", "", ""]
    assert texts(dock)[-1][0] == "torn", "damaged runs stand at the end"
    dock.table.select([project / "runs" / "torn"])
    assert "run.json" in dock.difference.words.text()
    tips = [dock.table.model().index(0, column).data(Qt.ItemDataRole.ToolTipRole) for column in (0, 3)]
    assert tips[0] is not None
    best = next(row for row in range(3) if texts(dock)[row][0] == "done")
    tip = dock.table.model().index(best, 3).data(Qt.ItemDataRole.ToolTipRole)
    assert tip == "val_loss 0.51234 after epoch 2"


def test_only_rows_that_changed_are_drawn_again(dock: Any, project: Path, until: Until) -> None:
    runs = [make_run(project, name, RunState.RUNNING, RunState.INTERRUPTED) for name in ("a", "b", "c")]
    look(dock)
    until(lambda: dock.table.model().rowCount() == 3)
    dock.table.select([runs[0].path, runs[1].path])
    until(lambda: len(dock.projects.state.details) == 2)
    model, changed = dock.table.runs, []
    model.dataChanged.connect(lambda first, last, *_: changed.append(model.runs[first.row()].name))
    runs[1].update_info(epoch=7)
    look(dock)
    until(lambda: any(row[:3] == ["b", "interrupted", "7/9"] for row in texts(dock)))
    assert changed == ["b"]
    shutil.rmtree(runs[0].path)
    make_run(project, "d")
    look(dock)
    until(lambda: {row[0] for row in texts(dock)} == {"b", "c", "d"})
    assert changed == ["b"]
    assert [row.name for row in dock.table.selected()] == ["b"], "what is chosen stays chosen"


def test_500_runs_are_read_once_and_off_the_main_thread(
    dock: Any, project: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_run(project, "run_0", RunState.RUNNING, RunState.COMPLETED)
    text = (first.path / "run.json").read_text()
    for number in range(1, 500):
        folder = project / "runs" / f"run_{number}"
        folder.mkdir()
        (folder / "run.json").write_text(text)
    readers: list[tuple[str, threading.Thread]] = []

    def noted(what: str, function: Any) -> Any:
        def read(*arguments: Any) -> Any:
            readers.append((what, threading.current_thread()))
            return function(*arguments)

        return read

    monkeypatch.setattr(RunFolder, "read_info", noted("info", RunFolder.read_info))
    monkeypatch.setattr(runs_watch, "read_metrics", noted("metrics", runs_watch.read_metrics))
    monkeypatch.setattr(runs_watch, "compare_runs", noted("compare", runs_watch.compare_runs))
    look(dock)
    until(lambda: dock.table.model().rowCount() == 500)
    assert len(readers) == 500
    (project / "runs" / "run_7" / "run.json").write_text(text.replace('"epoch": 3', '"epoch": 5'))
    look(dock)
    until(lambda: any(row.name == "run_7" and row.info.epoch == 5 for row in dock.table.runs.runs))
    assert len(readers) == 501, "of 500 runs the one that changed is read again"
    dock.table.selectAll()
    until(lambda: len(dock.projects.state.details) == 500)
    assert {what for what, _ in readers} == {"info", "metrics", "compare"}
    assert threading.main_thread() not in [thread for _, thread in readers]


def test_curves_of_all_chosen_runs_lie_in_one_plot_and_grow(
    viewer: Any, dock: Any, project: Path, until: Until
) -> None:
    runs = [make_run(project, name, epochs=count) for name, count in (("a", 2), ("b", 3))]
    viewer.window.show()
    try:
        look(dock)
        until(lambda: dock.table.model().rowCount() == 2)
        dock.table.select([run.path for run in runs])
        until(lambda: len(dock.curves._lines) == 2)

        def drawn() -> dict[str, list[float]]:
            found = zip(dock.curves._lines, dock.curves._runs, strict=True)
            return {
                run.path.name: list(line.getData()[1]) for line, run in found if line.getData()[1] is not None
            }

        until(lambda: drawn() == {"a": [1.0, 0.5], "b": [1.0, 0.5, 1 / 3]})
        assert dock.curves.choice.offered() == ["val_loss", "train_loss", "val_a_dice"]
        runs[0].append_metrics({"epoch": 3, "val_loss": 0.25, "val_a_dice": 0.75})
        look(dock)
        until(lambda: drawn()["a"] == [1.0, 0.5, 0.25])
        dock.curves.choice.set_value("val_a_dice")
        until(lambda: dock.curves.points(dock.curves._runs[0])[1] in ([0.75], []))
        assert dock.curves.points(next(r for r in dock.curves._runs if r.path.name == "a")) == ([3.0], [0.75])
        dock.table.select([runs[1].path])
        until(lambda: len(dock.curves._lines) == 1)
        viewer.theme = "light"
        dock.curves.choice.set_value("train_loss")
        until(lambda: drawn() == {"b": [2.0, 1.0, 2 / 3]})
    finally:
        viewer.theme = "dark"
        viewer.window._qt_window.hide()


def test_settings_that_differ_have_a_column_a_run(dock: Any, project: Path, until: Until) -> None:
    a = make_run(project, "a", tr_config__batch_size=4)
    b = make_run(project, "b", tr_config__optimizer__lr=0.5)
    c = make_run(project, "c", tr_config__batch_size=4)
    look(dock)
    until(lambda: dock.table.model().rowCount() == 3)
    words, table = dock.difference.words, dock.difference.table
    assert "two or more" in words.text()
    dock.table.select([a.path, b.path])
    until(lambda: table.isVisibleTo(dock))
    head = [table.horizontalHeaderItem(column).text() for column in range(3)]
    assert head[0] == "Setting"
    found = {
        table.item(line, 0).text(): {head[column]: table.item(line, column).text() for column in (1, 2)}
        for line in range(table.rowCount())
    }
    assert found["tr_config.batch_size"]["a"] == "4"
    assert found["tr_config.optimizer.lr"]["b"] == "0.5"
    assert set(found) == {"tr_config.batch_size", "tr_config.optimizer.lr"}
    dock.table.select([a.path, c.path])
    until(lambda: "the same" in words.text())
    assert not table.isVisibleTo(dock)
    (c.path / "config.json").write_text("[")
    look(dock)
    until(lambda: "config.json" in words.text())


def test_a_project_that_is_not_there_has_no_runs(dock: Any, tmp_path: Path, until: Until) -> None:
    make_run(tmp_path / "other", "a")
    dock.project.set_value(tmp_path / "other")
    until(lambda: dock.table.model().rowCount() == 1)
    dock.project.set_value(tmp_path / "nothing")
    until(lambda: dock.table.model().rowCount() == 0)
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "runs").write_text("")
    dock.project.set_value(tmp_path / "file")
    until(lambda: dock.projects.state.project == tmp_path / "file")


def test_a_run_that_trains_elsewhere_is_followed_to_its_end(
    viewer: Any, dock: Any, project: Path, until: Until
) -> None:
    run = make_run(project, "far", epochs=1)
    viewer.window.show()
    try:
        with ProjectLock(project).acquire("far"), EventWriter(run.events_path) as tell:
            run.set_state(RunState.RUNNING)
            tell(Progress(fraction=0.25, seconds_left=100, text="Epoch 1 of 4"))
            look(dock)
            until(lambda: dock.panel.text == "far: Epoch 1 of 4")
            until(lambda: dock.panel.progress.value() == 250)
            assert "left" in dock.panel.progress.format()
            dock.project.set_value(project.parent / "another")
            until(lambda: dock.follower.run is None and dock.panel.text == "")
            dock.project.set_value(project)
            until(lambda: dock.panel.text == "far: Epoch 1 of 4")
            dock.table.select([run.path])
            until(lambda: dock.projects.state.details)
            for name in ("resume_run", "retry_run"):
                until(
                    lambda name=name: "A training run is already active" in dock.panel.buttons[name].toolTip()
                )
                assert not dock.panel.buttons[name].isEnabled()
            tell(Warned(message="the disk is nearly full"))
            until(lambda: dock.panel.text == "far: the disk is nearly full")
            run.append_metrics({"epoch": 2, "val_loss": 0.5})
            tell(EpochDone(epoch=2, num_epochs=4, row={}))
            until(lambda: [len(detail.metrics) for detail in dock.projects.state.details] == [2])
            run.set_state(RunState.COMPLETED, reason="all_epochs")
            tell(Finished(status=RunState.COMPLETED, reason="all_epochs", message="well done"))
        until(lambda: dock.panel.text == "far: completed. well done")
        assert not dock.panel.progress.isVisibleTo(dock)
        until(lambda: texts(dock)[0][1] == "completed")
        until(lambda: dock.panel.buttons["duplicate_run"].isEnabled())
    finally:
        viewer.window._qt_window.hide()
    assert dock.follower.run is None
    assert not dock.projects._tick.isActive(), "nobody looks, so nobody asks the file system"


def test_what_is_read_is_what_json_says(project: Path) -> None:
    reader = runs_watch.ProjectReader()
    run = make_run(project, "a")
    state = reader.read(project, [run.path, project / "runs" / "gone"])
    assert [row["val_loss"] for row in state.details[0].metrics] == [1.0, 0.5, 1 / 3]
    assert reader.read(project, [run.path]).details[0].metrics is state.details[0].metrics
    (run.path / "metrics.json").write_text(json.dumps({"no": "rows"}))
    assert "is not a list of rows" in reader.read(project, [run.path]).details[0].fault
