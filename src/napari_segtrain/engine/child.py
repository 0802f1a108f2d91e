"""One engine process, seen from the process that started it."""

from __future__ import annotations

import logging
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from napari_segtrain.config import RunError
from napari_segtrain.runs.event_values import FittingSize
from napari_segtrain.runs.events import EngineDied, Event, Finished, Ready, Refused, RunStarted
from napari_segtrain.runs.states import FinishReason, RunState

from .death import explain, settle_run, split_code
from .protocol import Command, Job, Train

_log = logging.getLogger(__name__)
_LAST_LINES = 20


class Child:
    """A running engine: its pipes, its events, and what it is doing.

    Nothing here blocks the caller: one thread writes commands, one reads events, one waits for the end of
    the process, so that it never remains as a zombie.

    Parameters
    ----------
    arguments
        Arguments of ``python -m napari_segtrain.engine``.
    environment
        Its environment; that of this process when None.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str] | None) -> None:
        # A file and not a pipe: it never fills up, and it can still be written to when we are gone.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            # -P: a file called torch.py in the working folder is not to be taken for the library.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "napari_segtrain.engine", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=None if environment is None else dict(environment),
                **_separate(),
            )
        except OSError:
            self._stderr.close()
            raise
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._job: Job | None = None
        self._run: str | None = None
        self._smaller: FittingSize | None = None
        self._closing = False
        self._drained = False
        self.ready = threading.Event()
        """Set when the engine has imported everything, and when it has ended."""
        self.over = threading.Event()
        """Set when the process has ended and its last events are in the queue."""
        self._reader = self._start(self._read)
        self._writer = self._start(self._write)
        self._start(self._wait)

    def _start(self, work: Any) -> threading.Thread:
        thread = threading.Thread(target=work, name=f"engine-{work.__name__.strip('_')}", daemon=True)
        thread.start()
        return thread

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def job(self) -> str | None:
        """Id of the job that was sent and has not ended, or None."""
        with self._guard:
            return None if self._job is None else self._job.job

    def send(self, command: Command) -> None:
        """Queue a command for the engine.

        Raises
        ------
        RunError
            When the process has ended, or a job is active and the command is another one.
        """
        with self._guard:
            if self._closing or self.over.is_set():
                raise RunError("The training process has ended; start it again")
            if isinstance(command, Job):
                if self._job is not None:
                    raise RunError("A job is already active in this process; stop it or wait for its end")
                self._job, self._run, self._smaller = command, None, None
            self._lines.put(command.to_json().encode("utf-8") + b"\n")

    def next_event(self, timeout: float | None) -> Event | None:
        """Return the next event; None when none came within `timeout` seconds or none can come any more."""
        if self._drained:
            return None
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        self._drained = event is None
        return event

    @property
    def drained(self) -> bool:
        """Whether the last event was taken."""
        return self._drained

    def close(self, last: Command) -> None:
        """Send the last command and close the pipe; the process then ends by itself."""
        with self._guard:
            if not self._closing:
                self._closing = True
                self._lines.put(last.to_json().encode("utf-8") + b"\n")
                self._lines.put(None)

    def terminate(self, grace: float, patience: float) -> None:
        """Wait for the end of a process that was closed; make it end when that takes too long.

        Parameters
        ----------
        grace
            Seconds to wait before it is asked to end by a signal.
        patience
            Seconds to wait after that before it is killed.
        """
        if not self.over.wait(grace):
            self._process.terminate()
            if not self.over.wait(patience):
                self._process.kill()
                self.over.wait()

    # ------------------------------------------------------------------------------- threads

    def _write(self) -> None:
        pipe = self._pipe(self._process.stdin)
        with suppress(OSError):
            while (line := self._lines.get()) is not None:
                pipe.write(line)
                pipe.flush()
        with suppress(OSError):
            pipe.close()

    def _read(self) -> None:
        with self._pipe(self._process.stdout) as pipe:
            for line in pipe:
                try:
                    event = Event.from_json(line)
                except RunError as error:
                    _log.warning("the engine said something that is %s", error)
                    continue
                self._note(event)
                self._events.put(event)

    def _wait(self) -> None:
        code = self._process.wait()
        # Another process may have inherited the pipe, so that it has no end; do not wait for that.
        self._reader.join(timeout=2.0)
        self._lines.put(None)
        self._writer.join(timeout=2.0)
        with self._guard:
            job, self._job, asked = self._job, None, self._closing
        self._announce_end(code, job, asked)
        self._events.put(None)
        self.over.set()
        self.ready.set()

    def _announce_end(self, code: int, job: Job | None, asked: bool) -> None:
        stderr = self._last_lines()
        exit_code, name = split_code(code)
        smaller = self._smaller if name == "SIGKILL" and job is not None and not asked else None
        message = explain(code, None if job is None else job.command, stderr, smaller)
        if asked:
            message = "The job was ended before it could finish what it was doing"
        state = RunState.INTERRUPTED if asked else RunState.FAILED
        run = None
        if isinstance(job, Train):
            run = settle_run(self._run, job.project, self.pid, state, message)
        path = None if run is None else str(run.path)
        if not asked:
            died = EngineDied(
                job=None if job is None else job.job,
                exit_code=exit_code, signal=name, message=message, stderr=stderr, run=path,
            )  # fmt: skip
            self._events.put(died)
        if job is not None:
            reason = FinishReason.STOPPED if asked else FinishReason.CRASHED
            ended = {"job": job.job, "status": state, "reason": reason, "message": message}
            known = {"path": path or self._run, "fitting": smaller}
            self._events.put(Finished.model_validate({**ended, **known}))

    def _note(self, event: Event) -> None:
        if isinstance(event, Ready):
            self.ready.set()
        with self._guard:
            if self._job is None or event.job != self._job.job:
                return
            if isinstance(event, RunStarted):
                self._run, self._smaller = event.path, event.smaller
            elif isinstance(event, Finished | Refused):
                self._job = None

    def _last_lines(self) -> tuple[str, ...]:
        with self._stderr as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 2**16))
            text = file.read().decode("utf-8", errors="replace")
        return tuple(line for line in text.splitlines() if line.strip())[-_LAST_LINES:]

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
        if pipe is None:  # both pipes were asked for above
            raise RuntimeError("the engine was started without its pipes")
        return pipe


def _separate() -> dict[str, Any]:
    # A process group of its own keeps Ctrl-C in the terminal away from the process. A session of its own
    # would do so too, but Linux balances sessions against each other, and its lower priority, which is
    # there for the viewer, would not count.
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"process_group": 0}
