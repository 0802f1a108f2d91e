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
        self._line_open = not _ends_with_newline(path)

    def __call__(self, event: Event) -> None:
        """Append `event`."""
        line = event.to_json().encode("utf-8") + b"\n"
        with self._lock:
            if self._file.closed:
                return
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


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0:
            return True
        file.seek(size - 1)
        return file.read(1) == b"\n"


def read_events(path: Path) -> list[Event]:
    """Return every event in a file, in order; see `read_events_from`."""
    return read_events_from(path, 0)[0]


def read_events_from(path: Path, offset: int) -> tuple[list[Event], int]:
    """Read the events that were added to a file since the last look.

    An unfinished last line waits for the next call. Lines that no event can be read from (of a process
    that died in mid-line, or of a later version of the program) are passed over.

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
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    complete = data[: data.rfind(b"\n") + 1]
    events: list[Event] = []
    for line in complete.splitlines():
        try:
            events.append(Event.from_json(line))
        except RunError:
            continue
    return events, offset + len(complete)
