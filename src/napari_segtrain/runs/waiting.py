"""Taking the project's lock, at once or when the active run has ended."""

from __future__ import annotations

import time

from napari_segtrain.config import CancelledError

from .control import Control
from .events import Emit, Waiting, ignore
from .lock import ActiveRunError, ProjectLock
from .queue import Place, all_waiting, give_up

_LOOK_EVERY = 0.2
"""Seconds between two tries."""
_TELL_EVERY = 1.0
"""Seconds between two announcements."""


def lock_project(
    lock: ProjectLock,
    run: str,
    *,
    made: bool = False,
    wait: bool = False,
    control: Control | None = None,
    emit: Emit = ignore,
) -> ProjectLock:
    """Take the lock of a project.

    Those who wait come in the order in which they began to, in all processes; see `Place`.

    Parameters
    ----------
    lock
        The lock, not yet held.
    run
        Name of the run that is going to be active.
    made
        Whether that run has its folder already.
    wait
        Wait for the end of an active run, and for those who waited before, instead of refusing.
    control
        Somebody who may ask to stop, which ends the waiting.
    emit
        Told `Waiting` about once a second.

    Raises
    ------
    ActiveRunError
        When a run is active, or others wait to be, and nobody wants to wait.
    CancelledError
        When a stop was asked for while waiting.
    RunError
        When the lock file cannot be written.
    """
    if not wait:
        try:
            check_turn(lock, run)
            return lock.acquire(run)
        finally:
            give_up(lock.project, run)
    with Place(lock.project, run, made=made) as place:
        return _take_turn(lock, place, control, emit)


def check_turn(lock: ProjectLock, run: str | None = None) -> None:
    """Refuse a start that would go past those who wait; raises `ActiveRunError`.

    The place that was reserved for this process and this run is nobody else's.
    """
    first = next(iter(all_waiting(lock.project)), None)
    if first is None or (first.run == run and first.process.is_here()):
        return
    if lock.active() is None:
        raise ActiveRunError(
            f"A training run is already active in {lock.project}, or about to be: {first} is next; wait for "
            "its end",
            first,
        )


def _take_turn(lock: ProjectLock, place: Place, control: Control | None, emit: Emit) -> ProjectLock:
    tell = began = time.monotonic()
    while True:
        ahead = place.ahead()
        if not ahead:
            try:
                return lock.acquire(place.holder.run)
            except ActiveRunError as error:
                message = str(error).partition("; stop it")[0]
        else:
            message = (lock.active() or f"A training run is about to begin: {ahead[0]}").partition("; stop")[
                0
            ]
            message += f"; {len(ahead)} {'waits' if len(ahead) == 1 else 'wait'} before this one"
        now = time.monotonic()
        if now >= tell:
            tell = now + _TELL_EVERY
            place.keep()
            emit(Waiting(message=message, seconds=round(now - began, 1)))
        if control is not None and control.stopped:
            raise CancelledError(f"stopped while waiting, nothing was started. {message}")
        time.sleep(_LOOK_EVERY)
