"""What happens to the engine when the program that started it is gone."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from napari_segtrain.runs import ProjectLock, RunFolder, RunState

VIEWER = """
import os, subprocess, sys, time
from napari_segtrain.engine import Engine, Pause, Train
from napari_segtrain.runs import Paused, RunStarted
project, hold = sys.argv[1:]
engine = Engine(("--jobs", "fake_jobs:JOBS"))
engine.start()
if hold == "hold":
    # Some other child inherits the writing end of the engine's standard input and keeps it open.
    end = engine._child._process.stdin.fileno()
    holder = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[end], stdout=2)
else:
    holder = None
engine.send(Train(config={}, data="d", project=project))
for event in engine.events():
    if isinstance(event, RunStarted) and hold != "hold":
        break
    if isinstance(event, RunStarted):
        # A job that says nothing does not notice either that nobody reads what it says.
        engine.send(Pause())
    if isinstance(event, Paused):
        break
print(engine.pid, holder.pid if holder else 0, flush=True)
time.sleep(60)
"""


@pytest.fixture
def viewer(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(hold: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", VIEWER, str(tmp_path), hold],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("hold", ["", "hold"])
def test_the_job_stops_and_the_engine_ends(viewer, tmp_path: Path, hold: str, request) -> None:
    process = viewer(hold)
    pid, holder = map(int, process.stdout.readline().split())
    engine = psutil.Process(pid)
    if holder:
        request.addfinalizer(psutil.Process(holder).kill)
    run = RunFolder.open(tmp_path / "runs" / "base")
    assert run.state is RunState.RUNNING
    process.kill()
    process.wait()
    until = time.monotonic() + 60
    while run.state is RunState.RUNNING and time.monotonic() < until:
        time.sleep(0.02)
    info = run.read_info()
    assert (info.status, info.finish_reason) == (RunState.INTERRUPTED, "parent_gone")
    while engine.is_running() and engine.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.02)
    assert not engine.is_running() or engine.status() == psutil.STATUS_ZOMBIE
    assert ProjectLock(tmp_path).holder() is None
    run.set_state(RunState.RUNNING)
    assert run.state is RunState.RUNNING, "the run can be resumed"
