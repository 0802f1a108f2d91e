"""The states of a run and the moves between them."""

from __future__ import annotations

from enum import StrEnum

from napari_segtrain.config import RunError, SegtrainError


class RunState(StrEnum):
    """Where a run is in its life."""

    PENDING = "pending"
    """Its folder exists, nothing has been computed."""
    RUNNING = "running"
    """A process prepares, trains or evaluates it and holds the project's lock."""
    COMPLETED = "completed"
    """It reached its end, including by early stopping or a time limit."""
    FAILED = "failed"
    """An error ended it; `run.json` and `summary.txt` say which."""
    INTERRUPTED = "interrupted"
    """Somebody ended it, or its process died; it can be resumed."""


class FinishReason(StrEnum):
    """Why a run or another job came to its end; the known values of `finish_reason`."""

    ALL_EPOCHS = "all_epochs"
    """Every epoch was trained, or the whole prediction was written."""
    EARLY_STOPPING = "early_stopping"
    """The monitored value did not improve for long enough."""
    MAX_TIME = "max_time"
    """The time limit was reached."""
    STOP_AFTER = "stop_after"
    """The epoch was reached after which the user wanted to stop."""
    STOPPED = "stopped"
    """The user pressed Stop or Ctrl-C, or the process was asked to end."""
    PARENT_GONE = "parent_gone"
    """The program that had started the engine ended."""
    NAN_LOSS = "nan_loss"
    """The loss was no longer a number."""
    OUT_OF_MEMORY = "out_of_memory"
    """Memory of the device ran out."""
    DEVICE_LOST = "device_lost"
    """The GPU stopped working; the process that used it cannot use it again."""
    ERROR = "error"
    """Anything else went wrong; the message says what."""
    CRASHED = "crashed"
    """The process was killed or crashed before it could say why."""


class DeviceLostError(SegtrainError):
    """The GPU stopped working; the process that used it cannot use it again."""

    reason = FinishReason.DEVICE_LOST


ENDED = frozenset({RunState.COMPLETED, RunState.FAILED, RunState.INTERRUPTED})
"""States in which nothing computes and a finish reason is known."""

MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.PENDING: frozenset({RunState.RUNNING}),
    RunState.RUNNING: ENDED,
    RunState.COMPLETED: frozenset(),
    RunState.FAILED: frozenset({RunState.PENDING, RunState.RUNNING}),
    RunState.INTERRUPTED: frozenset({RunState.PENDING, RunState.RUNNING}),
}
"""From each state the states that may follow: back to pending is a retry, to running a resume."""


def check_move(old: RunState, new: RunState, *, extend: bool = False) -> None:
    """Refuse a move that the life of a run does not have.

    Parameters
    ----------
    old, new
        State now, and state wanted.
    extend
        The run gets more epochs than it was completed with, so that it may run again.

    Raises
    ------
    RunError
        When `new` may not follow `old`.
    """
    allowed = MOVES[old]
    if extend and old is RunState.COMPLETED:
        allowed = frozenset({RunState.RUNNING})
    if new not in allowed:
        following = ", ".join(sorted(allowed)) or "nothing; start a new run, or extend it with more epochs"
        raise RunError(f"a run that is {old} cannot become {new}; after {old} comes {following}")
