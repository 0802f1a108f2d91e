"""The runs of a project as a table of a view, of which only what changed is drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt

from ...runs import RunInfo, RunRow, RunState, format_seconds, seconds_running

COLUMNS = ("Run", "State", "Epoch", "Best", "Time", "Started")
_TIPS = (
    "Name of the run folder",
    "pending, running, completed, failed, interrupted, or damaged: files that cannot be read",
    "Completed epochs, of how many",
    "Best monitored value; the tooltip of a cell says which, and after which epoch",
    "Time it was running",
    "When it first began: today at, else on",
)
TIME = COLUMNS.index("Time")
STARTED = COLUMNS.index("Started")
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_ROLE = Qt.ItemDataRole
SORT = _ROLE.UserRole
"""The role under which a cell has what it is sorted by."""


class RunsModel(QAbstractTableModel):
    """One row a run, in the order in which they were first seen."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[RunRow] = []

    def update(self, rows: Sequence[RunRow]) -> None:
        """Show these runs; rows that are the same objects as before are left alone."""
        new = {row.run.path: row for row in rows}
        for place in reversed(range(len(self.runs))):
            found = new.pop(self.runs[place].run.path, None)
            if found is None:
                self.beginRemoveRows(QModelIndex(), place, place)
                del self.runs[place]
                self.endRemoveRows()
            elif found is not self.runs[place]:
                self.runs[place] = found
                self.dataChanged.emit(self.index(place, 0), self.index(place, len(COLUMNS) - 1))
        if new:
            self.beginInsertRows(QModelIndex(), len(self.runs), len(self.runs) + len(new) - 1)
            self.runs += new.values()
            self.endInsertRows()

    def tick(self) -> None:
        """Bring the time of running runs up to date."""
        for place, row in enumerate(self.runs):
            if row.info is not None and row.info.status is RunState.RUNNING:
                self.dataChanged.emit(self.index(place, TIME), self.index(place, TIME))

    def place_of(self, path: Path) -> QModelIndex:
        """Return the index of a run, an invalid one when it is not there."""
        places = [place for place, row in enumerate(self.runs) if row.run.path == path]
        return self.index(places[0], 0) if places else QModelIndex()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of runs."""
        return 0 if parent is not None and parent.isValid() else len(self.runs)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _ROLE.DisplayRole) -> Any:
        """Return title and tooltip of a column."""
        if orientation == Qt.Orientation.Horizontal:
            if role == _ROLE.DisplayRole:
                return COLUMNS[section]
            if role == _ROLE.ToolTipRole:
                return _TIPS[section]
            if role == _ROLE.TextAlignmentRole:
                return _alignment(section)
        return None

    def data(self, index: QModelIndex, role: int = _ROLE.DisplayRole) -> Any:
        """Return text, tooltip, place, or what is sorted by, of a cell."""
        row, column = self.runs[index.row()], index.column()
        if role == _ROLE.DisplayRole:
            return _texts(row)[column]
        if role == _ROLE.ToolTipRole:
            return _tips(row)[column] or None
        if role == _ROLE.TextAlignmentRole:
            return _alignment(column)
        return _keys(row)[column] if role == SORT else None


def _alignment(column: int) -> Any:
    return _RIGHT if 2 <= column <= TIME else Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


def _texts(row: RunRow) -> tuple[str, ...]:
    info = row.info
    if info is None:
        return row.name, "damaged", "", "", "", ""
    seconds = seconds_running(info)
    return (
        row.name,
        info.status.value,
        f"{info.epoch}/{info.num_epochs}" if info.num_epochs else str(info.epoch),
        "" if info.best is None or info.best.value is None else f"{info.best.value:.3g}",
        format_seconds(seconds) if seconds else "",
        _short(info.started) if info.started else "",
    )


def _short(moment: datetime) -> str:
    """Return the time of a moment of today, else its date."""
    here = moment.astimezone()
    return f"{here:%H:%M}" if here.date() == datetime.now().astimezone().date() else f"{here:%Y-%m-%d}"


def _tips(row: RunRow) -> tuple[str, ...]:
    info = row.info
    if info is None:
        return row.fault, row.fault, "", "", "", ""
    started = f"{info.started.astimezone():%Y-%m-%d %H:%M:%S} on {info.host}" if info.started else ""
    return str(row.run.path), row.fault or info.message, "", _best(info), "", started


def _best(info: RunInfo) -> str:
    if info.best is None or info.best.value is None:
        return ""
    return f"{info.best.monitor} {info.best.value:.6g} after epoch {info.best.epoch}"


def _keys(row: RunRow) -> tuple[Any, ...]:
    info = row.info
    if info is None:
        return row.name, "damaged", -1, float("-inf"), -1.0, 0.0
    best = float("-inf") if info.best is None or info.best.value is None else float(info.best.value)
    began = (info.started or info.created).timestamp()
    return row.name, info.status.value, info.epoch, best, seconds_running(info), began
