"""The engine's process: takes commands, runs one job at a time, announces events."""

from __future__ import annotations

import argparse
import logging
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress

from napari_segtrain.config import CancelledError, SegtrainError
from napari_segtrain.runs.control import Control
from napari_segtrain.runs.events import Event, Finished, Ready, Refused
from napari_segtrain.runs.info import library_versions
from napari_segtrain.runs.states import FinishReason, RunState

from .jobs import WORKFLOW, JobTable, load_jobs
from .protocol import (
    AnyCommand,
    CommandError,
    Halt,
    Job,
    LabelsChanged,
    Pause,
    Preview,
    Resume,
    Shutdown,
    Stop,
    TakeStep,
    parse_command,
)
from .streams import Channel, lower_priority, silence_standard_error, take_standard_streams, watch_parent

_log = logging.getLogger(__name__)

STUCK = 3
"""Exit code of an engine whose job did not end in time."""
SPENT = 4
"""Exit code of an engine whose GPU stopped working."""


class _Job:
    """A job that was accepted: its command, the requests to it, and how it ended."""

    def __init__(self, command: Job) -> None:
        self.command = command
        self.control = Control()
        self.finished: Finished | None = None


class Server:
    """Runs jobs one after another in the thread that calls `run`.

    Parameters
    ----------
    jobs
        What to do for each command.
    channel
        Where commands come from and events go to.
    grace
        Seconds that a job may take to end after the last request to do so; then the process ends hard.

    Attributes
    ----------
    warm
        Whether everything is imported.
    spent
        Whether the process can compute no more, so that another one is to take its place.
    """

    def __init__(self, jobs: JobTable, channel: Channel, grace: float) -> None:
        self._jobs = jobs
        self._channel = channel
        self._grace = grace
        self._accepted: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._active: _Job | None = None
        self._guard = threading.RLock()
        self._writing = threading.Lock()
        self._closing = ""
        self.warm = self.spent = False

    def run(self) -> None:
        """Take commands and run jobs until a shutdown, until nobody commands any more, or until it is spent.

        Standard input is read from the start, so that a job sent while libraries are still being imported
        begins right after.
        """
        began = time.monotonic()
        threading.Thread(target=self._read_commands, name="read-commands", daemon=True).start()
        self._jobs.warm_up()
        self.warm = True
        self.send(Ready(pid=os.getpid(), seconds=time.monotonic() - began, versions=library_versions()))
        while (job := self._accepted.get()) is not None:
            finished = self._run_job(job)
            spent = not self._jobs.usable()  # a GPU that hangs must not hold what ends this process
            with self._guard:
                self._active = None
                self.spent = spent
                if self.spent:
                    self._closing = self._closing or FinishReason.DEVICE_LOST
            self.send(finished)
            if self.spent:
                return

    def close(self, reason: FinishReason) -> None:
        """Stop the job, if there is one, and let `run` return after it; ends an unready process at once.

        Parameters
        ----------
        reason
            The finish reason of the job.
        """
        with self._guard:
            if self._closing:
                return
            if not self.warm:
                os._exit(0)  # no job has begun; do not wait for imports that nobody needs any more
            self._closing = reason
            if self._active is not None:
                self._active.control.stop(reason)
            self._accepted.put(None)
        watchdog = threading.Timer(self._grace, os._exit, args=(STUCK,))
        watchdog.daemon = True
        watchdog.start()

    @property
    def closing(self) -> bool:
        """Whether `close` was called."""
        return bool(self._closing)

    def parent_is_gone(self) -> None:
        """Close, because the process that gave the commands has ended."""
        silence_standard_error()
        self.close(FinishReason.PARENT_GONE)

    def send(self, event: Event) -> None:
        """Write an event for the starting process; never raises."""
        line = event.to_json().encode("utf-8") + b"\n"
        try:
            with self._writing:
                view = memoryview(line)
                while view:
                    view = view[self._channel.events.write(view) :]
        except (OSError, ValueError):
            self.parent_is_gone()

    # ------------------------------------------------------------------------------ commands

    def _read_commands(self) -> None:
        with suppress(OSError, ValueError):
            for line in self._channel.commands:
                if line.strip():
                    self._follow(line)
        self.parent_is_gone()

    def _follow(self, line: bytes) -> None:
        try:
            command = parse_command(line)
        except CommandError as error:
            self.send(Refused(command=error.name, message=str(error), job=error.job))
            return
        if isinstance(command, Job):
            self._accept(command)
        elif isinstance(command, Shutdown):
            self.close(FinishReason.STOPPED)
        else:
            with self._guard:
                active = self._active
            if active is not None:
                _pass_on(command, active)

    def _accept(self, command: Job) -> None:
        with self._guard:
            if self._active is None and not self._closing:
                self._active = _Job(command)
                self._accepted.put(self._active)
                return
            what = None if self._active is None else self._active.command.command
        message = {
            None: "The engine is closing; start a new one",
            "train": "A training run is already active; stop it or wait for its end",
            "predict": "A prediction is already active; cancel it or wait for its end",
            "preview_targets": "Targets are being derived; wait a moment",
            "preview_augmentation": "Patches are being augmented; wait a moment",
            "preview_split": "The data is being split; wait a moment",
            "diagnose": "The training doctor looks at the data; wait a moment",
            "label_next": "Regions are being ranked; cancel it or wait for its end",
            "step_through": "A training is being stepped through; end it first",
            "run_graph": "A workflow is already running; stop it or wait for its end",
        }[what]
        self.send(Refused(command=command.command, message=message, job=command.job))

    # ---------------------------------------------------------------------------------- jobs

    def _run_job(self, job: _Job) -> Finished:
        command, control = job.command, job.control

        def emit(event: Event) -> None:
            stamped = event.model_copy(update={"job": command.job})
            if isinstance(stamped, Finished):
                # Held back until the job has really returned: then the engine can take the next one.
                job.finished = stamped
            else:
                self.send(stamped)

        try:
            getattr(self._jobs, command.command)(command, emit, control)
        except CancelledError as error:
            return _ended(command.job, control).replace(message=str(error))
        except SegtrainError as error:
            failed = _failed(command.job, str(error)).replace(fitting=getattr(error, "fitting", None))
        except (Exception, SystemExit) as error:
            _log.exception("the job failed")
            failed = _failed(command.job, f"{type(error).__name__}: {error}", traceback.format_exc())
        else:
            return job.finished or _ended(command.job, control)
        # A failure that the job announced itself knows more; a success announced before it is overruled.
        announced = job.finished
        return announced if announced is not None and announced.status is RunState.FAILED else failed


