"""The contents of `run.json`: what is known about a run, as one frozen value."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import AwareDatetime, Field

from napari_segtrain.config import Config

from .event_values import Number
from .states import FinishReason, RunState

_PACKAGES = ("napari-segtrain", "torch", "lightning", "numpy", "numba", "scikit-image", "zarr")


class Best(Config):
    """The epoch with the best monitored value."""

    epoch: int
    monitor: str
    value: Number


class RunInfo(Config):
    """Everything `run.json` holds."""

    id: str
    """Unique among all runs anywhere."""
    name: str
    """Name that the run folder was made with."""
    changed: dict[str, Any] = Field(default_factory=dict)
    """Settings that were given beside a file or the defaults, by dotted name; they name the run."""
    status: RunState = RunState.PENDING
    created: AwareDatetime
    started: AwareDatetime | None = None
    """When it first began to run."""
    resumed: AwareDatetime | None = None
    """When it last began to run; equal to `started` unless it was resumed."""
    finished: AwareDatetime | None = None
    """When it last ended; None while it runs."""
    seconds: float = 0.0
    """Time it was running, over all its resumes."""
    host: str = ""
    """The machine it runs or last ran on."""
    pid: int | None = None
    """The process it runs or last ran in."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Versions of the libraries that decide the result."""
    epoch: int = 0
    """Completed epochs."""
    num_epochs: int | None = None
    """Epochs at its end."""
    best: Best | None = None
    finish_reason: str | None = None
    """A `FinishReason`, once it ended."""
    message: str = ""
    """Why it failed or was interrupted, for the user."""
    warnings: tuple[str, ...] = ()
    """What the user was told while it ran, each once."""
    final_metrics: dict[str, Number] = Field(default_factory=dict)
    """The metrics of the last completed epoch."""
    scores: dict[str, Number] = Field(default_factory=dict)
    """What evaluations found, the latest of each part, by ``"<part>/<output>/<score>"``."""
    device: str | None = None
    """Where it computes."""
    batch: str | None = None
    """Patches in one step of the optimizer, and what makes their number, in words."""
    parameters: int | None = None
    """Trainable numbers in the network."""
    split: dict[str, int] = Field(default_factory=dict)
    """Patches that an epoch trains on (``train``) and that a validation looks at (``val``)."""
    images: dict[str, int] = Field(default_factory=dict)
    """Images that ``train``, ``val`` and ``test`` have, or have parts of; parts without any are left out."""

    def has_less_than(self, num_epochs: int) -> bool:
        """Return whether a completed run may go on to so many epochs: more than it had, or was to have."""
        early = self.finish_reason in (FinishReason.EARLY_STOPPING, FinishReason.MAX_TIME)
        return num_epochs > ((self.epoch if early else self.num_epochs) or 0)


def now() -> datetime:
    """Return the time, in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def begun(info: RunInfo) -> RunInfo:
    """Return the contents once this process runs the run; how it had ended is forgotten."""
    resumed = _latest(now(), info.created, info.finished)
    return info.replace(
        status=RunState.RUNNING,
        started=info.started or resumed,
        resumed=resumed,
        finished=None,
        finish_reason=None,
        message="",
        host=platform.node(),
        pid=os.getpid(),
        versions=library_versions(),
    )


def ended(
    info: RunInfo, state: RunState, reason: str, message: str, *, spent: float | None, at: datetime | None
) -> RunInfo:
    """Return the contents once the run has ended.

    Parameters
    ----------
    info
        The contents while it ran.
    state, reason, message
        How it ended.
    spent
        Seconds it ran since it last began; by the two times when None.
    at
        When it ended; now when None. Never before it began, wherever somebody sets the clock meanwhile.
    """
    finished = _latest(at or now(), info.resumed)
    if spent is None:
        spent = (finished - info.resumed).total_seconds() if info.resumed else 0.0
    return info.replace(
        status=state,
        finished=finished,
        seconds=info.seconds + spent,
        finish_reason=str(reason),
        message=message,
    )


def seconds_running(info: RunInfo) -> float:
    """Return the seconds that a run has been running, up to now where it still does."""
    if info.status is not RunState.RUNNING or info.resumed is None:
        return info.seconds
    return info.seconds + max(0.0, (datetime.now(UTC) - info.resumed).total_seconds())


def _latest(first: datetime, *others: datetime | None) -> datetime:
    return max(first, *(other for other in others if other is not None))


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide a run's result, by name."""
    found = {"python": platform.python_version(), "platform": sys.platform}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
