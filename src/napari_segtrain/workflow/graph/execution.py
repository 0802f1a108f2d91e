"""Runs a graph: each node after those it depends on, and only those whose parameters or inputs changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from typing import Any

from napari_segtrain.config import CancelledError, SegtrainError
from napari_segtrain.runs import Control, Emit, NodeStatus, ignore

from .cache import Cache, Keys
from .context import STOPPED, Context, Values
from .faults import refuse_faults
from .from_config import at_home
from .graph import Graph, Node
from .ports import NodeError, PortType

_log = logging.getLogger(__name__)
_CHANGES_NETWORK = ("trainer", "zero_gradients", "forward_pass", "backward_pass", "optimizer_step", "repeat")
"""Nodes that change weights, gradients or running statistics."""
_KEPT_STEP = "initialize_optimizer"
"""What the other steps give is of a moment: they say what is unusual, and are about a network as it was."""


class Status(StrEnum):
    """Where a node is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Execution:
    """What became of a graph.

    Attributes
    ----------
    status
        Of each node.
    values
        What nodes gave, by node and output; not of those whose work was not needed again.
    """

    status: Mapping[str, Status]
    values: Mapping[str, Values]


@dataclass
class _Runner:
    """Runs the nodes of one execution."""

    graph: Graph
    keys: Keys
    cache: Cache
    layers: Mapping[str, Any]
    data: Mapping[str, Any]
    emit: Emit
    control: Control
    again: bool = False
    status: dict[str, Status] = field(default_factory=dict)
    values: dict[str, Values] = field(default_factory=dict)
    memo: dict[str, Any] = field(default_factory=dict)
    _at: str = ""

    def run(self, wanted: Iterable[str]) -> None:
        """Run what is wanted, and of what that needs all that is not known from before."""
        for node in self.graph.nodes:
            self._set(node.name, Status.WAITING)
        with self._named():
            order = self.keys.order()
            asked = self._needed(wanted, lambda name: False)
            needed = self._needed(wanted, self._is_known)
        for name in order:
            if name not in needed:
                self._set(name, Status.CACHED if name in asked else Status.SKIPPED)
        for name in order:
            if name in needed and self.keys.repetition_of(name) is None:
                self._run(name)

    def _needed(self, wanted: Iterable[str], known: Callable[[str], bool]) -> frozenset[str]:
        """Return the nodes that have to run: those that are wanted or needed by others, and not known."""
        needed: set[str] = set()
        ahead = [(name, False) for name in wanted]
        while ahead:
            name, together = ahead.pop()
            if name in needed or (not together and known(name)):
                continue
            self.values.pop(name, None)
            needed.add(name)
            ahead += [(source, False) for source in self.keys.sources(name)]
            # A step that is repeated has what it gives from its repetition, and this from all of its steps:
            # they run together, whatever is known of some of them.
            repetition = self.keys.repetition_of(name)
            ahead += [(step, True) for step in self.keys.bodies.get(name, ())]
            ahead += [(repetition, True)] if repetition else []
        return frozenset(needed)

    def _is_known(self, name: str) -> bool:
        """Return whether nothing has to be done for a node: what it gave is kept, here or in a run folder."""
        if name in self.values:
            return True
        if self.again:
            return False
        self._at = name
        key, node = self.keys.of(name), self.graph.node(name)
        found = self.cache.get(self.keys.kept_as(name))
        if key and (node.type == "trainer" or (node.type == "predictor" and found is not None)):
            # They write files, and these may be gone, or be there from another process.
            found = _function(f"{node.kind.work}_before")(node.config, self._context(node), found)
        if found is None:
            return False
        self.values[name] = found
        self.cache.put(self.keys.kept_as(name), found)
        return True

    def _run(self, name: str) -> None:
        began = time.monotonic()
        together = (*self.keys.bodies.get(name, ()), name)
        for each in together:
            self._set(each, Status.RUNNING)
        self._at = name
        try:
            with self._named():
                if self.control.stopped:
                    raise CancelledError(STOPPED)
                self.values[name] = self._work(name, 0)
        finally:
            if self.graph.node(name).type in _CHANGES_NETWORK:
                self._forget_what_changed(name)
        node = self.graph.node(name)
        if node.kind.category != "steps" or node.type == _KEPT_STEP:
            self.cache.put(self.keys.kept_as(name), self.values[name])
        for each in together:
            self._set(each, Status.DONE, seconds=time.monotonic() - began)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say of every node what became of it when one fails or is stopped; the error names the node."""
        try:
            yield
        except BaseException as error:
            self._at = error.node if isinstance(error, NodeError) else self._at
            self._end(error)
            if isinstance(error, CancelledError | NodeError) or not isinstance(error, Exception):
                raise
            if not isinstance(error, SegtrainError):
                _log.exception("node %s failed", self._at)
            raise NodeError(self._at, error) from error

    def _end(self, error: BaseException) -> None:
        if self._at and not isinstance(error, CancelledError | KeyboardInterrupt):
            why = error.__cause__ if isinstance(error, NodeError) else error
            self._set(self._at, Status.FAILED, str(why) or type(why).__name__)
        for name, status in list(self.status.items()):
            if status in (Status.WAITING, Status.RUNNING):
                self._set(name, Status.CANCELLED)

    def _forget_what_changed(self, name: str) -> None:
        """Keep no network that a node has changed, and no optimizer of it: they are not what they were."""
        before = self.graph.upstream(name) - {name}
        networks = [n for n in before if self._gives(n, PortType.MODEL)]
        for each in before | self.graph.downstream(*networks):
            if self._gives(each, PortType.MODEL, PortType.OPTIMIZER):
                self.cache.drop(self.keys.kept_as(each))

    def _gives(self, name: str, *types: PortType) -> bool:
        return any(port.type in types for port in self.graph.node(name).kind.outputs)

    def _work(self, name: str, number: int) -> Values:
        """Do the work of a node, in a round of its repetition."""
        node = self.graph.node(name)
        inputs = {
            link.target_port: self.values[link.source][link.source_port]
            for link in self.graph.links_into(name)
            if link.source not in self.keys.bodies.get(name, ())  # a repetition takes the steps itself
        }
        self._at = name
        found: Values = _function(node.kind.work)(node.config, inputs, self._context(node, number))
        self._at = self.keys.repetition_of(name) or name
        return found

    def _repeated(self, name: str, number: int) -> Values:
        self.values[name] = self._work(name, number)
        return self.values[name]

    def _context(self, node: Node, number: int = 0) -> Context:
        loader = self.keys.loader_of(node.name)
        return Context(
            node=node,
            graph=self.graph,
            recipe=self.keys.recipe(node.name),
            key=self.keys.of(node.name),
            layers=self.layers,
            data=self.data.get(node.name),
            loader=self.values.get(loader) if loader else None,
            emit=self.emit,
            control=self.control,
            memo=self.memo,
            values=self.values,
            body=self.keys.bodies.get(node.name, ()),
            run=self._repeated,
            round=number,
        )

    def _set(self, name: str, status: Status, message: str = "", seconds: float = 0.0) -> None:
        self.status[name] = status
        self.emit(NodeStatus(node=name, status=status.value, message=message, seconds=seconds))


def _function(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)


def execute(
    graph: Graph,
    *,
    only: Sequence[str] = (),
    again: bool = False,
    cache: Cache | None = None,
    layers: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    emit: Emit = ignore,
    control: Control | None = None,
) -> Execution:
    """Run a graph.

    Every node's status goes to `emit` whenever it changes. A node runs when its parameters, its inputs or
    the files that it reads are not those of a node whose outputs the cache has; what a trainer gives is also
    found in the run folder that it made before. A network that a training has changed is made anew.

    Parameters
    ----------
    graph
        The graph.
    only
        Nodes that are wanted, with what they need; by default all.
    again
        Run every node, whatever is known from before.
    cache
        What earlier executions gave; by default there were none.
    layers
        Image layers of the viewer by name, each a description that `open_source` takes.
    data
        By the name of a data loader what it reads in the place of its folder, as `open_dataset` takes it.
    emit
        Where events go, those of a training too.
    control
        Requests to stop or pause.

    Raises
    ------
    GraphError
        When the graph cannot run: every fault is listed.
    NodeError
        When a node failed; the first one is named, and those after it are cancelled.
    CancelledError
        When a stop was asked for.
    """
    refuse_faults(graph)
    graph = at_home(graph, layers or ())
    for name in only:
        graph.node(name)
    ends = [node.name for node in graph.nodes if not graph.links_from(node.name)]
    keys = Keys(graph, layers or {}, data or {})
    kept = cache if cache is not None else Cache()
    asked = control if control is not None else Control()
    runner = _Runner(graph, keys, kept, layers or {}, data or {}, emit, asked, again)
    try:
        runner.run(only or ends)
    finally:
        kept.keep_only(keys.kept_as(node.name) for node in graph.nodes)
    return Execution(runner.status, runner.values)
