from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_segtrain import workflow
from napari_segtrain.config import CancelledError, ExperimentConfig, RunError
from napari_segtrain.engine import background
from napari_segtrain.runs import (
    Control,
    Finished,
    ProjectLock,
    RunFolder,
    RunState,
    Warned,
    all_waiting,
    create_run,
    read_events,
)
from napari_segtrain.runs.queue import reserve


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def pending(tmp_path: Path) -> RunFolder:
    return create_run(tmp_path / "P", "base", ExperimentConfig(), str(tmp_path / "nowhere"))


def test_a_run_that_cannot_begin_has_failed_and_says_why(pending: RunFolder, capsys) -> None:
    assert background.main([str(pending.path)]) == 2
    info = pending.read_info()
    assert (info.status, info.finish_reason) == (RunState.FAILED, "error")
    assert "nowhere does not exist" in info.message
    assert "Error: " in capsys.readouterr().err
    assert isinstance(read_events(pending.events_path)[-1], Finished)


def test_a_run_that_came_too_late_says_for_whom(pending: RunFolder) -> None:
    with ProjectLock(pending.project).acquire("other"):
        assert background.main([str(pending.path)]) == 2
    assert "A training run is already active" in pending.read_info().message


def test_one_that_ended_before_is_warned_of_and_left_as_it_is(pending: RunFolder) -> None:
    pending.set_state(RunState.RUNNING)
    pending.finish(RunState.INTERRUPTED, "stopped", "go on with it")
    before = pending.read_info()
    for wish in ([], ["--retry"]):
        assert background.main([str(pending.path), *wish]) == 2
        assert pending.read_info() == before
        last = read_events(pending.events_path)[-1]
        assert isinstance(last, Warned) and "nowhere does not exist" in last.message


def test_what_is_wished_for_reaches_the_training(pending: RunFolder, monkeypatch) -> None:
    asked = []

    def train(path: Path, *, wait: bool, changed_data: bool, control: Control) -> None:
        asked.append((wait, changed_data))
        raise CancelledError("stopped while waiting")

    for name, wishes in (("resume", ["--wait"]), ("retry", ["--retry", "--changed-data"])):
        monkeypatch.setattr(workflow, name, train)
        assert background.main([str(pending.path), *wishes]) == 130
    assert asked == [(True, False), (False, True)]
    assert pending.state is RunState.PENDING, "nothing was begun"


def test_a_fault_of_the_program_keeps_its_traceback(pending: RunFolder, monkeypatch) -> None:
    monkeypatch.setattr(workflow, "resume", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        background.main([str(pending.path)])
    assert pending.read_info().message == "ZeroDivisionError: division by zero"


def test_a_process_that_cannot_be_started_is_said(pending: RunFolder, monkeypatch) -> None:
    def refuse(*a: object, **k: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(RunError, match=r"base: cannot be started \(Permission denied\)"):
        background.begin(pending)


def test_who_is_begun_lines_up_at_once_and_gives_the_place_up(pending: RunFolder, capsys) -> None:
    later = create_run(pending.project, "later", ExperimentConfig(), "/nowhere")
    processes = [background.begin(pending), background.begin(later, wait=True)]
    try:
        places = [(holder.run, holder.process.pid) for holder in all_waiting(pending.project)]
        assert places == [("base", processes[0].pid), ("later", processes[1].pid)]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert all_waiting(pending.project) == []
    reserve(pending, os.getpid())
    assert background.main([str(pending.path)]) == 2, "it fails before its turn"
    assert all_waiting(pending.project) == []
