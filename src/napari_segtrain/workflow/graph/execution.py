"""Runs a graph: each node after those it depends on, and only those whose parameters or inputs changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from typing import Any

from napari_segtrain.config import CancelledError, SegtrainError
from napari_segtrain.runs import Control, Emit, NodeStatus, ignore

from .cache import Cache, Keys
from .context import STOPPED, Context, Values
from .faults import refuse_faults
from .graph import Graph, Node
from .ports import GraphError, PortType

_log = logging.getLogger(__name__)
_CHECK = "napari_segtrain.workflow.graph.work.inputs:check_inputs"
_CHANGES_WEIGHTS = ("trainer", "zero_gradients", "backward_pass", "optimizer_step", "repeat")


class Status(StrEnum):
    """Where a node is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    CANCELLED = "cancelled"


class NodeError(GraphError):
    """A node failed; the message begins with its name.

    Attributes
    ----------
    node
        Its name.
    fitting
        What to train with instead when memory ran out; None when it was not that, or nothing fits.
    """

    def __init__(self, node: str, error: Exception) -> None:
        said = str(error) if isinstance(error, SegtrainError) else f"{type(error).__name__}: {error}"
        super().__init__(f"Node '{node}': {said}")
        self.node = node
        self.fitting = getattr(error, "fitting", None)


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
        order = self.keys.order()
        for name in order:
            self._set(name, Status.WAITING)
        needed = self._needed(wanted)
        for name in order:
            if name not in needed:
                self._set(name, Status.CACHED)
        for name in order:
            if name in needed and self.keys.repetition_of(name) is None:
                self._run(name)

    def _needed(self, wanted: Iterable[str]) -> frozenset[str]:
        """Return the nodes that have to run: those that are wanted or needed by others, and not known."""
        needed: set[str] = set()
        ahead = [(name, False) for name in wanted]
        while ahead:
            name, together = ahead.pop()
            if name in needed or (not together and (name in self.values or self._is_known(name))):
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
        if self.again:
            return False
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
            if self.control.stopped:
                raise CancelledError(STOPPED)
            self.values[name] = self._work(name, 0)
        except BaseException as error:
            self._end(together, error)
            if isinstance(error, CancelledError) or not isinstance(error, Exception):
                raise
            if not isinstance(error, SegtrainError):
                _log.exception("node %s failed", self._at)
            raise NodeError(self._at, error) from error
        finally:
            if self.graph.node(name).type in _CHANGES_WEIGHTS:
                self._forget_what_changed(name)
        self.cache.put(self.keys.kept_as(name), self.values[name])
        for each in together:
            self._set(each, Status.DONE, seconds=time.monotonic() - began)

    def _end(self, together: Sequence[str], error: BaseException) -> None:
        """Say of every node what became of it when one failed or was stopped."""
        stopped = isinstance(error, CancelledError | KeyboardInterrupt)
        message = str(error) or type(error).__name__
        for name in together:
            if name == self._at and not stopped:
                self._set(name, Status.FAILED, message)
            else:
                self._set(name, Status.CANCELLED)
        for name, status in list(self.status.items()):
            if status is Status.WAITING:
                self._set(name, Status.CANCELLED)

    def _forget_what_changed(self, name: str) -> None:
        """Keep no network and no optimizer that a training has changed: they are not what they were."""
        for source in self.graph.upstream(name) - {name}:
            node = self.graph.node(source)
            types = {port.type for port in node.kind.outputs}
            if node.kind.category == "steps" or types & {PortType.MODEL, PortType.OPTIMIZER}:
                self.cache.drop(self.keys.kept_as(source))

    def _work(self, name: str, number: int) -> Values:
        """Do the work of a node, in a round of its repetition."""
        node = self.graph.node(name)
        inputs = {
            link.target_port: self.values[link.source][link.source_port]
            for link in self.graph.links_into(name)
            if link.source not in self.keys.bodies.get(name, ())  # a repetition takes the steps itself
        }
        self._at = name
        _function(_CHECK)(self.graph, name, inputs)
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
