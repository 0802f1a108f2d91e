"""The foot of a dock: its buttons, how far the work is, and what it is doing in words."""

from __future__ import annotations

import time
from collections.abc import Mapping

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QGridLayout, QLabel, QProgressBar, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from ...runs import format_seconds
from ..sessions.beat import Beat

_STEPS = 1000
_MOST_SHOWN = 700
"""Characters of a status, about twelve lines: more would leave no room for the form."""


class RunPanel(QWidget):
    """Buttons, progress with the time left, and a status line.

    Parameters
    ----------
    buttons
        Text and tooltip of each button by its action, which is its `objectName`; the first one is the
        main one.
    beat
        Says when progress may be drawn.
    per_row
        Buttons side by side, all of one width; None for all of them, the main one wider.
    """

    def __init__(
        self, buttons: Mapping[str, tuple[str, str]], beat: Beat, per_row: int | None = None
    ) -> None:
        super().__init__()
        self._beat = beat
        self.buttons = {name: _button(name, *texts) for name, texts in buttons.items()}
        across = per_row or len(self.buttons)
        rows = QGridLayout()
        rows.setSpacing(6)
        for place, button in enumerate(self.buttons.values()):
            rows.addWidget(button, *divmod(place, across))
        for column in range(across):
            rows.setColumnStretch(column, 2 if column == 0 and per_row is None else 1)
        self.progress = QProgressBar()
        self.progress.setObjectName("progress")
        self.progress.setAccessibleName("Progress")
        self.progress.setRange(0, _STEPS)
        self.progress.setTextVisible(True)
        self.status = QLabel()
        self.status.setObjectName("status")
        self.status.setAccessibleName("Status")
        self.status.setWordWrap(True)
        self.status.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(rows)
        layout.addWidget(self.progress)
        layout.addWidget(self.status)
        self._end: float | None = None
        self._fraction = 0.0
        self._text = ""
        self._clock = QTimer(self)
        self._clock.setInterval(1000)
        self._clock.timeout.connect(lambda: self._beat.ask(self._write))
        self.reset()

    def reset(self) -> None:
        """Show that nothing is under way."""
        self._clock.stop()
        self._end, self._fraction = None, 0.0
        self.progress.setRange(0, _STEPS)
        self.progress.setValue(0)
        self.progress.hide()

    def wait(self, text: str) -> None:
        """Show that something is under way whose length is not known."""
        self._clock.stop()
        self.progress.setRange(0, 0)
        self.progress.setFormat("")
        self.progress.show()
        self.say(text)

    def show_progress(self, fraction: float, seconds_left: float | None, text: str = "") -> None:
        """Show how far the work is, the time left, which counts down between two calls, and a status."""
        self._fraction = fraction
        self._end = None if seconds_left is None else time.monotonic() + seconds_left
        self._text = text or self._text
        self._clock.start()
        self._beat.ask(self._write)

    def hold(self) -> None:
        """Stop the clock: the work waits."""
        self._clock.stop()

    @property
    def text(self) -> str:
        """The status in words."""
        return self._text

    def say(self, text: str) -> None:
        """Show the status in words; of a long list of faults the beginning, and all of it in the tooltip."""
        self._text = text
        shown = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN].rpartition(' ')[0]} …"
        self.status.setText(shown)
        self.status.setToolTip("" if shown == text else text)

    def _write(self) -> None:
        if not self._clock.isActive():
            return
        left = "" if self._end is None else format_seconds(max(0.0, self._end - time.monotonic()))
        self.progress.setRange(0, _STEPS)
        self.progress.setValue(round(_STEPS * self._fraction))
        self.progress.setFormat(f"{self._fraction:.0%}" + (f" · {left} left" if left else ""))
        self.progress.show()
        self.status.setText(self._text)

    def enable(self, **actions: bool) -> None:
        """Enable or disable buttons by their action.

        What is enabled comes first: the focus of a button that is disabled goes to the next one that is not.
        """
        for name, enabled in sorted(actions.items(), key=lambda action: not action[1]):
            self.buttons[name].setEnabled(enabled)


def _button(name: str, text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button
