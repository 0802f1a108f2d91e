"""What the Train dock wants to know of a run's files; all of it is read by worker threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...config import ExperimentConfig, SegtrainError
from ...runs import RunFolder, RunInfo, RunStarted, read_data
from ...runs.metrics import Row


@dataclass(frozen=True)
class OpenedRun:
    """A run to go on with.

    Attributes
    ----------
    run, config, info
        Its folder, its experiment, its state.
    data
        Where its data is, as the reader that was asked for says it.
    """

    run: RunFolder
    config: ExperimentConfig
    info: RunInfo
    data: Any


def open_run(path: Path, data: Callable[[RunFolder], Any] = read_data) -> OpenedRun:
    """Read a run folder.

    Parameters
    ----------
    path
        The folder.
    data
        Reads where its data is: `read_data`, `noted_data`, or `known_data`.

    Raises
    ------
    SegtrainError
        When it cannot be read.
    """
    run = RunFolder.open(path)
    return OpenedRun(run, run.read_config(), run.read_info(), data(run))


def known_data(run: RunFolder) -> Any:
    """Return where a run's data is, None where that is no longer known."""
    try:
        return read_data(run)
    except SegtrainError:
        return None


def earlier_rows(event: RunStarted) -> list[Row]:
    """Return the metrics of the epochs before a resume."""
    if event.first_epoch <= 1:
        return []
    try:
        return RunFolder(Path(event.path)).read_metrics()[: event.first_epoch - 1]
    except SegtrainError:
        return []


def best_of(path: str) -> str:
    """Return the best epoch of a run in words, an empty text when it has none."""
    try:
        best = RunFolder.open(path).read_info().best
    except SegtrainError:
        return ""
    if best is None or best.value is None:
        return ""
    return f"best after epoch {best.epoch}: {best.monitor} {best.value:.3g}"
