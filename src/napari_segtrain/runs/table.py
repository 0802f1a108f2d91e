"""The runs of a project as a table: one small file is read of each."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_segtrain.config import RunError

from .find import run_folders
from .folder import RUN_FILE, RunFolder
from .info import RunInfo
from .lock import ProjectLock, recover
from .states import RunState


@dataclass(frozen=True)
class RunRow:
    """One run.

    Attributes
    ----------
    run
        Its folder.
    info
        What its `run.json` says; None when that is damaged.
    fault
        What is wrong with its files, and what to do; empty when nothing is.
    """

    run: RunFolder
    info: RunInfo | None
    fault: str = ""

    @property
    def name(self) -> str:
        """Name of the run folder."""
        return self.run.name


class TableReader:
    """The runs of a project, read again and again: of each run that did not change, nothing is read.

    Rows that are the same as at the last look are the same objects. Not for several threads at once.

    Attributes
    ----------
    active
        A sentence that says who trained in the project at the last look, None when nobody did.
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Any, RunRow]] = {}
        self.active: str | None = None

    def read(self, project: str | Path) -> list[RunRow]:
        """Return the runs as they are now; see `run_table`."""
        folders = run_folders(project)
        self._known = {run.path: self._look(run) for run in folders}
        self.active = ProjectLock(project).active()
        if self.active is None and any(_seems_to_run_here(row) for _, row in self._known.values()):
            fault = ""
            try:
                recover(project)
            except RunError as error:
                fault = f"its process may be gone, which cannot be written down: {error}"
            for run in folders:
                if _seems_to_run_here(self._known[run.path][1]):
                    self._known[run.path] = self._look(run, fault)
        return sorted((row for _, row in self._known.values()), key=_age)

    def _look(self, run: RunFolder, fault: str = "") -> tuple[Any, RunRow]:
        """Return a run's row and the stamp of the file that it was read from."""
        stamp = (file_stamp(run.path / RUN_FILE), fault)
        known = self._known.get(run.path)
        return known if known is not None and known[0] == stamp else (stamp, _row(run, fault))


def file_stamp(path: Path) -> tuple[int, int, int] | None:
    """Return what is another once a file was replaced or written to; None where there is no file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def run_table(project: str | Path) -> list[RunRow]:
    """Return the runs of a project, oldest first, damaged ones at the end.

    Runs whose process died become ``interrupted`` first.

    Parameters
    ----------
    project
        The folder that holds the runs, or one that is to: then there are none.

    Returns
    -------
    list of RunRow
        Also for runs that cannot be read: a damaged file is a row that says so, not an error.
    """
    return TableReader().read(project)


def _row(run: RunFolder, fault: str) -> RunRow:
    try:
        return RunRow(run, run.read_info(), fault)
    except RunError as error:
        return RunRow(run, None, str(error))


def _seems_to_run_here(row: RunRow) -> bool:
    return row.info is not None and row.info.status is RunState.RUNNING and row.info.host == platform.node()


def _age(row: RunRow) -> tuple[bool, float, str]:
    return row.info is None, 0.0 if row.info is None else row.info.created.timestamp(), row.name
