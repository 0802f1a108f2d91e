"""Keeps what is said of each target's labels up to date: after strokes, and when its row is changed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.qt.threading import thread_worker
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer

from ...config import ConfigError, SegtrainError, TargetConfig
from ...data.glance import Glance, Painted, look
from ..layers.edits import LayerEdits
from ..layers.layer_choice import LayerWatch
from ..sessions.followers import Worker
from .targets_table import TargetCard, TargetsTable

_REST = 400
"""Milliseconds that strokes and settings must rest before labels are looked at."""


@dataclass(frozen=True, eq=False)
class PaintedLayer:
    """Labels of one target on one image.

    Attributes
    ----------
    labels, mask
        The layers; the mask may be None.
    level
        Resolution level that is trained on.
    ndim
        Spatial axes of the images: 2 or 3.
    """

    labels: Any
    mask: Any
    level: int
    ndim: int

    @property
    def key(self) -> tuple[int, ...]:
        """What makes it another one."""
        return id(self.labels), id(self.mask), id(self.labels.data), self.level, self.ndim

    @property
    def painted(self) -> Painted:
        """The arrays, to be read by a worker thread."""
        labels = _array(self.labels, self.level)
        mask = None if self.mask is None else _array(self.mask, self.level)
        if mask is not None and tuple(mask.shape) != tuple(labels.shape):
            mask = None  # a start with it is refused, with the reason
        axes = tuple(range(len(labels.shape)))[-self.ndim :]
        scale = np.asarray(self.labels.scale, float)
        return Painted(labels, mask, axes, tuple(abs(float(scale[axis])) or 1.0 for axis in axes))


@dataclass(frozen=True, eq=False)
class PaintedFile:
    """Labels of one target on one image of a folder."""

    painted: Painted
    labels: Any = None
    mask: Any = None

    @property
    def key(self) -> tuple[int, ...]:
        """What makes it another one."""
        return (id(self.painted.labels),)


Part = PaintedLayer | PaintedFile


def _array(layer: Any, level: int) -> Any:
    return layer.data[min(level, len(layer.data) - 1)] if layer.multiscale else layer.data


@thread_worker(worker_class=Worker)
def _look(parts: Sequence[Painted], config: TargetConfig) -> Generator[None, None, Glance | str]:
    try:
        return (yield from look(parts, config))
    except SegtrainError as error:
        return str(error)


class Glances(QObject):
    """Looks at the labels of one row after the other, away from the main thread.

    Parameters
    ----------
    watch
        Says which layers there are, and when that is no longer asked for.
    table
        The rows.
    parts
        Returns the layers that a row's target is painted on.
    """

    def __init__(
        self, watch: LayerWatch, table: TargetsTable, parts: Callable[[TargetCard], Sequence[Part]]
    ) -> None:
        super().__init__()
        self._viewer, self._table, self._parts = watch.viewer, table, parts
        self._known: dict[TargetCard, Any] = {}
        self._edits: dict[Any, LayerEdits] = {}
        self._worker: Any = None
        self._timer = QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_REST)
        self._timer.timeout.connect(self._next)
        table.changed.connect(self.refresh)
        watch.at_stop(self.close)

    @property
    def busy(self) -> bool:
        """Whether labels are looked at, or will be soon."""
        return self._worker is not None or self._timer.isActive()

    def close(self) -> None:
        """Look no more; perhaps at the end of the process, when Qt has let go of the timer already."""
        if isalive(self._timer):
            self._timer.stop()
        if self._worker is not None:
            self._worker.quit()
            self._worker = None
        for edits in self._edits.values():
            edits.close()
        self._edits = {}

    def refresh(self) -> None:
        """Look again, soon, at rows whose layers or settings are others then."""
        self._timer.start()

    def _follow(self) -> None:
        """Hear of strokes on every layer that is part of a target."""
        parts = [part for card in self._table.cards for part in self._parts(card)]
        layers = {layer for part in parts for layer in (part.labels, part.mask) if layer is not None}
        for layer in [layer for layer in self._edits if layer not in layers]:
            self._edits.pop(layer).close()
        for layer in layers - set(self._edits):
            self._edits[layer] = LayerEdits(self._viewer, layer, self._on_edited, self._on_edited)

    def _on_edited(self, layer: Any, boxes: Any = None) -> None:
        for card in self._table.cards:
            if any(layer in (part.labels, part.mask) for part in self._parts(card)):
                self._known.pop(card, None)
                self._timer.start()

    def _key(self, card: TargetCard) -> Any:
        config = _meaning(card)
        return None if config is None else (config, tuple(part.key for part in self._parts(card)))

    def _next(self) -> None:
        """Look at the next row that is not known."""
        if self._worker is not None:
            return
        self._known = {card: key for card, key in self._known.items() if card in self._table.cards}
        self._follow()
        for card in self._table.cards:
            key, config = self._key(card), _meaning(card)
            if key is not None and config is not None and self._known.get(card) != key:
                self._known[card] = key
                parts = self._parts(card)
                if parts:
                    self._look_at(card, parts, config)
                    return
                card.glance.say("")

    def _look_at(self, card: TargetCard, parts: Sequence[Part], config: TargetConfig) -> None:
        card.glance.wait()
        worker = _look([part.painted for part in parts], config)
        worker.returned.connect(lambda found: self._on_found(worker, card, parts[0].labels, found))
        worker.finished.connect(lambda: self._on_finished(worker))
        self._worker = worker
        worker.start()

    def _on_found(self, worker: Any, card: TargetCard, layer: Any, found: Glance | str | None) -> None:
        if worker is not self._worker or card not in self._table.cards or found is None:
            return
        if isinstance(found, str):
            card.glance.say(f"The labels cannot be looked at: {found}")
        else:
            card.glance.show_glance(found, layer)

    def _on_finished(self, worker: Any) -> None:
        if worker is self._worker:
            self._worker = None
            if not self._timer.isActive():
                self._next()


def _meaning(card: TargetCard) -> TargetConfig | None:
    """Return what decides the meaning of a row's labels, None while that is not valid."""
    try:
        config = card.value()[1]
    except ConfigError:
        return None
    return TargetConfig(kind=config.kind, values=config.values, unlabelled=config.unlabelled)
