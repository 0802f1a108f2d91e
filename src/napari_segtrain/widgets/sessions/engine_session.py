"""The dock's side of the engine process: started warm, followed by a worker thread, ended with the dock."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import QObject, Signal

from ...engine.protocol import Command
from ...engine.supervisor import Engine
from ...runs.events import Event, Ready
from .followers import follow


class EngineSession(QObject):
    """One engine process for as long as a dock is open.

    Events arrive on the main thread as the signal `event`. A process that was ready and died is started
    again at once, so that the next Start is warm too; one that never became ready is started again only
    when it is needed.

    Parameters
    ----------
    arguments
        Arguments of ``python -m napari_segtrain.engine``.

    Attributes
    ----------
    before_close
        Called before the process is told to end, perhaps when the dock is gone already.
    """

    event = Signal(object)

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        super().__init__()
        self._arguments = tuple(arguments)
        self._engine = Engine(self._arguments)
        self._worker: Any = None
        self._was_ready = False
        self._closed = False
        self.before_close: list[Callable[[], None]] = []
        # Also at the end of the interpreter, where no dock is closed and no thread may be left running.
        self._finalizer = weakref.finalize(self, _let_go, self._engine)

    @property
    def engine(self) -> Engine:
        """The process' supervisor."""
        return self._engine

    def warm(self) -> None:
        """Start the process and follow it, unless it is there.

        Raises
        ------
        RunError
            When the system cannot start a process.
        """
        if self._closed or self._worker is not None:
            return
        self._engine.start()
        self._was_ready = False
        worker = follow(self._engine)
        worker.yielded.connect(self._on_event)
        worker.finished.connect(self._on_end)
        self._worker = worker
        worker.start()

    def send(self, command: Command) -> None:
        """Send a command, starting the process first where it is needed.

        Raises
        ------
        RunError
            When the process cannot be started, or is busy with another job.
        """
        self.warm()
        self._engine.send(command)

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._engine.job is not None

    def close(self) -> None:
        """Let the process stop its job with a checkpoint, and end; returns at once."""
        self._closed = True
        for call in self.before_close:
            call()
        if self._worker is not None:
            self._worker.quit()
        self._finalizer()

    def _on_event(self, event: Event | None) -> None:
        if event is None or self._closed:
            return
        if isinstance(event, Ready):
            self._was_ready = True
        self.event.emit(event)

    def _on_end(self) -> None:
        self._worker = None
        if self._was_ready and not self._closed:
            self.warm()


def _let_go(engine: Engine) -> None:
    engine.close(grace=None)
