from __future__ import annotations

import threading
from pathlib import Path

import pytest

from napari_segtrain.config import CancelledError, RunError
from napari_segtrain.runs import (
    ActiveRunError,
    Control,
    Event,
    ProjectLock,
    Waiting,
    lock_project,
)


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


def test_all_who_wait_come_one_after_the_other(tmp_path: Path) -> None:
    inside, most, done = [], [], []

    def work(name: str) -> None:
        with lock_project(ProjectLock(tmp_path), name, wait=True):
            inside.append(name)
            most.append(len(inside))
            threading.Event().wait(0.02)
            inside.remove(name)
        done.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == ["a", "b", "c"]
    assert max(most) == 1
