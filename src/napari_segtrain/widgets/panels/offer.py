"""Something the dock can do for the user now: a sentence, and a button that does it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget


class Offer(QWidget):
    """A row that is hidden until something is offered, and again once it was taken up or withdrawn.

    Parameters
    ----------
    name
        Action of the button, which is its `objectName`.
    text, tip
        Text and tooltip of the button.
    """

    def __init__(self, name: str, text: str, tip: str) -> None:
        super().__init__()
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.button = QPushButton(text)
        self.button.setObjectName(name)
        self.button.setToolTip(tip)
        self.button.clicked.connect(self._take)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.label, 1)
        layout.addWidget(self.button)
        self._action: Callable[[], None] | None = None
        self.hide()

    def make(self, sentence: str, action: Callable[[], None]) -> None:
        """Show the row; the button calls `action`, once."""
        self.label.setText(sentence)
        self._action = action
        self.show()

    def withdraw(self) -> None:
        """Hide the row."""
        self._action = None
        self.hide()

    def _take(self) -> None:
        action = self._action
        self.withdraw()
        if action is not None:
            action()
