"""What can be done with a run that is there: set back for a retry, duplicate, delete, stop."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_segtrain.config import ExperimentConfig, RunError

from .atomic import explain_os_error
from .data_file import known_data, write_data
from .events import StatusChanged
from .folder import SUBFOLDERS, RunFolder
from .lock import ProjectLock, recover
from .naming import BASE, run_name
from .queue import waiting_for
from .states import RunState, check_move

_ATTEMPTS = "attempts"
_STAY = frozenset(
    {"run.json", "config.yaml", "config.json", "data.json", "scratch", "cache", "runs", _ATTEMPTS}
)
"""What a new attempt begins with; everything else of a run folder is the result of an attempt."""
_DELETED = ".deleted-"


def set_back(run: RunFolder) -> RunFolder:
    """Make a failed or interrupted run pending again, to be trained from its begin; a resume does that.

    What the attempt before had written (checkpoints, metrics, events, logs, pictures, scores) is moved to
    ``attempts/1``, ``attempts/2``, …; configuration and data stay.

    Parameters
    ----------
    run
        The run; whoever calls this holds the project's lock.

    Raises
    ------
    RunError
        When the run's state does not allow it, or its folder cannot be written to.
    """
    check_move(run.state, RunState.PENDING)
    try:
        earlier = _next_attempt(run)
        # Checkpoints first: a crash in between must not leave a run that goes on from half of its files.
        for path in sorted(run.path.iterdir(), key=lambda path: path.name != "checkpoints"):
            if path.name not in _STAY:
                path.rename(earlier / path.name)
        shutil.copy2(run.path / "run.json", earlier / "run.json")
        for name in SUBFOLDERS:
            (run.path / name).mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{run.path}: cannot be set back ({explain_os_error(error)}); the folder has to be writable"
        ) from error
    fresh = RunFolder(run.path)
    changed = fresh.set_state(RunState.PENDING)
    with fresh.open_events() as write:
        write(changed)
    return fresh


def attempts(run: RunFolder) -> list[Path]:
    """Return the folders of the earlier attempts of a run that was retried, oldest first."""
    folder = run.path / _ATTEMPTS
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in found if path.name.isdigit()), key=lambda path: int(path.name))


def _next_attempt(run: RunFolder) -> Path:
    earlier = attempts(run)
    path = run.path / _ATTEMPTS / str(int(earlier[-1].name) + 1 if earlier else 1)
    path.mkdir(parents=True)
    return path


def duplicate_run(
    run: RunFolder, *, name: str | None = None, overrides: Mapping[str, Any] | None = None
) -> RunFolder:
    """Make a new, pending run with the configuration and the data of another.

    Parameters
    ----------
    run
        The run to start from, in any state.
    name
        Name of the new run; by default made from what differs, else that of the run with a number.
    overrides
        Settings to change, by dotted name.

    Returns
    -------
    RunFolder
        The new run, in the same project; a resume trains it.

    Raises
    ------
    ConfigError
        When the run has no configuration, or a setting is not valid.
    RunError
        When the name is not usable, or the project cannot be written to.
    """
    overrides = dict(overrides or {})
    info, config = run.read_info(), run.read_config().with_overrides(overrides)
    changed = {**info.changed, **overrides}
    name = name or _name_of_copy(run.name, info.changed, overrides)
    message = f"a duplicate of {run.name}"
    return create_run(run.project, name, config, known_data(run), changed=changed, message=message)


def create_run(
    project: str | Path,
    name: str,
    config: ExperimentConfig,
    data: Any = None,
    *,
    changed: Mapping[str, Any] | None = None,
    message: str = "",
) -> RunFolder:
    """Make a pending run that a resume begins.

    Parameters
    ----------
    project
        Folder that holds runs; made when absent.
    name
        Name of the run; a number is added when there is one.
    config
        The experiment.
    data
        Where the data is, as for `write_data`; None when that is to be said at the start.
    changed
        Settings that name the run, by dotted name.
    message
        Where it is from, for its followers.

    Raises
    ------
    RunError
        When the name is not usable, or the project cannot be written to; then there is no run.
    """
    run = RunFolder.create(project, name)
    if config.tr_setup.run_name:
        config = config.with_overrides({"tr_setup.run_name": run.name})
    try:
        run.write_config(config)
        run.update_info(changed=dict(changed or {}), num_epochs=config.tr_config.num_epochs)
        if data is not None:
            write_data(run, data)
        with run.open_events() as write:
            write(StatusChanged(status=RunState.PENDING, message=message))
    except RunError:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def _name_of_copy(name: str, before: Mapping[str, Any], overrides: Mapping[str, Any]) -> str:
    if not overrides:
        return name
    if name == run_name(before) or name.startswith(f"{run_name(before)}_"):
        return run_name({**before, **overrides})
    added = run_name(overrides)
    return name if added == BASE else f"{name}_{added}"


def delete_run(run: RunFolder) -> None:
    """Delete a run with everything in its folder; there is no way back.

    Parameters
    ----------
    run
        The run; a damaged one too.

    Raises
    ------
    RunError
        When the run is running, here or on another machine, or its folder cannot be deleted.
    """
    _refuse_running(run)
    # Out of sight first, at once: a folder that is half gone must not look like a run.
    hidden = run.path.parent / f"{_DELETED}{uuid.uuid4().hex[:8]}"
    try:
        run.path.rename(hidden)
        (hidden / "run.json").unlink(missing_ok=True)
        shutil.rmtree(hidden)
    except OSError as error:
        raise RunError(
            f"{run.path}: cannot be deleted ({explain_os_error(error)}); the folder and what is in it have "
            "to be writable, and nobody may have its files open"
        ) from error


def _refuse_running(run: RunFolder) -> None:
    holder = ProjectLock(run.project).holder()
    busy = f"{run.path}: is running and cannot be deleted; stop it first"
    if holder is not None and holder.run == run.name:
        raise RunError(f"{busy} (process {holder.process.pid} on {holder.process.host})")
    if (waiting := waiting_for(run)) is not None:
        raise RunError(
            f"{run.path}: waits to be trained and cannot be deleted; stop it first (process "
            f"{waiting.process.pid})"
        )
    recover(run.project)
    try:
        info = run.read_info()
    except RunError:
        return  # nobody can go on with a run whose run.json is damaged
    if info.status is RunState.RUNNING:
        raise RunError(f"{busy} (process {info.pid} on {info.host})")


def stop_run(run: RunFolder) -> None:
    """Ask the process of a running run to stop after the batch it is in, with a checkpoint.

    One that waits for the end of another run waits no longer; its run stays as it is. Returns at once. On
    Windows, which has no such request, the process is ended; the last completed epoch is kept.

    Raises
    ------
    RunError
        When the run is not running, or runs on another machine.
    """
    holder = ProjectLock(run.project).holder()
    if holder is None or holder.run != run.name:
        holder = waiting_for(run)
    if holder is None:
        raise RunError(f"{run.path}: is not running, so that there is nothing to stop")
    owner = holder.process
    if owner.host != platform.node():
        raise RunError(f"{run.path}: runs on {owner.host}; stop it there (process {owner.pid})")
    try:
        os.kill(owner.pid, signal.SIGTERM)
    except OSError as error:
        raise RunError(
            f"{run.path}: its process {owner.pid} cannot be asked to stop ({explain_os_error(error)})"
        ) from error
