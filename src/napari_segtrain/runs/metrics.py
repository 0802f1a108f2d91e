"""`metrics.json`: one row an epoch, always parseable."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_segtrain.config import RunError

from .atomic import plain, read_json, write_json

Row = dict[str, Any]
"""``{"epoch": 1, "train_loss": …, "val_loss": …}``; numbers, or None where there is no finite one."""

_ADVICE = "Resume the run: it writes the file again, from what its checkpoint knows"


class MetricsLog:
    """The rows of a run, in memory and in its file.

    The file is replaced as a whole at every epoch, so that a reader, and a crash, finds either the rows
    before or the rows after. Rows that a full disk refused are written with the next one.

    Parameters
    ----------
    path
        The file; rows that it already has are continued.

    Raises
    ------
    RunError
        When the file is there but is not a list of rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = read_metrics(path)

    @property
    def rows(self) -> list[Row]:
        """A copy of all rows, by epoch 1..N."""
        return [dict(row) for row in self._rows]

    def append(self, row: Mapping[str, Any]) -> None:
        """Add the row of an epoch.

        Rows of this epoch and of later ones, from before a resume, are replaced.

        Parameters
        ----------
        row
            The metrics, with ``epoch`` counted from 1. Numbers that are not finite are stored as null.

        Raises
        ------
        ValueError
            When the row's epoch leaves a gap after the rows before.
        RunError
            When the file cannot be written; the row is kept in memory for the next time.
        """
        epoch = int(row["epoch"])
        kept = [old for old in self._rows if old["epoch"] < epoch]
        if epoch != len(kept) + 1:
            raise ValueError(f"the row of epoch {epoch} cannot follow {len(kept)} rows; epochs have no gaps")
        self._rows = [*kept, {**plain(row), "epoch": epoch}]
        write_json(self.path, self._rows)

    def truncate(self, epochs: int) -> None:
        """Keep the rows of the first `epochs` epochs; a resume from an older checkpoint begins so.

        Raises
        ------
        RunError
            When the file cannot be written.
        """
        if len(self._rows) > epochs:
            self._rows = self._rows[:epochs]
            write_json(self.path, self._rows)


def read_metrics(path: Path) -> list[Row]:
    """Return the rows in a `metrics.json`; none when there is no file yet.

    Raises
    ------
    RunError
        When the file is not a list of rows.
    """
    if not path.exists():
        return []
    rows = read_json(path, _ADVICE)
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "epoch" in row for row in rows):
        raise RunError(
            f"{path}: is not a list of rows with an epoch each; the file was changed by hand? {_ADVICE}"
        )
    return rows
