"""What is known of all runs of a project, and more of the chosen ones: read in a thread, as it changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject

from ...config import SegtrainError
from ...runs import (
    Comparison,
    RunFolder,
    RunRow,
    TableReader,
    compare_runs,
    file_stamp,
    predictions_of,
    read_metrics,
)
from ...runs.label_store import LabelStore
from ...runs.metrics import Row
from .project_watch import ProjectState, ProjectWatch


@dataclass(frozen=True)
class RunDetails:
    """What is read of a run once it is chosen.

    Attributes
    ----------
    path
        The run folder.
    metrics
        Its epochs.
    resumable
        Whether it ended and can go on.
    has_checkpoint
        Whether it can predict.
    picture
        Its newest debug picture.
    labels
        Whether it has kept its labels.
    predictions
        Stores and files in its ``predictions``, and those that were written elsewhere.
    fault
        Why some of it cannot be read.
    """

    path: Path
    metrics: list[Row] = field(default_factory=list)
    resumable: bool = False
    has_checkpoint: bool = False
    picture: Path | None = None
    labels: bool = False
    predictions: tuple[Path, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class RunsState(ProjectState):
    """What was found in a project; `resumable` is left empty.

    Attributes
    ----------
    rows
        All runs, oldest first.
    details
        The chosen ones, in the order in which they were chosen.
    comparison
        In what the chosen ones differ; None with fewer than two, or where `fault` says why.
    fault
        Why the project, or the comparison, cannot be read.
    """

    rows: tuple[RunRow, ...] = ()
    details: tuple[RunDetails, ...] = ()
    comparison: Comparison | None = None
    fault: str = ""


class RunsWatch(ProjectWatch):
    """Looks at the runs of a project every two seconds; see `ProjectWatch`.

    Files that did not change are not read again.

    Parameters
    ----------
    project
        Returns the folder to look at.
    parent
        The dock.
    """

    state: RunsState

    def __init__(self, project: Any, parent: QObject | None = None) -> None:
        super().__init__(project, parent)
        self.state = RunsState(project())
        self._reader = ProjectReader()
        self._chosen: tuple[Path, ...] = ()

    def choose(self, runs: Sequence[Path]) -> None:
        """Read more of these run folders from now on."""
        self._chosen = tuple(runs)
        self.look()

    def _see(self, project: Path, known: ProjectState | None) -> ProjectState:
        return self._reader.read(project, self._chosen)


class ProjectReader:
    """Reads a project again and again, of every file only what is new; for one thread at a time."""

    def __init__(self) -> None:
        self._table = TableReader()
        self._metrics: dict[Path, tuple[Any, list[Row], str]] = {}
        self._compared: tuple[Any, Comparison | None, str] = ((), None, "")

    def read(self, project: Path, chosen: Sequence[Path]) -> RunsState:
        """Return what there is to see; never raises.

        Parameters
        ----------
        project
            The folder, which need not exist.
        chosen
            Run folders of which more is wanted; those that are gone are left out.
        """
        try:
            rows = self._table.read(project)
            active = self._table.active
        except (SegtrainError, OSError) as error:
            return RunsState(project, fault=f"{project} cannot be read ({error})")
        known = {row.run.path: row for row in rows}
        picked = [known[path] for path in chosen if path in known]
        self._metrics = {row.run.path: self._read_metrics(row.run) for row in picked}
        details = tuple(self._detail(row) for row in picked)
        comparison, fault = self._compare([row.run for row in picked])
        return RunsState(
            project, active, rows=tuple(rows), details=details, comparison=comparison, fault=fault
        )

    def _read_metrics(self, run: RunFolder) -> tuple[Any, list[Row], str]:
        file = run.path / "metrics.json"
        stamp = file_stamp(file)
        known = self._metrics.get(run.path)
        if known is not None and known[0] == stamp:
            return known
        try:
            return stamp, read_metrics(file), ""
        except SegtrainError as error:
            return stamp, [], str(error)

    def _detail(self, row: RunRow) -> RunDetails:
        run = row.run
        _, metrics, fault = self._metrics[run.path]
        pictures = [*run.plots.glob("*_debug.png"), *run.plots.glob("*_debug.gif")]
        return RunDetails(
            path=run.path,
            metrics=metrics,
            resumable=row.info is not None and _can_go_on(run),
            has_checkpoint=any(run.checkpoints.glob("*.ckpt")),
            picture=max(pictures, key=lambda path: path.name, default=None),
            labels=LabelStore(run.path).kept,
            predictions=predictions_of(run),
            fault=row.fault or fault,
        )

    def _compare(self, runs: Sequence[RunFolder]) -> tuple[Comparison | None, str]:
        if len(runs) < 2:
            return None, ""
        stamp = [(run.path, file_stamp(run.path / "config.json")) for run in runs]
        if self._compared[0] != stamp:
            try:
                self._compared = stamp, compare_runs(runs), ""
            except SegtrainError as error:
                self._compared = stamp, None, str(error)
        return self._compared[1:]


def _can_go_on(run: RunFolder) -> bool:
    try:
        return run.resumable
    except SegtrainError:
        return False  # it was deleted or damaged a moment ago; the next look says so
