"""The Workflow dock: a training, a prediction or a single step, drawn as a graph of typed nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from ...workflow.graph import TEMPLATES, Graph, Link, Parameters, read_graph, template, write_graph
from ..forms.choice_editors import Combo
from ..forms.folding import sections
from ..forms.style import theme_colours
from ..panels.graph.checks import CheckList
from ..panels.graph.editor import GraphEditor
from ..panels.graph.history import History
from ..panels.graph.looks import Theme
from ..panels.graph.node_panel import NodePanel
from ..panels.heading import Heading
from ..panels.run_panel import RunPanel
from .dock import EngineDock

_FILES = "Workflows (*.json)"


class WorkflowDock(EngineDock):
    """Draw a graph, check it, keep it as a file.

    Parameters
    ----------
    napari_viewer
        The viewer; napari gives it.
    engine_arguments
        Arguments of the engine process, for tests.
    """

    def __init__(self, napari_viewer: Any, engine_arguments: Sequence[str] = ()) -> None:
        super().__init__(napari_viewer, engine_arguments)
        self.setObjectName("workflow_dock")
        self.history = History()
        self.editor = GraphEditor(self.history, self._theme())
        self.node = NodePanel()
        self.checks = CheckList()
        self.panel = RunPanel({}, self.beat)
        self._lay_out()
        self._connect()
        self._on_graph()

    def value(self) -> Graph:
        """Return the graph."""
        return self.history.graph

    def set_value(self, graph: Graph) -> None:
        """Show another graph; the one before comes back with Undo."""
        self.history.edit(lambda _: graph)
        QTimer.singleShot(0, self.editor.show_all)  # when the drawing has its size

    # -------------------------------------------------------------------------------- layout

    def _lay_out(self) -> None:
        self.template = Combo("template")
        self.template.set_items([(name.replace("_", " "), name) for name in TEMPLATES])
        self.template.setAccessibleName("Template")
        self.use = _button(
            "use_template", "Use", "Show this template in the place of the graph; Undo brings it back"
        )
        self.open = _button(
            "open_graph", "Open…", "Open a graph from a file; Undo brings back the one before"
        )
        self.save = _button("save_graph", "Save…", "Write the graph to a file")
        start = QWidget()
        row = QHBoxLayout(start)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.template, 1)
        row.addWidget(self.use)
        body = sections({"Begin with": start, "Graph": self.editor, "Node": self.node, "Check": self.checks})
        self._stack(Heading("Draw a workflow", "Workflow", self.open, self.save), body, self.panel)
        self._on_template()

    def _connect(self) -> None:
        self.template.changed.connect(self._on_template)
        self.use.clicked.connect(lambda _=False: self._use_template())
        self.open.clicked.connect(lambda _=False: self._open_graph())
        self.save.clicked.connect(lambda _=False: self._save_graph())
        self.history.changed.connect(self._on_graph)
        self.editor.selected.connect(self._on_node)
        self.editor.refused.connect(self._refuse)
        self.editor.configure_asked.connect(self.node.name.setFocus)
        self.checks.node_chosen.connect(self.editor.select)
        self.node.renamed.connect(self._rename)
        self.node.configured.connect(self._configure)
        self.node.disconnected.connect(self._disconnect)

    # ------------------------------------------------------------------------------- actions

    def _use_template(self) -> None:
        self.set_value(template(self.template.value()))

    def _open_graph(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a workflow", "", _FILES)
        if path:
            self._ask(lambda: read_graph(path), self.set_value)

    def _save_graph(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the workflow", "workflow.json", _FILES)
        if path:
            graph = self.value()
            self._ask(lambda: write_graph(path, graph), lambda written: self.panel.say(f"Saved {written}"))

    def _rename(self, name: str, new: str) -> None:
        if self.editor.edit(lambda graph: graph.rename(name, new)):
            self.editor.select(new)

    def _configure(self, name: str, config: Parameters) -> None:
        self.editor.edit(lambda graph: graph.configure(name, config), f"configure {name}")

    def _disconnect(self, link: Link) -> None:
        ends = (link.source, link.source_port, link.target, link.target_port)
        self.editor.edit(lambda graph: graph.disconnect(*ends))

    # -------------------------------------------------------------------------- what happens

    def _on_template(self) -> None:
        self.template.setToolTip(TEMPLATES[self.template.value()])

    def _on_graph(self) -> None:
        self.checks.show_graph(self.value())

    def _on_node(self, name: str) -> None:
        self.node.show_node(self.value(), name)

    def _theme(self) -> Theme:
        return Theme(*theme_colours(self.viewer.theme))

    def resizeEvent(self, event: Any) -> None:
        """Let the drawing grow with the dock."""
        super().resizeEvent(event)
        self.editor.make_room(self.height())

    def _on_style(self) -> None:
        super()._on_style()
        if not self._closed:
            self.editor.restyle(self._theme())


def _button(name: str, text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button
