"""Check boxes and combo boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QCheckBox, QComboBox, QSizePolicy

from .schema import Key


class Combo(QComboBox):
    """A combo box over (text, value) pairs that leaves the mouse wheel to the dock around it."""

    changed = Signal()

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._values: list[Any] = []
        self.currentIndexChanged.connect(lambda _: self.changed.emit())

    def set_items(self, items: Sequence[tuple[str, Any]], chosen: Any = None) -> None:
        """Offer these texts and values.

        Parameters
        ----------
        items
            Text and value of each choice.
        chosen
            The value to choose; where it is not offered, what was chosen before, else the first.
        """
        before = self.chosen()
        offered = [value for _, value in items]
        wanted = chosen if chosen in offered else before
        self.blockSignals(True)
        self.clear()
        self._values = offered
        self.addItems([text for text, _ in items])
        self.setCurrentIndex(offered.index(wanted) if wanted in offered else (0 if offered else -1))
        self.blockSignals(False)
        if self.chosen() != before:
            self.changed.emit()

    def offered(self) -> list[Any]:
        """Return the values that can be chosen."""
        return list(self._values)

    def chosen(self) -> Any:
        """Return the chosen item's value, None when nothing is chosen."""
        index = self.currentIndex()
        return self._values[index] if 0 <= index < len(self._values) else None

    def value(self) -> Any:
        """Return what the control stands for: the chosen value."""
        return self.chosen()

    def set_value(self, value: Any) -> None:
        """Choose a value.

        Raises
        ------
        ValueError
            When it is not offered.
        """
        if value not in self._values:
            raise ValueError(f"{self.objectName()}: {value!r} is not one of {self._values}")
        self.setCurrentIndex(self._values.index(value))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll the dock, not the choice, unless the user is editing it."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class ChoiceEdit(Combo):
    """One of a key's literal values, or None."""

    def __init__(self, key: Key) -> None:
        super().__init__(key.name)
        items = [("yes" if c is True else "no" if c is False else str(c), c) for c in key.choices]
        self.set_items([(key.empty, None), *items] if key.optional else items)


class BoolEdit(QCheckBox):
    """Yes or no."""

    changed = Signal()

    def __init__(self, key: Key) -> None:
        super().__init__()
        self.setObjectName(key.name)
        self.toggled.connect(lambda _: self.changed.emit())

    def value(self) -> bool:
        """Return whether the box is ticked."""
        return bool(self.isChecked())

    def set_value(self, value: bool) -> None:
        """Tick the box or not."""
        self.setChecked(value)

    def refuse(self, words: str) -> None:
        """Let nobody tick the box, and say beside it why not; empty words allow it again."""
        self.setText(words)
        self.setEnabled(not words)


class DeviceEdit(QComboBox):
    """Where to compute: the usual places to choose from, any other to type."""

    changed = Signal()

    def __init__(self, name: str = "device") -> None:
        super().__init__()
        self.setObjectName(name)
        self.setEditable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.addItems(["auto", "cpu", "cuda", "mps"])
        self.currentTextChanged.connect(lambda _: self.changed.emit())

    def value(self) -> str:
        """Return the device's name."""
        return str(self.currentText())

    def set_value(self, value: str) -> None:
        """Show a device."""
        self.setCurrentText(value)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll the dock, not the choice."""
        event.ignore()
