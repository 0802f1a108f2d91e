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
    check_turn,
    create_run,
    delete_run,
    recover,
    retry_run,
    run_name,
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


class DuplicateRequest(Config):
    """How a new run is to differ from another one."""

    overrides: dict[str, Any] = Field(default_factory=dict)
    """Settings to change, by dotted name; they name the run."""
    run_name: str | None = None
    """Name of the new run."""


class Starter:
    """Starts runs of a project, and deletes those that it did not just start.

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
        self._child: tuple[RunFolder, subprocess.Popen[bytes]] | None = None

    def start(self, request: StartRequest) -> RunFolder:
        """Make a pending run, begin it in another process, and return at once.

        Raises
        ------
        ActiveRunError
            When a run is active in the project, or was just begun.
        ConfigError, DataError, RunError
            When experiment, data folder or name cannot be used; there is no run then.
        """
        config = ExperimentConfig.parse(request.config, "config")
        config = config.with_overrides(request.overrides, "overrides")
        if not Path(request.data).exists():
            raise DataError(f"{request.data}: there is no such data folder on this machine")
        name = request.run_name or config.tr_setup.run_name or run_name(request.overrides)
        with self._guard:
            self._refuse_second()
            data = str(Path(request.data).resolve())
            return self._begin(create_run(self.project, name, config, data, changed=request.overrides))

    def resume(self, run: RunFolder) -> RunFolder:
        """Begin a pending run, or go on with one that was interrupted; errors as `start`."""
        with self._guard:
            self._refuse_second()
            recover(self.project)
            if run.state is not RunState.PENDING and not run.resumable:
                raise RunError(
                    f"{run.name}: is {run.state} and cannot go on; start a new run, or duplicate it"
                )
            return self._begin(run)

    def retry(self, run: RunFolder) -> RunFolder:
        """Train a failed or interrupted run from its begin; errors as `start`, and as `set_back`."""
        with self._guard:
            self._refuse_second()
            recover(self.project)
            return self._begin(retry_run(run))

    def delete(self, run: RunFolder) -> None:
        """Delete a run with everything in its folder; errors as `delete_run`."""
        with self._guard:
            if self.is_begun(run):
                raise RunError(f"{run.path}: is about to run and cannot be deleted; stop it first")
            delete_run(run)

    def _begin(self, run: RunFolder) -> RunFolder:
        process = begin(run, self._environment)
        self._child = run, process
        # Somebody has to take note of its end, or it stays as a zombie.
        threading.Thread(target=process.wait, name=f"wait-for-{run.name}", daemon=True).start()
        return run

    @property
    def child(self) -> tuple[RunFolder, int] | None:
        """The run that was begun here and has not ended since, and its process."""
        if self._child is None:
            return None
        run, process = self._child
        if process.poll() is not None or _has_ended(run, process.pid):
            return None
        return run, process.pid

    def is_begun(self, run: RunFolder) -> bool:
        """Return whether a run was begun here and has not ended since, though it may have ended before."""
        child = self.child
        return child is not None and child[0] == run

    def _refuse_second(self) -> None:
        # A process that was begun takes seconds until it holds the project's lock.
        if (child := self.child) is not None:
            run, pid = child
            raise ActiveRunError(f"{ACTIVE} in {self.project}: {run.name!r} (process {pid})", None)
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