def _pass_on(command: AnyCommand, job: _Job) -> None:
    if isinstance(command, Stop):
        if command.job in (None, job.command.job):
            job.control.stop()
    elif isinstance(command, Pause):
        job.control.pause()
    elif isinstance(command, Resume):
        job.control.resume()
    elif isinstance(command, LabelsChanged):
        for change in command.changes:
            job.control.change_labels(change)
    elif isinstance(command, TakeStep | Halt):
        if command.job != job.command.job:
            return
        if isinstance(command, TakeStep):
            job.control.ask(command.request)
        else:
            job.control.halt()
    elif isinstance(command, Preview):
        job.control.look_at(command.hint)


def _failed(job: str, message: str, trace: str | None = None) -> Finished:
    return Finished(
        job=job, status=RunState.FAILED, reason=FinishReason.ERROR, message=message, traceback=trace
    )


def _ended(job: str, control: Control) -> Finished:
    if control.stopped:
        return Finished(job=job, status=RunState.INTERRUPTED, reason=control.stop_reason)
    return Finished(job=job, status=RunState.COMPLETED, reason=FinishReason.ALL_EPOCHS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the engine until it is told to end or its parent is gone; the exit code is returned."""
    parser = argparse.ArgumentParser(prog="python -m napari_segtrain.engine", description=__doc__)
    parser.add_argument("--jobs", default=WORKFLOW, help="table of jobs, as package.module:NAME")
    parser.add_argument("--nice", type=int, default=10, help="how much to lower the own priority, 0 to 19")
    parser.add_argument(
        "--grace", type=float, default=120.0, help="seconds a job may take to end before the process does"
    )
    options = parser.parse_args(arguments)
    channel = take_standard_streams()
    lower_priority(options.nice)
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    logging.captureWarnings(True)
    server = Server(load_jobs(options.jobs), channel, options.grace)
    asked_to_end: list[int] = []

    def on_signal(number: int, frame: object) -> None:
        if server.closing or not server.warm:
            os._exit(128 + number)
        asked_to_end.append(number)
        server.close(FinishReason.STOPPED)

    # A first signal ends the job as Stop does; one while it is ending does not wait for it any longer.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    watch_parent(server.parent_is_gone)
    server.run()
    if server.spent:
        os._exit(SPENT)  # libraries that tidy up on a GPU that is gone wait, or crash
    return 128 + asked_to_end[0] if asked_to_end else 0
