"""Where the nodes of a graph are drawn so that links lead from left to right."""

from __future__ import annotations

from collections.abc import Sequence

from .graph import Graph, Node

WIDTH = 220.0
"""Pixels that a node is wide at most, at zoom 1."""
_NARROWEST, _LETTER, _PADDING = 110.0, 7.0, 40.0
"""Pixels of the narrowest node, of a letter, and of what is beside the names of ports."""
HEAD, ROW = 46.0, 20.0
"""Pixels of a node's title, and of each row of ports."""
_ACROSS, _DOWN, _LANE = 50.0, 24.0, 10.0
"""Pixels between two columns, between two nodes of one, and of a link that passes."""
_SWEEPS = 4


_Ways = list[tuple[str, str]]
"""Links from one column to the next, by the names of what is in them."""


def height_of(node: Node) -> float:
    """Return how many pixels a node is high."""
    return HEAD + ROW * max(len(node.kind.inputs), len(node.kind.outputs), 1)


def width_of(node: Node) -> float:
    """Return how many pixels a node is wide, as far as that is known without its font."""
    kind = node.kind
    ports = (max((len(port.name) for port in side), default=0) for side in (kind.inputs, kind.outputs))
    letters = max(sum(ports), len(kind.title), len(node.name))
    return min(WIDTH, max(_NARROWEST, letters * _LETTER + _PADDING))


def arrange(graph: Graph) -> dict[str, tuple[float, float]]:
    """Return a position for each node: a column for each step of the way, few links that cross.

    A node stands one column before the first that needs it; a link that passes a column has a place in it;
    within a column everything is ordered by the mean place of its neighbours (Sugiyama, Tagawa & Toda 1981).
    """
    columns, ways = _columns(graph)
    _order(columns, ways)
    nodes = {node.name: node for node in graph.nodes}
    heights = {name: height_of(nodes[name]) if name in nodes else _LANE for one in columns for name in one}
    tops: dict[str, float] = {}
    for column in columns:
        y = -sum(heights[name] + _DOWN for name in column) / 2
        for name in column:
            tops[name] = y
            y += heights[name] + _DOWN
    for column in columns:
        _clear_way(column, tops, ways)
    top, x = min(tops.values(), default=0.0), 0.0
    positions: dict[str, tuple[float, float]] = {}
    for column in columns:
        here = [name for name in column if name in nodes]
        positions |= {name: (x, tops[name] - top) for name in here}
        x += max((width_of(nodes[name]) for name in here), default=0.0) + _ACROSS
    return positions


def _clear_way(column: list[str], tops: dict[str, float], ways: _Ways) -> None:
    """Move a column up or down so that links that pass it pass where nothing stands."""
    away = []
    for lane in (name for name in column if ":" in name):
        ends = [tops[end] for way in ways for end in way if lane in way and end != lane]
        away.append(_mean(ends, tops[lane]) + HEAD + ROW - tops[lane])
    shift = _mean(away, 0.0)
    for name in column:
        tops[name] += shift


def _columns(graph: Graph) -> tuple[list[list[str]], _Ways]:
    """Return what is in each column: nodes, and a name with a colon for each link that passes."""
    depth: dict[str, int] = {}
    for name in graph.order():
        depth[name] = max((depth[link.source] + 1 for link in graph.links_into(name)), default=0)
    for name in reversed(graph.order()):
        if after := [depth[link.target] for link in graph.links_from(name)]:
            depth[name] = min(after) - 1
    columns: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in graph.nodes:
        columns[depth[node.name]].append(node.name)
    ways: _Ways = []
    for number, link in enumerate(graph.links):
        before = link.source
        for passed in range(depth[link.source] + 1, depth[link.target]):
            columns[passed].append(f"{number}:{passed}")
            ways.append((before, columns[passed][-1]))
            before = columns[passed][-1]
        ways.append((before, link.target))
    return columns, ways


def _order(columns: list[list[str]], ways: _Ways) -> None:
    """Order each column by its neighbours, forth and back."""
    for sweep in range(_SWEEPS):
        forward = sweep % 2 == 0
        neighbours: dict[str, list[str]] = {}
        for before, after in ways:
            here, there = (after, before) if forward else (before, after)
            neighbours.setdefault(here, []).append(there)
        for column in columns if forward else columns[::-1]:
            place = {name: float(n) for one in columns for n, name in enumerate(one)}
            means = {
                name: _mean([place[o] for o in neighbours.get(name, [])], place[name]) for name in column
            }
            column.sort(key=means.__getitem__)


def _mean(places: Sequence[float], otherwise: float) -> float:
    return sum(places) / len(places) if places else otherwise
