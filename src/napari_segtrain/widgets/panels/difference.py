"""In which settings runs differ: a line a setting, a column a run."""

from __future__ import annotations

import json
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ...runs import Comparison

_ROW, _MOST = 20, 10
"""Pixels of a line, and lines that are seen at once."""
_NAME, _VALUE = 170, 84
"""Pixels of the column of names, and of a run's."""


class Difference(QWidget):
    """A table, or a sentence where there is nothing to compare."""

    def __init__(self) -> None:
        super().__init__()
        self.words = QLabel()
        self.words.setObjectName("difference_words")
        self.words.setWordWrap(True)
        self.table = QTableWidget()
        self.table.setObjectName("difference")
        self.table.setToolTip("Settings that are not the same in the chosen runs; – where one has none")
        self.table.setAccessibleName("Settings that differ")
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setTabKeyNavigation(False)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(_ROW)
        self.table.horizontalHeader().setDefaultAlignment(
            Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        )
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.words)
        layout.addWidget(self.table)
        self._shown: Comparison | None = None
        self.show_difference(0, None, "")

    def show_difference(self, count: int, comparison: Comparison | None, fault: str) -> None:
        """Show how runs differ.

        Parameters
        ----------
        count
            How many are chosen.
        comparison
            How they differ, where that is known.
        fault
            Why it is not known.
        """
        settings = {} if comparison is None else comparison.settings
        if fault:
            words = fault
        elif comparison is None:
            words = "The runs are being compared …" if count > 1 else "Choose two or more runs to compare."
        else:
            words = "" if settings else "The settings of these runs are the same."
        self.words.setText(words)
        self.words.setVisible(bool(words))
        self.table.setVisible(bool(settings))
        if comparison is not None and comparison is not self._shown:
            self._fill(comparison)
        self._shown = comparison

    def _fill(self, comparison: Comparison) -> None:
        titles = ["Setting", *comparison.names]
        self.table.clear()
        self.table.setColumnCount(len(titles))
        self.table.setRowCount(len(comparison.settings))
        self.table.setHorizontalHeaderLabels(titles)
        for column, title in enumerate(titles):
            self.table.horizontalHeaderItem(column).setToolTip(title)
            self.table.setColumnWidth(column, _VALUE if column else _NAME)
        for line, (name, values) in enumerate(sorted(comparison.settings.items())):
            for column, text in enumerate([name, *map(_text, values)]):
                item = QTableWidgetItem(text)
                item.setToolTip(text)
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                self.table.setItem(line, column, item)
        lines = min(max(len(comparison.settings), 1), _MOST)
        header = self.table.horizontalHeader().sizeHint().height()
        bar = self.table.horizontalScrollBar().sizeHint().height()
        self.table.setFixedHeight(header + lines * _ROW + bar + 4)


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
