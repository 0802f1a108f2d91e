"""Graphs as JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from napari_segtrain.config import did_you_mean
from napari_segtrain.config.validation import describe_errors
from napari_segtrain.runs.atomic import atomic_writer, explain_os_error

from .graph import Graph, Link, Node
from .node_types import node_type
from .ports import GraphError

_SPELT = {"source_node": "source", "target_node": "target"}
_NODE_KEYS = ("name", "type", "config", "position")
_LINK_KEYS = ("source", "source_port", "target", "target_port")


def read_graph(path: str | Path) -> Graph:
    """Read a graph from a JSON file.

    Raises
    ------
    GraphError
        When it cannot be read, or is not a graph; every fault is listed.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GraphError(
            f"{path}: cannot be read ({explain_os_error(error)}); give the path of a graph"
        ) from None
    except (ValueError, RecursionError) as error:  # also of text that is not UTF-8, and of endless numbers
        why = f", line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else ""
        raise GraphError(f"{path}: is not valid JSON{why}") from None
    return graph_from_dict(values, str(path))


def write_graph(path: str | Path, graph: Graph) -> Path:
    """Write a graph as a JSON file that `read_graph` reads back to an equal value.

    Parameters
    ----------
    path
        File to write; an older one is replaced when the new one is complete.
    graph
        The graph.

    Raises
    ------
    GraphError
        When the file cannot be written.
    """
    path = Path(path)
    try:
        with atomic_writer(path) as file:
            file.write(json.dumps(graph_to_dict(graph), indent=2, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        raise GraphError(
            f"{path}: cannot be written ({explain_os_error(error)}); choose another folder"
        ) from None
    return path


def graph_to_dict(graph: Graph) -> dict[str, Any]:
    """Return a graph as plain values; of the parameters those that differ from the defaults."""
    return {
        "nodes": [_node_to_dict(node) for node in graph.nodes],
        "links": [link.to_dict() for link in graph.links],
    }


def _node_to_dict(node: Node) -> dict[str, Any]:
    default = type(node.config)()
    differing = {
        name: value
        for name, value in node.config.to_dict().items()
        if getattr(node.config, name) != getattr(default, name)
    }
    return {"name": node.name, "type": node.type, "config": differing, "position": list(node.position)}


def graph_from_dict(values: Any, origin: str = "graph") -> Graph:
    """Return the graph that plain values describe.

    Parameters
    ----------
    values
        ``{"nodes": [{"name", "type", "config", "position"}], "links": [{"source", "source_port", "target",
        "target_port"}]}``; a link's ends may be called ``source_node`` and ``target_node``.
    origin
        Where they come from, such as a file; it begins the message.

    Raises
    ------
    GraphError
        Lists every fault: keys, types, names, parameters, links.
    """
    reader = _Reader()
    graph = reader.read(values)
    if reader.faults:
        raise GraphError.listing(reader.faults, origin)
    return graph


class _Reader:
    """Reads as far as it can, so that all faults are found at once."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.broken: set[str] = set()

    def read(self, values: Any) -> Graph:
        if not self._is_object(values, "a graph", ("nodes", "links")):
            return Graph()
        graph = Graph()
        for number, item in enumerate(self._list(values, "nodes")):
            node = self._node(item, f"nodes[{number}]")
            if node is not None and graph.has(node.name):
                self.faults.append(
                    f"nodes[{number}]: two nodes are called {node.name!r}; give one another name"
                )
            elif node is not None:
                graph = graph.add(node)
        for number, item in enumerate(self._list(values, "links")):
            graph = self._linked(graph, item, f"links[{number}]")
        return graph

    def _list(self, values: Mapping[str, Any], key: str) -> list[Any]:
        found = values.get(key)
        if key not in values:
            self.faults.append(f"{key}: the key is required")
        elif not isinstance(found, list):
            self.faults.append(f"{key}: {_shown(found)} is not allowed: give a list")
        return found if isinstance(found, list) else []

    def _is_object(
        self, values: Any, what: str, allowed: tuple[str, ...], where: str = "", also: Iterable[str] = ()
    ) -> bool:
        if not isinstance(values, Mapping):
            begin = f"{where}: " if where else ""
            self.faults.append(f"{begin}{_shown(values)} is not {what}: give keys, {', '.join(allowed)}")
            return False
        for name in values:
            if name not in allowed and name not in also:
                dotted = f"{where}.{name}" if where else name
                self.faults.append(f"{dotted}: unknown key. {did_you_mean(str(name), allowed)}")
        return True

    def _node(self, item: Any, where: str) -> Node | None:
        if not self._is_object(item, "a node", _NODE_KEYS, where):
            return None
        name, kind = self._text(item, "name", where), self._text(item, "type", where)
        before = len(self.faults)
        config = None
        if kind is not None:
            try:
                model = node_type(kind).config
                config = model.model_validate({} if item.get("config") is None else item["config"])
            except GraphError as error:
                self.faults.append(f"{where}.type: {error}")
            except ValidationError as error:
                self.faults += describe_errors(error, model, f"{where}.config")
        position = self._position(item.get("position", (0.0, 0.0)), where)
        if name is not None and config is not None and kind is not None and position is not None:
            try:
                return Node(name=name, type=kind, config=config, position=position)
            except ValidationError as error:
                self.faults += describe_errors(error, Node, where)
        if name is not None and len(self.faults) > before:
            self.broken.add(name)
        return None

    def _position(self, given: Any, where: str) -> tuple[float, float] | None:
        numbers = isinstance(given, list | tuple) and len(given) == 2
        if numbers and all(isinstance(n, int | float) and not isinstance(n, bool) for n in given):
            with suppress(OverflowError):
                return (float(given[0]), float(given[1]))
        self.faults.append(f"{where}.position: {_shown(given)} is not allowed: give two numbers, [x, y]")
        return None

    def _linked(self, graph: Graph, item: Any, where: str) -> Graph:
        if not self._is_object(item, "a link", _LINK_KEYS, where, _SPELT):
            return graph
        twice = [f"{spelt} and {name}" for name, spelt in _SPELT.items() if name in item and spelt in item]
        if twice:
            self.faults += [f"{where}: {both} are both given: they are the same end" for both in twice]
            return graph
        item = {_SPELT.get(name, name): value for name, value in item.items()}
        ends = [self._text(item, key, where) for key in _LINK_KEYS]
        if None in ends:
            return graph
        link = Link(**dict(zip(_LINK_KEYS, ends, strict=True)))
        if {link.source, link.target} & self.broken:
            return graph  # what is wrong with the node is said already
        if reason := graph.refusal(link.source, link.source_port, link.target, link.target_port):
            self.faults.append(f"{where}: {link}: {reason}")
            return graph
        return graph.connect(link.source, link.source_port, link.target, link.target_port)

    def _text(self, item: Mapping[str, Any], key: str, where: str) -> str | None:
        given = item.get(key)
        if isinstance(given, str) and given:
            return given
        missing = key not in item
        wrong = "the key is required" if missing else f"{_shown(given)} is not allowed: give a text"
        self.faults.append(f"{where}.{key}: {wrong}")
        return None


def _shown(value: Any) -> str:
    """Return a value as JSON spells it, its beginning when it is long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."
