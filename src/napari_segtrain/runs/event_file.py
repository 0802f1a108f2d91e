"""The file of a run's events: one line of JSON each, written as they come and read while it grows."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Self

from napari_segtrain.config import RunError

from .atomic import explain_os_error
from .events import Event

_log = logging.getLogger(__name__)
_TAIL = 2**16
"""Bytes at the end of a file in which its last event is looked for."""
_PIECE = 2**20
"""Bytes that are read at a time."""


class EventWriter:
    """Appends events to a file, one line each; itself an `Emit`, from any thread.

    A full disk does not end the training: events that cannot be written are lost, with one line in the
    log, and writing goes on when there is space again.

    Parameters
    ----------
    path
        The file, such as ``events.jsonl``; it is made when absent and continued when present.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("ab", buffering=0)
        self._failing = False
        # A process that died in mid-line must not spoil the first line of the next one.
        self._line_open, self._latest = _end_of(path)

    def __call__(self, event: Event) -> None:
        """Append `event`; in the file, none is earlier than the one before, wherever the clock is set."""
        with self._lock:
            if self._file.closed:
                return
            self._latest = max(self._latest, event.time)
            later = event if event.time == self._latest else event.model_copy(update={"time": self._latest})
            line = later.to_json().encode("utf-8") + b"\n"
            data = b"\n" + line if self._line_open else line
            try:
                written = self._file.write(data)
            except OSError as error:
                self._fail(explain_os_error(error))
                return
            self._line_open = written != len(data)
            if self._line_open:
                self._fail("the disk took only a part of the line")
            else:
                self._failing = False

    def _fail(self, why: str) -> None:
        if not self._failing:
            _log.warning("%s: events cannot be written (%s)", self.path, why)
        self._failing = True

    def close(self) -> None:
        """Close the file; later events are ignored."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _end_of(path: Path) -> tuple[bool, float]:
    """Return whether the last line of a file lacks its end, and the time of the last event."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        data = file.read()
    for line in reversed(data.splitlines()):
        try:
            return not data.endswith(b"\n"), Event.from_json(line).time
        except RunError:
            continue
    return bool(data) and not data.endswith(b"\n"), 0.0


def read_events(path: Path) -> list[Event]:
    """Return every event in a file, in order; see `read_events_from`."""
    return read_events_from(path, 0)[0]


def read_events_from(path: Path, offset: int) -> tuple[list[Event], int]:
    """Read the events that were added to a file since the last look; see `EventTail`.

    Parameters
    ----------
    path
        An ``events.jsonl``. A file that does not exist yet holds no events.
    offset
        Where the last call ended, in bytes; 0 for everything.

    Returns
    -------
    tuple of list of Event and int
        The events, and the offset for the next call.
    """
    tail = EventTail(path, offset)
    return [event for event, _ in tail.read_all()], tail.offset


class EventTail:
    """The end of a file of events, read while it grows.

    An unfinished last line waits for the next call. Lines that no event can be read from (of a process
    that died in mid-line, or of a later version of the program) are passed over and counted. A file that
    another has taken the place of is read from its begin.

    Parameters
    ----------
    path
        An ``events.jsonl``. A file that does not exist yet holds no events.
    offset
        Where to begin, in bytes.

    Attributes
    ----------
    offset
        Up to where the file was read, in bytes.
    unreadable
        Lines that were passed over.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset
        self.unreadable = 0
        self._file_number: int | None = None

    def read(self) -> list[tuple[Event, int]]:
        """Return the next events, each with the offset behind it; none when there are no more yet.

        Long files are returned in pieces.
        """
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size < self.offset or self._file_number not in (None, status.st_ino):
                    self.offset = 0
                self._file_number = status.st_ino
                file.seek(self.offset)
                data = file.read(_PIECE)
                data += file.readline() if len(data) == _PIECE else b""
        except FileNotFoundError:
            return []
        found: list[tuple[Event, int]] = []
        for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
            self.offset += len(line)
            try:
                found.append((Event.from_json(line), self.offset))
            except RunError:
                self.unreadable += 1
        return found

    def read_all(self) -> list[tuple[Event, int]]:
        """Return all events up to the end of the file as it is now; see `read`."""
        found: list[tuple[Event, int]] = []
        before = -1
        while before != self.offset:
            before = self.offset
            found += self.read()
        return found
