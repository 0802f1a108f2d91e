"""A growing list of cards: the targets, the auxiliary tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...config import ConfigError

INSET = 10
"""Pixels from a card's edge to what is in it."""


class Card(QFrame):
    """A framed row with a name, a button that removes it, and room for a form.

    Parameters
    ----------
    name
        The text of the name's field.
    tip
        Tooltip of the name's field.
    look
        Tooltip of the button that asks for a preview of what is in the row.
    """

    changed = Signal()

    def __init__(self, name: str, tip: str, look: str) -> None:
        super().__init__()
        self.setObjectName("card")
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.name = QLineEdit(name)
        self.name.setObjectName("name")
        self.name.setToolTip(tip)
        self.name.setAccessibleName("Name")
        self.name.setPlaceholderText("name")
        self.remove = QToolButton()
        self.remove.setObjectName("remove")
        self.remove.setText("✕")
        self.remove.setToolTip("Remove this row")
        self.remove.setAccessibleName("Remove this row")
        self.remove.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.look = QToolButton()
        self.look.setObjectName("preview_row")
        self.look.setText("Preview")
        self.look.setToolTip(look)
        self.look.setAccessibleName("Preview of this row")
        self.look.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        head = QHBoxLayout()
        head.addWidget(self.name, 1)
        head.addWidget(self.look)
        head.addWidget(self.remove)
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(INSET - 2, 6, INSET - 2, 6)  # within a frame of two
        self.body.setSpacing(4)
        self.body.addLayout(head)
        self.name.textChanged.connect(lambda _: self.changed.emit())


class CardList(QWidget):
    """Cards one below the other, and a button that adds one.

    Parameters
    ----------
    name
        The list's `objectName`, a key of the schema.
    action
        `objectName` of the button, such as ``"add_target"``.
    text, tip
        The button's text and tooltip.
    hint
        Sentence that stands in the list while it is empty.
    append_new
        Adds a card with a fitting start value, when the button is pressed.
    """

    changed = Signal()
    asked = Signal(str)
    """A preview of the row of this name."""

    def __init__(
        self, name: str, action: str, text: str, tip: str, hint: str, append_new: Callable[[], Any]
    ) -> None:
        super().__init__()
        self.setObjectName(name)
        self.cards: list[Any] = []
        self.add = QPushButton(text)
        self.add.setObjectName(action)
        self.add.setToolTip(tip)
        self.add.clicked.connect(lambda: append_new())
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(6)
        self._hint = QLabel(hint)
        self._hint.setObjectName("hint")
        self._hint.setWordWrap(True)
        self._layout.addWidget(self._hint)
        self._layout.addWidget(self.add)

    def append(self, card: Card) -> None:
        """Add a card at the end."""
        card.changed.connect(self.changed)
        card.remove.clicked.connect(lambda: self.take(card))
        card.look.clicked.connect(lambda: self.asked.emit(str(card.name.text()).strip()))
        self.cards.append(card)
        self._layout.insertWidget(self._layout.count() - 1, card)
        self._hint.hide()
        self.changed.emit()

    def take(self, card: Card) -> None:
        """Remove a card."""
        self.cards.remove(card)
        if card.isAncestorOf(card.window().focusWidget()):
            self.add.setFocus()
        self._layout.removeWidget(card)
        card.hide()
        card.deleteLater()
        self._hint.setVisible(not self.cards)
        self.changed.emit()

    def clear(self) -> None:
        """Remove every card, announcing once."""
        self.blockSignals(True)
        for card in list(self.cards):
            self.take(card)
        self.blockSignals(False)
        self.changed.emit()

    def names(self) -> list[str]:
        """Return the names of the cards, in order."""
        return [str(card.name.text()).strip() for card in self.cards]

    def values(self, what: str) -> dict[str, Any]:
        """Return what the cards hold, by name.

        Parameters
        ----------
        what
            What a row is, for messages.

        Raises
        ------
        ConfigError
            When a name is missing or used twice; else lists every setting that is not valid.
        """
        fault = check_names(self.names(), what)
        if fault:
            raise ConfigError(fault)
        found: dict[str, Any] = {}
        faults: list[str] = []
        for card in self.cards:
            try:
                name, value = card.value()
                found[name] = value
            except ConfigError as error:
                faults.extend(error.faults)
        if faults:
            raise ConfigError.listing(faults)
        return found

    def free_name(self, wish: str) -> str:
        """Return `wish`, with a number behind it when a card has that name already."""
        taken, name, number = set(self.names()), wish, 2
        while name in taken:
            name, number = f"{wish}_{number}", number + 1
        return name


def check_names(names: list[str], what: str) -> str:
    """Return what is wrong with the names of some rows, an empty text when nothing is."""
    if "" in names:
        return f"a {what} has no name; give it one"
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        return f"two {what}s are called {twice[0]!r}; give one of them another name"
    return ""
