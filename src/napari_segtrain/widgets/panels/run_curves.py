"""The curves of several runs in one plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..sessions.beat import Beat
from ..sessions.runs_watch import RunDetails
from .plot import Plot

COLOURS = ("#2c81cf", "#bc680f", "#2a903a", "#d64e5b", "#936ac6", "#9d7558", "#c65398", "#7b8317", "#148c8c")
"""Colours with a contrast above 3 to light and dark themes; behind the last one they begin anew, dashed."""
MARKS = ("o", "s", "t", "d", "+", "x", "star", "p", "h")
"""A mark for each colour: who sees no colours tells the runs apart by these."""
_FIRST = ("val_loss", "train_loss")
_MOST_NAMED = 9
"""Runs whose names stand in the legend; more would hide the curves."""


class RunCurves(Plot):
    """A curve a run over its epochs; the combo box chooses the loss or score that is shown.

    Parameters
    ----------
    beat
        Says when the curves may be drawn.
    """

    def __init__(self, beat: Beat) -> None:
        super().__init__(beat, "run_curves", _FIRST)
        self._runs: tuple[RunDetails, ...] = ()
        self._lines: list[Any] = []

    def show_runs(self, runs: Sequence[RunDetails]) -> None:
        """Show the curves of these runs."""
        if tuple(runs) == self._runs:
            return
        others = [run.path for run in runs] != [run.path for run in self._runs]
        self._runs = tuple(runs)
        known = {name for run in runs for row in run.metrics for name in row} - {"epoch", *_FIRST}
        if others and self._plot is not None:
            self._add_lines()
        self._offer([*_FIRST, *sorted(known)])
        self._redraw()

    def points(self, run: RunDetails) -> tuple[list[float], list[float]]:
        """Return what is drawn of a run: epochs, and values where there are any."""
        metric = str(self.choice.value())
        found = [
            (row["epoch"], row[metric]) for row in run.metrics if isinstance(row.get(metric), int | float)
        ]
        return [float(epoch) for epoch, _ in found], [float(value) for _, value in found]

    def _add_lines(self) -> None:
        import pyqtgraph
        from qtpy.QtCore import Qt

        self._plot.clear()
        self._lines = []
        for place, run in enumerate(self._runs):
            turn, colour = divmod(place, len(COLOURS))
            pen = pyqtgraph.mkPen(COLOURS[colour], width=1.5)
            pen.setStyle(Qt.PenStyle.DashLine if turn % 2 else Qt.PenStyle.SolidLine)
            name = run.path.name if place < _MOST_NAMED else None
            marks = {"symbol": MARKS[colour], "symbolSize": 7, "symbolBrush": COLOURS[colour]}
            self._lines.append(self._plot.plot(pen=pen, antialias=True, name=name, symbolPen=None, **marks))

    def _draw_lines(self) -> None:
        for line, run in zip(self._lines, self._runs, strict=True):
            line.setData(*self.points(run))
