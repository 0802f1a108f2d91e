"""The contents of `run.json`: what is known about a run, as one frozen value."""

from __future__ import annotations

import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from pydantic import AwareDatetime, Field

from napari_segtrain.config import Config

from .events import Number
from .states import RunState

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
    """Name of the run folder."""
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
    """The metrics of the last completed epoch, or of the evaluation after training."""
    device: str | None = None
    """Where it computes."""
    parameters: int | None = None
    """Trainable numbers in the network."""
    split: dict[str, int] = Field(default_factory=dict)
    """Patches that an epoch trains on (``train``) and that a validation looks at (``val``)."""
    images: dict[str, int] = Field(default_factory=dict)
    """Images that ``train``, ``val`` and ``test`` have, or have parts of; parts without any are left out."""


def now() -> datetime:
    """Return the time, in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide a run's result, by name."""
    found = {"python": platform.python_version(), "platform": sys.platform}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
