"""What the docks share whose engine does one job after another."""

from __future__ import annotations

from abc import abstractmethod

from ..forms import notify
from ..sessions.engine_job import EngineJob
from .dock import EngineDock


class JobDock(EngineDock):
    """One job at a time; it ends with a word to the user.

    A subclass makes `session` and `panel`, connects both with `_connect_job`, and shows what the session
    says in its own way.
    """

    session: EngineJob

    @abstractmethod
    def _enable(self, *, idle: bool) -> None:
        """Enable what can be pressed while there is no job, or while there is one."""

    def _connect_job(self) -> None:
        self.session.warned.connect(notify.warning)
        self.session.progressed.connect(self.panel.show_progress)
        self.session.ended.connect(self._on_end)

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
        """Let go of viewer and engine; a job under way ends."""
        self.session.close()
        super().shut_down()
