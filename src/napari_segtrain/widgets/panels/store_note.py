"""What the dock says of a store that is there already: go on with it, open it again, or replace it."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QVBoxLayout, QWidget

from ...runs.stores import StoreState, store_state

_SAID = {
    StoreState.ABSENT: ("", ""),
    StoreState.UNFINISHED: (
        "unfinished: it goes on",
        "With the same settings it goes on where it ended; others are refused, unless it is replaced.",
    ),
    StoreState.COMPLETE: (
        "finished: it is opened",
        "The same settings open it again; others are refused, unless it is replaced.",
    ),
    StoreState.OTHER: ("something else", "It is no prediction and is left alone. Choose another path."),
}
"""Few words, for the dock is narrow, and what they mean."""


class StoreNote(QWidget):
    """A sentence about what a store holds, and a box to have a prediction replaced."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.state = StoreState.ABSENT
        self.label = QLabel()
        self.overwrite = QCheckBox("Replace it")
        self.overwrite.setObjectName("overwrite")
        self.overwrite.setToolTip("Predict afresh, and replace the prediction that the store holds.")
        self.overwrite.toggled.connect(lambda _: self.changed.emit())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.label)
        column.addWidget(self.overwrite)

    def look(self, path: Path | None) -> None:
        """Say what lies at a path; the box is unticked, for it was meant for what lay there before."""
        self.state = StoreState.ABSENT if path is None else store_state(path)
        text, tip = _SAID[self.state]
        self.label.setText(text)
        self.label.setToolTip(tip)
        self.overwrite.setVisible(self.state in (StoreState.UNFINISHED, StoreState.COMPLETE))
        self.overwrite.setChecked(False)
        self.changed.emit()

    @property
    def goes_on(self) -> bool:
        """Whether an unfinished prediction would be continued."""
        return self.state is StoreState.UNFINISHED and not self.overwrite.isChecked()
