"""Starting runs for others: one at a time, each in a process that outlives the server."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from napari_segtrain.config import Config, DataError, ExperimentConfig, RunError
from napari_segtrain.engine.background import begin
from napari_segtrain.runs import (
    ActiveRunError,
    ProjectLock,
    RunFolder,
    RunState,
    check_move,
    check_turn,
    create_run,
    delete_run,
    recover,
    run_name,
    stop_run,
    waiting_for,
)
from napari_segtrain.runs.states import ENDED

ACTIVE = "A training run is already active"
"""What a second start is refused with."""


class StartRequest(Config):
    """What somebody wants to have trained."""

    data: str
    """Data folder, as this machine sees it."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The experiment's sections, as in its YAML file; defaults where empty."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """Settings to change, by dotted name; they name the run."""
    run_name: str | None = None
    """Name of the run."""
    wait: bool = False
    """Wait for the end of the active run, instead of being refused."""


class AgainRequest(Config):
    """How a run that is there is to be trained."""

    wait: bool = False
    """Wait for the end of the active run, instead of being refused."""
    changed_data: bool = False
    """Train also when files of the data are not what the run was trained on."""


class DuplicateRequest(Config):
    """How a new run is to differ from another one."""

    overrides: dict[str, Any] = Field(default_factory=dict)
    """Settings to change, by dotted name; they name the run."""
    run_name: str | None = None
    """Name of the new run."""


class Starter:
    """Starts runs of a project, and stops and deletes them.

    Parameters
    ----------
    project
        The folder that holds the runs.
    environment
        Environment of the training processes; that of this one when None.
    """

    def __init__(self, project: Path, environment: Mapping[str, str] | None = None) -> None:
        self.project = project
        self._environment = environment
        self._guard = threading.Lock()
        self._begun: list[tuple[RunFolder, subprocess.Popen[bytes]]] = []

    def start(self, request: StartRequest) -> RunFolder:
        """Make a pending run, begin it in another process, and return at once.

        Raises
        ------
        ActiveRunError
            When a run is active in the project, or was just begun, and this one is not to wait.
        ConfigError, DataError, RunError
            When experiment, data folder or name cannot be used; there is no run then.
        """
        config = ExperimentConfig.parse(request.config, "config")
        config = config.with_overrides(request.overrides, "overrides")
        if not Path(request.data).exists():
            raise DataError(f"{request.data}: there is no such data folder on this machine")
        name = request.run_name or config.tr_setup.run_name or run_name(request.overrides)
        with self._guard:
            self._refuse_second(request.wait)
            data = str(Path(request.data).resolve())
            run = create_run(self.project, name, config, data, changed=request.overrides)
            return self._begin(run, wait=request.wait)

    def resume(self, run: RunFolder, request: AgainRequest) -> RunFolder:
        """Begin a pending run, or go on with one that was interrupted; errors as `start`."""
        with self._guard:
            self._refuse_second(request.wait, run)
            recover(self.project)
            if run.state is not RunState.PENDING and not run.resumable:
                raise RunError(
                    f"{run.name}: is {run.state} and cannot go on; start a new run, or duplicate it"
                )
            return self._begin(run, wait=request.wait, changed_data=request.changed_data)

    def retry(self, run: RunFolder, request: AgainRequest) -> RunFolder:
        """Train a failed or interrupted run from its begin; errors as `start`.

        The process sets it back, once it is its turn and the data is what it was.
        """
        with self._guard:
            self._refuse_second(request.wait, run)
            recover(self.project)
            check_move(run.state, RunState.PENDING)
            return self._begin(run, retry=True, wait=request.wait, changed_data=request.changed_data)

    def stop(self, run: RunFolder) -> None:
        """Stop a run, also one that was begun here and still waits or loads; errors as `stop_run`."""
        with self._guard:
            process = next((process for one, process in self._children() if one == run), None)
            if process is not None and run.state is not RunState.RUNNING:
                process.terminate()
            else:
                stop_run(run)

    def delete(self, run: RunFolder) -> None:
        """Delete a run with everything in its folder; errors as `delete_run`."""
        with self._guard:
            if self.is_begun(run):
                raise RunError(f"{run.path}: is about to run and cannot be deleted; stop it first")
            delete_run(run)

    def _begin(self, run: RunFolder, **wishes: bool) -> RunFolder:
        process = begin(run, self._environment, **wishes)
        self._begun = [*self._children(), (run, process)]
        # Somebody has to take note of its end, or it stays as a zombie.
        threading.Thread(target=process.wait, name=f"wait-for-{run.name}", daemon=True).start()
        return run

    @property
    def children(self) -> list[tuple[RunFolder, int]]:
        """The runs that were begun here and have not ended since, and their processes; all but one wait."""
        return [(run, process.pid) for run, process in self._children()]

    def _children(self) -> list[tuple[RunFolder, subprocess.Popen[bytes]]]:
        return [
            (run, process)
            for run, process in self._begun
            if process.poll() is None and not _has_ended(run, process.pid)
        ]

    def is_begun(self, run: RunFolder) -> bool:
        """Return whether a run was begun here and has not ended since, though it may have ended before."""
        return any(one == run for one, _ in self._children())

    def _refuse_second(self, wait: bool, run: RunFolder | None = None) -> None:
        """Refuse a start beside another one, and a second one of the same run."""
        if run is not None and wait and (self.is_begun(run) or waiting_for(run) is not None):
            raise RunError(f"{run.name}: waits already, or is about to run")
        if wait:
            return
        # A process that was begun takes seconds until it holds the project's lock.
        for one, pid in self.children[:1]:
            raise ActiveRunError(f"{ACTIVE} in {self.project}: {one.name!r} (process {pid})", None)
        lock = ProjectLock(self.project)
        if (words := lock.active()) is not None:
            raise ActiveRunError(words, lock.holder())
        check_turn(lock)


def _has_ended(run: RunFolder, pid: int) -> bool:
    """Return whether a process has written the end of a run: it then needs a moment to end itself."""
    try:
        info = run.read_info()
    except RunError:
        return False
    return info.pid == pid and info.status in ENDED
