from __future__ import annotations

import logging
import threading
import typing
from pathlib import Path

import pytest

from napari_segtrain.runs import (
    BatchDone,
    EpochDone,
    Event,
    EventTail,
    EventWriter,
    Paused,
    Ready,
    Refused,
    Resumed,
    Warned,
    read_events,
    read_events_from,
)

EXAMPLES: list[Event] = [
    Ready(pid=3, seconds=1.5, versions={"torch": "2"}),
    Refused(command="train", message="busy", job="a"),
    BatchDone(epoch=1, step=4, loss=0.5, parts={"cells": 0.25}),
    EpochDone(epoch=1, num_epochs=3, row={"train_loss": 0.5, "µ": None}),
    Paused(),
    Resumed(),
]


def test_a_file_holds_the_events_in_order(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for part in (EXAMPLES[:5], EXAMPLES[5:]):
        with EventWriter(path) as emit:
            for event in part:
                emit(event)
        emit(Warned(message="after the end"))
    assert read_events(path) == EXAMPLES


def test_events_can_be_followed_while_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert read_events_from(path, 0) == ([], 0)
    offset, seen = 0, []
    with EventWriter(path) as emit:
        for event in EXAMPLES:
            emit(event)
            new, offset = read_events_from(path, offset)
            seen.append(new)
    assert seen == [[event] for event in EXAMPLES]
    with path.open("ab") as file:
        file.write(EXAMPLES[0].to_json().encode()[:20])
    assert read_events_from(path, offset) == ([], offset)


def test_a_line_of_a_dead_process_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as emit:
        emit(EXAMPLES[0])
    with path.open("ab") as file:
        file.write(b'{"event": "epoch_done", "ro')
    with EventWriter(path) as emit:
        emit(EXAMPLES[1])
        emit(EXAMPLES[2])
    assert read_events(path) == EXAMPLES[:3]


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as emit:

        def write(number: int) -> None:
            for step in range(50):
                emit(BatchDone(epoch=number, step=step, loss=0.0, parts={"x" * 500: 1.0}))

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found = typing.cast("list[BatchDone]", read_events(path))
    for number in range(4):
        assert [event.step for event in found if event.epoch == number] == list(range(50))


def test_a_full_disk_loses_events_but_not_the_training(
    tmp_path: Path, small_files, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as emit, caplog.at_level(logging.WARNING):
        emit(EXAMPLES[0])
        with small_files(path.stat().st_size + 30):
            for _ in range(3):
                emit(EXAMPLES[1])
        emit(EXAMPLES[2])
    assert [record.message.count("events cannot be written") for record in caplog.records] == [1]
    assert read_events(path) == [EXAMPLES[0], EXAMPLES[2]]


def test_no_event_is_earlier_than_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for times in ((100.0, 40.0, 101.0), (50.0, 102.0)):  # the clock is set back, also between two processes
        with EventWriter(path) as emit:
            for time in times:
                emit(Paused(time=time))
    assert [event.time for event in read_events(path)] == [100.0, 100.0, 101.0, 101.0, 102.0]


def test_what_cannot_be_read_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_segtrain.runs.event_file._PIECE", 30)  # less than a line
    path = tmp_path / "events.jsonl"
    with EventWriter(path) as emit:
        emit(EXAMPLES[0])
    with path.open("ab") as file:
        file.write(b"\xff\n{}\n" + EXAMPLES[1].to_json().encode() + b"\n" + b'{"event": "cut')
    tail = EventTail(path)
    found = tail.read_all()
    assert [event for event, _ in found] == EXAMPLES[:2]
    assert (tail.unreadable, tail.read()) == (2, [])
    assert [event for event, _ in EventTail(path, found[0][1]).read_all()] == EXAMPLES[1:2]


def test_another_file_in_its_place_is_read_from_its_begin(tmp_path: Path) -> None:
    path, kept = tmp_path / "events.jsonl", tmp_path / "kept"
    tail = EventTail(path)
    for event in (EXAMPLES[2], EXAMPLES[3]):
        with EventWriter(path) as emit:
            emit(event)
        assert [found for found, _ in tail.read_all()] == [event]
        path.rename(kept)
        assert tail.read() == []
    with EventWriter(path) as emit:
        emit(EXAMPLES[4])
    assert [event for event, _ in EventTail(path, 10**6).read_all()] == [EXAMPLES[4]], "shorter than before"
