"""What is drawn of a graph: nodes with their ports, and links."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPainterPath, QPainterPathStroker, QPen
from qtpy.QtWidgets import QApplication, QGraphicsItem, QGraphicsPathItem

from ....workflow.graph import Link, Node, Port, PortType
from ....workflow.graph.arrange import HEAD, ROW, WIDTH, height_of
from .looks import COLOURS, RADIUS, SHAPES, Theme, shape_of

_REACH = 10.0
"""Pixels around a port within which it is met."""
_PAD = 12.0
_BEND = 60.0
"""Pixels that a link leads straight on, at least."""
_STATUS = QRectF(0, 0, 150, 18)
"""Room of the status above a node."""
_FAINT = 0.25
"""How much is seen of a port that the link under way cannot end at."""


class PortItem(QGraphicsItem):
    """One end that links can have, with its name beside it.

    Parameters
    ----------
    node
        The node that it belongs to.
    port
        Name and type.
    is_output
        Whether links begin here.
    """

    def __init__(self, node: NodeItem, port: Port, is_output: bool) -> None:
        super().__init__(node)
        self.owner, self.port, self.is_output = node, port, is_output
        self.refused: bool | None = None
        self.setToolTip(port.label)
        self.setCursor(Qt.CursorShape.CrossCursor)

    @property
    def node(self) -> str:
        """Name of the node."""
        return self.owner.name

    def boundingRect(self) -> QRectF:
        """Return where it is met."""
        return QRectF(-_REACH, -_REACH, 2 * _REACH, 2 * _REACH)

    def mark(self, refused: bool | None) -> None:
        """Show whether the link under way may end here; None while there is none."""
        if refused is not self.refused:
            self.refused = refused
            self.setOpacity(_FAINT if refused else 1.0)
            self.update()

    def paint(self, painter: QPainter, option: Any, widget: Any = None) -> None:
        """Draw the shape of its type; larger where the link under way may end."""
        painter.setPen(QPen(self.owner.theme.text, 1.0))
        painter.setBrush(QColor(COLOURS[self.port.type]))
        path = shape_of(self.port.type, RADIUS * 1.5) if self.refused is False else SHAPES[self.port.type]
        painter.drawPath(path)


class NodeItem(QGraphicsItem):
    """A node: title, name and ports, and above it how far it is.

    Parameters
    ----------
    node
        What is shown.
    theme
        The colours.
    """

    def __init__(self, node: Node, theme: Theme) -> None:
        super().__init__()
        self.name, self.kind, self.theme = node.name, node.kind, theme
        self.status = ""
        self.links: set[LinkItem] = set()
        self._small = QFont(QApplication.font())
        self._bold = QFont(self._small)
        self._bold.setBold(True)
        self.size = QRectF(0, 0, self._width(), height_of(node))
        self.inputs = {port.name: PortItem(self, port, False) for port in self.kind.inputs}
        self.outputs = {port.name: PortItem(self, port, True) for port in self.kind.outputs}
        for side, x in ((self.inputs, 0.0), (self.outputs, self.size.width())):
            for row, item in enumerate(side.values()):
                item.setPos(x, HEAD + ROW * (row + 0.5) - 2)
        flag = QGraphicsItem.GraphicsItemFlag
        self.setFlags(flag.ItemIsMovable | flag.ItemIsSelectable | flag.ItemSendsScenePositionChanges)
        self.setCacheMode(QGraphicsItem.CacheMode.DeviceCoordinateCache)
        self.setToolTip(self.kind.text)
        self.setPos(*node.position)
        self.setZValue(1)

    def _width(self) -> float:
        small, bold = QFontMetricsF(self._small), QFontMetricsF(self._bold)
        inputs = max((small.horizontalAdvance(port.name) for port in self.kind.inputs), default=0.0)
        outputs = max((small.horizontalAdvance(port.name) for port in self.kind.outputs), default=0.0)
        needed = max(inputs + outputs + 3.5 * _PAD, bold.horizontalAdvance(self.kind.title) + 2 * _PAD)
        return float(min(WIDTH, max(needed, small.horizontalAdvance(self.name) + 2 * _PAD, 120.0)))

    def boundingRect(self) -> QRectF:
        """Return the node with its frame, and the status above it."""
        wider = max(0.0, _STATUS.width() - self.size.width())
        return self.size.adjusted(-2, -_STATUS.height() - 2, 2 + wider, 2)

    def shape(self) -> QPainterPath:
        """Return where it is met: the node alone."""
        path = QPainterPath()
        path.addRect(self.size)
        return path

    def port(self, name: str, is_output: bool) -> PortItem:
        """Return a port by its name."""
        return (self.outputs if is_output else self.inputs)[name]

    def show_status(self, text: str) -> None:
        """Write in words how far the node is."""
        if text != self.status:
            self.status = text
            self.update()

    def restyle(self, theme: Theme) -> None:
        """Take the colours of another theme."""
        self.theme = theme
        self.update()

    def paint(self, painter: QPainter, option: Any, widget: Any = None) -> None:
        """Draw frame and texts; the frame of a selected node is thick."""
        width = 2.5 if self.isSelected() else 1.0
        painter.setPen(QPen(self.theme.text if self.isSelected() else self.theme.edge, width))
        painter.setBrush(self.theme.body)
        painter.drawRoundedRect(self.size, 6, 6)
        painter.setPen(self.theme.text)
        painter.setFont(self._bold)
        left, right = self.size.left() + _PAD, self.size.right() - _PAD
        line = QRectF(left, 5, right - left, 18)
        painter.drawText(line, _LEFT, self.kind.title)
        painter.setFont(self._small)
        fitting = painter.fontMetrics().elidedText(self.name, Qt.TextElideMode.ElideRight, int(line.width()))
        painter.drawText(_STATUS.translated(2, -_STATUS.height()), _LEFT, self.status)
        painter.drawText(line.translated(0, 18), _LEFT, fitting)
        for side, flags in ((self.inputs, _LEFT), (self.outputs, _RIGHT)):
            for item in side.values():
                box = QRectF(left, item.y() - ROW / 2, right - left, ROW)
                painter.drawText(box, flags, item.port.name)

    def itemChange(self, change: Any, value: Any) -> Any:
        """Take the links along."""
        if change == QGraphicsItem.GraphicsItemChange.ItemScenePositionHasChanged:
            for link in self.links:
                link.follow()
        return super().itemChange(change, value)


_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


class LinkItem(QGraphicsPathItem):
    """A link between two ports.

    Parameters
    ----------
    link
        What is shown.
    source, target
        Where it begins and ends.
    """

    def __init__(self, link: Link, source: PortItem, target: PortItem) -> None:
        super().__init__()
        self.link, self.source, self.target = link, source, target
        kinds = (source.port.type, target.port.type)
        self._colour = QColor(
            COLOURS[next((kind for kind in kinds if kind is not PortType.ANY), PortType.ANY)]
        )
        self.setFlag(QGraphicsItem.GraphicsItemFlag.ItemIsSelectable)
        self.setToolTip(str(link))
        for end in (source, target):
            end.owner.links.add(self)
        self.follow()

    def follow(self) -> None:
        """Lead from where its ports are now."""
        self.setPath(link_path(self.source.scenePos(), self.target.scenePos()))

    def let_go(self) -> None:
        """Have its nodes forget it."""
        for end in (self.source, self.target):
            end.owner.links.discard(self)

    def shape(self) -> QPainterPath:
        """Return where it is met: some pixels around the line."""
        stroker = QPainterPathStroker()
        stroker.setWidth(_REACH)
        return stroker.createStroke(self.path())

    def paint(self, painter: QPainter, option: Any, widget: Any = None) -> None:
        """Draw the line; a selected one is thick."""
        painter.setPen(QPen(self._colour, 4.5 if self.isSelected() else 2.0))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(self.path())


def link_path(start: QPointF, end: QPointF) -> QPainterPath:
    """Return a curve that leaves to the right and arrives from the left."""
    path = QPainterPath(start)
    bend = max(_BEND, abs(end.x() - start.x()) / 2)
    path.cubicTo(start + QPointF(bend, 0), end - QPointF(bend, 0), end)
    return path
