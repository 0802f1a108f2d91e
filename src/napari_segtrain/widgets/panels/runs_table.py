"""The table of runs: sorted, of several selected rows, changed in place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import QItemSelectionModel, QSortFilterProxyModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QTableView

from ...runs import RunRow
from .runs_model import SORT, STARTED, RunsModel

_ROW, _LEAST = 20, 6
"""Pixels of a row, and rows that are always seen."""
_WIDTHS = (112, 84, 56, 56, 82, 58)
"""Pixels of the columns; the first takes what is left."""


class RunsTable(QTableView):
    """Choose runs: a click for one, with Ctrl or Shift for several."""

    chosen = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("runs")
        self.setToolTip("The runs of the project; choose several with Ctrl or Shift")
        self.setAccessibleName("Runs")
        self.runs = RunsModel()
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self.runs)
        self._sorted.setSortRole(SORT)
        self.setModel(self._sorted)
        self.setSortingEnabled(True)
        self.sortByColumn(STARTED, Qt.SortOrder.DescendingOrder)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setMinimumSectionSize(40)
        for column, width in enumerate(_WIDTHS):
            self.setColumnWidth(column, width)
        header.setStretchLastSection(False)
        self.setMinimumHeight(header.sizeHint().height() + _LEAST * _ROW + 4)
        self.setMinimumWidth(sum(_WIDTHS) + 4)
        self.selectionModel().selectionChanged.connect(lambda *_: self.chosen.emit())

    def resizeEvent(self, event: object) -> None:
        """Give the names what the other columns leave."""
        super().resizeEvent(event)
        self.setColumnWidth(0, max(_WIDTHS[0], self.viewport().width() - sum(_WIDTHS[1:])))

    def show_runs(self, rows: Sequence[RunRow]) -> None:
        """Show these runs; chosen ones stay chosen."""
        self.runs.update(rows)

    def selected(self) -> list[RunRow]:
        """Return the chosen runs, from top to bottom."""
        places = sorted(self.selectionModel().selectedRows(), key=lambda index: index.row())
        return [self.runs.runs[self._sorted.mapToSource(place).row()] for place in places]

    def select(self, paths: Sequence[Path]) -> None:
        """Choose the runs in these folders, of those that there are."""
        flags = QItemSelectionModel.SelectionFlag
        self.clearSelection()
        for path in paths:
            place = self._sorted.mapFromSource(self.runs.place_of(path))
            if place.isValid():
                self.selectionModel().select(place, flags.Select | flags.Rows)
                self.setCurrentIndex(place) if len(paths) == 1 else None
