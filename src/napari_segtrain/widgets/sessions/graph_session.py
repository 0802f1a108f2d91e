"""One run of a workflow graph, from its button to what its nodes gave."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from ...engine.protocol import RunGraph
from ...runs import EpochDone, Event, Finished, NodeOutput, NodeStatus, Progress, RunState
from ...runs.scratch import Scratch, open_memmap
from ...workflow.graph import Graph, graph_to_dict
from ..layers.graph_layers import GraphData, add_output
from .engine_job import EngineJob
from .engine_session import EngineSession
from .followers import perform

logger = logging.getLogger(__name__)

_MOST_NUMBERS = 8
"""Numbers of an output that are said at its end."""
_WORDS = {
    "waiting": "… waiting",
    "running": "▶ running",
    "done": "✓ done",
    "cached": "= cached",
    "skipped": "– not asked for",
    "failed": "✗ failed",
    "cancelled": "■ cancelled",
}


class GraphSession(EngineJob):
    """Has the engine run a graph, says where its nodes are, and shows what outputs gave."""

    statuses_changed = Signal(object)
    """Where each node is, in words by its name."""
    failed = Signal(str)
    """Name of the node that failed."""

    _starting = "Loading what the nodes need …"

    def __init__(self, viewer: Any, engine: EngineSession, parent: QObject | None = None) -> None:
        super().__init__(viewer, engine, parent)
        self._graph = Graph()
        self._statuses: dict[str, str] = {}
        self._running = ""
        self._waiting: list[NodeOutput] = []
        self._finished: Finished | None = None
        self._numbers: list[str] = []

    @property
    def statuses(self) -> dict[str, str]:
        """Where each node of the last run is, in words by its name."""
        return dict(self._statuses)

    def start(self, graph: Graph, data: GraphData, wanted: Sequence[tuple[str, str]], project: Path) -> None:
        """Run a graph; returns at once.

        Parameters
        ----------
        graph
            The graph.
        data
            The open layers that it names.
        wanted
            Outputs, each a node and a port, that are shown as layers.
        project
            Folder that may hold shared files meanwhile.

        Raises
        ------
        RunError
            When the project cannot be written to.
        """
        if self.busy:
            return
        scratch = Scratch.create(project)
        self._graph, self._statuses, self._running = graph, {}, ""
        self._waiting, self._finished, self._numbers = [], None, []
        command = RunGraph(
            graph=graph_to_dict(graph), show=tuple(wanted), output=str(scratch.folder / "outputs")
        )
        worker = self._prepare(command, data, scratch)
        worker.start()

    def _with_data(self, command: Any) -> Any:
        return command.replace(layers=self._data.spec, data=self._data.data)

    def _when_closed(self) -> str:
        trains = bool(self._graph.of_type("trainer"))
        end = "stops with a checkpoint" if trains else "ends, and its results are lost"
        return f"a workflow is running. When the window closes it {end}."

    def _on_news(self, event: Event) -> None:
        if isinstance(event, NodeStatus):
            self._tell(event)
        elif isinstance(event, EpochDone) and self._running:
            self._write(self._running, f"▶ epoch {event.epoch} of {event.num_epochs}")
        elif isinstance(event, Progress):
            self.progressed.emit(event.fraction, event.seconds_left, event.text)
        elif isinstance(event, NodeOutput):
            self._waiting.append(event)
            if len(self._waiting) == 1:
                self._read_next()
        elif isinstance(event, Finished):
            self._finished = event
            self._reading = True  # nothing is left that the engine could stop
            self._end_when_shown()

    def _tell(self, event: NodeStatus) -> None:
        words = _WORDS[event.status]
        if event.status == "running":
            self._running = event.node
            if event.fraction is not None:
                words = f"▶ {event.fraction:.0%}"
                self.progressed.emit(event.fraction, None, f"{event.node}: {event.message}".rstrip(": "))
            else:
                self.said.emit(f"{event.node} is running")
        elif event.status == "done" and event.seconds >= 1.0:
            words = f"✓ done, {event.seconds:.0f} s"
        self._write(event.node, words)
        if event.status == "failed":
            self.failed.emit(event.node)

    def _write(self, node: str, words: str) -> None:
        if self._statuses.get(node) != words:
            self._statuses[node] = words
            self.statuses_changed.emit(dict(self._statuses))

    # ------------------------------------------------------------------------------- outputs

    def _read_next(self) -> None:
        """Read the arrays of the next output away from the main thread."""
        event, job = self._waiting[0], self._command.job
        self._worker = perform(partial(_read, event))
        self._worker.returned.connect(lambda result: self._on_output(event, result, job))
        self._worker.start()

    def _on_output(self, event: NodeOutput, result: tuple[Any, str], job: str) -> None:
        if not isalive(self) or self._command is None or self._command.job != job:
            return
        self._show(event, *result)
        self._waiting.pop(0)
        if self._waiting:
            self._read_next()
        else:
            self._end_when_shown()

    def _show(self, event: NodeOutput, arrays: Any, fault: str) -> None:
        """Add an output as layers, or say why not: the run ends in any case."""
        where = f"{event.node}.{event.port}"
        if fault:
            self.warned.emit(f"{where} cannot be read back ({fault}); is the disk still there?")
        elif not arrays and not event.numbers:
            self.warned.emit(f"{where} gave nothing that can be shown as a layer")
        else:
            self._numbers += [f"{where}: {words}"] if (words := _in_words(event.numbers)) else []
            try:
                add_output(self._viewer, self._data, self._graph, where, arrays, event.told)
            except Exception as error:  # of napari, or of another plugin that follows the layers
                logger.exception("an output was not added")
                self.warned.emit(f"{where} cannot be shown as a layer ({type(error).__name__}: {error})")

    def _end_when_shown(self) -> None:
        event = self._finished
        if event is None or self._waiting:
            return
        words = {RunState.COMPLETED: "The workflow is done", RunState.INTERRUPTED: "Stopped"}
        message = event.message or ". ".join([words.get(event.status, ""), *self._numbers])
        self._end(event.status is not RunState.FAILED, message)


def _in_words(numbers: Mapping[str, Any], before: str = "") -> str:
    """Return the first numbers of an output, such as ``"cells dice 0.912, cells iou 0.84"``."""
    found: list[str] = []
    for name, value in numbers.items():
        spelt = f"{before} {name}".strip()
        if isinstance(value, list) and value and isinstance(value[-1], Mapping):
            value = value[-1]
        if isinstance(value, Mapping):
            found += filter(None, [_in_words(value, spelt)])
        elif isinstance(value, int | float | str):
            found.append(f"{spelt} {value:.4g}" if isinstance(value, float) else f"{spelt} {value}")
    return ", ".join(found[:_MOST_NUMBERS])


def _read(event: NodeOutput) -> dict[str, Any]:
    """Return the arrays of an output, in memory."""
    return {name: np.array(open_memmap(spec)) for name, spec in event.arrays.items()}
