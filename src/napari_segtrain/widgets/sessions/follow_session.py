"""Following the run that trains in the project, wherever it was started."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject, Signal

from ...runs import Event, RunFolder
from .followers import follow_folder


class FollowSession(QObject):
    """Follows the events of one run at a time, in a thread; the run knows nothing of it."""

    happened = Signal(object)
    """An event of the run: progress, epochs, warnings, its end."""
    ended = Signal(str)
    """The run has ended, or cannot be followed any longer: then why."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.run: RunFolder | None = None
        self._worker: Any = None

    def follow(self, run: RunFolder | None) -> None:
        """Follow this run, and no other one; None for none."""
        if run is self.run or (run is not None and self.run is not None and run.path == self.run.path):
            return
        self.stop()
        if run is None:
            return
        self.run = run
        worker = follow_folder(run)
        worker.yielded.connect(lambda event: self._on_event(worker, event))
        worker.returned.connect(lambda fault: self._on_end(worker, fault))
        self._worker = worker
        worker.start()

    def stop(self) -> None:
        """Follow nothing."""
        if self._worker is not None:
            self._worker.quit()
        self._worker = self.run = None

    def _on_event(self, worker: Any, event: Event | None) -> None:
        if event is not None and worker is self._worker:
            self.happened.emit(event)

    def _on_end(self, worker: Any, fault: str) -> None:
        if worker is self._worker:
            self._worker = self.run = None
            self.ended.emit(fault)
