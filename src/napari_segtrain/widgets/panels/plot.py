"""A plot with a choice of what it shows: what the curves of a run, of several, and of single steps share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from ..forms.choice_editors import Combo
from ..sessions.beat import Beat

_LOWEST, _HIGHEST = 100, 160
"""Pixels between which a plot gives way to what stands beside it."""


class Plot(QWidget):
    """A combo box and a plot below it, which is made when it is first seen, in the colours of the theme.

    Parameters
    ----------
    beat
        Says when it may be drawn.
    name
        The widget's `objectName`.
    metrics
        What the combo box offers at first.
    """

    along = "epoch"
    """What the horizontal axis counts."""

    def __init__(self, beat: Beat, name: str, metrics: Sequence[str]) -> None:
        super().__init__()
        self._beat = beat
        self.setObjectName(name)
        self.choice = Combo("metric")
        self.choice.setToolTip("What the curves show")
        self.choice.setAccessibleName("Curve")
        self._offer(metrics)
        self.choice.changed.connect(self._draw)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(2)
        self._layout.addWidget(self.choice)
        self._plot: Any = None

    def _offer(self, metrics: Sequence[str]) -> None:
        if self.choice.offered() != list(metrics):
            self.choice.set_items([(name.replace("_", " "), name) for name in metrics])

    @abstractmethod
    def _add_lines(self) -> None:
        """Add lines to a new plot."""

    @abstractmethod
    def _draw_lines(self) -> None:
        """Bring the lines of the plot up to date."""

    def _redraw(self) -> None:
        self._beat.ask(self._draw)

    def _draw(self) -> None:
        if self.isVisible():
            self._make_plot()
            self._draw_lines()

    def showEvent(self, event: Any) -> None:
        """Draw what came while nobody looked."""
        super().showEvent(event)
        self._redraw()

    def changeEvent(self, event: Any) -> None:
        """Make the plot anew in the colours of another theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange and self._plot is not None:
            self._layout.removeWidget(self._plot)
            self._plot.deleteLater()
            self._plot = None
            self._redraw()

    def _make_plot(self) -> None:
        """Make the plot when it is first seen: importing pyqtgraph takes a moment."""
        if self._plot is not None:
            return
        import pyqtgraph

        foreground = self.palette().windowText().color()
        plot = pyqtgraph.PlotWidget(background=None)
        plot.setObjectName("plot")
        plot.setAccessibleName(f"Curves over {self.along}s")
        plot.setToolTip("What is drawn is chosen above; the legend says which curve is which")
        plot.setMinimumHeight(_LOWEST)
        plot.setMaximumHeight(_HIGHEST)
        plot.getPlotItem().setContentsMargins(0, 0, 0, 6)  # the axis' label hangs below the axis
        plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        plot.setMouseEnabled(x=False, y=False)
        plot.hideButtons()
        plot.setMenuEnabled(False)
        plot.showGrid(x=True, y=True, alpha=0.15)
        for side in ("left", "bottom"):
            plot.getAxis(side).setTextPen(foreground)
            plot.getAxis(side).setPen(pyqtgraph.mkPen(foreground, width=0.5))
        plot.setLabel("bottom", self.along)
        plot.getAxis("bottom").enableAutoSIPrefix(False)
        plot.setLimits(xMin=0.0, minXRange=1.0)
        plot.addLegend(offset=(-8, 4), labelTextColor=foreground, verSpacing=-4)
        self._plot = plot
        self._layout.addWidget(plot, 1)
        self._add_lines()
