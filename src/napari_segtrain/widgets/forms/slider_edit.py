"""A number that is dragged or typed."""

from __future__ import annotations

import math

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QHBoxLayout, QSlider, QWidget

from .number_editors import FloatEdit, IntEdit
from .schema import Key, Shape

_STEPS = 100
_NUMBER = 116
"""Width of the number in pixels, so that sliders below each other have one length."""
_MOST = 10_000
"""Where the slider of a number without an upper bound ends; larger ones can be typed."""


class SliderEdit(QWidget):
    """A slider and a number that always say the same.

    The slider of a number without an upper bound is finer the smaller the number is.

    Parameters
    ----------
    key
        A whole number from 0, or a number between bounds; it gives the tooltip.
    name
        The `objectName`.
    """

    changed = Signal()

    def __init__(self, key: Key, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self._bounds = (key.lower or 0.0, key.upper)
        self.slider = _Slider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, _STEPS)
        self.slider.setPageStep(10)
        self.slider.setObjectName(f"{name}_slider")
        self.slider.setAccessibleName(f"{key.title}, slider")
        self.number = IntEdit(key) if key.shape is Shape.INT else FloatEdit(key)
        self.number.setObjectName(f"{name}_number")
        self.number.setFixedWidth(_NUMBER)
        for widget in (self, self.slider, self.number):
            widget.setToolTip(key.description)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.slider, 1)
        layout.addWidget(self.number)
        self.setFocusProxy(self.number)
        self.slider.valueChanged.connect(self._on_slider)
        self.number.changed.connect(self._on_number)

    def value(self) -> float | int:
        """Return the number."""
        found = self.number.value()
        return 0 if found is None else found

    def set_value(self, value: float) -> None:
        """Show a number; announces it when it is another."""
        self.number.set_value(value)  # type: ignore[arg-type]

    def setAccessibleName(self, name: str) -> None:
        """Name the number too: it is what has the focus."""
        super().setAccessibleName(name)
        self.number.setAccessibleName(name)

    def _on_slider(self, step: int) -> None:
        if self._step(self.value()) != step:
            self.number.set_value(self._at(step))  # type: ignore[arg-type]

    def _on_number(self) -> None:
        self.slider.setValue(self._step(self.value()))
        self.changed.emit()

    def _at(self, step: int) -> float | int:
        low, high = self._bounds
        if high is not None:
            return round(low + step / _STEPS * (high - low), 6)
        return round(math.expm1(step / _STEPS * math.log1p(_MOST)))

    def _step(self, value: float) -> int:
        low, high = self._bounds
        if high is not None:
            return round((value - low) / (high - low) * _STEPS)
        return min(_STEPS, round(math.log1p(max(value, 0)) / math.log1p(_MOST) * _STEPS))


class _Slider(QSlider):
    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll the dock, not the number, unless the user is editing it."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()
