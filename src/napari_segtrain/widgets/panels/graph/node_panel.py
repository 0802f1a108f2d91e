"""Name, parameters and links of the selected node."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QLabel, QLineEdit, QListWidget, QPushButton, QVBoxLayout, QWidget

from ....config import SegtrainError
from ....workflow.graph import Graph, GraphError, Link, Node, Parameters
from ...forms.form import Form
from ...forms.form_rows import FormRows
from ...forms.schema import Key, Shape, keys_of
from ...forms.yaml_edit import YamlEdit
from ...layers.layer_choice import LayerWatch
from .layer_edits import ImageEdit, LayerTicks, PathText

_PATHS = {
    "data": "folder",
    "save_to": "folder",
    "project": "folder",
    "config": "file",
    "run": "any",
    "weights": "any",
}
"""Parameters that are a file or a folder, and what can be looked for."""
_NONE = "No node is selected: click one, or go to the drawing and press an arrow key."
_ROWS = 5


class NodePanel(QWidget):
    """Shows one node; what the user changes is said by signals.

    Parameters
    ----------
    watch
        Says which layers there are.
    """

    renamed = Signal(str, str)
    """The name, and the new one."""
    configured = Signal(str, object)
    """The name, and the parameters."""
    disconnected = Signal(object)
    """The `Link` that shall go."""

    def __init__(self, watch: LayerWatch) -> None:
        super().__init__()
        self._watch = watch
        self._node: Node | None = None
        self._forms: dict[str, Form] = {}
        """By the name of the node: what cannot be read yet in one stays there."""
        self._shown: dict[str, Parameters] = {}
        """By the name of the node the parameters that the graph had of it when it was shown."""
        self._links: tuple[Link, ...] = ()
        self.text = QLabel(_NONE)
        self.text.setWordWrap(True)
        self.name = QLineEdit()
        self.name.setObjectName("node_name")
        self.name.setToolTip("What links, files and --set call the node; letters, digits, _ and -")
        self.links = QListWidget()
        self.links.setObjectName("node_links")
        self.links.setAccessibleName("Links of the node")
        self.links.setToolTip("Links of the node")
        self.links.setWordWrap(True)
        self.links.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.cut = QPushButton("Disconnect")
        self.cut.setObjectName("disconnect")
        self.cut.setToolTip("Remove the link that is chosen in the list")
        rows = FormRows()
        rows.add_row("Name", self.name)
        self._inside = QWidget()
        self._column = QVBoxLayout(self._inside)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(4)
        for widget in (rows, self.links, self.cut):
            self._column.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.text)
        layout.addWidget(self._inside)
        self._inside.hide()
        self.name.editingFinished.connect(self._on_name)
        self.cut.clicked.connect(lambda _=False: self._on_cut())
        self.links.currentRowChanged.connect(lambda row: self.cut.setEnabled(row >= 0))

    @property
    def node(self) -> Node | None:
        """The node that is shown."""
        return self._node

    def form(self) -> Form | None:
        """Return the form of the node that is shown."""
        return None if self._node is None else self._forms.get(self._node.name)

    def show_node(self, graph: Graph, name: str) -> None:
        """Show a node of a graph, or that none is selected.

        What cannot be read yet in the form of a node stays, so that it can be mended.
        """
        self._forget(graph)
        self._node = node = graph.node(name) if name and graph.has(name) else None
        self._inside.setVisible(node is not None)
        self.text.setText(_NONE if node is None else f"{node.kind.title}. {node.kind.text}")
        if node is None:
            return
        self.name.setText(node.name)
        self._show_links((*graph.links_into(node.name), *graph.links_from(node.name)))
        shown = self._form_of(node)
        for form in self._forms.values():
            form.setVisible(form is shown)
        value, before = _value_of(shown), self._shown.get(node.name)
        self._shown[node.name] = node.config
        if value is None and before == node.config:
            return
        if value != node.config:  # else the cursor would leave the text that is being typed
            shown.blockSignals(True)
            shown.set_value(node.config)
            shown.blockSignals(False)

    def refuse_unreadable(self, graph: Graph) -> None:
        """Raise when a form shows what cannot be read, and the graph therefore does not have.

        Raises
        ------
        GraphError
            With the name of the node and the message of its form.
        """
        self._forget(graph)
        for name, config in self._shown.items():
            if graph.node(name).config == config:
                try:
                    self._forms[name].value()
                except SegtrainError as error:
                    raise GraphError(f"node '{name}': {error}") from error

    def rename(self, name: str, new: str) -> None:
        """Keep what is typed for a node under its new name."""
        if name in self._forms:
            self._forms[new], self._shown[new] = self._forms.pop(name), self._shown.pop(name)

    def forget(self) -> None:
        """Forget what is typed: another graph comes, whose nodes may be called the same."""
        self._forget(Graph())

    def _forget(self, graph: Graph) -> None:
        """Let go of the forms of nodes that are gone."""
        for name, form in list(self._forms.items()):
            if not (graph.has(name) and graph.node(name).kind.config is form.model):
                self._column.removeWidget(form)
                form.hide()
                form.deleteLater()
                del self._forms[name], self._shown[name]

    def _show_links(self, links: tuple[Link, ...]) -> None:
        if links != self._links:
            self._links = links
            self.links.clear()
            self.links.addItems([str(link) for link in links])
        height = self.links.sizeHintForRow(0) if links else 0
        self.links.setFixedHeight(min(len(links), _ROWS) * height + 4)
        self.links.setVisible(bool(links))
        self.cut.setVisible(bool(links))
        self.cut.setEnabled(self.links.currentRow() >= 0)

    def _form_of(self, node: Node) -> Form:
        if node.name not in self._forms:
            model = node.kind.config
            own = ((key.name, _editor(key, self._watch)) for key in keys_of(model))
            form = Form(model, editors={name: editor for name, editor in own if editor is not None})
            form.setObjectName(f"parameters_{node.type}")
            form.within = node.type
            form.changed.connect(self._on_form)
            self._forms[node.name] = form
            self._column.insertWidget(1, form)
        return self._forms[node.name]

    def _on_form(self) -> None:
        form = self.form()
        value = None if form is None else _value_of(form)
        if self._node is not None and value is not None and value != self._node.config:
            self.configured.emit(self._node.name, value)

    def _on_name(self) -> None:
        if self._node is not None and self.name.text() != self._node.name:
            self.renamed.emit(self._node.name, self.name.text())
            if self._node is not None:  # it keeps its name where the new one is refused
                self.name.setText(self._node.name)

    def _on_cut(self) -> None:
        row = self.links.currentRow()
        if 0 <= row < len(self._links):
            self.disconnected.emit(self._links[row])


def _value_of(form: Form) -> Parameters | None:
    """Return what a form shows, None while it cannot be read: the form says beside the key why."""
    try:
        value: Parameters = form.value()
    except SegtrainError:
        return None
    return value


def _editor(key: Key, watch: LayerWatch) -> Any:
    """Return an editor for what the form has none of its own for."""
    if key.shape is Shape.MAPPING:
        return YamlEdit(key)
    if key.name == "layers":
        return LayerTicks(key, watch)
    if key.name == "image":
        return ImageEdit(key, watch)
    if key.shape is Shape.TEXT and key.name in _PATHS:
        return PathText(key, _PATHS[key.name])
    return None
