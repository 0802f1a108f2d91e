"""Line charts as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .html import Html, number, tag

Points = Sequence[tuple[float, float]]
COLOURS = ("#2f7ed8", "#e8710a", "#1aa260", "#a142f4", "#d01884", "#8c6d31", "#17a2b8", "#d93025")
"""Of the lines of a chart, one after the other."""
_WIDTH, _HEIGHT = 460, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 44, 34


def chart(
    title: str,
    lines: Mapping[str, Points],
    *,
    x_name: str = "epoch",
    mark: float | None = None,
    limits: tuple[float, float] | None = None,
) -> Html:
    """Draw lines over a common axis.

    Parameters
    ----------
    title
        Above the chart.
    lines
        Points by name; those that are not finite are gaps. A point tells its value when pointed at.
    x_name
        What is along the axis.
    mark
        Where to draw an upright line, such as at the best epoch.
    limits
        Lowest and highest value of the upright axis; by default those of the points.
    """
    known = {name: _finite(points) for name, points in lines.items()}
    every = [point for points in known.values() for point in points]
    if not every:
        return Html("")
    xs, ys = [x for x, _ in every], [y for _, y in every]
    x_axis = _Axis(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT, whole=all(x == int(x) for x in xs))
    low, high = limits or (min(ys), max(ys))
    y_axis = _Axis(low, high, _HEIGHT - _BOTTOM, _TOP)
    parts = [tag("text", title, x=_LEFT, y=15, class_="title"), *_legend(list(known))]
    for value in y_axis.ticks:
        y = y_axis.place(value)
        parts.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", _label(value), x=_LEFT - 6, y=y + 4, text_anchor="end"))
    for value in x_axis.ticks:
        x = x_axis.place(value)
        parts.append(tag("text", _label(value), x=x, y=_HEIGHT - _BOTTOM + 16, text_anchor="middle"))
    parts.append(tag("text", x_name, x=_WIDTH - _RIGHT, y=_HEIGHT - 4, text_anchor="end"))
    if mark is not None and x_axis.low <= mark <= x_axis.high:
        x = x_axis.place(mark)
        style = {"stroke": "#98a2b3", "stroke_dasharray": "4 3"}
        parts.append(tag("line", tag("title", "best"), x1=x, x2=x, y1=_TOP, y2=_HEIGHT - _BOTTOM, **style))
    for place, (name, points) in enumerate(known.items()):
        parts += _line(name, points, COLOURS[place % len(COLOURS)], x_axis, y_axis)
    box = {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "width": _WIDTH, "height": _HEIGHT, "role": "img"}
    return tag("svg", *parts, **box)


class _Axis:
    """Turns values into pixels, and says which values to name."""

    def __init__(self, low: float, high: float, first: int, last: int, whole: bool = False) -> None:
        if high <= low:
            low, high = (low - 1.0, high + 1.0) if whole else (low - 0.5, high + 0.5)
        step = _nice((high - low) / 5)
        step = max(1.0, step) if whole else step
        if not whole:
            low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        self.low, self.high = low, high
        self._first, self._last = first, last
        start = math.ceil(low / step - 1e-9)
        self.ticks = [n * step for n in range(start, math.floor(high / step + 1e-9) + 1)]

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self._first + min(max(share, 0.0), 1.0) * (self._last - self._first), 1)


def _nice(step: float) -> float:
    """Return the next larger of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def _line(name: str, points: Points, colour: str, x_axis: _Axis, y_axis: _Axis) -> list[Html]:
    places = [(x_axis.place(x), y_axis.place(y)) for x, y in points]
    path = " ".join(f"{x},{y}" for x, y in places)
    parts = [tag("polyline", points=path, fill="none", stroke=colour, stroke_width=1.8)]
    # Many points would be a carpet: some of them are enough to ask for a value.
    every = max(1, len(points) // 100)
    for (x, y), (px, py) in list(zip(points, places, strict=True))[::every]:
        told = tag("title", f"{name}: {number(float(y))} at {_label(x)}")
        parts.append(tag("circle", told, cx=px, cy=py, r=2.4, fill=colour))
    return parts


def _legend(names: Sequence[str]) -> list[Html]:
    parts, left = [], float(_LEFT)
    for place, name in enumerate(names):
        shown = name if len(name) <= 40 else f"{name[:39]}…"
        parts.append(tag("rect", x=left, y=24, width=10, height=10, fill=COLOURS[place % len(COLOURS)]))
        parts.append(tag("text", shown, x=left + 14, y=33))
        left += 26 + 6.3 * len(shown)
    return parts


def _finite(points: Points) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points if math.isfinite(y)]


def _label(value: float) -> str:
    return f"{value:.6g}" if abs(value) < 1e5 else f"{value:.2g}"
