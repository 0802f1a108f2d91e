"""One active run a project: over threads, processes and crashes."""

from __future__ import annotations

import errno
import logging
import platform
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

from pydantic import ValidationError

from napari_segtrain.config import Config, RunError

from .atomic import explain_os_error, write_bytes
from .find import list_runs
from .folder import RunFolder, runs_folder
from .process import ProcessId
from .states import FinishReason, RunState

_log = logging.getLogger(__name__)

_NAME = ".lock"
_PATIENCE = 0.3
"""Seconds to wait for somebody who only looks whether the lock is free."""
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}
_BYTE = 1 << 20
"""Where Windows locks: behind the text, which others must be able to read."""


class Holder(Config):
    """Who holds a project, or waits to: the contents of the lock file."""

    process: ProcessId
    run: str
    """Name of the active run."""
    made: bool = True
    """Whether the run has its folder; one that is only wished for may be called otherwise in the end."""

    def __str__(self) -> str:
        """Return run and process in words."""
        return f"{self.run!r} (process {self.process.pid} on {self.process.host})"


class ActiveRunError(RunError):
    """``A training run is already active`` in the project.

    Attributes
    ----------
    holder
        Who holds it; None where that cannot be known.
    """

    def __init__(self, message: str, holder: Holder | None) -> None:
        super().__init__(message)
        self.holder = holder


class _TakenError(Exception):
    """Somebody else has the lock."""


class ProjectLock:
    """The right to run something in a project; the operating system takes it back when a process dies.

    It is a lock of the operating system on ``runs/.lock``. File systems that have none (some of a
    cluster's) get a file with the holder's process instead, which is passed over when that is dead.

    Parameters
    ----------
    project
        The folder that holds the runs.
    """

    def __init__(self, project: str | Path) -> None:
        self.project = Path(project)
        self.path = runs_folder(project) / _NAME
        self._file: BinaryIO | None = None
        self._substitute: Path | None = None
        self._guard = threading.Lock()

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def acquire(self, run: str) -> Self:
        """Take the lock, or refuse at once.

        Runs of the project that are still ``running`` on the disk, although nobody held the lock, belong
        to processes that died: they become ``interrupted``.

        Parameters
        ----------
        run
            Name of the run that is going to be active.

        Raises
        ------
        ActiveRunError
            ``A training run is already active``, with the run and its process.
        RunError
            When the lock file cannot be written.
        """
        with self._guard:
            if self.held:
                raise self._refused()
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._take(Holder(process=ProcessId.here(), run=run))
            except _TakenError:
                raise self._refused() from None
            except OSError as error:
                self._let_go()
                raise RunError(
                    f"{self.path}: cannot be locked ({explain_os_error(error)}); choose a project folder "
                    "that you may write to"
                ) from error
        _interrupt_orphans(self.project)
        return self

    def rename(self, run: str) -> None:
        """Note another name of the active run: that of its folder, once it has one.

        Raises
        ------
        RunError
            When the lock file cannot be written.
        """
        text = Holder(process=ProcessId.here(), run=run).model_dump_json().encode("utf-8")
        with self._guard:
            try:
                if self._substitute is not None:
                    write_bytes(self._substitute, text)
                elif self._file is not None:
                    self._file.truncate(0)
                    self._file.write(text)
            except OSError as error:
                raise RunError(f"{self.path}: cannot be written ({explain_os_error(error)})") from error

    def release(self) -> None:
        """Give the lock back; does nothing when it is not held."""
        with self._guard:
            if self._file is not None:
                with suppress(OSError):
                    self._file.truncate(0)
            self._let_go()

    def __enter__(self) -> Self:
        if not self.held:
            raise RuntimeError("call acquire(run) first: with ProjectLock(project).acquire(run): …")
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def active(self) -> str | None:
        """Return that a run is active in the project, and which, as a sentence; None when none is."""
        holder = self.holder()
        return None if holder is None else self._refusal(holder)

    def holder(self) -> Holder | None:
        """Return who is active in the project, or None; asks without disturbing anybody.

        Returns
        -------
        Holder or None
            The active run and its process.
        """
        if not self.path.exists():
            return None
        substitute = self.path.with_suffix(".owner")
        if (owner := read_holder(substitute)) is not None and owner.process.is_alive() is not False:
            return owner
        with self.path.open("rb") as file:
            try:
                _lock(file, shared=True)
            except _TakenError:
                return self._noted_holder()
            except OSError:
                return None
            _unlock(file)
        return None

    def _noted_holder(self) -> Holder:
        # The text can be missing or that of a dead process for the instant after the lock was taken.
        noted = read_holder(self.path)
        return noted if noted is not None and noted.process.is_alive() is not False else _UNKNOWN

    def _take(self, holder: Holder) -> None:
        file = self.path.open("ab+", buffering=0)
        deadline = time.monotonic() + _PATIENCE
        try:
            while True:
                try:
                    _lock(file, shared=False)
                except _TakenError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
                except OSError as error:
                    if error.errno not in _NO_LOCKS:
                        raise
                    self._substitute = _take_substitute(self.path.with_suffix(".owner"), holder)
                    break
                else:
                    file.truncate(0)
                    file.write(holder.model_dump_json().encode("utf-8"))
                    break
        except BaseException:
            file.close()
            raise
        self._file = file

    def _let_go(self) -> None:
        if self._substitute is not None:
            with suppress(OSError):
                self._substitute.unlink()
            self._substitute = None
        elif self._file is not None:
            with suppress(OSError):
                _unlock(self._file)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _refused(self) -> ActiveRunError:
        holder = self.holder()
        return ActiveRunError(self._refusal(holder), None if holder is _UNKNOWN else holder)

    def _refusal(self, holder: Holder | None) -> str:
        if holder is None or holder is _UNKNOWN:
            return f"A training run is already active in {self.project}; stop it or wait for its end"
        return f"A training run is already active in {self.project}: {holder}; stop it or wait for its end"


