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

LOOK_EVERY = 0.2
"""Seconds between two looks at the file."""
_LOOK_FOR_LIFE_EVERY = 2.0
"""Seconds between two looks at whether the run's process is still there."""


class RunFollower:
    """Follows a run step by step; nothing here waits.

    Parameters
    ----------
    run
        The run. It is left alone: it neither knows nor waits.
    tail
        Where in the file of its events to begin; at its begin when None.

    Attributes
    ----------
    over
        Whether the run has ended and every event was returned.
    """

    def __init__(self, run: RunFolder, tail: EventTail | None = None) -> None:
        self.run = run
        self.tail = tail if tail is not None else EventTail(run.events_path)
        self.over = False
        self._last: Event | None = None
        self._look_for_life = time.monotonic()

    def look(self) -> list[tuple[Event, int]]:
        """Return the events since the last look, each with the offset behind it.

        The last one is a `Finished`, also when the process died without a word, or could not write it.
        A run that had ended and goes on while it is followed is followed on.

        Raises
        ------
        RunError
            When the run is deleted meanwhile, or its `run.json` is damaged.
        """
        info = _info(self.run)  # before the events: what is written after it cannot be missed
        found = self.tail.read()
        if found:
            self._last = found[-1][0]
            return found
        if info.status in ENDED:
            if isinstance(self._last, Finished):
                self.over = True
            elif not _is_held(self.run):
                return self._end(info)
        elif info.status is RunState.RUNNING and time.monotonic() >= self._look_for_life:
            self._look_for_life = time.monotonic() + _LOOK_FOR_LIFE_EVERY
            if info.host == platform.node() and ProjectLock(self.run.project).holder() is None:
                try:
                    recover(self.run.project)
                except RunError:
                    return self._end(_info(self.run))
        return []

    def _end(self, info: RunInfo) -> list[tuple[Event, int]]:
        """Return the end that nobody announced: a full disk, a killed process, a read-only folder."""
        if found := self.tail.read():  # written since the last look: now that the lock is free, it is all
            self._last = found[-1][0]
            return found
        self.over = True
        dead = info.status not in ENDED
        ended = {
            "status": RunState.INTERRUPTED if dead else info.status,
            "reason": FinishReason.CRASHED if dead else info.finish_reason or FinishReason.CRASHED,
            "message": "The process of this run ended without a word" if dead else info.message,
            "path": str(self.run.path),
        }
        return [(Finished.model_validate(ended), self.tail.offset)]


def follow_run(run: RunFolder, *, tick: bool = False) -> Iterator[Event | None]:
    """Yield the events of a run in order, from the first one on, until the run has ended.

    A pending run is waited for. See `RunFollower`.

    Parameters
    ----------
    run
        The run.
    tick
        Yield None at each look that finds nothing, about five times a second, so that the caller can do
        other things.

    Raises
    ------
    RunError
        When the run is deleted meanwhile, or its `run.json` is damaged.
    """
    return follow(RunFollower(run), tick=tick)


def follow(follower: RunFollower, *, tick: bool = False) -> Iterator[Event | None]:
    """Yield what a follower sees; as `follow_run`."""
    while True:
        found = follower.look()
        for event, _ in found:
            yield event
        if follower.over:
            return
        if not found:
            if tick:
                yield None
            time.sleep(LOOK_EVERY)


def _info(run: RunFolder) -> RunInfo:
    if not (run.path / RUN_FILE).is_file():
        raise RunError(f"{run.path}: is gone; the run was deleted or moved")
    return run.read_info()


def _is_held(run: RunFolder) -> bool:
    holder = ProjectLock(run.project).holder()
    return holder is not None and holder.run == run.name
