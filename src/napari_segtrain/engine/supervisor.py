"""The engine as a dock or a program sees it: start it warm, send commands, follow events. No Qt here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from napari_segtrain.config import RunError
from napari_segtrain.runs.events import Event, Finished, Refused

from .child import Child
from .protocol import Command, Shutdown

_PATIENCE = 3.0
"""Seconds between asking a process to end by a signal and killing it."""


class Engine:
    """A process that trains and predicts, started before it is needed.

    ``start`` returns at once, and the process imports its libraries meanwhile; a job that is sent before
    it is ready begins as soon as it is. When the process dies, its run is marked failed, `EngineDied` and
    the job's `Finished` arrive as events, and ``start`` makes a new one.

    Parameters
    ----------
    arguments
        Arguments of ``python -m napari_segtrain.engine``, for example another table of jobs.
    environment
        Environment of the process; that of this one when None.

    Examples
    --------
    >>> with Engine() as engine:  # doctest: +SKIP
    ...     command = Train(config=config.to_dict(), data="data", project="project")
    ...     engine.send(command)
    ...     for event in engine.events(command.job):
    ...         print(event)
    """

    def __init__(self, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        self._arguments = tuple(arguments)
        self._environment = environment
        self._child: Child | None = None

    def start(self) -> None:
        """Start the process, unless it is there already.

        Raises
        ------
        RunError
            When the system cannot start a process.
        """
        if self.alive:
            return
        try:
            self._child = Child(self._arguments, self._environment)
        except OSError as error:
            raise RunError(f"The training process cannot be started ({error})") from error

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and not self._child.over.is_set()

    @property
    def ready(self) -> bool:
        """Whether the process is there and has imported everything."""
        return self._child is not None and self.alive and self._child.ready.is_set()

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until the process is ready, has ended, or `timeout` seconds are over; return `ready`."""
        if self._child is not None:
            self._child.ready.wait(timeout)
        return self.ready

    @property
    def pid(self) -> int | None:
        """Number of the process, or None."""
        return self._child.pid if self._child is not None and self.alive else None

    @property
    def job(self) -> str | None:
        """Id of the job that was sent and has not ended, or None."""
        return None if self._child is None else self._child.job

    def send(self, command: Command) -> None:
        """Send a command; returns at once, whatever the process is doing.

        Raises
        ------
        RunError
            When the process was not started or has ended, or when a job is sent while another is active.
        """
        if self._child is None:
            raise RunError("The training process was not started; call start()")
        self._child.send(command)

    def next_event(self, timeout: float | None = None) -> Event | None:
        """Return the next event.

        Parameters
        ----------
        timeout
            Seconds to wait for it; as long as it takes when None.

        Returns
        -------
        Event or None
            None when none came in time, or when the process has ended and no more can come.
        """
        return None if self._child is None else self._child.next_event(timeout)

    def events(self, job: str | None = None, tick: float | None = None) -> Iterator[Event | None]:
        """Yield events as they come, to a single follower.

        Parameters
        ----------
        job
            End after the end of this job: its `Finished`, or its `Refused`. When None, end with the
            process.
        tick
            Yield None when nothing came for so many seconds, so that the follower can do other things.
        """
        child = self._child
        while child is not None and not child.drained:
            event = child.next_event(tick)
            if event is not None or not child.drained:
                yield event
            if job is not None and isinstance(event, Finished | Refused) and event.job == job:
                return

    def close(self, grace: float | None = 10.0) -> None:
        """End the process: its job stops after the batch it is in, with a checkpoint.

        Parameters
        ----------
        grace
            Seconds the job may take for it; after that the process is ended, at last by force, and its run
            marked interrupted. None returns at once and lets the process end by itself.
        """
        if self._child is None:
            return
        self._child.close(Shutdown())
        if grace is not None:
            self._child.terminate(grace, _PATIENCE)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
