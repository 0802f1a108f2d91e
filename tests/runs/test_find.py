from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from napari_segtrain.config import RunError
from napari_segtrain.runs import (
    RunFolder,
    RunState,
    check_writable,
    find_run,
    list_runs,
    resumable_runs,
)


def test_runs_are_listed_by_age(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert list_runs(tmp_path) == []
    runs = [RunFolder.create(tmp_path, name) for name in ("b", "a", "c")]
    for number, run in enumerate(runs):
        run.update_info(created=f"2026-01-0{number + 1}T00:00:00Z")
    (tmp_path / "runs" / "no run").mkdir()
    damaged = RunFolder.create(tmp_path, "damaged")
    (damaged.path / "run.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert list_runs(tmp_path) == runs
    assert "damaged" in caplog.text


def test_runs_that_can_go_on_newest_first(tmp_path: Path) -> None:
    for number, (name, state) in enumerate(
        [("stopped", "interrupted"), ("done", "completed"), ("broken", "failed"), ("late", "failed")]
    ):
        run = RunFolder.create(tmp_path, name)
        run.set_state(RunState.RUNNING)
        if name == "late":
            (run.checkpoints / "last.ckpt").touch()
        run.set_state(RunState(state), reason="error")
        run.update_info(created=f"2026-01-0{number + 1}T00:00:00Z")
    RunFolder.create(tmp_path, "waiting")
    assert [run.name for run in resumable_runs(tmp_path)] == ["late", "stopped"]


@pytest.mark.parametrize(
    "inside",
    [
        "",
        "runs",
        "runs/base",
        "runs/base/checkpoints",
        "runs/base/checkpoints/last.ckpt",
        "runs/base/run.json",
    ],
)
def test_a_run_is_found_by_any_of_its_paths(tmp_path: Path, inside: str) -> None:
    run = RunFolder.create(tmp_path, "base")
    (run.checkpoints / "last.ckpt").touch()
    assert find_run(tmp_path / inside) == run
    assert find_run(str(tmp_path / inside)) == run


def test_several_runs_need_a_choice(tmp_path: Path) -> None:
    for name in ("a", "b"):
        RunFolder.create(tmp_path, name)
    with pytest.raises(RunError, match=r"holds 2 runs; say which one\. The newest are: a, b"):
        find_run(tmp_path)


def test_nothing_to_find(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is nothing here"):
        find_run(tmp_path / "gone")
    with pytest.raises(RunError, match="holds no run; give a run folder"):
        find_run(tmp_path)


def test_a_writable_project_is_left_clean(tmp_path: Path) -> None:
    check_writable(tmp_path / "new")
    assert list((tmp_path / "new" / "runs").iterdir()) == []


def test_a_project_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be written to \(Not a directory\); choose a project folder"):
        check_writable(tmp_path / "file" / "project")


def test_a_disk_that_takes_no_more_is_refused(tmp_path: Path, small_files) -> None:
    with small_files(100), pytest.raises(RunError, match="cannot be written to"):
        check_writable(tmp_path)


def test_a_nearly_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10 * 2**20))
    check_writable(tmp_path, needed=5 * 2**20)
    with pytest.raises(RunError, match="only 10 MiB are free on this disk, and this run may need 64 MiB"):
        check_writable(tmp_path)
