"""What the axes of an image are, as a choice in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from qtpy.QtCore import Signal

from ...config import DataError
from ..forms.choice_editors import Combo
from ..layers.axes import LayerAxes, layer_axes, level_data

_MOST_CHANNELS = 32
"""An axis longer than this is offered as channels only where it is called so."""

AxesValue = tuple[int | None, int | None]
"""`dataset_config.ndim` and `dataset_config.channel_axis`."""


class AxesChoice(Combo):
    """Every way in which the array of a layer can be read.

    A slice of a stack, a time point and a channel look alike in an array: the layer's axis labels decide
    at first, else the last axes are (z,) y, x.
    """

    picked = Signal()
    """The user chose another reading."""

    def __init__(self) -> None:
        super().__init__("axes")
        self._offering = False
        self.changed.connect(self._on_change)
        self.setToolTip(
            "What the axes of the image are, in order: z, y, x lie in space, c are channels, t separate "
            "images. Told by the axis labels of the layer, where it has any; sets Dimension and Channel axis"
        )

    def offer(self, layer: Any, value: AxesValue) -> None:
        """Offer the ways to read a layer, and show the one that a dimension and a channel axis mean."""
        chosen = _read(layer, value)
        found = dict(_readings(layer))
        if chosen is not None:
            found[chosen] = value
        self._offering = True
        self.set_items([(_words(layer, axes), known) for axes, known in found.items()], value)
        if chosen is None:
            self.setCurrentIndex(-1)
        self._offering = False

    def _on_change(self) -> None:
        if not self._offering and self.value() is not None:
            self.picked.emit()


def _readings(layer: Any) -> Iterator[tuple[LayerAxes, AxesValue]]:
    """Yield the distinct readings of a layer, the usual one first, each with the simplest value for it."""
    shape = level_data(layer).shape
    channels = [a for a in range(layer.ndim) if layer.ndim > 2 and 1 < shape[a] <= _MOST_CHANNELS]
    values: list[AxesValue] = [(None, None), (3, None), (2, None)]
    values += [(ndim, axis) for ndim in (None, 2) for axis in channels if not getattr(layer, "rgb", False)]
    seen: set[tuple[Any, ...]] = set()
    for value in values:
        axes = _read(layer, value)
        if axes is not None and (key := (axes.spatial, axes.stack, axes.channel)) not in seen:
            seen.add(key)
            yield axes, value


def _read(layer: Any, value: AxesValue) -> LayerAxes | None:
    with suppress(DataError):
        return layer_axes(layer, *value)
    return None


def _words(layer: Any, axes: LayerAxes) -> str:
    """Return such as ``t, y, x: 10 separate images``."""
    shape = level_data(layer).shape
    stack = [axis for axis in axes.stack if shape[axis] != 1]
    letters = ["t" if axis in axes.stack else name for axis, name in enumerate(axes.letters)]
    noun = "volume" if axes.ndim == 3 else "image"
    count = 1
    for axis in stack:
        count *= shape[axis]
    what = f"{count} separate {noun}s" if stack else f"one {noun}"
    if axes.letters.endswith("s"):
        what += ", RGB"
    elif axes.channel is not None:
        what += f", {shape[axes.channel]} channels"
    return f"{', '.join(letters).replace('s', 'c')}: {what}"


def common_channel_axis(layers: Sequence[Any]) -> int | None:
    """Return the axis that the axis labels of all these layers call channels, None when they differ."""
    found: set[int | None] = set()
    for layer in layers:
        axes = _read(layer, (None, None))
        named = None if axes is None or "c" not in axes.letters else axes.letters.index("c")
        found.add(named)
    return found.pop() if len(found) == 1 else None
