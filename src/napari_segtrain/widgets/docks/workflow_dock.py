"""The Workflow dock: a training, a prediction or single steps, drawn as a graph of typed nodes, and run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QGridLayout, QPushButton, QWidget

from ...config import DatasetConfig, SegtrainError
from ...workflow.graph import (
    Graph,
    Link,
    Node,
    Parameters,
    Port,
    PortType,
    node_type,
    read_graph,
    refuse_faults,
    write_graph,
)
from ...workflow.graph.arrange import arrange
from ...workflow.graph.from_config import learns_with
from ...workflow.graph.ports import Kind
from ...workflow.graph.templates import TEMPLATES, template
from ..forms.choice_editors import Combo
from ..forms.folding import sections
from ..forms.form_rows import FormRows
from ..forms.path_edit import PathEdit
from ..forms.save_file import ended, file_to_write
from ..forms.style import DEFAULT_PROJECT, theme_colours
from ..layers.graph_layers import graph_data, graph_of, how_runs_read, runs_of_images
from ..panels.graph.checks import CheckList
from ..panels.graph.editor import GraphEditor
from ..panels.graph.history import History, changed_keys
from ..panels.graph.looks import Theme
from ..panels.graph.node_panel import NodePanel
from ..panels.heading import Heading
from ..panels.preferences import preferences
from ..panels.run_panel import RunPanel
from ..sessions.graph_session import GraphSession
from .graph_of_form import graph_of_form
from .job_dock import JobDock
from .other_docks import find_dock, show_dock
from .train_dock import TrainDock

_FILES = "Workflows (*.json)"


class WorkflowDock(JobDock):
    """Draw a graph, check it, keep it as a file, run it.

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
        self._shown_chosen = False
        self._before = self._ran = Graph()
        self.history = History()
        self.editor = GraphEditor(self.history, self._theme())
        self.node = NodePanel(self.watch)
        self.checks = CheckList()
        self.session = GraphSession(napari_viewer, self.engine, self)
        self.panel = RunPanel(
            {
                "run": (
                    "Run",
                    "Run the graph: each node after those it depends on, and only what has changed",
                ),
                "stop": ("Stop", "End what runs; a training stops with a checkpoint"),
            },
            self.beat,
        )
        self._lay_out()
        self._connect()
        # A plugin's viewer is a proxy, another one for each dock.
        self._window = getattr(napari_viewer, "__wrapped__", napari_viewer).window
        drawn = _DRAWN.get(self._window, Graph())
        self._on_graph()
        self._on_idle()
        self.set_value(drawn)
        self._warm()

    def value(self) -> Graph:
        """Return the graph."""
        return self.history.graph

    def set_value(self, graph: Graph) -> None:
        """Show another graph; the one before comes back with Undo."""
        self.node.forget()
        self.history.edit(lambda _: graph)
        self._on_node(next(iter(self.editor.scene.selected_nodes()), ""))
        QTimer.singleShot(0, self.editor.show_all)  # when the drawing has its size

    # -------------------------------------------------------------------------------- layout

    def _lay_out(self) -> None:
        self.template = Combo("template")
        self.template.set_items(
            [
                *((name.replace("_", " "), name) for name in TEMPLATES),
                ("the Train dock's experiment", _OF_TRAIN),
            ]
        )
        self.template.setAccessibleName("Template")
        self.use = _button(
            "use_template", "Use", "Show this template in the place of the graph; Undo brings it back"
        )
        self.open = _button(
            "open_graph", "Open…", "Open a graph from a file; Undo brings back the one before"
        )
        self.save = _button("save_graph", "Save…", "Write the graph to a file")
        self.of_layer = _button(
            "graph_of_layer",
            "Graph of the selected layer",
            "Open the graph that made the selected layer; Undo brings back the one before",
        )
        body = sections(
            {
                "Begin with": self._start_rows(),
                "Graph": self.editor,
                "Node": self.node,
                "Check": self.checks,
                "Result": self._result_rows(),
            }
        )
        self._stack(Heading("Draw a workflow", "Workflow", self.open, self.save), body, self.panel)
        self._on_template()

    def _start_rows(self) -> QWidget:
        box = QWidget()
        rows = QGridLayout(box)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(4)
        rows.addWidget(self.template, 0, 0)
        rows.addWidget(self.use, 0, 1)
        rows.addWidget(self.of_layer, 1, 0, 1, 2)
        rows.setColumnStretch(0, 1)
        return box

    def _result_rows(self) -> FormRows:
        self.project = PathEdit(
            "project", "Folder that gets the runs of trainers whose own project is the default."
        )
        self.project.set_value(preferences().project)
        self.shown = Combo("shown_output")
        self.shown.setToolTip(
            "The output that becomes new layers when the graph has run; they remember the graph."
        )
        rows = FormRows()
        rows.add_row("Project", self.project)
        rows.add_row("Show as layers", self.shown)
        return rows

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
        self.shown.activated.connect(self._on_shown_chosen)
        self.of_layer.clicked.connect(lambda _=False: self._open_graph_of_layer())
        self.panel.buttons["run"].clicked.connect(lambda _=False: self.run())
        self.panel.buttons["stop"].clicked.connect(self.session.cancel)
        self._connect_job()
        self.session.said.connect(self.panel.wait)
        self.session.statuses_changed.connect(self.editor.scene.show_status)
        self.session.failed.connect(self.editor.select)

    # ------------------------------------------------------------------------------- actions

    def run(self) -> None:
        """Run the graph as it is drawn now; says why not when it cannot."""
        try:
            graph = self.value()
            self.node.refuse_unreadable(graph)
            refuse_faults(graph)
            project = self.project.value() or DEFAULT_PROJECT
            for node in graph.of_type("trainer"):
                if getattr(node.config, "project", None) == _TRAINER_PROJECT:
                    graph = graph.configure(node.name, {"project": str(project)})
        except SegtrainError as error:
            self._refuse(str(error))
            return
        start = partial(self._start, graph, self.value(), project)
        if runs := runs_of_images(graph):
            self.panel.enable(run=False, stop=False)
            self.panel.wait("Reading how the run read its images …")
            self._ask(partial(how_runs_read, runs), start, self._on_idle)
        else:
            self._try(start)

    def _try(self, start: Callable[[Any], None]) -> None:
        try:
            start({})
        except SegtrainError as error:
            self._refuse(str(error))

    def _start(self, graph: Graph, drawn: Graph, project: Path, read: Mapping[str, DatasetConfig]) -> None:
        """Run a graph whose images are read as runs have read theirs; raises `SegtrainError`."""
        shown = self.shown.value()
        data = graph_data(self.viewer, graph, read)
        self.session.start(graph, data, [shown] if shown else [], project)
        self._ran = drawn
        self.editor.scene.show_status({})
        self._enable(idle=False)

    def _enable(self, *, idle: bool) -> None:
        self.panel.enable(run=idle, stop=not idle)

    def _open_graph_of_layer(self) -> None:
        try:
            self.set_value(graph_of(self.viewer.layers.selection.active))
        except SegtrainError as error:
            self._refuse(str(error))

    def _use_template(self) -> None:
        if self.template.value() == _OF_TRAIN:
            self._use_train_dock()
            return
        graph = template(self.template.value())
        self.set_value(graph.move(arrange(graph)))

    def _use_train_dock(self) -> None:
        """Show what the Train dock would start as a graph."""
        train = find_dock(self, TrainDock)
        if train is None:
            show_dock(self, TrainDock, "Train")
            self._refuse("Choose images and targets in the Train dock, and press Use again")
            return
        try:
            self.set_value(graph_of_form(self.viewer, train.form, train.project.value()))
        except SegtrainError as error:
            self._refuse(str(error))

    def _open_graph(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open a workflow", "", _FILES)
        if path:
            self._ask(lambda: read_graph(path), self.set_value)

    def _save_graph(self) -> None:
        try:
            self.node.refuse_unreadable(self.value())
        except SegtrainError as error:
            self._refuse(str(error))
            return
        name = "workflow.json"
        path = file_to_write(self, "Save the workflow", name, _FILES, lambda typed: ended(typed, ".json"))
        if path is not None:
            graph = self.value()
            self._ask(lambda: write_graph(path, graph), lambda written: self.panel.say(f"Saved {written}"))

    def _rename(self, name: str, new: str) -> None:
        free = not self.value().has(new)
        if free:
            self.node.rename(name, new)
        if self.editor.edit(lambda graph: graph.rename(name, new)):
            self.editor.select(new)
        elif free:
            self.node.rename(new, name)

    def _configure(self, name: str, config: Parameters) -> None:
        # Typing one value is one step of undo, which two values are not.
        keys = " ".join(changed_keys(self.value().node(name).config, config))
        self.editor.edit(lambda graph: graph.configure(name, config), f"configure {name} {keys}")

    def _disconnect(self, link: Link) -> None:
        ends = (link.source, link.source_port, link.target, link.target_port)
        self.editor.edit(lambda graph: graph.disconnect(*ends))

    # -------------------------------------------------------------------------- what happens

    def _on_template(self) -> None:
        name = self.template.value()
        self.template.setToolTip(TEMPLATES[name][0] if name in TEMPLATES else _OF_TRAIN_TIP)

    def _on_graph(self) -> None:
        graph = self.value()
        _DRAWN[self._window] = graph
        self.checks.show_graph(graph)
        if not self.session.busy:
            self._show_statuses()
        ports = [(node, port) for node in graph.nodes for port in _visible(graph, node)]
        offered = [(f"{node.name}.{port.label}", (node.name, port.name)) for node, port in ports]
        wanted = _followed(self.shown.value(), self._before, graph)
        self._before = graph
        self._shown_chosen &= wanted is None or wanted in [output for _, output in offered]
        self.shown.set_items(
            [("nothing", None), *offered], wanted if self._shown_chosen else _result_of(graph)
        )

    def _on_shown_chosen(self, _: int) -> None:
        self._shown_chosen = True  # by the user: it stays as long as the graph has it

    def _on_idle(self) -> None:
        super()._on_idle()
        self._show_statuses()

    def _show_statuses(self) -> None:
        """Show how far the last run came, on the nodes for which that is still true."""
        now, before = self.value(), self._ran
        changed = [node.name for node in now.nodes if not _is_same(node.name, before, now)]
        changed += [other for name in changed for other in learns_with(now, name)]
        stale = now.downstream(*changed) | set(changed)
        statuses = {name: words for name, words in self.session.statuses.items() if name not in stale}
        self.editor.scene.show_status(statuses)

    def _on_node(self, name: str) -> None:
        if name != ("" if self.node.node is None else self.node.node.name):
            self.history.end_step()
        self.node.show_node(self.value(), name)

    def _theme(self) -> Theme:
        return Theme(*theme_colours(self.viewer.theme))

    def shut_down(self) -> None:
        """Let go of viewer and engine; what runs is stopped."""
        self.editor.scene.let_go()
        super().shut_down()

    def resizeEvent(self, event: Any) -> None:
        """Let the drawing grow with the dock."""
        super().resizeEvent(event)
        self.editor.make_room(self.height())

    def _on_style(self) -> None:
        super()._on_style()
        if not self._closed:
            self.editor.restyle(self._theme())


_OF_TRAIN = "train_dock"
_OF_TRAIN_TIP = "The images, targets and settings of the Train dock, as a graph."
_NOTHING_TO_SEE = {
    *(Kind.NETWORK, Kind.OPTIMIZER, Kind.LOSS_FN, Kind.GRADIENTS, Kind.PICTURE),
    *(Kind.TRAINING, Kind.VALIDATION, Kind.TEST),
}
"""Outputs of which there is nothing to be seen or told."""
_DRAWN: WeakKeyDictionary[Any, Graph] = WeakKeyDictionary()
"""What was drawn last in each window: a dock that is closed and opened again has it."""
_TRAINER_PROJECT = node_type("trainer").config.model_fields["project"].default


def _result_of(graph: Graph) -> tuple[str, str] | None:
    """Return the output that shows best what a graph does: scores, or what is predicted last."""
    for kind, port in (("metrics", "metrics"), ("repeat", "history"), ("trainer", "metrics")):
        for node in graph.of_type(kind):
            return node.name, port
    for port in ("predictions", "output"):
        for node in reversed(graph.nodes):
            used = port == "predictions" or graph.link_into(node.name, "input") is not None
            if node.kind.output(port) is not None and used:
                return node.name, port
    return None


def _visible(graph: Graph, node: Node) -> list[Port]:
    """Return the outputs of a node that are something to see, or numbers."""
    return [
        port
        for port in node.kind.outputs
        if not set(port.kinds) & _NOTHING_TO_SEE
        and not (
            port.type is PortType.TENSOR and port.follows and not graph.link_into(node.name, port.follows)
        )
    ]


def _is_same(name: str, before: Graph, now: Graph) -> bool:
    """Return whether a node says and gets what it did before."""
    if not before.has(name):
        return False
    moved = before.node(name).replace(position=now.node(name).position)
    return moved == now.node(name) and set(before.links_into(name)) == set(now.links_into(name))


def _followed(output: tuple[str, str] | None, before: Graph, after: Graph) -> tuple[str, str] | None:
    """Return an output by the name that its node has now, where that was renamed."""
    if output is None or after.has(output[0]) or len(before.nodes) != len(after.nodes):
        return output
    for old, new in zip(before.nodes, after.nodes, strict=True):
        if old.name == output[0] and old.type == new.type:
            return new.name, output[1]
    return output


def _button(name: str, text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setToolTip(tip)
    return button
