"""Spin boxes that know their unit and their bounds, and for which "empty" is a value."""

from __future__ import annotations

import math
import re
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QValidator, QWheelEvent
from qtpy.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QSpinBox

from .schema import Key

_INT_LOWEST, _INT_HIGHEST = -(2**31), 2**31 - 1
_FLOAT_HIGHEST = 1e300
_DECIMALS = 40
"""Digits after the point that Qt keeps; enough for every number a user writes to come back unchanged."""


def _prepare(spin: Any, key: Key) -> None:
    """Set up what the two spin boxes share; the lowest step stands for None where the key allows it."""
    spin.setObjectName(key.name)
    spin.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    spin.setKeyboardTracking(False)
    spin.setAlignment(Qt.AlignmentFlag.AlignRight)
    spin.setMinimumWidth(84)  # napari's own buttons stand on both sides of the number
    spin.setSuffix(_suffix(key.unit))
    if key.optional:
        spin.setSpecialValueText(key.empty)


def _suffix(unit: str, number: float = 0.0) -> str:
    """Return what stands behind a number: ``" epochs"``, behind 1 ``" epoch"``; long units have no room."""
    if len(unit) not in range(1, 9):
        return ""
    return f" {re.sub('(?<=ch)es$|s$', '', unit) if number == 1 else unit}"


def _bare(spin: Any, text: str) -> str:
    return text.removesuffix(spin.suffix()).strip()


def _says_none(spin: Any, text: str) -> bool:
    word = spin.specialValueText()
    return bool(word) and _bare(spin, text) in ("", word)


class IntEdit(QSpinBox):
    """A whole number, or None shown as a word such as "auto"."""

    changed = Signal()

    def __init__(self, key: Key) -> None:
        super().__init__()
        _prepare(self, key)
        self._optional = key.optional
        lowest = _INT_LOWEST + 1 if key.lower is None else int(key.lower) + key.lower_open
        highest = _INT_HIGHEST if key.upper is None else min(int(key.upper) - key.upper_open, _INT_HIGHEST)
        # The step below the lowest number is the one that stands for None.
        self.setRange(lowest - 1 if self._optional else lowest, highest)
        self.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        self._unit = key.unit
        self.setSuffix(_suffix(key.unit, super().value()))
        self.valueChanged.connect(self._on_value)

    def _on_value(self, number: int) -> None:
        self.setSuffix(_suffix(self._unit, number))
        self.changed.emit()

    def value(self) -> int | None:
        """Return the number, None for auto."""
        number = int(super().value())
        return None if self._optional and number == self.minimum() else number

    def set_value(self, value: int | None) -> None:
        """Show a number, or auto for None."""
        self.setValue(self.minimum() if value is None else value)

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Accept an empty field where auto is allowed."""
        if _says_none(self, text):
            return (QValidator.State.Acceptable, text, position)
        state: tuple[QValidator.State, str, int] = super().validate(text, position)
        return state

    def stepBy(self, steps: int) -> None:  # Qt's name
        """Step; the first step up from "auto" of a number without a lower bound is 0."""
        if self.value() is None and self.minimum() < -1000:
            self.setValue(0)
        else:
            super().stepBy(steps)

    def valueFromText(self, text: str) -> int:  # Qt's name
        """Read the number that the text says; empty is auto."""
        return int(self.minimum() if _says_none(self, text) else super().valueFromText(text))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll the dock, not the number, unless the user is editing it."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()


class FloatEdit(QDoubleSpinBox):
    """A number as short as it can be written, or None shown as a word such as "auto"."""

    changed = Signal()

    def __init__(self, key: Key) -> None:
        super().__init__()
        _prepare(self, key)
        self._optional = key.optional
        lowest = -_FLOAT_HIGHEST if key.lower is None else float(key.lower)
        highest = _FLOAT_HIGHEST if key.upper is None else float(key.upper)
        if key.upper_open:
            highest = math.nextafter(highest, -math.inf)
        if key.lower_open and not self._optional:
            lowest = math.nextafter(lowest, math.inf)
        elif self._optional and not key.lower_open:
            lowest -= 1.0
        self.setDecimals(_DECIMALS)
        self.setRange(lowest, highest)
        self.valueChanged.connect(lambda _: self.changed.emit())

    def value(self) -> float | None:
        """Return the number, None for auto."""
        number = float(super().value())
        return None if self._optional and number == self.minimum() else number

    def set_value(self, value: float | None) -> None:
        """Show a number, or auto for None."""
        self.setValue(self.minimum() if value is None else value)

    def textFromValue(self, value: float) -> str:  # Qt's name
        """Write the shortest text that reads back to the same number."""
        return f"{value:.12g}" if float(f"{value:.12g}") == value else repr(value)

    def valueFromText(self, text: str) -> float:  # Qt's name
        """Read the number that the text says; empty is auto."""
        if _says_none(self, text):
            return float(self.minimum())
        try:
            return float(_bare(self, text).replace(",", "."))
        except ValueError:
            return float(super().value())

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Accept what reads as a number within the bounds, scientific notation included."""
        if _says_none(self, text):
            return (QValidator.State.Acceptable, text, position)
        try:
            number = float(_bare(self, text).replace(",", "."))
        except ValueError:
            return (QValidator.State.Intermediate, text, position)
        inside = self.minimum() <= number <= self.maximum()
        state = QValidator.State.Acceptable if inside else QValidator.State.Intermediate
        return (state, text, position)

    def stepBy(self, steps: int) -> None:  # Qt's name
        """Move by a tenth of the number's own size, so that 0.001 and 100 are both easy to reach."""
        number = self.value() or 0.0
        size = 10.0 ** (math.floor(math.log10(abs(number)) + 1e-9) - 1) if number else 0.1
        self.setValue(round(number + steps * size, 12))

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll the dock, not the number, unless the user is editing it."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()
