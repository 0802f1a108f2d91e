"""A button for everything that can be looked at before any training."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from ..sessions.preview_session import PreviewKind


class PreviewRow(QWidget):
    """The buttons side by side.

    Parameters
    ----------
    kinds
        What there is to look at.
    """

    asked = Signal(object)
    """The `PreviewKind` whose button was pressed."""

    def __init__(self, kinds: Iterable[PreviewKind]) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        title = QLabel("Preview")
        title.setToolTip("What training would see, before any training")
        layout.addWidget(title)
        for kind in kinds:
            button = QPushButton(kind.title)
            button.setObjectName(kind.name)
            button.setToolTip(kind.tip)
            button.setAccessibleName(f"Preview {kind.title.lower()}")
            button.clicked.connect(partial(self._ask, kind))
            layout.addWidget(button, 1)

    def _ask(self, kind: PreviewKind, checked: bool = False) -> None:
        self.asked.emit(kind)
