"""Taking the project's lock, at once or when the active run has ended."""

from __future__ import annotations

import time

from napari_segtrain.config import CancelledError

from .control import Control
from .events import Emit, Waiting, ignore
from .lock import ActiveRunError, ProjectLock

_LOOK_EVERY = 0.2
"""Seconds between two tries."""
_TELL_EVERY = 1.0
"""Seconds between two announcements."""


def lock_project(
    lock: ProjectLock, run: str, *, wait: bool = False, control: Control | None = None, emit: Emit = ignore
) -> ProjectLock:
    """Take the lock of a project.

    Parameters
    ----------
    lock
        The lock, not yet held.
    run
        Name of the run that is going to be active.
    wait
        Wait for the end of an active run instead of refusing. Of several that wait, any may be next.
    control
        Somebody who may ask to stop, which ends the waiting.
    emit
        Told `Waiting` about once a second.

    Raises
    ------
    ActiveRunError
        When a run is active and nobody wants to wait.
    CancelledError
        When a stop was asked for while waiting.
    RunError
        When the lock file cannot be written.
    """
    began = time.monotonic()
    tell = began
    while True:
        try:
            return lock.acquire(run)
        except ActiveRunError as error:
            if not wait:
                raise
            message = str(error).partition("; stop it")[0]
        now = time.monotonic()
        if now >= tell:
            tell = now + _TELL_EVERY
            emit(Waiting(message=message, seconds=round(now - began, 1)))
        if control is not None and control.stopped:
            raise CancelledError(f"stopped while waiting, nothing was started. {message}")
        time.sleep(_LOOK_EVERY)
