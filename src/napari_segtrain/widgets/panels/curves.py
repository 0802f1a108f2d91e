"""Live curves: how loss and scores develop, on the training and on the validation data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import Qt

from ...runs.events import BatchDone, EpochDone, RunStarted
from ...runs.metrics import Row
from ..sessions.beat import Beat
from .plot import Plot

_MOST = 2000
"""Points a curve is drawn with; of longer ones every second point is dropped, again and again."""
_TRAIN, _VAL = "#2c81cf", "#bc680f"


class Series:
    """Points of one curve, thinned out as they grow in number.

    Each kept point is the mean of the `stride` points it stands for, so that a noisy loss becomes
    smoother as it becomes longer.
    """

    def __init__(self) -> None:
        self.x: list[float] = []
        self.y: list[float] = []
        self._stride = 1
        self._sum: list[float] = [0.0, 0.0]
        self._count = 0

    def add(self, x: float, y: float | None) -> None:
        """Add a point; a missing value is left out."""
        if y is None:
            return
        self._sum = [self._sum[0] + x, self._sum[1] + y]
        self._count += 1
        if self._count < self._stride:
            return
        self.x.append(self._sum[0] / self._count)
        self.y.append(self._sum[1] / self._count)
        self._sum, self._count = [0.0, 0.0], 0
        if len(self.x) > _MOST:
            self.x, self.y = _halved(self.x), _halved(self.y)
            self._stride *= 2


def _halved(values: list[float]) -> list[float]:
    even = np.asarray(values[: len(values) // 2 * 2])
    return [float(v) for v in even.reshape(-1, 2).mean(axis=1)]


class Curves(Plot):
    """A plot over epochs: the training's curve as a line, the validation's with a dot an epoch.

    The combo box chooses what is shown: the total loss, the loss of one target, or a score.

    Parameters
    ----------
    beat
        Says when the curves may be drawn.
    """

    def __init__(self, beat: Beat) -> None:
        super().__init__(beat, "curves", ["loss"])
        self._series: dict[tuple[str, str], Series] = {}
        self._run: RunStarted | None = None
        self._steps_per_epoch = 1
        self._lines: dict[str, Any] = {}

    def clear(self) -> None:
        """Forget the last run's curves."""
        self._series = {}
        self._draw()

    def begin(self, event: RunStarted) -> None:
        """Show the curves of a run that begins; the event says how long an epoch is."""
        self._series, self._run = {}, event
        self._steps_per_epoch = max(1, event.steps_per_epoch or 1)
        self._redraw()

    def put_before(self, event: RunStarted, rows: Sequence[Row]) -> None:
        """Show earlier epochs of a run before what came of it until now, unless another one has begun.

        Parameters
        ----------
        event
            With which it began.
        rows
            Metrics of the epochs before; of these the training has one point an epoch.
        """
        if event is not self._run or not rows:
            return
        later, self._series = self._series, {}
        for row in rows:
            self._add_row(row["epoch"], row, every=True)
        for key, series in later.items():
            for x, y in zip(series.x, series.y, strict=True):
                self._of(*key).add(x, y)
        self._redraw()

    def add_batch(self, event: BatchDone) -> None:
        """Take the losses of one step."""
        at = event.step / self._steps_per_epoch
        self._of("train", "loss").add(at, event.loss)
        for name, value in event.parts.items():
            if "/" not in name:
                self._of("train", f"{name}_loss").add(at, value)
        self._redraw()

    def add_epoch(self, event: EpochDone) -> None:
        """Take the row of one epoch: what is validated, and what of the training no batch announces."""
        self._add_row(event.epoch, event.row, every=False)
        self._redraw()

    def _add_row(self, epoch: int, row: Mapping[str, Any], *, every: bool) -> None:
        for name, value in row.items():
            part, _, metric = name.partition("_")
            if part == "val" or (part == "train" and (every or not metric.endswith("loss"))):
                self._of(part, metric).add(float(epoch), value)

    def points(self, part: str, metric: str) -> tuple[list[float], list[float]]:
        """Return what is drawn of one curve: epochs and values."""
        series = self._series.get((part, metric), Series())
        return series.x, series.y

    def _of(self, part: str, metric: str) -> Series:
        return self._series.setdefault((part, metric), Series())

    def _draw(self) -> None:
        self._offer(["loss", *sorted({metric for _, metric in self._series} - {"loss"})])
        super()._draw()

    def _draw_lines(self) -> None:
        for part, line in self._lines.items():
            line.setData(*self.points(part, str(self.choice.value())))

    def _add_lines(self) -> None:
        import pyqtgraph

        train, val = pyqtgraph.mkPen(_TRAIN, width=1.5), pyqtgraph.mkPen(_VAL, width=1.5)
        val.setStyle(Qt.PenStyle.DashLine)
        self._lines = {
            "train": self._plot.plot(pen=train, antialias=True, name="training"),
            "val": self._plot.plot(pen=val, antialias=True, symbol="o", symbolSize=5, name="validation"),
        }
        # The legend shows the dots as they are before there are any.
        self._lines["val"].scatter.setBrush(_VAL)
        self._lines["val"].setSymbolBrush(_VAL)
        self._lines["val"].setSymbolPen(None)


class StepCurves(Plot):
    """Loss, norm of the gradient and learning rate of each batch that was stepped through.

    Parameters
    ----------
    beat
        Says when the curves may be drawn.
    """

    along = "batch"

    def __init__(self, beat: Beat) -> None:
        super().__init__(beat, "step_curves", ["loss", "gradient_norm", "learning_rate"])
        self._series: dict[str, dict[int, float]] = {}
        self._line: Any = None

    def clear(self) -> None:
        """Forget the last network's curves."""
        self._series = {}
        self._draw()

    def add(self, batch: int, **values: float | None) -> None:
        """Take what is known of a batch, counted from 1; what is not known yet is None."""
        for name, value in values.items():
            if value is not None:
                self._series.setdefault(name, {})[batch] = value
        self._redraw()

    def points(self, name: str) -> tuple[list[float], list[float]]:
        """Return what is drawn of one curve: batches and values."""
        series = Series()
        for batch, value in sorted(self._series.get(name, {}).items()):
            series.add(batch, value)
        return series.x, series.y

    def _draw_lines(self) -> None:
        self._line.setData(*self.points(str(self.choice.value())))

    def _add_lines(self) -> None:
        import pyqtgraph

        pen = pyqtgraph.mkPen(_TRAIN, width=1.5)
        marks = {"symbol": "o", "symbolSize": 5, "symbolBrush": _TRAIN, "symbolPen": None}
        self._line = self._plot.plot(pen=pen, antialias=True, name="of the batch", **marks)
