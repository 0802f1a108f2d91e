"""A list of things to tick."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QScrollArea, QVBoxLayout, QWidget

_MOST, _HEIGHT = 6, 22
"""Rows that are seen at once, and pixels of one row."""


class Ticks(QScrollArea):
    """Check boxes one below the other; more than six scroll, none take no room.

    Parameters
    ----------
    name
        The control's `objectName`.
    """

    changed = Signal()
    clicked = Signal(int)
    """The user ticked or unticked the box of this row."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidgetResizable(True)
        self.setFixedHeight(0)
        self.boxes: list[QCheckBox] = []

    def show_boxes(self, texts: Sequence[str], ticked: Sequence[bool]) -> None:
        """Show a box for each text, ticked or not."""
        if [box.text() for box in self.boxes] != list(texts):
            self._make(texts)
        for box, on in zip(self.boxes, ticked, strict=True):
            box.setChecked(on)

    def _make(self, texts: Sequence[str]) -> None:
        column = QWidget()
        rows = QVBoxLayout(column)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(0)
        self.boxes = [QCheckBox(text) for text in texts]
        for row, box in enumerate(self.boxes):
            box.setFixedHeight(_HEIGHT)
            box.setObjectName(f"{self.objectName()}/{box.text()}")
            box.setToolTip(box.text())
            box.clicked.connect(lambda _=False, row=row: self.clicked.emit(row))
            rows.addWidget(box)
        bar = Qt.ScrollBarPolicy
        self.setVerticalScrollBarPolicy(
            bar.ScrollBarAsNeeded if len(texts) > _MOST else bar.ScrollBarAlwaysOff
        )
        self.setWidget(column)
        self.setFixedHeight(_HEIGHT * min(len(texts), _MOST))
