"""What a graph lacks, what is doubtful about it, and its checklist, in words."""

from __future__ import annotations

import re
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget

from ....workflow.graph import Graph, checklist, find_faults, find_warnings

_MOST = 14
"""Lines that are seen without scrolling."""


class CheckList(QListWidget):
    """Faults, warnings and the checklist of a graph; choosing a line that names a node shows the node."""

    node_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._graph = Graph()
        self.setObjectName("checks")
        self.setAccessibleName("Check")
        self.setToolTip("✗ keeps the graph from running, ⚠ is doubtful; below it what such a graph needs")
        self.setWordWrap(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.currentTextChanged.connect(self._on_line)
        self.itemClicked.connect(lambda item: self._on_line(item.text()))  # also the line of before

    def show_graph(self, graph: Graph) -> None:
        """Check a graph."""
        self._graph = graph
        lines = [f"✗ {fault}" for fault in find_faults(graph)]
        lines += [f"⚠ {warning}" for warning in find_warnings(graph)]
        if graph.nodes:
            lines += [f"{'✓' if check.done else '○'} {check.text}" for check in checklist(graph)]
        if lines != [self.item(row).text() for row in range(self.count())]:
            self.blockSignals(True)
            self.clear()
            self.addItems(lines)
            self.blockSignals(False)
            self._take_room()

    def resizeEvent(self, event: Any) -> None:
        """Take the room that the lines need at this width."""
        super().resizeEvent(event)
        if event.size().width() != event.oldSize().width():
            self._take_room()

    def _take_room(self) -> None:
        line = self.fontMetrics().lineSpacing()
        needed = sum(self.sizeHintForRow(row) for row in range(self.count()))
        self.setFixedHeight(min(needed, _MOST * line) + line + 2 * self.frameWidth())

    def _on_line(self, text: str) -> None:
        # A port may be called as another node is.
        for name in (*re.findall(r"[Nn]ode '([^']+)'", text), *re.findall(r"'([^']+)'", text)):
            if self._graph.has(name):
                self.node_chosen.emit(name)
                return
