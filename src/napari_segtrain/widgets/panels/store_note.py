"""What the dock says of a store that is there already: go on with it, open it again, or replace it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QVBoxLayout, QWidget

from ...runs.stores import StoreState, store_state
from ..sessions.followers import perform

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
        self._path: Path | None = None
        self._worker: Any = None
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
        """Say what lies at a path, once a worker has looked; until then nothing is said.

        The box is unticked, for it was meant for what lay there before.
        """
        self._path = path
        self._say(StoreState.ABSENT)
        self._look()

    def _look(self) -> None:
        """Look at the newest path; also where the disk hangs, one worker waits for it, not many."""
        path = self._path
        if path is None or self._worker is not None:
            return

        def on_state(ended: tuple[StoreState | None, str]) -> None:
            if not isalive(self):
                return
            self._worker = None
            if path == self._path:
                self._say(ended[0] or StoreState.ABSENT)
            else:
                self._look()

        self._worker = perform(lambda: store_state(path))
        self._worker.returned.connect(on_state)
        self._worker.start()

    def _say(self, state: StoreState) -> None:
        self.state = state
        text, tip = _SAID[self.state]
        self.label.setText(text)
        self.label.setToolTip(tip)
        self.overwrite.setVisible(self.state in (StoreState.UNFINISHED, StoreState.COMPLETE))
        self.overwrite.setChecked(False)
        self.changed.emit()

    @property
    def known(self) -> bool:
        """Whether a worker has looked at the path."""
        return self._worker is None

    @property
    def goes_on(self) -> bool:
        """Whether an unfinished prediction would be continued."""
        return self.state is StoreState.UNFINISHED and not self.overwrite.isChecked()
