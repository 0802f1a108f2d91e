"""Finding runs: in a project, by a checkpoint, by a folder."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from napari_segtrain.config import RunError

from .atomic import atomic_writer, explain_os_error
from .folder import RUN_FILE, RunFolder, runs_folder

_log = logging.getLogger(__name__)
MEBIBYTE = 2**20
"""Bytes."""


def run_folders(project: str | Path) -> list[RunFolder]:
    """Return the runs of a project in any order, damaged ones too; nothing is read."""
    project, parent = Path(project), runs_folder(project)
    if (project / RUN_FILE).is_file():
        return [RunFolder(project)]  # moved out of its project, it is one of its own
    if not parent.is_dir():
        return []
    return [RunFolder(path) for path in parent.iterdir() if (path / RUN_FILE).is_file()]


def list_runs(project: str | Path) -> list[RunFolder]:
    """Return the runs of a project, oldest first; folders that are no runs are passed over."""
    found = []
    for run in run_folders(project):
        try:
            found.append((run.read_info().created, run.name, run))
        except RunError as error:
            _log.warning("%s", error)
    return [run for _, _, run in sorted(found, key=lambda item: item[:2])]


def resumable_runs(project: str | Path) -> list[RunFolder]:
    """Return the runs of a project that ended before their time and can go on, newest first."""
    return [run for run in reversed(list_runs(project)) if run.resumable]


def extendable_runs(project: str | Path) -> list[RunFolder]:
    """Return the completed runs of a project that can be given more epochs, newest first."""
    return [run for run in reversed(list_runs(project)) if run.extendable]


def find_run(path: str | Path) -> RunFolder:
    """Return the run that a path means.

    Parameters
    ----------
    path
        A run folder, any file or folder in one (such as a checkpoint), or a project (or its ``runs``
        folder) that holds exactly one run.

    Raises
    ------
    RunError
        When there is nothing at `path`, no run, or more than one.
    """
    path = Path(path)
    if not path.exists():
        raise RunError(f"{path}: there is nothing here; give a run folder, a checkpoint or a project")
    absolute = path.resolve()
    for folder in (absolute, *absolute.parents[:2]):
        if (folder / RUN_FILE).is_file():
            return RunFolder(folder)
    runs = list_runs(absolute) or (list_runs(absolute.parent) if absolute.name == "runs" else [])
    if len(runs) == 1:
        return runs[0]
    if not runs:
        raise RunError(
            f"{path}: holds no run; give a run folder (one with a run.json), a checkpoint in it, or a "
            "project with a single run"
        )
    names = ", ".join(run.name for run in runs[-5:])
    raise RunError(f"{path}: holds {len(runs)} runs; say which one. The newest are: {names}")


def check_writable(project: str | Path, needed: int = 64 * MEBIBYTE) -> None:
    """Refuse a project folder that a run could not be written to, before anything is computed.

    Parameters
    ----------
    project
        The folder; it is made when absent.
    needed
        Space that must be free, in bytes.

    Raises
    ------
    RunError
        When the folder cannot be made or written to, or the disk has less free space than `needed`.
    """
    folder = runs_folder(project)
    probe = folder / f".writable-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_writer(probe) as file:
            file.write(b"\0" * 4096)
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise RunError(
            f"{project}: cannot be written to ({explain_os_error(error)}); choose a project folder that "
            "you may write to, on a disk with free space"
        ) from error
    if free < needed:
        raise RunError(
            f"{project}: only {free // MEBIBYTE} MiB are free on this disk, and this run may need "
            f"{needed // MEBIBYTE} MiB, mostly for checkpoints; free some space, choose another project "
            "folder, or keep fewer checkpoints (tr_config.keep_checkpoints)"
        )
