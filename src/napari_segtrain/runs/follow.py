"""Following a run that somebody else trains: everything it announced so far, then what it announces."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator

from napari_segtrain.config import RunError

from .event_file import EventTail
from .events import Event, Finished
from .folder import RUN_FILE, RunFolder
from .info import RunInfo
from .lock import ProjectLock, recover
from .states import ENDED, FinishReason, RunState

_LOOK_EVERY = 0.2
"""Seconds between two looks at the file."""
_LOOK_FOR_LIFE_EVERY = 2.0
"""Seconds between two looks at whether the run's process is still there."""


def follow_run(run: RunFolder, *, tick: bool = False) -> Iterator[Event | None]:
    """Yield the events of a run in order, from the first one on, until the run has ended.

    The run is left alone: it neither knows nor waits. Its last event is a `Finished`, also when its process
    died without a word, or could not write it. A pending run is waited for; one that was ended and goes on
    while it is followed is followed on.

    Parameters
    ----------
    run
        The run.
    tick
        Yield None at each look that finds nothing, about five times a second, so that the follower can do
        other things.

    Raises
    ------
    RunError
        When the run is deleted meanwhile, or its `run.json` is damaged.
    """
    for found in follow_file(run, EventTail(run.events_path)):
        if found is not None:
            yield found[0]
        elif tick:
            yield None


def follow_file(run: RunFolder, tail: EventTail) -> Iterator[tuple[Event, int] | None]:
    """Yield the events behind `tail`, each with the offset behind it, and None at each look without any.

    Otherwise as `follow_run`.
    """
    last: Event | None = None
    look_for_life = time.monotonic()
    while True:
        info = _info(run)  # before the events: what is written after it cannot be missed
        found = tail.read()
        for last, offset in found:
            yield last, offset
        if found:
            continue
        if info.status in ENDED:
            if not isinstance(last, Finished) and not _is_held(run):
                yield _end(run, info), tail.offset
                return
            if isinstance(last, Finished):
                return
        elif info.status is RunState.RUNNING and time.monotonic() >= look_for_life:
            look_for_life = time.monotonic() + _LOOK_FOR_LIFE_EVERY
            if info.host == platform.node() and ProjectLock(run.project).holder() is None:
                try:
                    recover(run.project)
                except RunError:
                    yield _end(run, _info(run)), tail.offset
                    return
                continue
        yield None
        time.sleep(_LOOK_EVERY)


def _info(run: RunFolder) -> RunInfo:
    if not (run.path / RUN_FILE).is_file():
        raise RunError(f"{run.path}: is gone; the run was deleted or moved")
    return run.read_info()


def _is_held(run: RunFolder) -> bool:
    holder = ProjectLock(run.project).holder()
    return holder is not None and holder.run == run.name


def _end(run: RunFolder, info: RunInfo) -> Finished:
    """Return the end of a run that nobody announced: a full disk, a killed process, a read-only folder."""
    dead = info.status not in ENDED
    ended = {
        "status": RunState.INTERRUPTED if dead else info.status,
        "reason": FinishReason.CRASHED if dead else info.finish_reason or FinishReason.CRASHED,
        "message": "The process of this run ended without a word" if dead else info.message,
        "path": str(run.path),
    }
    return Finished.model_validate(ended)
