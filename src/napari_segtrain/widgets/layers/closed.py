"""Layers that nobody paints on, because what is painted there would be lost without a word."""

from __future__ import annotations

from typing import Any


def close_to_painting(layer: Any) -> None:
    """Refuse painting, for good: napari opens a layer again with each new array or type. Copies are open."""
    layer.editable = False
    layer.events.editable.connect(_shut)


def _shut(event: Any) -> None:
    event.source.editable = False
