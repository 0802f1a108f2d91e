from __future__ import annotations

import threading
from pathlib import Path

import pytest

from napari_segtrain.config import RunError
from napari_segtrain.runs import (
    EpochDone,
    Event,
    EventTail,
    Finished,
    FinishReason,
    ProjectLock,
    RunFolder,
    RunFollower,
    RunState,
    follow,
    follow_run,
    read_events,
)


def epoch(number: int) -> EpochDone:
    return EpochDone(epoch=number, num_epochs=3, row={"val_loss": 1.0 / number})


def test_late_followers_get_everything_and_the_end(running: RunFolder) -> None:
    with running.open_events() as write:
        for number in (1, 2):
            write(epoch(number))
    running.finish(RunState.COMPLETED, FinishReason.ALL_EPOCHS)
    events = list(follow_run(running))
    assert events == read_events(running.events_path)
    assert [event.epoch for event in events if isinstance(event, EpochDone)] == [1, 2]
    assert isinstance(events[-1], Finished)
    assert list(follow_run(running)) == events


def test_what_happens_is_seen_while_it_happens(run: RunFolder) -> None:
    """A pending run begins, is interrupted, goes on and ends: each step waits until the follower saw it."""
    seen: list[Event] = []
    arrived = threading.Semaphore(0)

    def look() -> None:
        for event in follow_run(run):
            seen.append(event)
            arrived.release()

    follower = threading.Thread(target=look, daemon=True)
    with ProjectLock(run.project).acquire(run.name), run.open_events() as write:
        follower.start()
        write(run.set_state(RunState.RUNNING))
        for number in (1, 2):
            write(epoch(number))
            assert arrived.acquire(timeout=60)
        run.set_state(RunState.INTERRUPTED, reason="stopped")
        run.set_state(RunState.RUNNING)  # before its end could be announced
        write(epoch(3))
        write(run.set_state(RunState.COMPLETED, reason="all_epochs"))
        for _ in range(3):
            assert arrived.acquire(timeout=60)
        assert follower.is_alive(), "the end is not announced yet"
        write(Finished(status=RunState.COMPLETED, reason="all_epochs"))
    follower.join(60)
    assert not follower.is_alive()
    assert seen == read_events(run.events_path)


def test_a_dead_process_ends_the_following(running: RunFolder, monkeypatch) -> None:
    end = list(follow_run(running))[-1]
    assert isinstance(end, Finished)
    assert (end.status, end.reason) == (RunState.INTERRUPTED, FinishReason.CRASHED)
    assert running.state is RunState.INTERRUPTED


def test_a_dead_process_in_a_folder_that_cannot_be_written(running: RunFolder, monkeypatch) -> None:
    def refuse(project: Path) -> list[RunFolder]:
        raise RunError("cannot be locked (Read-only file system)")

    monkeypatch.setattr(follow, "recover", refuse)
    (end,) = follow_run(running)
    assert isinstance(end, Finished)
    assert (end.status, end.reason) == (RunState.INTERRUPTED, FinishReason.CRASHED)
    assert running.state is RunState.RUNNING


def test_an_end_that_is_announced_during_a_look_is_not_told_twice(running: RunFolder, monkeypatch) -> None:
    """The process writes its last event and gives the lock back after the file was read."""
    running.set_state(RunState.COMPLETED, reason="all_epochs")
    end = Finished(status=RunState.COMPLETED, reason="all_epochs", path="as it said")

    def held(run: RunFolder) -> bool:
        with run.open_events() as write:
            write(end)
        return False

    monkeypatch.setattr(follow, "_is_held", held)
    assert list(follow_run(running)) == [end]


def test_an_end_that_could_not_be_written_is_told_from_run_json(running: RunFolder) -> None:
    running.set_state(RunState.FAILED, reason="error", message="the disk is full")
    (end,) = follow_run(running)
    assert isinstance(end, Finished)
    assert (end.status, end.reason, end.message) == (RunState.FAILED, "error", "the disk is full")


def test_a_follower_can_do_other_things(run: RunFolder) -> None:
    steps = follow_run(run, tick=True)
    assert [next(steps) for _ in range(2)] == [None, None]


def test_a_run_that_is_deleted_ends_the_following(run: RunFolder) -> None:
    steps = follow_run(run, tick=True)
    next(steps)
    (run.path / "run.json").unlink()
    with pytest.raises(RunError, match="is gone; the run was deleted or moved"):
        next(steps)


def test_following_goes_on_behind_an_offset(running: RunFolder) -> None:
    with running.open_events() as write:
        write(epoch(1))
        offset = running.events_path.stat().st_size
        write(epoch(2))
    running.finish(RunState.COMPLETED, FinishReason.ALL_EPOCHS)
    follower = RunFollower(running, EventTail(running.events_path, offset))
    found = follower.look()
    assert not follower.over
    assert (follower.look(), follower.over) == ([], True)
    assert isinstance(found[0][0], EpochDone)
    assert found[0][0].epoch == 2
    assert [offset for _, offset in found] == sorted({offset for _, offset in found})
    assert found[-1][1] == running.events_path.stat().st_size == follower.tail.offset
