from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_segtrain import workflow
from napari_segtrain.config import ExperimentConfig, RunError
from napari_segtrain.engine import background
from napari_segtrain.runs import Finished, ProjectLock, RunFolder, RunState, create_run, read_events


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
