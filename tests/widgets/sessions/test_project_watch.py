from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_segtrain.runs import ProjectLock, RunFolder, RunState
from napari_segtrain.widgets.sessions import project_watch
from napari_segtrain.widgets.sessions.project_watch import ProjectState, ProjectWatch, look_at

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]


def interrupted(project: Path, name: str) -> RunFolder:
    run = RunFolder.create(project, name)
    run.set_state(RunState.RUNNING)
    run.set_state(RunState.INTERRUPTED, reason="stopped")
    run.update_info(epoch=3, num_epochs=50)
    return run


def test_what_there_is_to_see(tmp_path: Path) -> None:
    assert look_at(tmp_path / "none") == ProjectState(tmp_path / "none")
    run = interrupted(tmp_path, "base")
    assert look_at(tmp_path) == ProjectState(tmp_path, None, (("base · epoch 3/50", run.path),))
    with ProjectLock(tmp_path).acquire("other"):
        active = look_at(tmp_path).active
        assert active is not None
        assert active.startswith("A training run is already active in")
        assert "'other'" in active


def test_a_run_whose_process_died_can_go_on(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "dead")
    run.set_state(RunState.RUNNING)
    assert [path for _, path in look_at(tmp_path).resumable] == [run.path]
    assert run.state is RunState.INTERRUPTED


def test_a_project_that_cannot_be_read_is_nothing_to_see(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    assert look_at(tmp_path) == ProjectState(tmp_path)


def test_while_the_lock_is_as_it_was_no_run_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(tmp_path, "base")
    known = look_at(tmp_path)
    monkeypatch.setattr(project_watch, "resumable_runs", lambda project: [])
    assert look_at(tmp_path, known) is known
    with ProjectLock(tmp_path).acquire("other"):
        busy = look_at(tmp_path, known)
    assert look_at(tmp_path, busy).resumable == (), "they may have changed when the lock was given back"


def test_a_file_system_that_hangs_keeps_nobody_waiting(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    hangs, asked = threading.Event(), []
    project = tmp_path

    def slow(where: Path, known: Any) -> ProjectState:
        asked.append(where)
        hangs.wait(300)
        return ProjectState(where, "busy")

    monkeypatch.setattr(project_watch, "look_at", slow)
    watch = ProjectWatch(lambda: project)
    heard: list[ProjectState] = []
    watch.changed.connect(heard.append)
    for _ in range(5):
        watch.look()
    until(lambda: asked)
    assert asked == [tmp_path], "one look at a time"
    project = tmp_path / "other"
    hangs.set()
    until(lambda: heard)
    assert [state.project for state in heard] == [project], "what was seen elsewhere does not count"
    watch.stop()


def test_a_path_typed_before_the_watch_ends_is_not_looked_at(
    qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(project_watch, "_TYPING", 30)
    monkeypatch.setattr(project_watch, "look_at", lambda where, known: asked.append(where))
    watch = ProjectWatch(lambda: tmp_path)
    watch.look_when_typed()
    watch.stop()  # a run begins: its own lock would be found, and Start be greyed when it has ended
    qtbot.wait(100)
    assert asked == []
