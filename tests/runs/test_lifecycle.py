from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from napari_segtrain.config import ConfigError, ExperimentConfig, RunError
from napari_segtrain.runs import (
    ProjectLock,
    RunFolder,
    RunState,
    StatusChanged,
    attempts,
    delete_run,
    duplicate_run,
    list_runs,
    read_data,
    read_events,
    run_name,
    set_back,
    stop_run,
    write_data,
)
from napari_segtrain.runs.scratch import Scratch


@pytest.fixture
def ended(running: RunFolder) -> RunFolder:
    """A run that was interrupted after an epoch, with everything that an attempt leaves."""
    running.write_config(ExperimentConfig())
    running.write_json("split.json", {"train": []})
    write_data(running, "/data")
    with running.open_events() as write:
        write(StatusChanged(status=RunState.RUNNING))
    running.append_metrics({"epoch": 1, "val_loss": 0.5})
    (running.checkpoints / "last.ckpt").write_bytes(b"weights")
    (running.plots / "segtrain_debug.png").write_bytes(b"picture")
    running.log_path.write_text("log")
    running.update_info(epoch=1, num_epochs=3, changed={"lr": 0.1})
    running.set_state(RunState.INTERRUPTED, reason="stopped")
    return running


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_retry_begins_without_anything_of_the_attempt_before(ended: RunFolder) -> None:
    before = ended.read_info()
    fresh = set_back(ended)
    info = fresh.read_info()
    assert (info.status, info.epoch, info.id, info.changed) == (RunState.PENDING, 0, before.id, {"lr": 0.1})
    here = {name for name in files(fresh.path) if not name.startswith("attempts/")}
    kept = {"run.json", "config.yaml", "config.json", "data.json"}
    assert here == {*kept, "events.jsonl", "summary.txt"}
    assert [type(event) for event in read_events(fresh.events_path)] == [StatusChanged]
    assert fresh.read_metrics() == []
    assert read_data(fresh) == "/data"
    assert fresh.checkpoints.is_dir()
    (earlier,) = attempts(fresh)
    assert files(earlier) == {
        "run.json", "split.json", "summary.txt", "events.jsonl", "metrics.json",
        "checkpoints/last.ckpt", "plots/segtrain_debug.png", "logs/training.log",
    }  # fmt: skip
    assert json.loads((earlier / "run.json").read_text())["status"] == "interrupted"
    fresh.append_metrics({"epoch": 1, "val_loss": 0.25})
    assert ended.read_metrics() == [{"epoch": 1, "val_loss": 0.25}]


def test_every_attempt_is_kept(ended: RunFolder) -> None:
    for _ in range(11):
        fresh = set_back(ended)
        fresh.set_state(RunState.RUNNING)
        fresh.set_state(RunState.FAILED, reason="error")
    assert [path.name for path in attempts(ended)] == [str(number) for number in range(1, 12)]


def test_what_cannot_be_retried_is_left_as_it_is(ended: RunFolder) -> None:
    ended.set_state(RunState.RUNNING)
    ended.set_state(RunState.COMPLETED, reason="all_epochs")
    before = files(ended.path)
    with pytest.raises(RunError, match="completed cannot become pending"):
        set_back(ended)
    assert files(ended.path) == before
    assert attempts(ended) == []


def test_a_folder_that_cannot_be_written_is_said(ended: RunFolder, monkeypatch) -> None:
    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    for action in (set_back, delete_run):
        with pytest.raises(RunError, match=r"base: cannot be .* \(Permission denied\).*writable"):
            action(ended)
    assert ended.state is RunState.INTERRUPTED
    assert ended.read_metrics()


def test_a_duplicate_is_a_pending_run_with_the_same_settings_and_data(ended: RunFolder) -> None:
    new = duplicate_run(ended)
    assert (new.name, new.state) == ("base_2", RunState.PENDING)
    assert new.read_config() == ended.read_config()
    assert read_data(new) == "/data"
    assert new.read_info().id != ended.read_info().id
    assert files(new.path) == {"run.json", "config.yaml", "config.json", "data.json", "events.jsonl"}
    assert "a duplicate of base" in read_events(new.events_path)[0].message


