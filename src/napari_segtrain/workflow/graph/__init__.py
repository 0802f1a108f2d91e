"""Workflows as graphs of typed nodes. Importing this room loads neither torch nor napari.

`execute` runs a graph; what nodes do is in `work`, which is imported when a node runs.
"""

from .cache import Cache
from .checklist import Check, Purpose, checklist, purpose_of
from .execution import Execution, Status, execute
from .faults import find_faults, find_warnings, refuse_faults
from .from_config import experiment_of, graph_of
from .graph import CYCLE, EXISTS, Graph, Link, Node
from .json_file import graph_from_dict, graph_to_dict, read_graph, write_graph
from .node_type import Category, NodeType
from .node_types import NODE_TYPES, node_type
from .parameters import Parameters
from .ports import GraphError, NodeError, Port, PortType, Use
from .templates import TEMPLATES, template

__all__ = [
    "CYCLE",
    "EXISTS",
    "NODE_TYPES",
    "TEMPLATES",
    "Cache",
    "Category",
    "Check",
    "Execution",
    "Graph",
    "GraphError",
    "Link",
    "Node",
    "NodeError",
    "NodeType",
    "Parameters",
    "Port",
    "PortType",
    "Purpose",
    "Status",
    "Use",
    "checklist",
    "execute",
    "experiment_of",
    "find_faults",
    "find_warnings",
    "graph_from_dict",
    "graph_of",
    "graph_to_dict",
    "node_type",
    "purpose_of",
    "read_graph",
    "refuse_faults",
    "template",
    "write_graph",
]
