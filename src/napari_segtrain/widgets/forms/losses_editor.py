"""The terms of a target's loss: one row a term."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from ...config import ConfigError, LossConfig
from ...losses import describe_losses
from .number_editors import FloatEdit, IntEdit
from .schema import Key, keys_of
from .text_editors import MappingEdit

_FIRST = "BCEDiceLoss"
_KEYS = {key.name: key for key in keys_of(LossConfig)}


class LossesEdit(QWidget):
    """A tuple of `LossConfig`; without rows the default of the target's kind."""

    changed = Signal()

    def __init__(self, key: Key) -> None:
        super().__init__()
        self.setObjectName(key.name)
        self._rows: list[LossRow] = []
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        self.add = QPushButton("default · add a loss")
        self.add.setObjectName("add_loss")
        self.add.setToolTip("Add a term. Without any the target is trained with the default of its kind.")
        self.add.clicked.connect(lambda: self._append(LossConfig(name=_FIRST)))
        self.setFocusProxy(self.add)
        self._layout.addWidget(self.add)

    def _append(self, loss: LossConfig, *, quiet: bool = False) -> None:
        row = LossRow(loss)
        row.changed.connect(self.changed)
        row.remove.clicked.connect(lambda: self._take(row))
        self._rows.append(row)
        self._layout.insertWidget(self._layout.count() - 1, row)
        self._announce(quiet)

    def _take(self, row: LossRow, *, quiet: bool = False) -> None:
        self._rows.remove(row)
        if row.isAncestorOf(row.window().focusWidget()):
            self.add.setFocus()
        self._layout.removeWidget(row)
        row.hide()
        row.deleteLater()
        self._announce(quiet)

    def _announce(self, quiet: bool) -> None:
        self.add.setText("add a loss" if self._rows else "default · add a loss")
        if not quiet:
            self.changed.emit()

    def value(self) -> tuple[LossConfig, ...]:
        """Return the terms in their order."""
        return tuple(row.value() for row in self._rows)

    def set_value(self, value: Sequence[LossConfig]) -> None:
        """Show these terms."""
        for row in list(self._rows):
            self._take(row, quiet=True)
        for loss in value:
            self._append(loss, quiet=True)
        self.changed.emit()


class LossRow(QWidget):
    """One term: name and weight, its settings and its first epoch on request."""

    changed = Signal()

    def __init__(self, loss: LossConfig) -> None:
        super().__init__()
        self.name = QComboBox()
        self.name.setObjectName("name")
        self.name.setEditable(True)
        for name, summary in describe_losses().items():
            self.name.addItem(name)
            self.name.setItemData(self.name.count() - 1, summary, Qt.ItemDataRole.ToolTipRole)
        self.name.setMinimumContentsLength(5)
        self.name.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.weight = FloatEdit(_KEYS["weight"])
        self.kwargs = MappingEdit(_KEYS["kwargs"])
        self.start_epoch = IntEdit(_KEYS["start_epoch"])
        for name in ("name", "weight", "kwargs", "start_epoch"):
            editor: QWidget = getattr(self, name)
            editor.setToolTip(_KEYS[name].description)
            editor.setAccessibleName(f"Loss: {_KEYS[name].title}")
        self.start_epoch.setPrefix("from ")
        self.more = _tool("…", "Settings of the loss, and the epoch from which it counts")
        self.more.setObjectName("loss_settings")
        self.more.setCheckable(True)
        self.remove = _tool("✕", "Remove this term")
        self.remove.setObjectName("remove_loss")
        self._lay_out()
        self.set_value(loss)
        self.name.currentTextChanged.connect(lambda _: self.changed.emit())
        for editor in (self.weight, self.kwargs, self.start_epoch):
            editor.changed.connect(self.changed)

    def _lay_out(self) -> None:
        first, second = QHBoxLayout(), QVBoxLayout()
        first.setSpacing(2)
        for widget, stretch in ((self.name, 1), (self.weight, 0), (self.more, 0), (self.remove, 0)):
            first.addWidget(widget, stretch)
        self.details = QWidget()
        self.details.setLayout(second)
        second.addWidget(self.kwargs)
        second.addWidget(self.start_epoch)
        second.setContentsMargins(12, 0, 0, 0)
        second.setSpacing(2)
        self.details.hide()
        self.more.toggled.connect(self.details.setVisible)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(first)
        layout.addWidget(self.details)

    def value(self) -> LossConfig:
        """Return the term.

        Raises
        ------
        ConfigError
            When the loss has no name, or its settings cannot be read.
        """
        name = self.name.currentText().strip()
        if not name:
            raise ConfigError("a loss needs a name; choose one from the list or remove the row")
        # The list completes what is typed, in small letters too, and leaves those as they are.
        name = next((known for known in describe_losses() if known.lower() == name.lower()), name)
        return LossConfig(
            name=name,
            weight=self.weight.value() or 0.0,
            kwargs=self.kwargs.value(),
            start_epoch=self.start_epoch.value() or 0,
        )

    def set_value(self, value: LossConfig) -> None:
        """Show a term."""
        self.name.setCurrentText(value.name)
        self.name.lineEdit().setCursorPosition(0)  # shows the beginning of a long name
        self.weight.set_value(value.weight)
        self.kwargs.set_value(value.kwargs)
        self.start_epoch.set_value(value.start_epoch)
        if value.kwargs or value.start_epoch:
            self.more.setChecked(True)


def _tool(text: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    button.setMaximumWidth(26)
    return button
