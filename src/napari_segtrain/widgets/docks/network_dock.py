"""What the docks share that let the engine do something with a trained network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from ...config import SegtrainError
from ..forms.choice_editors import DeviceEdit
from ..panels.network_rows import NetworkRows
from .job_dock import JobDock


class NetworkDock(JobDock):
    """Choose a network and what it is used on; a job that can be cancelled.

    The buttons of a subclass's `panel` are called after `action` and ``"cancel"``; it begins its job in
    `_begin`.

    Parameters
    ----------
    napari_viewer
        The viewer; napari gives it.
    engine_arguments
        Arguments of the engine process, for tests.
    """

    action = ""
    """Name of the button that begins the job."""

    def __init__(self, napari_viewer: Any, engine_arguments: Sequence[str] = ()) -> None:
        super().__init__(napari_viewer, engine_arguments)
        self.device = DeviceEdit()
        self.network = NetworkRows(self.device)
        self.project, self.run = self.network.project, self.network.run

    def begin(self) -> None:
        """Do the job with what the dock shows, once its run was read; says why not when it cannot."""
        if not self.run.when_known(self._on_known):
            self.panel.say("Reading the run …")

    @abstractmethod
    def _begin(self) -> None:
        """Begin the job; raises `SegtrainError` when the dock does not show what it needs."""

    def _connect_job(self) -> None:
        super()._connect_job()
        self.panel.buttons[self.action].clicked.connect(self.begin)
        self.panel.buttons["cancel"].clicked.connect(self.session.cancel)

    def _on_known(self) -> None:
        if self._closed:
            return
        try:
            self._begin()
        except SegtrainError as error:
            self._refuse(str(error))
        else:
            self._enable(idle=False)

    def _enable(self, *, idle: bool) -> None:
        self.panel.enable(**{self.action: idle, "cancel": not idle})

    def showEvent(self, event: Any) -> None:
        """Look for runs that were trained meanwhile."""
        super().showEvent(event)
        self.run.refresh()
