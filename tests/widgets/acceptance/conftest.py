"""A pair of hands: what a user does with mouse and keys, on the canvas and in docks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QKeyEvent, QMouseEvent
from qtpy.QtWidgets import QApplication, QPushButton

PATIENCE = 400.0
"""Seconds until a test gives up: a network has to learn something meanwhile, on a machine that is busy."""

Point = Sequence[float]


class Hands:
    """Mouse and keys of a user, in a viewer that shows a plane."""

    def __init__(self, qapp: Any) -> None:
        self._qapp = qapp

    def wait(self, done: Callable[[], Any], what: Callable[[], Any] = lambda: "") -> None:
        """Let Qt work until something is true."""
        end = time.monotonic() + PATIENCE
        while not done():
            self._qapp.processEvents()
            time.sleep(0.005)
            if time.monotonic() > end:
                pytest.fail(f"nothing came in {PATIENCE:.0f} s: {what()}")

    def press(self, dock: Any, action: str) -> None:
        """Press a button of a dock that can be pressed."""
        button = dock.findChild(QPushButton, action)
        self.wait(button.isEnabled, lambda: f"{action} cannot be pressed: {button.toolTip()}")
        button.click()

    def stroke(self, viewer: Any, layer: Any, value: int, points: Iterable[Point], size: int) -> None:
        """Drag a brush of a label and a size over the canvas, through points in world coordinates (y, x)."""
        viewer.layers.selection.active = layer
        layer.mode, layer.selected_label, layer.brush_size = "paint", value, size
        canvas = viewer.window._qt_viewer.canvas
        first, *rest = (self._on_canvas(viewer, canvas, point) for point in points)
        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        self._mouse(canvas, QEvent.Type.MouseMove, first, none, none)
        self._mouse(canvas, QEvent.Type.MouseButtonPress, first, left, left)
        for place in rest:
            self._mouse(canvas, QEvent.Type.MouseMove, place, none, left)
        self._mouse(canvas, QEvent.Type.MouseButtonRelease, rest[-1] if rest else first, left, none)
        layer.mode = "pan_zoom"

    def undo(self, viewer: Any, layer: Any) -> None:
        """Press Ctrl+Z with a layer selected."""
        viewer.layers.selection.active = layer
        canvas = viewer.window._qt_viewer.canvas.native
        for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
            event = QKeyEvent(kind, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier, "z")
            QApplication.sendEvent(canvas, event)

    @staticmethod
    def _on_canvas(viewer: Any, canvas: Any, point: Point) -> QPointF:
        # The camera belongs to the scene since napari 0.9, to the viewer before.
        camera = getattr(viewer, "scene", viewer).camera
        sides = zip(point, camera.center[-2:], (canvas.native.height(), canvas.native.width()), strict=True)
        y, x = ((at - middle) * camera.zoom + size / 2 for at, middle, size in sides)
        return QPointF(x, y)

    @staticmethod
    def _mouse(canvas: Any, kind: Any, place: QPointF, button: Any, held: Any) -> None:
        native = canvas.native
        there = QPointF(native.mapToGlobal(place.toPoint()))
        event = QMouseEvent(kind, place, there, button, held, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(native, event)


@pytest.fixture(scope="session")
def hands(qapp: Any) -> Hands:
    return Hands(qapp)


@pytest.fixture
def until(hands: Hands) -> Callable[..., None]:
    """Let Qt work until something is true, or fail."""
    return hands.wait


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
