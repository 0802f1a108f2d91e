"""The runs of a project as a table: one small file is read of each."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from napari_segtrain.config import RunError

from .find import run_folders
from .folder import RunFolder
from .info import RunInfo
from .lock import recover
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
    rows = [_row(run) for run in run_folders(project)]
    if any(_seems_to_run_here(row) for row in rows):
        fault = ""
        try:
            recover(project)
        except RunError as error:
            fault = f"its process may be gone, which cannot be written down: {error}"
        rows = [_row(row.run, fault) if _seems_to_run_here(row) else row for row in rows]
    return sorted(rows, key=_age)


def _row(run: RunFolder, fault: str = "") -> RunRow:
    try:
        return RunRow(run, run.read_info(), fault)
    except RunError as error:
        return RunRow(run, None, str(error))


def _seems_to_run_here(row: RunRow) -> bool:
    return row.info is not None and row.info.status is RunState.RUNNING and row.info.host == platform.node()


def _age(row: RunRow) -> tuple[bool, float, str]:
    return row.info is None, 0.0 if row.info is None else row.info.created.timestamp(), row.name
