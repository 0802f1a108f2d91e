"""Workflows as graphs of typed nodes. Importing this room loads neither torch nor napari."""

from .graph import CYCLE, EXISTS, Graph, Link, Node
from .node_type import Category, NodeType
from .node_types import NODE_TYPES, node_type
from .parameters import Parameters
from .ports import GraphError, Port, PortType, Use

__all__ = [
    "CYCLE",
    "EXISTS",
    "NODE_TYPES",
    "Category",
    "Graph",
    "GraphError",
    "Link",
    "Node",
    "NodeType",
    "Parameters",
    "Port",
    "PortType",
    "Use",
    "node_type",
]
