"""Who waits for the end of a project's active run, in the order in which they came."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Self

from napari_segtrain.config import RunError

from .atomic import explain_os_error, write_bytes
from .folder import RunFolder, runs_folder
from .lock import Holder, read_holder
from .process import ProcessId

_FOLDER = ".queue"
_SILENCE = 30.0
"""Seconds without a sign of life after which a waiting process no longer counts."""


class Place:
    """A place in the queue of a project, as a small file; use it in a ``with``.

    Files are named after a growing number, so that their order is that of arrival for every process. One
    of a process that was killed is passed over: on the same machine at once, on another one when it has
    given no sign of life for half a minute. The queue only decides who tries next; that two never train at
    once is the lock's business. Whoever begins a process can `reserve` a place for it, which it takes over.

    Parameters
    ----------
    project
        The folder that holds the runs.
    run
        Name of the run that waits.
    made
        Whether that run has its folder already.
    process
        Which process waits; this one when None.
    """

    def __init__(
        self, project: str | Path, run: str, *, made: bool = False, process: ProcessId | None = None
    ) -> None:
        self.folder = _folder(project)
        self.holder = Holder(process=process or ProcessId.here(), run=run, made=made)
        self.path = self.folder / ""
        self._seen: dict[str, tuple[int, float]] = {}

    def __enter__(self) -> Self:
        """Line up; errors as `take`."""
        self.take()
        return self

    def take(self) -> None:
        """Line up behind all others, or take over what was reserved for this process and this run.

        Raises
        ------
        RunError
            When the project cannot be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{self.folder}: cannot be made ({explain_os_error(error)}); choose a project folder that "
                "you may write to"
            ) from error
        if (reserved := _reserved(self.folder, self.holder.run)) is not None:
            self.path = reserved
            return
        last = max((_number(path) for path in _files(self.folder)), default=0)
        # The rest of the name tells two apart who came at the same instant.
        self.path = self.folder / f"{last + 1:08d}-{uuid.uuid4().hex[:8]}.json"
        self._write()

    def __exit__(self, *exc: object) -> None:
        """Make room for the next one."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def keep(self) -> None:
        """Give a sign of life; raises `RunError` when a file that is gone cannot be written again."""
        try:
            os.utime(self.path)
        except OSError:
            self._write()

    def ahead(self) -> list[Holder]:
        """Return those who came earlier and still wait, the first one first."""
        found = []
        for path in _files(self.folder):
            if path.name >= self.path.name:
                break
            holder = read_holder(path)
            if holder is not None and self._waits(path, holder):
                found.append(holder)
        return found

    def _write(self) -> None:
        write_bytes(self.path, self.holder.model_dump_json().encode("utf-8"))

    def _waits(self, path: Path, holder: Holder) -> bool:
        """Return whether somebody still waits; clears away the file of one who does not."""
        with suppress(OSError):
            if holder.process.is_alive() is not False and not self._is_silent(path):
                return True
            path.unlink(missing_ok=True)  # one who only slept writes it again, and has its place back
        return False

    def _is_silent(self, path: Path) -> bool:
        # Measured with the own clock: that of the other machine, or of the file server, may be another.
        sign, now = path.stat().st_mtime_ns, time.monotonic()
        known, since = self._seen.get(path.name, (None, now))
        if sign != known:
            self._seen[path.name] = sign, (since := now)
        return now - since > _SILENCE


def reserve(run: RunFolder, pid: int) -> None:
    """Line up for a process that was just begun and still needs seconds until it can.

    Those who are begun one after the other so come in that order, and one that does not want to wait is not
    refused for the sake of one that was begun later.

    Parameters
    ----------
    run
        The run that it is going to train.
    pid
        The process, on this machine.

    Raises
    ------
    RunError
        When the project cannot be written to.
    """
    process = ProcessId.of(pid)
    if process is not None:
        Place(run.project, run.name, made=True, process=process).take()


def give_up(project: str | Path, run: str) -> None:
    """Make room for the next one in the place that was reserved for this process and a run, if any was."""
    reserved = _reserved(_folder(project), run)
    if reserved is not None:
        with suppress(OSError):
            reserved.unlink(missing_ok=True)


def all_waiting(project: str | Path) -> list[Holder]:
    """Return who of the processes on this machine waits in a project, the next one first."""
    found = []
    for path in _files(_folder(project)):
        holder = read_holder(path)
        if holder is None or not holder.process.is_alive():
            continue
        with suppress(OSError):
            if time.time() - path.stat().st_mtime < _SILENCE:
                found.append(holder)
    return found


def waiting_for(run: RunFolder) -> Holder | None:
    """Return which process on this machine waits to train a run that is there, None when none does."""
    waiting = all_waiting(run.project)
    return next((holder for holder in waiting if holder.made and holder.run == run.name), None)


def _folder(project: str | Path) -> Path:
    return runs_folder(project) / _FOLDER


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.json"))


def _reserved(folder: Path, run: str) -> Path | None:
    """Return the place of this process for a run; it has none unless somebody lined up for it."""
    for path in _files(folder):
        holder = read_holder(path)
        if holder is not None and holder.run == run and holder.process.is_here():
            return path
    return None


def _number(path: Path) -> int:
    digits = path.name.partition("-")[0]
    return int(digits) if digits.isdigit() else 0
