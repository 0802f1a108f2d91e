from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from napari_segtrain.config import CancelledError, RunError
from napari_segtrain.runs import (
    ActiveRunError,
    Control,
    Event,
    Holder,
    ProjectLock,
    RunFolder,
    Waiting,
    all_waiting,
    delete_run,
    lock_project,
    queue,
    stop_run,
    waiting_for,
)
from napari_segtrain.runs.process import ProcessId
from napari_segtrain.runs.queue import Place, give_up, reserve

PATIENCE = 90.0
"""Seconds that only a fault takes."""


def test_a_free_project_is_taken_at_once(tmp_path: Path) -> None:
    told: list[Event] = []
    with lock_project(ProjectLock(tmp_path), "a", wait=True, emit=told.append) as lock:
        assert lock.held
    assert told == []


def test_nobody_waits_who_does_not_want_to(tmp_path: Path) -> None:
    with (
        ProjectLock(tmp_path).acquire("a"),
        pytest.raises(
            RunError, match=r"A training run is already active in .*'a'.*; stop it or wait"
        ) as caught,
    ):
        lock_project(ProjectLock(tmp_path), "b")
    assert isinstance(caught.value, ActiveRunError)
    assert caught.value.holder is not None
    assert caught.value.holder.run == "a"


def test_who_waits_is_told_for_whom_and_gets_it(tmp_path: Path) -> None:
    told: list[Event] = []
    first = ProjectLock(tmp_path).acquire("a")

    def tell(event: Event) -> None:
        told.append(event)
        if len(told) == 2:
            first.release()

    with lock_project(ProjectLock(tmp_path), "b", wait=True, emit=tell) as lock:
        assert lock.held
        assert lock.holder().run == "b"
    assert all(isinstance(event, Waiting) for event in told)
    assert "A training run is already active" in told[0].message
    assert "'a' (process" in told[0].message
    assert told[0].seconds < told[1].seconds


def test_a_stop_ends_the_waiting(tmp_path: Path) -> None:
    control = Control()
    with (
        ProjectLock(tmp_path).acquire("a"),
        pytest.raises(CancelledError, match=r"stopped while waiting, nothing was started.*'a'"),
    ):
        lock_project(
            ProjectLock(tmp_path), "b", wait=True, control=control, emit=lambda event: control.stop()
        )


def begin_to_wait(project: Path, name: str, control: Control, order: list[str]) -> threading.Thread:
    """Wait in a thread; returns when that is in the queue."""
    told = threading.Event()

    def work() -> None:
        with (
            suppress(CancelledError),
            lock_project(
                ProjectLock(project), name, wait=True, control=control, emit=lambda event: told.set()
            ),
        ):
            order.append(name)

    thread = threading.Thread(target=work)
    thread.start()
    assert told.wait(PATIENCE)
    return thread


