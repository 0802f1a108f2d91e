"""What goes on in the project folder: whether somebody trains there, and which runs can go on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import QObject, QTimer, Signal

from ...config import SegtrainError
from ...runs import ProjectLock, RunFolder, RunState, extendable_runs, recover, resumable_runs

_log = logging.getLogger(__name__)
_EVERY = 2000
"""Milliseconds between two looks at the lock while the dock is visible."""
_TYPING = 300
"""Milliseconds without a keystroke after which a typed path is looked at."""


@dataclass(frozen=True)
class ProjectState:
    """What was found in a project.

    Attributes
    ----------
    project
        The folder.
    active
        A sentence that says who trains there, None when nobody does.
    resumable
        Description and folder of each run that can go on, newest first.
    completed
        Name and folder of each completed run that can be given more epochs, newest first.
    """

    project: Path
    active: str | None = None
    resumable: tuple[tuple[str, Path], ...] = ()
    completed: tuple[tuple[str, Path], ...] = ()


class ProjectWatch(QObject):
    """Looks at the project folder, in a thread: on a slow file system the viewer goes on meanwhile.

    The lock is looked at every two seconds while `start` is in force. All runs are read only when they may
    have changed: after `look`, and when the lock was given back.

    Parameters
    ----------
    project
        Returns the folder to look at.
    parent
        The dock.
    """

    changed = Signal(object)
    """A `ProjectState`, when it is another than before."""
    looked = Signal()
    """What there was to see is in `state`, whether it changed or not."""
    _seen = Signal(object)

    def __init__(self, project: Callable[[], Path], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._project = project
        self.state = ProjectState(project())
        self._looking = self._stale = False
        self._thorough = True
        self._tick = QTimer(self)
        self._tick.setInterval(_EVERY)
        self._tick.timeout.connect(self._look)
        self._typed = QTimer(self)
        self._typed.setSingleShot(True)
        self._typed.setInterval(_TYPING)
        self._typed.timeout.connect(self.look)
        self._seen.connect(self._on_seen)

    def start(self) -> None:
        """Look now and again."""
        self._tick.start()
        self.look()

    def stop(self) -> None:
        """Look only when asked to, and forget what is being looked at now and what was just typed."""
        self._tick.stop()
        self._typed.stop()
        self._stale = self._looking

    def look(self) -> None:
        """Look at everything as soon as possible."""
        self._thorough, self._stale = True, False
        self._look()

    def look_when_typed(self) -> None:
        """Look at another folder, once its path is typed to the end."""
        self._typed.start()

    def _look(self) -> None:
        if self._looking:
            return  # also of a file system that hangs: one thread waits for it, not many
        self._looking = True
        known = self.state if self.state.project == self._project() and not self._thorough else None
        self._thorough = False
        threading.Thread(
            target=self._work, args=(self._project(), known), name="project-watch", daemon=True
        ).start()

    def _work(self, project: Path, known: ProjectState | None) -> None:
        state = self._see(project, known)
        with suppress(RuntimeError):  # the dock may be gone
            self._seen.emit(state)

    def _see(self, project: Path, known: ProjectState | None) -> ProjectState:
        """Return what there is to see, in the thread; see `look_at`."""
        return look_at(project, known)

    def _on_seen(self, state: ProjectState) -> None:
        self._looking = False
        if self._stale:
            self._stale = False
            return
        if state.project != self._project() or self._thorough:
            self._look()  # it was asked for again meanwhile
            return
        if state != self.state:
            self.state = state
            self.changed.emit(state)
        self.looked.emit()


def look_at(project: Path, known: ProjectState | None = None) -> ProjectState:
    """Return what goes on in a project; never raises.

    Parameters
    ----------
    project
        The folder, which need not exist.
    known
        What was found before; its runs are taken over as long as the lock is as it was.
    """
    try:
        active = ProjectLock(project).active()
        if known is not None and known.active == active:
            return known
        if active is None:
            recover(project)
        runs = tuple((_describe(run), run.path) for run in resumable_runs(project))
        completed = tuple((run.name, run.path) for run in extendable_runs(project))
    except (SegtrainError, OSError) as error:
        _log.debug("%s cannot be looked at: %s", project, error)
        return ProjectState(project)
    return ProjectState(project, active, runs, completed)


def _describe(run: RunFolder) -> str:
    info = run.read_info()
    epochs = f"epoch {info.epoch}" + (f"/{info.num_epochs}" if info.num_epochs else "")
    failed = " · failed" if info.status is RunState.FAILED else ""
    return f"{run.name} · {epochs}{failed}"
