"""The node editor: the drawing, and controls that do by keyboard what the mouse does in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.compat import isalive
from qtpy.QtCore import QPointF, Signal
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from ....config import SegtrainError
from ....workflow.graph import NODE_TYPES, Graph, Port
from ....workflow.graph.arrange import WIDTH, arrange
from ...forms.choice_editors import Combo
from ...forms.form_rows import FormRows
from .history import History
from .looks import Theme
from .scene import GraphScene
from .view import GraphView

_LOWEST, _SHARE = 280, 0.45
"""Pixels of the drawing that are seen at least, and its share of a higher dock."""
_READABLE = 0.75
"""Smallest zoom at which a graph is shown at first: its text is to be read."""
_BESIDE = 40.0

_BUTTONS = {
    "undo": ("Undo", "Take back the last edit (Ctrl+Z)"),
    "redo": ("Redo", "Make the edit again that was taken back (Ctrl+Shift+Z)"),
    "arrange": ("Arrange", "Put the nodes in columns, so that links lead from left to right (L)"),
    "fit": ("Fit", "Show the whole graph (0)"),
    "remove": ("Remove", "Remove the selected nodes and links (Del)"),
}


class GraphEditor(QWidget):
    """Shows the graph of a history, and edits it.

    Parameters
    ----------
    history
        The graph.
    theme
        The colours.
    """

    selected = Signal(str)
    """Name of the only node that is selected, empty without one."""
    refused = Signal(str)
    """Why an edit cannot be made, such as ``"Cannot connect batch to tensor"``."""
    configure_asked = Signal()
    """The user wants to go to the parameters."""

    def __init__(self, history: History, theme: Theme) -> None:
        super().__init__()
        self.history = history
        self.scene = GraphScene(theme)
        self.view = GraphView(self.scene)
        self._make_controls()
        self._lay_out()
        self._connect()
        self._on_graph()
        # The scene outlives this widget, and says that nothing is selected while it takes its items apart.
        self.destroyed.connect(partial(_silence, self.scene))

    def _make_controls(self) -> None:
        self.kind = Combo("node_type")
        self.kind.set_items([(f"{k.title} ({k.category})", k.name) for k in NODE_TYPES.values()])
        self.kind.setToolTip("A node to add. In the drawing: the right mouse button, or A")
        self.source, self.target = Combo("link_from"), Combo("link_to")
        self.source.setToolTip(
            "The output that a link begins at; in the drawing, drag from a port to another one"
        )
        self.target.setToolTip("The input that a link ends at; those that are taken are not offered")
        self.add_button = _button("add_node", "Add", "Add this node to the graph")
        self.connect_button = _button("connect", "Connect", "Make this link, or say why it cannot be")
        self.buttons = {name: _button(name, *texts) for name, texts in _BUTTONS.items()}

    def _lay_out(self) -> None:
        self.view.setMinimumHeight(_LOWEST)
        tools = QGridLayout()
        tools.setSpacing(4)
        for column, button in enumerate(self.buttons.values()):
            tools.addWidget(button, 0, column)
        rows = FormRows()
        rows.add_row("Node", _beside(self.kind, self.add_button))
        rows.add_row("Link from", self.source)
        rows.add_row("Link to", self.target)
        rows.add(self.connect_button)
        self.kind.setAccessibleName("Node")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(tools)
        layout.addWidget(self.view, 1)
        layout.addWidget(rows)

    def _connect(self) -> None:
        self.history.changed.connect(self._on_graph)
        self.scene.connect_wanted.connect(self.connect_ports)
        self.scene.moved.connect(lambda places: self.edit(lambda graph: graph.move(places)))
        self.scene.selectionChanged.connect(self._on_selection)
        self.view.asked.connect(self._do)
        self.view.add_wanted.connect(self.add)
        self.add_button.clicked.connect(lambda _=False: self.add(self.kind.value()))
        self.connect_button.clicked.connect(lambda _=False: self._connect_chosen())
        for name, button in self.buttons.items():
            button.clicked.connect(lambda _=False, name=name: self._do(name))

    # --------------------------------------------------------------------------------- edits

    def edit(self, change: Callable[[Graph], Graph], tag: str = "") -> bool:
        """Change the graph, or say why it cannot be changed; return whether it was."""
        try:
            self.history.edit(change, tag)
        except SegtrainError as error:
            self.refused.emit(str(error))
            return False
        return True

    def connect_ports(self, source: str, source_port: str, target: str, target_port: str) -> None:
        """Make a link, or say why it cannot be."""
        self.edit(lambda graph: graph.connect(source, source_port, target, target_port))

    def add(self, kind: str, where: QPointF | None = None) -> None:
        """Add a node, by default beside the others, and select it."""
        if where is None:
            where = self._free_place()
        node = self.history.graph.new_node(kind, position=(round(where.x()), round(where.y())))
        if self.edit(lambda graph: graph.add(node)):
            self.select(node.name)

    def select(self, name: str) -> None:
        """Select a node, and bring it into view."""
        if name in self.scene.nodes:
            self.scene.select(name)
            self.view.ensureVisible(self.scene.nodes[name], 10, 10)

    def remove(self) -> None:
        """Remove what is selected."""
        names, links = self.scene.selected_nodes(), self.scene.selected_links()

        def without(graph: Graph) -> Graph:
            for link in links:
                graph = graph.disconnect(link.source, link.source_port, link.target, link.target_port)
            return graph.remove(*names)

        self.edit(without)

    def arrange(self) -> None:
        """Put the nodes in columns, and show them all."""
        self.edit(lambda graph: graph.move(arrange(graph)))
        self.show_all()

    def show_all(self) -> None:
        """Show the whole graph, or its begin where its text could not be read."""
        self.view.fit(_READABLE)

    def make_room(self, height: int) -> None:
        """Take a share of a dock's height for the drawing."""
        self.view.setMinimumHeight(max(_LOWEST, round(_SHARE * height)))

    def restyle(self, theme: Theme) -> None:
        """Take the colours of another theme."""
        self.scene.restyle(theme)

    def _free_place(self) -> QPointF:
        """Return a place to the right of the selected node, or below all others where that is taken."""
        items = self.scene.nodes
        if not items:
            return QPointF(0, 0)
        beside = self.scene.selected_nodes()[-1:] or list(items)[-1:]
        place = items[beside[0]].pos() + QPointF(WIDTH + _BESIDE, 0)
        if any(item.sceneBoundingRect().contains(place + QPointF(5, 5)) for item in items.values()):
            lowest = max(item.sceneBoundingRect().bottom() for item in items.values())
            place = QPointF(items[beside[0]].x(), lowest + _BESIDE / 2)
        return place

    def _do(self, action: str) -> None:
        actions: dict[str, Callable[[], object]] = {
            "undo": self.history.undo,
            "redo": self.history.redo,
            "arrange": self.arrange,
            "fit": self.view.fit,
            "remove": self.remove,
            "add": self.kind.setFocus,
            "connect": self._begin_link,
            "configure": self.configure_asked.emit,
        }
        actions[action]()

    def _begin_link(self) -> None:
        """Go to the controls that make a link, with an output of the selected node chosen."""
        for name in self.scene.selected_nodes():
            for offered in self.source.offered():
                if offered[0] == name:
                    self.source.set_value(offered)
                    break
        self.source.setFocus()

    def _connect_chosen(self) -> None:
        source, target = self.source.value(), self.target.value()
        if source is None or target is None:
            self.refused.emit("There is nothing to connect: add nodes that have an output and an open input")
        else:
            self.connect_ports(*source, *target)

    # -------------------------------------------------------------------------- what happens

    def _on_graph(self) -> None:
        graph = self.history.graph
        self.scene.show_graph(graph)
        self.source.set_items(
            [(_spelt(n.name, p), (n.name, p.name)) for n in graph.nodes for p in n.kind.outputs]
        )
        self.target.set_items(
            [
                (_spelt(node.name, port), (node.name, port.name))
                for node in graph.nodes
                for port in node.kind.inputs
                if graph.link_into(node.name, port.name) is None
            ]
        )
        self.connect_button.setEnabled(bool(self.source.count() and self.target.count()))
        self._on_selection()

    def _on_selection(self) -> None:
        if not isalive(self.scene):
            return
        names = self.scene.selected_nodes()
        self.selected.emit(names[0] if len(names) == 1 else "")
        self.view.setAccessibleDescription(self._in_words(names))
        some = bool(names or self.scene.selected_links())
        there = bool(self.history.graph.nodes)
        states = {"undo": self.history.can_undo, "redo": self.history.can_redo, "remove": some}
        for name, button in self.buttons.items():
            button.setEnabled(states.get(name, there))

    def _in_words(self, names: list[str]) -> str:
        graph = self.history.graph
        if len(names) != 1:
            return f"{len(graph.nodes)} nodes, {len(graph.links)} links, {len(names)} nodes selected"
        links = [str(link) for link in (*graph.links_into(names[0]), *graph.links_from(names[0]))]
        return f"{graph.node(names[0]).kind.title} {names[0]}: {'; '.join(links) or 'no links'}"


def _silence(scene: GraphScene, *_: object) -> None:
    scene.let_go()


def _spelt(node: str, port: Port) -> str:
    return f"{node}.{port.label}"


def _button(name: str, text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button


def _beside(combo: Combo, button: QPushButton) -> QWidget:
    box = QWidget()
    row = QHBoxLayout(box)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(4)
    row.addWidget(combo, 1)
    row.addWidget(button)
    box.setFocusProxy(combo)
    box.setToolTip(combo.toolTip())
    return box
