"""What the engine does for a dock with the layers that are open: shared, sent, followed, cancelled, ended."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from ...config import SegtrainError
from ...engine.protocol import Stop
from ...runs import Event, PredictProgress, Refused, Warned
from ...runs.scratch import Scratch
from .closing_note import ClosingNote
from .engine_session import EngineSession
from .followers import write_copies


class EngineJob(QObject):
    """One job after another, each from its command to its end.

    Every start is followed by exactly one `ended`. A subclass makes the command in a scratch folder, gives
    both to `_prepare`, and answers the events of its job in `_on_news`.

    Parameters
    ----------
    viewer
        The napari viewer.
    engine
        The dock's engine.
    parent
        The dock.
    """

    changed = Signal()
    """`busy` is another."""
    progressed = Signal(float, object, str)
    """Finished share, seconds left or None, and what is being done."""
    said = Signal(str)
    warned = Signal(str)
    ended = Signal(bool, str)
    """Whether all went well, and a message for the user."""

    _starting = ""
    """What is said when the engine has the command."""
    _doing = ""
    """What is being done while there is progress."""

    def __init__(self, viewer: Any, engine: EngineSession, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._engine = engine
        self._command: Any = None
        self._data: Any = None
        self._scratch: Scratch | None = None
        self._worker: Any = None
        self._sent = self._reading = self._cancelled = False
        self._note = ClosingNote(viewer)
        engine.event.connect(self._on_event)

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._command is not None

    def cancel(self) -> None:
        """End the job; there is no result."""
        if self._command is None:
            return
        self._cancelled = True
        if self._sent and not self._reading:
            try:
                self._engine.send(Stop(job=self._command.job))
                self.said.emit("Cancelling …")
            except SegtrainError as error:
                self._end(False, str(error))
        else:
            self._worker.quit()
            self._end(True, "Cancelled")

    def close(self) -> None:
        """Let go of everything; the engine is told to stop by its owner."""
        if self._worker is not None:
            self._worker.quit()
        self._release()

    def _prepare(self, command: Any, data: Any, scratch: Scratch) -> Any:
        """Begin a job: return the worker that shares the layers, after which the command is sent.

        Parameters
        ----------
        command
            The command, still without its data.
        data
            What has the `copies` that are shared, and the `spec` of the data when they are.
        scratch
            Where they are shared; removed at the end.
        """
        self._command, self._data, self._scratch = command, data, scratch
        self._sent = self._reading = self._cancelled = False
        self._note.show(self._when_closed())
        self._worker = write_copies(data.copies, scratch)
        self._worker.returned.connect(lambda fault: self._on_written(fault, command.job))
        return self._worker

    def _on_written(self, fault: str | None, job: str) -> None:
        if not isalive(self) or self._command is None or self._command.job != job:
            return
        if fault is not None:
            self._end(False, fault)
            return
        try:
            self._engine.send(self._with_data(self._command))
        except SegtrainError as error:
            self._end(False, str(error))
            return
        self._sent = True
        if self._starting:
            self.said.emit(self._starting)

    def _with_data(self, command: Any) -> Any:
        """Return the command with what was shared."""
        return command.replace(data=self._data.spec)

    def _on_event(self, event: Event) -> None:
        if self._command is None or event.job != self._command.job:
            return
        if isinstance(event, PredictProgress):
            self.progressed.emit(event.fraction, event.seconds_left, self._doing)
        elif isinstance(event, Warned):
            self.warned.emit(event.message)
        elif isinstance(event, Refused):
            self._end(False, event.message)
        else:
            self._on_news(event)

    @abstractmethod
    def _when_closed(self) -> str:
        """Return what closing napari does to the job that begins."""

    @abstractmethod
    def _on_news(self, event: Event) -> None:
        """Answer an event of the job: its result, or its end."""

    def _read(self, worker: Any, show: Callable[[Any], None]) -> None:
        """Have a worker read the result, and show what it returns; text is a fault, which ends the job."""
        self._reading = True
        self._worker = worker
        job = self._command.job
        worker.returned.connect(lambda found: self._on_read(found, show, job))
        worker.start()

    def _on_read(self, found: Any, show: Callable[[Any], None], job: str) -> None:
        if not isalive(self) or self._command is None or self._command.job != job:
            return
        if isinstance(found, str):
            self._end(False, found)
        else:
            show(found)

    def _end(self, well: bool, message: str) -> None:
        self._release()
        self.changed.emit()
        self.ended.emit(well, message)

    def _release(self) -> None:
        self._note.show("")
        if self._scratch is not None:
            self._scratch.remove()
        self._scratch = self._data = self._command = self._worker = None
