"""What can be done with the chosen runs now, and else why not."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ...runs import RunRow, RunState
from ..sessions.runs_watch import RunDetails

ACTIONS: Mapping[str, tuple[str, str]] = {
    "resume_run": (
        "Resume",
        "Go on with the run in the Train dock; a pending one begins, a completed one gets more epochs",
    ),
    "retry_run": (
        "Retry",
        "Train the run from its begin in the Train dock; what it has goes to attempts/ in its folder",
    ),
    "stop_run": ("Stop", "End the run after its batch, with a checkpoint; it can be resumed"),
    "duplicate_run": ("Duplicate", "Fill the Train dock with the run's settings and data, for a new run"),
    "use_run": ("Use in Predict", "Choose the run in the Predict dock"),
    "delete_runs": ("Delete…", "Delete the chosen runs with all that is in their folders; asks first"),
    "open_folder": ("Open folder", "Show the run folder in the file manager"),
    "open_picture": ("Debug picture", "Show image, ground truth and prediction of the newest validation"),
    "open_labels": ("Labels", "Open the labels that the run has kept, as they were at its newest checkpoint"),
    "open_predictions": ("Predictions", "Open what was predicted with the run as layers"),
}
"""Text and tooltip of each button, by its name."""


@dataclass(frozen=True)
class Situation:
    """What decides which actions are possible.

    Attributes
    ----------
    rows, details
        The chosen runs; details may come a moment later, then there are fewer.
    active
        Who trains in the project, as a sentence; None when nobody does.
    busy
        Whether this viewer's Train dock works, on this project or another.
    """

    rows: tuple[RunRow, ...]
    details: tuple[RunDetails, ...] = ()
    active: str | None = None
    busy: bool = False


def refusals(now: Situation) -> dict[str, str]:
    """Return for every action why it cannot be done, an empty text where it can."""
    return {name: _needs(now, name) or check(now) for name, check in _CHECKS.items()}


def _needs(now: Situation, name: str) -> str:
    if not now.rows:
        return "Choose a run in the table first"
    if name == "delete_runs":
        return ""
    if len(now.rows) > 1:
        return "Choose a single run"
    return "" if now.details or name == "open_folder" else "The run is being read"


def _state(now: Situation) -> RunState | None:
    info = now.rows[0].info
    return None if info is None else info.status


def _damaged(now: Situation) -> str:
    return now.rows[0].fault if now.rows[0].info is None else ""


def _free(now: Situation) -> str:
    """Refuse where the Train dock works; for a run that is active elsewhere it can wait."""
    if not now.busy:
        return ""
    return now.active or "A training run is already active: the Train dock of this viewer works"


_CANNOT_GO_ON: Mapping[RunState | None, str] = {
    RunState.COMPLETED: "The run is completed; duplicate it to train again",
    RunState.RUNNING: "A training run is already active: this one",
}


def described(name: str, now: Situation) -> tuple[str, str]:
    """Return text and tooltip of a button as things are now."""
    text, tip = ACTIONS[name]
    if name not in ("resume_run", "retry_run"):
        return text, tip
    if name == "resume_run" and _keeps_learning(now):
        text = "Keep learning"
    if now.active is None:
        return text, tip
    return f"{text} next", f"{tip}. It waits for the end of the active run; Stop there ends the waiting"


def _keeps_learning(now: Situation) -> bool:
    """Return whether going on with the chosen run means more epochs for one that is completed."""
    return len(now.rows) == 1 and _state(now) is RunState.COMPLETED


def _resume(now: Situation) -> str:
    if _damaged(now):
        return _damaged(now)
    if _state(now) is RunState.RUNNING:
        return _CANNOT_GO_ON[RunState.RUNNING]
    if _keeps_learning(now) and not now.details[0].has_checkpoint:
        return "The run has no checkpoint"
    if _state(now) is RunState.FAILED and not now.details[0].resumable:
        return "The run failed before its first checkpoint; retry it"
    return _free(now)


def _retry(now: Situation) -> str:
    if _damaged(now):
        return _damaged(now)
    if _state(now) is RunState.PENDING:
        return "The run has not begun; resume begins it"
    return _CANNOT_GO_ON.get(_state(now)) or _free(now)


def _stop(now: Situation) -> str:
    info = now.rows[0].info
    if info is None or info.status is not RunState.RUNNING:
        return "The run is not running"
    if info.host and info.host != platform.node():
        return f"The run trains on {info.host}; stop it there, in its dock or with segtrain stop"
    return ""


def _duplicate(now: Situation) -> str:
    return "The Train dock works; wait for its end" if now.busy else _damaged(now)


def _use(now: Situation) -> str:
    return "" if now.details[0].has_checkpoint else "The run has no checkpoint yet"


def _delete(now: Situation) -> str:
    running = [row.name for row in now.rows if row.info is not None and row.info.status is RunState.RUNNING]
    return f"{', '.join(running)}: running; stop it first" if running else ""


def _picture(now: Situation) -> str:
    return "" if now.details[0].picture else "The run has no debug picture"


def _predictions(now: Situation) -> str:
    return "" if now.details[0].predictions else "Nothing was predicted with the run yet"


def _labels(now: Situation) -> str:
    return "" if now.details[0].labels else "The run has kept no labels"


def _anyway(now: Situation) -> str:
    return ""


_CHECKS: Mapping[str, Callable[[Situation], str]] = {
    "resume_run": _resume,
    "retry_run": _retry,
    "stop_run": _stop,
    "duplicate_run": _duplicate,
    "use_run": _use,
    "delete_runs": _delete,
    "open_folder": _anyway,
    "open_picture": _picture,
    "open_labels": _labels,
    "open_predictions": _predictions,
}