def test_all_who_wait_come_in_the_order_in_which_they_began_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_SILENCE", 1e6)  # a machine may be so busy that threads stand still
    order: list[str] = []
    controls = {name: Control() for name in "cabd"}
    with ProjectLock(tmp_path).acquire("first"):
        threads = [begin_to_wait(tmp_path, name, control, order) for name, control in controls.items()]
        controls["a"].stop()
        threads[1].join(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
    assert order == ["c", "b", "d"]
    assert list((tmp_path / "runs" / ".queue").iterdir()) == []


def test_a_waiting_process_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    waiter = """
import sys
from napari_segtrain.runs import ProjectLock, lock_project
lock_project(ProjectLock(sys.argv[1]), "killed", wait=True, emit=lambda event: print("waits", flush=True))
"""
    order: list[str] = []
    with ProjectLock(tmp_path).acquire("first"):
        process = subprocess.Popen([sys.executable, "-c", waiter, tmp_path], stdout=subprocess.PIPE)
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"waits\n"
            thread = begin_to_wait(tmp_path, "next", Control(), order)
            process.kill()
    thread.join(PATIENCE)
    assert order == ["next"]


@pytest.mark.skipif(sys.platform == "win32", reason="processes are not asked to stop there")
def test_a_run_that_waits_is_known_stopped_and_not_deleted(tmp_path: Path) -> None:
    waiter = """
import signal, sys
from napari_segtrain.runs import Control, ProjectLock, lock_project
control = Control()
signal.signal(signal.SIGTERM, lambda *_: control.stop())
tell = lambda event: print("waits", flush=True)
for made in (True, False):
    try:
        lock_project(ProjectLock(sys.argv[1]), "a", made=made, wait=True, control=control, emit=tell)
    except Exception as error:
        print(error, flush=True)
        control = Control()
"""
    run = RunFolder.create(tmp_path, "a")
    command = [sys.executable, "-c", waiter, tmp_path]
    with (
        ProjectLock(tmp_path).acquire("first"),
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        said = iter(process.stdout)
        assert next(said) == "waits\n"
        assert [holder.run for holder in all_waiting(tmp_path)] == ["a"]
        holder = waiting_for(run)
        assert holder is not None and holder.process.pid == process.pid
        with pytest.raises(RunError, match=r"waits to be trained and cannot be deleted; stop it first"):
            delete_run(run)
        stop_run(run)
        assert "stopped while waiting" in next(line for line in said if line != "waits\n")
        # Of a run that is only wished for, nobody knows yet what it will be called.
        assert next(said) == "waits\n"
        assert [holder.run for holder in all_waiting(tmp_path)] == ["a"] and waiting_for(run) is None
        with pytest.raises(RunError, match="is not running, so that there is nothing to stop"):
            stop_run(run)
        process.kill()


def test_one_of_another_machine_that_is_silent_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_SILENCE", 0.5)
    far = ProcessId(host="far away", pid=1, started=0.0)
    with Place(tmp_path, "far") as place:
        place.path.write_text(Holder(process=far, run="far").model_dump_json())
        damaged = place.path.with_name("00000000-damaged.json")
        damaged.write_text("{")
        told: list[Waiting] = []
        with lock_project(ProjectLock(tmp_path), "near", wait=True, emit=told.append) as lock:
            assert lock.held
        assert "'far' (process 1 on far away); 1 waits before this one" in told[0].message
        assert not place.path.exists()
        place.keep()
        assert place.path.exists(), "one that only slept has its place back"


def test_nobody_goes_past_those_who_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_SILENCE", 1e6)
    with Place(tmp_path, "next"), pytest.raises(ActiveRunError, match="or about to be: 'next'"):
        lock_project(ProjectLock(tmp_path), "pushy")
    with lock_project(ProjectLock(tmp_path), "pushy") as lock:
        assert lock.held


@pytest.mark.parametrize("wait", [False, True])
def test_who_was_begun_first_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: bool) -> None:
    """The place was reserved by somebody else, before one that was quicker; it is taken over and left."""
    monkeypatch.setattr(queue, "_SILENCE", 1e6)
    run = RunFolder.create(tmp_path, "slow")
    reserve(run, os.getpid())
    holder = waiting_for(run)
    assert holder is not None and holder.process.pid == os.getpid()
    with Place(tmp_path, "quick") as quick:
        assert [holder.run for holder in quick.ahead()] == ["slow"]
        with lock_project(ProjectLock(tmp_path), "slow", made=True, wait=wait) as lock:
            assert lock.held
            assert [holder.run for holder in all_waiting(tmp_path)] == ["quick"]


def test_a_place_that_was_reserved_holds_others_up_until_its_process_is_gone(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "slow")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        reserve(run, process.pid)
        give_up(tmp_path, run.name)  # it is not this process' own
        with pytest.raises(ActiveRunError, match="or about to be: 'slow'"):
            lock_project(ProjectLock(tmp_path), "pushy")
        with pytest.raises(ActiveRunError, match="or about to be: 'slow'"):
            lock_project(ProjectLock(tmp_path), "slow")  # of the same name, but another process
        process.kill()
        process.wait()
        reserve(run, process.pid)
        with lock_project(ProjectLock(tmp_path), "pushy") as lock:
            assert lock.held
