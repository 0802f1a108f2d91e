"""The drawing of one graph, and what the mouse does in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtGui import QColor, QPen
from qtpy.QtWidgets import QGraphicsPathItem, QGraphicsScene

from ....workflow.graph import Graph, Link
from .items import LinkItem, NodeItem, PortItem, link_path
from .looks import COLOURS, Theme

_MARGIN = 400.0
"""Pixels around the nodes to which the view can be moved."""


class GraphScene(QGraphicsScene):
    """Shows a graph; what the user wants of it is said by signals, and shown when it has become true.

    Parameters
    ----------
    theme
        The colours.
    """

    connect_wanted = Signal(str, str, str, str)
    """Source, its port, target, its port."""
    moved = Signal(object)
    """Positions of the nodes that were dragged, by name."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.theme = theme
        self.graph = Graph()
        self.nodes: dict[str, NodeItem] = {}
        self.links: dict[Link, LinkItem] = {}
        self._begun: PortItem | None = None
        self._line: QGraphicsPathItem | None = None
        self.restyle(theme)

    # What is shown.

    def show_graph(self, graph: Graph) -> None:
        """Show another graph; what stays the same is not made anew."""
        self.cancel_link()
        known, links = {node.name: node for node in graph.nodes}, set(graph.links)
        self.blockSignals(True)  # what was removed is not selected any more; the history says that it changed
        for link in [link for link in self.links if link not in links]:
            self._drop_link(link)
        for name in list(self.nodes):
            if name not in known or known[name].kind is not self.nodes[name].kind:
                self._drop_node(name)
        self.blockSignals(False)
        for node in graph.nodes:
            if node.name not in self.nodes:
                item = self.nodes[node.name] = NodeItem(node, self.theme)
                self.addItem(item)
            self.nodes[node.name].setPos(*node.position)
        for link in graph.links:
            if link not in self.links:
                source = self.nodes[link.source].port(link.source_port, True)
                target = self.nodes[link.target].port(link.target_port, False)
                self.links[link] = LinkItem(link, source, target)
                self.addItem(self.links[link])
        self.graph = graph
        around = self.itemsBoundingRect()
        self.setSceneRect(around.adjusted(-_MARGIN, -_MARGIN, _MARGIN, _MARGIN))

    def _drop_link(self, link: Link) -> None:
        item = self.links.pop(link)
        item.let_go()
        self.removeItem(item)

    def _drop_node(self, name: str) -> None:
        for link in [link for link in self.links if name in (link.source, link.target)]:
            self._drop_link(link)
        self.removeItem(self.nodes.pop(name))

    def show_status(self, statuses: Mapping[str, str]) -> None:
        """Write on each node how far it is; those that are not named are at nothing."""
        for name, item in self.nodes.items():
            item.show_status(statuses.get(name, ""))

    def restyle(self, theme: Theme) -> None:
        """Take the colours of another theme."""
        self.theme = theme
        self.setBackgroundBrush(theme.canvas)
        for item in self.nodes.values():
            item.restyle(theme)

    def let_go(self) -> None:
        """Say nothing any more."""
        if isalive(self):
            self.blockSignals(True)

    # What is selected.

    def selected_nodes(self) -> list[str]:
        """Return the names of the selected nodes."""
        return [name for name, item in self.nodes.items() if item.isSelected()]

    def selected_links(self) -> list[Link]:
        """Return the selected links."""
        return [link for link, item in self.links.items() if item.isSelected()]

    def select(self, *names: str) -> None:
        """Select these nodes and nothing else."""
        self.blockSignals(True)
        self.clearSelection()
        for name in names:
            self.nodes[name].setSelected(True)
        self.blockSignals(False)
        self.selectionChanged.emit()

    # What the mouse does.

    @property
    def linking(self) -> bool:
        """Whether a link is being drawn."""
        return self._begun is not None

    def port_at(self, where: QPointF) -> PortItem | None:
        """Return the port at a place of the scene."""
        return next((item for item in self.items(where) if isinstance(item, PortItem)), None)

    def cancel_link(self) -> bool:
        """Let go of the link that is being drawn; return whether there was one."""
        if self._begun is None:
            return False
        self._begun = None
        if self._line is not None:
            self.removeItem(self._line)
            self._line = None
        self._mark(None)
        return True

    def mousePressEvent(self, event: Any) -> None:
        """Begin a link at a port; else select, or begin to move."""
        port = self.port_at(event.scenePos())
        if port is None or event.button() != Qt.MouseButton.LeftButton:
            super().mousePressEvent(event)
            return
        self._begun = port
        self._line = QGraphicsPathItem()
        self._line.setPen(QPen(QColor(COLOURS[port.port.type]), 2.5, Qt.PenStyle.DashLine))
        self._line.setZValue(2)
        self.addItem(self._line)
        self._mark(port)
        event.accept()

    def mouseMoveEvent(self, event: Any) -> None:
        """Draw the link to the mouse."""
        if self._begun is None or self._line is None:
            super().mouseMoveEvent(event)
            return
        ends = [self._begun.scenePos(), event.scenePos()]
        self._line.setPath(link_path(*(ends if self._begun.is_output else ends[::-1])))

    def mouseReleaseEvent(self, event: Any) -> None:
        """End a link where a port is, or say where dragged nodes are."""
        begun = self._begun
        if begun is None:
            super().mouseReleaseEvent(event)
            self._tell_moves()
            return
        self.cancel_link()
        ended = self.port_at(event.scenePos())
        if ended is not None and ended is not begun:
            first, second = (begun, ended) if begun.is_output or not ended.is_output else (ended, begun)
            self.connect_wanted.emit(first.node, first.port.name, second.node, second.port.name)

    def _tell_moves(self) -> None:
        places = {name: (item.x(), item.y()) for name, item in self.nodes.items()}
        changed = {n.name: places[n.name] for n in self.graph.nodes if places[n.name] != n.position}
        if changed:
            self.moved.emit(changed)

    def _mark(self, begun: PortItem | None) -> None:
        """Show at every port whether the link that began at a port may end there."""
        for item in self.nodes.values():
            for port in (*item.inputs.values(), *item.outputs.values()):
                if begun is None or port is begun:
                    port.mark(None)
                    continue
                first, second = (begun, port) if begun.is_output else (port, begun)
                ends = (first.node, first.port.name, second.node, second.port.name)
                wrong_way = begun.is_output == port.is_output
                port.mark(wrong_way or bool(self.graph.refusal(*ends)))
