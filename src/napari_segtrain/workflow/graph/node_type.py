"""What kinds of nodes there are: their ports, parameters, and where their work is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .parameters import Parameters
from .ports import Port

Category = Literal["data", "network", "training", "inference", "steps", "control"]
"""Under which heading a node is offered."""


@dataclass(frozen=True)
class NodeType:
    """A kind of node.

    Attributes
    ----------
    name
        As files call it; nodes of this kind get it as their name when it is free.
    title
        What is written on the node.
    text
        One sentence for tooltips and the documentation.
    category
        Under which heading it is offered.
    inputs, outputs
        Its ports, in the order they are drawn.
    config
        Class of its parameters.
    work
        ``"module:function"`` of what it does, imported only when it runs.
    """

    name: str
    title: str
    text: str
    category: Category
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    config: type[Parameters]
    work: str

    def input(self, name: str) -> Port | None:
        """Return the input with this name, None when there is none."""
        return next((port for port in self.inputs if port.name == name), None)

    def output(self, name: str) -> Port | None:
        """Return the output with this name, None when there is none."""
        return next((port for port in self.outputs if port.name == name), None)
