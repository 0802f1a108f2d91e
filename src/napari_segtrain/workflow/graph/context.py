"""What the work of a node may ask for besides its parameters and inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from napari_segtrain.config import CancelledError
from napari_segtrain.runs import Control, Emit, NodeStatus

from .from_config import Recipe
from .graph import Graph, Node

STOPPED = "the workflow was stopped"

Values = Mapping[str, Any]
"""What a node gives, by the name of the output."""


@dataclass(frozen=True)
class Context:
    """A node in an execution.

    Attributes
    ----------
    node, graph
        The node, and the graph that runs.
    recipe
        The experiment that the node learns in.
    key
        Follows from everything that the node's outputs follow from; empty when nobody can tell.
    layers, data
        See `execute`; of the data what there is for this node.
    loader
        What the data loader gave that the node is made for, such as a network that is planned for its images.
    emit, control
        Where events go; requests to stop or pause.
    memo
        What the work of nodes keeps for other nodes of this execution.
    values
        What nodes gave so far.
    body, run
        Nodes that this repetition runs, and what runs one of them in a round.
    round
        Round of the repetition that the node is in, from 0.
    """

    node: Node
    graph: Graph
    recipe: Recipe
    key: str
    layers: Mapping[str, Any]
    data: Any
    loader: Values | None
    emit: Emit
    control: Control
    memo: dict[str, Any]
    values: dict[str, Values]
    body: tuple[str, ...]
    run: Callable[[str, int], Values]
    round: int = 0

    def progress(self, fraction: float, text: str = "") -> None:
        """Tell how far the node is, 0 to 1."""
        self.emit(NodeStatus(node=self.node.name, status="running", fraction=fraction, message=text))

    def cancelled(self) -> bool:
        """Wait while a pause is asked for, and return whether the node should end."""
        return not self.control.wait_while_paused(self.emit)

    def check(self) -> None:
        """Raise when the node should end.

        Raises
        ------
        CancelledError
            When a stop was asked for.
        """
        if self.cancelled():
            raise CancelledError(STOPPED)
