"""Runs graphs for another process, which gets what outputs gave as shared files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from napari_segtrain.runs import Control, Emit, NodeOutput
from napari_segtrain.runs.scratch import Scratch

from .cache import Cache
from .execution import execute
from .graph import Graph
from .json_file import graph_from_dict
from .ports import GraphError


class GraphServer:
    """Runs one graph after another, and knows what the one before gave."""

    def __init__(self) -> None:
        self._cache = Cache()

    def run(
        self,
        values: Mapping[str, Any],
        output: str | Path,
        *,
        show: Sequence[tuple[str, str]] = (),
        only: Sequence[str] = (),
        again: bool = False,
        layers: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        emit: Emit,
        control: Control,
    ) -> None:
        """Run a graph, and announce what outputs gave.

        Parameters
        ----------
        values
            The graph, as `graph_to_dict` returns it.
        output
            Folder for arrays, which both processes can open.
        show
            Node and output of each that is to be announced.
        only, again, layers, data, emit, control
            See `execute`.
        """
        graph = graph_from_dict(values)
        for name, port in show:
            _check_output(graph, name, port)
        ends = tuple(node.name for node in graph.nodes if not graph.links_from(node.name))
        wanted = tuple(dict.fromkeys([*(only or ends), *(name for name, _ in show)]))
        found = execute(
            graph,
            only=wanted,
            again=again,
            cache=self._cache,
            layers=layers,
            data=data,
            emit=emit,
            control=control,
        )
        if not show:
            return
        outputs = import_module("napari_segtrain.workflow.graph.work.outputs")
        scratch = Scratch(Path(output))
        for number, (name, port) in enumerate(show):
            value = found.values[name][port]
            arrays = {
                label: scratch.add(f"{number}_{place}", array)
                for place, (label, array) in enumerate(outputs.arrays_of(value).items())
            }
            told, numbers = outputs.told_of(value), outputs.numbers_of(value)
            emit(NodeOutput(node=name, port=port, arrays=arrays, told=told, numbers=numbers))


def _check_output(graph: Graph, name: str, port: str) -> None:
    if graph.node(name).kind.output(port) is None:
        known = ", ".join(output.name for output in graph.node(name).kind.outputs)
        raise GraphError(f"node '{name}' has no output '{port}'; it has {known}")
