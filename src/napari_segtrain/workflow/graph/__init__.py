"""Workflows as graphs of typed nodes. Importing this room loads neither torch nor napari."""

from .faults import Check, Purpose, checklist, find_faults, find_warnings, purpose_of, refuse_faults
from .graph import CYCLE, EXISTS, Graph, Link, Node
from .json_file import graph_from_dict, graph_to_dict, read_graph, write_graph
from .node_type import Category, NodeType
from .node_types import NODE_TYPES, node_type
from .parameters import Parameters
from .ports import GraphError, Port, PortType, Use

__all__ = [
    "CYCLE",
    "EXISTS",
    "NODE_TYPES",
    "Category",
    "Check",
    "Graph",
    "GraphError",
    "Link",
    "Node",
    "NodeType",
    "Parameters",
    "Port",
    "PortType",
    "Purpose",
    "Use",
    "checklist",
    "find_faults",
    "find_warnings",
    "graph_from_dict",
    "graph_to_dict",
    "node_type",
    "purpose_of",
    "read_graph",
    "refuse_faults",
    "write_graph",
]
