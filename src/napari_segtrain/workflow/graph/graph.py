"""A workflow graph: a frozen value whose every state is legal, changed by methods that return a new one.

An illegal change raises, and there is nothing to undo: the old graph is what it was. Undo is a list of
graphs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from itertools import count
from typing import Any, Self

from pydantic import Field, SerializeAsAny, model_validator

from napari_segtrain.config import Config, did_you_mean

from .node_type import NodeType
from .node_types import node_type
from .parameters import Parameters
from .ports import GraphError, Port

CYCLE = "Cycle detected in computational graph"
EXISTS = "Connection already exists"


class Node(Config):
    """A node of a graph.

    Attributes
    ----------
    name
        What links, files and ``--set name.parameter=value`` call it.
    type
        Name of its kind, a key of `NODE_TYPES`.
    config
        Its parameters, of the kind's own class.
    position
        Where its upper left corner is drawn, (x, y) in pixels at zoom 1.
    """

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")
    type: str
    config: SerializeAsAny[Parameters]
    position: tuple[float, float] = (0.0, 0.0)

    @model_validator(mode="after")
    def _parameters_are_those_of_the_type(self) -> Self:
        wanted = node_type(self.type).config
        if type(self.config) is not wanted:
            given = type(self.config).__name__
            raise GraphError(f"node {self.name!r}: a {self.type} has {wanted.__name__}, not {given}")
        return self

    @property
    def kind(self) -> NodeType:
        """Ports, title and work."""
        return node_type(self.type)


class Link(Config):
    """A link from an output to an input."""

    source: str
    source_port: str
    target: str
    target_port: str

    def __str__(self) -> str:
        return f"{self.source}.{self.source_port} → {self.target}.{self.target_port}"


class Graph(Config):
    """Nodes and the links between them; every value that exists keeps the rules of `refusal`.

    Attributes
    ----------
    nodes
        In the order they were added; no two have the same name.
    links
        In the order they were made.
    """

    nodes: tuple[Node, ...] = ()
    links: tuple[Link, ...] = ()

    @model_validator(mode="after")
    def _is_legal(self) -> Self:
        names = [node.name for node in self.nodes]
        for name in names:
            if names.count(name) > 1:
                raise GraphError(f"two nodes are called {name!r}; give one another name")
        taken = set[tuple[str, str]]()
        for link in self.links:
            reason = self._ports_refused(link)
            if not reason and (link.target, link.target_port) in taken:
                reason = EXISTS if self.links.count(link) > 1 else _occupied(link)
            if reason:
                raise GraphError(reason)
            taken.add((link.target, link.target_port))
        self.order()
        return self

    # What there is.

    def node(self, name: str) -> Node:
        """Return the node with a name.

        Raises
        ------
        GraphError
            When there is none; the message names the nearest ones.
        """
        if (found := self._named.get(name)) is not None:
            return found
        if not self.nodes:
            raise GraphError(f"there is no node {name!r}: the graph is empty")
        raise GraphError(f"there is no node {name!r}. {did_you_mean(name, [n.name for n in self.nodes])}")

    def has(self, name: str) -> bool:
        """Return whether there is a node with this name."""
        return name in self._named

    def of_type(self, *types: str) -> tuple[Node, ...]:
        """Return the nodes of some types."""
        return tuple(node for node in self.nodes if node.type in types)

    def links_into(self, name: str) -> tuple[Link, ...]:
        """Return the links that end at a node."""
        return self._ending.get(name, ())

    def links_from(self, name: str) -> tuple[Link, ...]:
        """Return the links that begin at a node."""
        return self._beginning.get(name, ())

    def link_into(self, name: str, port: str) -> Link | None:
        """Return the link that ends at an input, None while it is open."""
        return next((link for link in self.links_into(name) if link.target_port == port), None)

    def order(self) -> tuple[str, ...]:
        """Return the names of all nodes so that each comes after those it depends on.

        Raises
        ------
        GraphError
            When links lead in a circle.
        """
        needs: dict[str, list[str]] = {node.name: [] for node in self.nodes}
        for link in self.links:
            needs[link.target].append(link.source)
        try:
            return tuple(TopologicalSorter(needs).static_order())
        except CycleError:
            raise GraphError(CYCLE) from None

    def upstream(self, *names: str) -> frozenset[str]:
        """Return some nodes and all that they depend on."""
        return _reached(names, lambda name: (link.source for link in self.links_into(name)))

    def downstream(self, *names: str) -> frozenset[str]:
        """Return some nodes and all that depends on them."""
        return _reached(names, lambda name: (link.target for link in self.links_from(name)))

    # A graph does not change, and is asked for these all the time.

    @cached_property
    def _named(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def _ending(self) -> dict[str, tuple[Link, ...]]:
        return _grouped(self.links, lambda link: link.target)

    @cached_property
    def _beginning(self) -> dict[str, tuple[Link, ...]]:
        return _grouped(self.links, lambda link: link.source)

    # What is allowed.

    def refusal(self, source: str, source_port: str, target: str, target_port: str) -> str:
        """Return why a link cannot be made, empty when it can.

        Parameters
        ----------
        source, source_port
            Node and output that it begins at.
        target, target_port
            Node and input that it ends at.
        """
        link = Link(source=source, source_port=source_port, target=target, target_port=target_port)
        there = self.link_into(target, target_port)
        if link == there:
            return EXISTS
        if reason := self._ports_refused(link):
            return reason
        if there is not None:
            return _occupied(link)
        return CYCLE if source in self.downstream(target) else ""

    def _ports_refused(self, link: Link) -> str:
        """Say what is wrong with a link whatever other links there are."""
        for name in (link.source, link.target):
            if not self.has(name):
                try:
                    self.node(name)
                except GraphError as error:
                    return str(error)
        source, target = self.node(link.source).kind, self.node(link.target).kind
        given, taken = source.output(link.source_port), target.input(link.target_port)
        if given is None and source.input(link.source_port) is None:
            return _no_port(link.source, link.source_port, source.outputs, "output")
        if taken is None and target.output(link.target_port) is None:
            return _no_port(link.target, link.target_port, target.inputs, "input")
        if given is None or taken is None:
            ends = ("output" if given else "input", "input" if taken else "output")
            return f"Cannot connect {ends[0]} to {ends[1]}: a link leads from an output to an input"
        if link.source == link.target:
            return f"Cannot connect node '{link.source}' to itself"
        if not given.type.fits(taken.type):
            return f"Cannot connect {given.type} to {taken.type}"
        return ""

    # Changes.

    def new_node(
        self,
        type_name: str,
        name: str | None = None,
        config: Parameters | Mapping[str, Any] | None = None,
        position: tuple[float, float] = (0.0, 0.0),
    ) -> Node:
        """Return a node that can be added: with a free name, and parameters that are valid.

        Parameters
        ----------
        type_name
            A key of `NODE_TYPES`.
        name
            By default the type's name, with a number when it is taken.
        config
            Parameters that differ from the default.
        position
            Where it is drawn.

        Raises
        ------
        GraphError, ConfigError
            When type, name or a parameter is not valid.
        """
        kind = node_type(type_name)
        name = self.free_name(type_name) if name is None else _checked(name)
        if not isinstance(config, Parameters):
            config = kind.config().amended(config or {}, f"node {name!r}")
        return Node(name=name, type=type_name, config=config, position=position)

    def free_name(self, wanted: str) -> str:
        """Return a name that no node has: the wanted one, else with a number."""
        names = (wanted if number == 1 else f"{wanted}_{number}" for number in count(1))
        return next(name for name in names if not self.has(name))

    def add(self, node: Node) -> Self:
        """Return the graph with one more node.

        Raises
        ------
        GraphError
            When another node has its name.
        """
        return self.replace(nodes=(*self.nodes, node))

    def remove(self, *names: str) -> Self:
        """Return the graph without some nodes, and without their links."""
        for name in names:
            self.node(name)
        return self.replace(
            nodes=tuple(node for node in self.nodes if node.name not in names),
            links=tuple(k for k in self.links if k.source not in names and k.target not in names),
        )

    def connect(self, source: str, source_port: str, target: str, target_port: str) -> Self:
        """Return the graph with one more link; arguments as for `refusal`.

        Raises
        ------
        GraphError
            When it cannot be made, such as ``"Cannot connect tensor to model"``.
        """
        if reason := self.refusal(source, source_port, target, target_port):
            raise GraphError(reason)
        link = Link(source=source, source_port=source_port, target=target, target_port=target_port)
        return self.replace(links=(*self.links, link))

    def disconnect(self, source: str, source_port: str, target: str, target_port: str) -> Self:
        """Return the graph without a link.

        Raises
        ------
        GraphError
            When there is no such link.
        """
        link = Link(source=source, source_port=source_port, target=target, target_port=target_port)
        if link not in self.links:
            raise GraphError(f"there is no link {link}")
        return self.replace(links=tuple(other for other in self.links if other != link))

    def configure(self, name: str, config: Parameters | Mapping[str, Any]) -> Self:
        """Return the graph with other parameters of a node.

        Parameters
        ----------
        name
            The node.
        config
            All parameters, or those that change.

        Raises
        ------
        GraphError, ConfigError
            When there is no such node, or a parameter is not valid.
        """
        node = self.node(name)
        if not isinstance(config, Parameters):
            config = node.config.amended(config, f"node {name!r}")
        return self._with(name, config=config)

    def move(self, positions: Mapping[str, tuple[float, float]]) -> Self:
        """Return the graph with some nodes drawn elsewhere."""
        for name in positions:
            self.node(name)
        return self.replace(
            nodes=tuple(
                node.replace(position=positions[node.name]) if node.name in positions else node
                for node in self.nodes
            )
        )

    def rename(self, name: str, new: str) -> Self:
        """Return the graph with another name of a node.

        Raises
        ------
        GraphError
            When there is no such node, or the new name is taken or not allowed.
        """
        self.node(name)
        if new != name and self.has(_checked(new)):
            raise GraphError(f"two nodes are called {new!r}; give one another name")

        def renamed(link: Link) -> Link:
            return link.replace(
                source=new if link.source == name else link.source,
                target=new if link.target == name else link.target,
            )

        nodes = tuple(node.replace(name=new) if node.name == name else node for node in self.nodes)
        return self.replace(nodes=nodes, links=tuple(renamed(link) for link in self.links))

    def _with(self, name: str, **changes: Any) -> Self:
        return self.replace(
            nodes=tuple(node.replace(**changes) if node.name == name else node for node in self.nodes)
        )


def _grouped(links: Iterable[Link], by: Callable[[Link], str]) -> dict[str, tuple[Link, ...]]:
    groups: dict[str, list[Link]] = {}
    for link in links:
        groups.setdefault(by(link), []).append(link)
    return {name: tuple(group) for name, group in groups.items()}


def _reached(names: Iterable[str], following: Callable[[str], Iterable[str]]) -> frozenset[str]:
    """Return these nodes and all that follow them."""
    reached, ahead = set[str](), list(names)
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += following(name)
    return frozenset(reached)


def _checked(name: str) -> str:
    if not name.isascii() or not name[:1].isalpha() or not name.replace("_", "").replace("-", "").isalnum():
        raise GraphError(
            f"a node cannot be called {name!r}: names begin with a letter and hold letters, digits, _ and -"
        )
    return name


def _occupied(link: Link) -> str:
    return f"Input '{link.target_port}' on node '{link.target}' is already connected"


def _no_port(node: str, port: str, known: tuple[Port, ...], end: str) -> str:
    if not known:
        return f"node {node!r} has no {end} {port!r}, nor any other {end}"
    return f"node {node!r} has no {end} {port!r}. {did_you_mean(port, [p.name for p in known])}"