_UNKNOWN = Holder(process=ProcessId(host="", pid=0, started=0.0), run="")


def read_holder(path: Path) -> Holder | None:
    """Return whom a file names; None when there is none, or it is damaged."""
    try:
        return Holder.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _take_substitute(path: Path, holder: Holder) -> Path:
    text = holder.model_dump_json()
    for _ in range(2):
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            owner = read_holder(path)
            if owner is None or owner.process.is_alive() is not False:
                raise _TakenError from None
            path.unlink(missing_ok=True)
        else:
            # Two processes may have found the same dead owner; the later one's file is what counts.
            time.sleep(0.05)
            if read_holder(path) == holder:
                return path
            break
    raise _TakenError


def recover(project: str | Path) -> list[RunFolder]:
    """Mark the running runs of dead processes as interrupted, unless a run is active in the project.

    Does nothing where all of them are another machine's: some shared file systems keep their locks to
    themselves, and a look from here must not end what is computed there.

    Returns
    -------
    list of RunFolder
        The runs that were marked.

    Raises
    ------
    RunError
        When the project cannot be written to.
    """
    orphans = [run for run in list_runs(project) if _runs_here(run)]
    lock = ProjectLock(project)
    if not orphans or lock.holder() is not None:
        return []
    with lock.acquire("recovery"):
        return [run for run in orphans if run.state is RunState.INTERRUPTED]


def _runs_here(run: RunFolder) -> bool:
    info = run.read_info()
    return info.status is RunState.RUNNING and info.host == platform.node()


def _interrupt_orphans(project: Path) -> None:
    # Only for the holder of the lock: a running run holds it, so that now no run can really be running.
    for run in list_runs(project):
        if run.state is RunState.RUNNING:
            run.finish(
                RunState.INTERRUPTED,
                FinishReason.CRASHED,
                "The process of this run ended without a word; resume the run from its last checkpoint",
            )
            _log.warning("run %s was running in a process that is gone; it is interrupted now", run.name)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO, *, shared: bool) -> None:
        position = file.tell()
        file.seek(_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EDEADLOCK):
                raise _TakenError from None
            raise
        finally:
            file.seek(position)

    def _unlock(file: BinaryIO) -> None:
        file.seek(_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO, *, shared: bool) -> None:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _TakenError from None

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
