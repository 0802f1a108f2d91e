"""The window onto a graph: zoom, keys, and the menu of what can be added."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QEvent, QPoint, QPointF, QSize, Qt, Signal
from qtpy.QtGui import QKeySequence, QPainter
from qtpy.QtWidgets import QFrame, QGraphicsView, QMenu

from ....workflow.graph import NODE_TYPES
from .scene import GraphScene

_Key = Qt.Key
_TOWARDS = {
    _Key.Key_Left: (-1.0, 0.0),
    _Key.Key_Right: (1.0, 0.0),
    _Key.Key_Up: (0.0, -1.0),
    _Key.Key_Down: (0.0, 1.0),
}
_STEP = 20.0
"""Pixels by which Ctrl and an arrow key move what is selected."""
_ZOOM, _SMALLEST, _LARGEST = 1.2, 0.2, 3.0
_ACTIONS = {
    _Key.Key_Delete: "remove",
    _Key.Key_Backspace: "remove",
    _Key.Key_L: "arrange",
    _Key.Key_A: "add",
    _Key.Key_C: "connect",
    _Key.Key_Return: "configure",
    _Key.Key_Enter: "configure",
}
_SEQUENCES = {
    QKeySequence.StandardKey.Undo: "undo",
    QKeySequence.StandardKey.Redo: "redo",
    QKeySequence.StandardKey.SelectAll: "select all",
}


class GraphView(QGraphicsView):
    """Shows a scene; keys ask for what the buttons around it do.

    Arrow keys go from node to node, with Ctrl they move what is selected; Delete removes, C connects, A adds,
    L arranges, Enter goes to the parameters; + and - zoom, 0 shows everything; Escape lets go.

    Parameters
    ----------
    scene
        What is shown.
    """

    asked = Signal(str)
    """``"remove"``, ``"arrange"``, ``"add"``, ``"connect"``, ``"configure"``, ``"undo"`` or ``"redo"``."""
    add_wanted = Signal(str, QPointF)
    """Name of a node type, and where in the scene."""

    def __init__(self, scene: GraphScene) -> None:
        super().__init__(scene)
        self.drawing = scene
        self._panned: QPoint | None = None
        self.setObjectName("graph")
        self.setAccessibleName("Workflow graph")
        self.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.setDragMode(QGraphicsView.DragMode.RubberBandDrag)
        self.setTransformationAnchor(QGraphicsView.ViewportAnchor.AnchorUnderMouse)
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.SmartViewportUpdate)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.menu = QMenu(self)

    def sizeHint(self) -> QSize:
        """Return a size that does not follow from that of the graph."""
        return self.minimumSize()

    # ---------------------------------------------------------------------------------- zoom

    def zoom(self, factor: float) -> None:
        """Show the graph larger or smaller, within bounds."""
        now = self.transform().m11()
        factor = min(max(now * factor, _SMALLEST), _LARGEST) / now
        self.scale(factor, factor)

    def fit(self, smallest: float = _SMALLEST) -> None:
        """Show the whole graph, no larger than at zoom 1; from its begin where it would be too small."""
        around = self.drawing.itemsBoundingRect().adjusted(-20, -20, 20, 20)
        self.fitInView(around, Qt.AspectRatioMode.KeepAspectRatio)
        scale = self.transform().m11()
        if not smallest <= scale <= 1.0:
            self.resetTransform()
            wanted = min(max(scale, smallest), 1.0)
            self.scale(wanted, wanted)
            self.centerOn(around.center())
            if scale < smallest:
                self.ensureVisible(around.x(), around.y(), 1, 1, 0, 0)

    def wheelEvent(self, event: Any) -> None:
        """Zoom where the graph has the keyboard, or with Ctrl; else the dock scrolls."""
        if self.hasFocus() or event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.zoom(_ZOOM if event.angleDelta().y() > 0 else 1 / _ZOOM)
            event.accept()
        else:
            event.ignore()

    def mousePressEvent(self, event: Any) -> None:
        """Move the view with the middle button."""
        if event.button() == Qt.MouseButton.MiddleButton:
            self._panned = event.position().toPoint()
            event.accept()
            return
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: Any) -> None:
        """Move the view along."""
        if self._panned is None:
            super().mouseMoveEvent(event)
            return
        here = event.position().toPoint()
        for bar, step in (
            (self.horizontalScrollBar(), here.x() - self._panned.x()),
            (self.verticalScrollBar(), here.y() - self._panned.y()),
        ):
            bar.setValue(bar.value() - step)
        self._panned = here

    def mouseReleaseEvent(self, event: Any) -> None:
        """End what the mouse does."""
        self._panned = None
        super().mouseReleaseEvent(event)

    # ---------------------------------------------------------------------------------- keys

    def event(self, event: Any) -> bool:
        """Keep our keys from the shortcuts of the window."""
        if event.type() == QEvent.Type.ShortcutOverride and self._meaning(event):
            event.accept()
            return True
        return bool(super().event(event))

    def _meaning(self, event: Any) -> str:
        """Return what a key asks for, empty when nothing."""
        for sequence, action in _SEQUENCES.items():
            if event.matches(sequence):
                return action
        key, held = event.key(), event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        if key in _TOWARDS:
            return {Qt.KeyboardModifier.NoModifier: "go", Qt.KeyboardModifier.ControlModifier: "move"}.get(
                held, ""
            )
        if key in (_Key.Key_Plus, _Key.Key_Equal, _Key.Key_Minus, _Key.Key_0):
            return "zoom"
        if held:
            return ""
        return "escape" if key == _Key.Key_Escape else _ACTIONS.get(key, "")

    def keyPressEvent(self, event: Any) -> None:
        """Do what the key asks for, see the class."""
        meaning = self._meaning(event)
        if meaning == "go":
            self.go(*_TOWARDS[event.key()])
        elif meaning == "move":
            x, y = _TOWARDS[event.key()]
            items = {name: self.drawing.nodes[name] for name in self.drawing.selected_nodes()}
            if items:
                places = {n: (item.x() + x * _STEP, item.y() + y * _STEP) for n, item in items.items()}
                self.drawing.moved.emit(places)
        elif meaning == "zoom":
            zooms = {_Key.Key_Minus: 1 / _ZOOM, _Key.Key_Plus: _ZOOM, _Key.Key_Equal: _ZOOM}
            self.fit() if event.key() == _Key.Key_0 else self.zoom(zooms[event.key()])
        elif meaning == "select all":
            self.drawing.select(*self.drawing.nodes)
        elif meaning == "escape":
            if not self.drawing.cancel_link():
                self.drawing.clearSelection()
        elif meaning:
            self.asked.emit(meaning)
        else:
            event.ignore()  # not to the scene: Tab leaves the graph
            return
        event.accept()

    def go(self, x: float, y: float) -> None:
        """Select the nearest node in a direction; any one while none is selected."""
        nodes, here = self.drawing.nodes, self.drawing.selected_nodes()
        if not nodes:
            return
        if not here:
            self._select(min(nodes, key=lambda name: (nodes[name].x(), nodes[name].y())))
            return
        start = nodes[here[-1]].sceneBoundingRect().center()

        def cost(name: str) -> tuple[bool, float]:
            way = nodes[name].sceneBoundingRect().center() - start
            ahead, aside = way.x() * x + way.y() * y, abs(way.x() * y) + abs(way.y() * x)
            return ahead < max(1.0, aside / 2), ahead + 2 * aside

        found = min((name for name in nodes if name != here[-1]), key=cost, default=None)
        if found is not None and not cost(found)[0]:
            self._select(found)

    def _select(self, name: str) -> None:
        self.drawing.select(name)
        self.ensureVisible(self.drawing.nodes[name], 10, 10)

    # ---------------------------------------------------------------------------------- menu

    def contextMenuEvent(self, event: Any) -> None:
        """Offer what can be done here."""
        where = self.mapToScene(event.pos())
        self.menu.clear()
        if self.drawing.selectedItems():
            self.menu.addAction("Remove what is selected", lambda: self.asked.emit("remove"))
        category = ""
        for kind in NODE_TYPES.values():
            if kind.category != category:
                category = kind.category
                self.menu.addSection(category.capitalize())
            add = self.menu.addAction(kind.title)
            add.setObjectName(f"add_{kind.name}")
            add.triggered.connect(lambda _=False, name=kind.name: self.add_wanted.emit(name, where))
        self.menu.popup(event.globalPos())
