"""One rhythm for everything in a dock that changes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Qt, QTimer

FAST, SLOW = 250, 2000
"""Milliseconds between two beats: where drawing is quick, and where it is not."""
_QUICK = 9.0
"""Milliseconds up to which drawing is quick: four times a second, that is felt in one of 25 events."""
_PROBE = 20
"""Milliseconds after a beat at which the event loop is free again where drawing is quick: Qt draws what was
changed within some milliseconds, after everything else that waits."""
_REST, _PATIENCE = 250, 6000
"""Milliseconds that the view must rest where drawing is slow, and for how long it is waited for."""


class Beat(QObject):
    """Calls what asked for it together, at most four times a second.

    napari's window is drawn as a whole: each label that changes has the canvas composed again, which takes
    40 ms without a graphics card. So progress, curves and previews change in one go; where that go takes
    long, it comes every two seconds, and between two of them the viewer has its time for the user: while
    the user moves the view, it comes every six.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._asked: dict[Any, Callable[[], None]] = {}
        self._began = 0.0
        self._moved = 0.0
        self.interval = FAST
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._on_time)
        self._probe = QTimer(self)
        self._probe.setSingleShot(True)
        self._probe.setTimerType(Qt.TimerType.PreciseTimer)
        self._probe.setInterval(_PROBE)
        self._probe.timeout.connect(self._measure)

    def ask(self, callback: Callable[[], None]) -> None:
        """Call a function at the next beat, once, however often it was asked for."""
        self._asked[callback] = callback
        if not self._timer.isActive():
            self._timer.start(max(0, round(self.interval - _since(self._began))))

    def give_way(self) -> None:
        """Note that the user moves the view now, which the viewer has enough to draw for."""
        self._moved = time.monotonic()

    def _on_time(self) -> None:
        moving = _since(self._moved) < _REST and _since(self._began) < _PATIENCE
        if self.interval == SLOW and moving:
            self._timer.start(_REST)
        else:
            self._strike()

    def strike(self) -> None:
        """Call at once what waits."""
        self._timer.stop()
        self._strike()

    def _strike(self) -> None:
        asked, self._asked = self._asked, {}
        if not asked:
            return
        self._began = time.monotonic()
        for callback in asked.values():
            callback()
        self._probe.start()

    def _measure(self) -> None:
        self.interval = FAST if _since(self._began) <= _PROBE + _QUICK else SLOW


def _since(moment: float) -> float:
    """Return the milliseconds that have gone since."""
    return 1000.0 * (time.monotonic() - moment)
