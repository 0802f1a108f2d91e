from __future__ import annotations

from pathlib import Path

import pytest

from napari_segtrain.config import RunError
from napari_segtrain.runs import ProjectLock, RunFolder, RunState, run_table, table


def test_every_run_is_a_row_also_a_damaged_one(tmp_path: Path) -> None:
    assert run_table(tmp_path / "nothing") == []
    for number, name in enumerate(("b", "a")):
        RunFolder.create(tmp_path, name).update_info(created=f"2026-01-0{number + 1}T00:00:00Z", epoch=number)
    broken = {"cut": "{", "changed": '{"id": "x"}', "empty": ""}
    for name, text in broken.items():
        (RunFolder.create(tmp_path, name).path / "run.json").write_text(text)
    (tmp_path / "runs" / "no run").mkdir()
    rows = run_table(tmp_path)
    assert [row.name for row in rows] == ["b", "a", "changed", "cut", "empty"]
    assert [row.info.epoch for row in rows if row.info is not None] == [0, 1]
    for row in rows[2:]:
        assert row.info is None
        assert row.fault.startswith(f"{tmp_path / 'runs' / row.name / 'run.json'}: ")
        assert "train again with the config.yaml beside it" in row.fault


def test_a_dead_process_does_not_run(tmp_path: Path) -> None:
    run, far = RunFolder.create(tmp_path, "dead"), RunFolder.create(tmp_path, "far")
    for one in (run, far):
        one.set_state(RunState.RUNNING)
    far.update_info(host="another-machine")
    with ProjectLock(tmp_path).acquire("other"):
        run.set_state(RunState.RUNNING)
        states = [row.info.status for row in run_table(tmp_path) if row.info]
        assert states == ["running", "interrupted"], "whoever holds the lock knows that no other run runs"
    assert {row.name: row.info.status.value for row in run_table(tmp_path) if row.info} == {
        "dead": "interrupted",
        "far": "interrupted",
    }


def test_a_project_that_cannot_be_written_is_listed(tmp_path: Path, monkeypatch) -> None:
    RunFolder.create(tmp_path, "dead").set_state(RunState.RUNNING)

    def refuse(project: Path) -> list[RunFolder]:
        raise RunError("P: cannot be locked (Read-only file system)")

    monkeypatch.setattr(table, "recover", refuse)
    (row,) = run_table(tmp_path)
    assert row.fault.startswith("its process may be gone, which cannot be written down: P: cannot")
    assert row.info is not None


@pytest.mark.parametrize("where", ["elsewhere", "deeper/runs_of_mine/x"])
def test_a_run_outside_of_a_project_is_one_of_its_own(tmp_path: Path, where: str) -> None:
    run = RunFolder.create(tmp_path, "base")
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    moved = RunFolder(run.path.rename(tmp_path / where))
    moved.set_state(RunState.RUNNING)
    assert moved.project == tmp_path / where
    (row,) = run_table(moved.project)
    assert row.info is not None
    assert row.info.status is RunState.INTERRUPTED
    assert not (tmp_path / where).parent.joinpath("runs", ".lock").exists()
