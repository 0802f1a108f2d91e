"""The networks of a project, and the experiment of the chosen one: read in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject

from ...config import ExperimentConfig, SegtrainError
from ...runs import RunFolder, find_run, list_runs
from .project_watch import ProjectState, ProjectWatch


@dataclass(frozen=True)
class TrainedState(ProjectState):
    """What was found in a project; `active` and `resumable` are left empty.

    Attributes
    ----------
    runs
        Description and folder of each run that has a checkpoint, newest first.
    chosen
        The run or checkpoint that is chosen.
    config
        Its experiment; None where there is none beside the checkpoint.
    explained
        Its state, its best score and where it lies.
    """

    runs: tuple[tuple[str, Path], ...] = ()
    chosen: Path | None = None
    config: ExperimentConfig | None = None
    explained: str = ""


class TrainedWatch(ProjectWatch):
    """Looks at the networks of a project when asked to; see `ProjectWatch`.

    Parameters
    ----------
    project
        Returns the folder to look at.
    parent
        The control that shows them.
    """

    state: TrainedState

    def __init__(self, project: Any, parent: QObject | None = None) -> None:
        super().__init__(project, parent)
        self.state = TrainedState(project())
        self._chosen: Path | None = None

    def choose(self, model: Path | None) -> None:
        """Read the experiment of this run folder or checkpoint."""
        self._chosen = model
        if model is not None:
            self.look()

    def _see(self, project: Path, known: ProjectState | None) -> ProjectState:
        return look_at_trained(project, self._chosen)


def look_at_trained(project: Path, chosen: Path | None) -> TrainedState:
    """Return what there is to choose from; never raises.

    Parameters
    ----------
    project
        The folder, which need not exist.
    chosen
        A run folder or checkpoint, of this project or not.
    """
    try:
        trained = [run for run in reversed(list_runs(project)) if any(run.checkpoints.glob("*.ckpt"))]
        runs = tuple((_describe(run), run.path) for run in trained)
    except OSError:
        runs = ()
    if chosen is None:
        return TrainedState(project, runs=runs)
    return TrainedState(
        project, runs=runs, chosen=chosen, config=read_experiment(chosen), explained=_explain(chosen)
    )


def read_experiment(model: Path) -> ExperimentConfig | None:
    """Return the experiment of a run folder or checkpoint, None where there is none."""
    try:
        return find_run(model).read_config()
    except (SegtrainError, OSError):
        return None


def _describe(run: RunFolder) -> str:
    try:
        return f"{run.name} · epoch {run.read_info().epoch}"
    except SegtrainError:
        return run.name


def _explain(model: Path) -> str:
    """Return the state of a run, its best score and where it lies."""
    try:
        info = find_run(model).read_info()
    except (SegtrainError, OSError):
        return str(model)
    if info.best is None or info.best.value is None:
        return f"{info.status}\n{model}"
    return f"{info.status}; {info.best.monitor} {info.best.value:.3g} after epoch {info.best.epoch}\n{model}"
