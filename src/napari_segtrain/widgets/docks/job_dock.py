"""What the docks share that let the engine do something with a trained network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from ...config import SegtrainError
from ..forms import notify
from ..forms.choice_editors import DeviceEdit
from ..panels.network_rows import NetworkRows
from ..sessions.engine_job import EngineJob
from .dock import EngineDock


class JobDock(EngineDock):
    """Choose a network and what it is used on; one job at a time, which can be cancelled.

    A subclass makes `session` and `panel`, whose buttons are called after `action` and ``"cancel"``, and
    begins its job in `_begin`.

    Parameters
    ----------
    napari_viewer
        The viewer; napari gives it.
    engine_arguments
        Arguments of the engine process, for tests.
    """

    session: EngineJob
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
        """Connect the buttons and the session, whose `said` each dock shows in its way."""
        self.panel.buttons[self.action].clicked.connect(self.begin)
        self.panel.buttons["cancel"].clicked.connect(self.session.cancel)
        self.session.warned.connect(notify.warning)
        self.session.progressed.connect(self.panel.show_progress)
        self.session.ended.connect(self._on_end)

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

    def _on_idle(self) -> None:
        self.panel.reset()
        self._enable(idle=True)

    def _on_end(self, well: bool, message: str) -> None:
        self._on_idle()
        self.panel.say(message)
        if not well:
            notify.error(message)
        elif self.window().isVisible() and not self.isVisible():
            notify.info(message)  # the dock is behind another one

    def shut_down(self) -> None:
        """Let go of viewer and engine; a job under way is cancelled."""
        self.session.close()
        super().shut_down()

    def showEvent(self, event: Any) -> None:
        """Look for runs that were trained meanwhile."""
        super().showEvent(event)
        self.run.refresh()