@pytest.mark.parametrize(
    ("original", "name"),
    [
        ({"tr_config.batch_size": 8}, "batch_8_lr_0.5"),
        ({"tr_config.optimizer.lr": 0.1}, "lr_0.5"),
        ({}, "lr_0.5"),
        (None, "mine_lr_0.5"),
    ],
)
def test_a_duplicate_is_called_after_what_differs(tmp_path: Path, original, name: str) -> None:
    for _ in range(2):  # the second has a number behind its name
        run = RunFolder.create(tmp_path, "mine" if original is None else run_name(original))
    run.write_config(ExperimentConfig().with_overrides({**(original or {}), "tr_setup.run_name": "given"}))
    run.update_info(changed=original or {})
    new = duplicate_run(run, overrides={"tr_config.optimizer.lr": 0.5})
    assert new.name == name.replace("mine", "mine_2")
    config = new.read_config()
    assert (config.tr_config.optimizer.lr, config.tr_setup.run_name) == (0.5, new.name)
    assert duplicate_run(run, name="other").name == "other"


def test_a_duplicate_that_cannot_be_made_leaves_nothing(ended: RunFolder, run: RunFolder) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'lr'"):
        duplicate_run(ended, overrides={"tr_config.optimizer.l": 1})
    (ended.path / "data.json").write_text("{")
    with pytest.raises(RunError, match=r"data\.json: is not valid JSON"):
        duplicate_run(ended)
    assert list_runs(ended.project) == [ended]


def test_a_duplicate_has_the_layers_too(running: RunFolder) -> None:
    scratch = Scratch.create(running.project)
    image = scratch.add("image", np.arange(6).reshape(2, 3))
    write_data(running, {"layers": [{"id": "a", "image": image}]})
    scratch.remove()
    running.write_config(ExperimentConfig())
    new = duplicate_run(running)
    running.set_state(RunState.COMPLETED, reason="all_epochs")
    path = Path(read_data(new)["layers"][0]["image"]["path"])
    assert path.is_relative_to(new.path)
    assert np.fromfile(path, int).tolist() == list(range(6))
    assert not (duplicate_run(running).path / "data.json").exists(), "a completed run has its layers no more"


def test_a_run_is_deleted_whole(ended: RunFolder) -> None:
    other = RunFolder.create(ended.project, "other")
    with ProjectLock(ended.project).acquire("other"):
        delete_run(ended)
    assert list_runs(other.project) == [other]
    assert [path.name for path in other.path.parent.iterdir() if path.name != ".lock"] == ["other"]
    (other.path / "run.json").write_text("{")
    delete_run(other)
    assert not other.path.exists()


def test_a_running_run_is_not_deleted(run: RunFolder) -> None:
    with ProjectLock(run.project).acquire("base"):
        run.set_state(RunState.RUNNING)
        with pytest.raises(RunError, match=rf"is running and cannot be deleted; stop it .*{os.getpid()} on"):
            delete_run(run)
    run.update_info(host="another-machine")
    with pytest.raises(RunError, match="on another-machine"):
        delete_run(run)
    assert run.state is RunState.RUNNING


def test_the_run_of_a_dead_process_is_deleted(running: RunFolder) -> None:
    delete_run(running)
    assert not running.path.exists()


def test_stop_reaches_the_process_that_runs_it(run: RunFolder, python) -> None:
    with pytest.raises(RunError, match="is not running"):
        stop_run(run)
    process = python(
        "import sys, time\n"
        "from napari_segtrain.runs import ProjectLock\n"
        f"lock = ProjectLock({str(run.project)!r}).acquire('other')\n"
        "lock.rename('base')\n"
        "print('held', flush=True)\n"
        "time.sleep(60)\n"
    )
    assert process.stdout.readline() == "held\n"
    stop_run(run)
    assert process.wait(120) == -signal.SIGTERM
