"""What keeps a whole graph from running, and what is doubtful about it."""

from __future__ import annotations

from collections.abc import Iterator

from .from_config import LEARNS, NETWORKS, ROLES, learns_with, trains_from
from .graph import Graph, Link, Node
from .ports import GraphError, Kind
from .repetition import body_of

TRAINS = ("trainer", "loss_function", "optimizer")
_BEGINS = ("loss_function", "optimizer", "initialize_optimizer")
"""What follows from data without a link to it."""
_TAKES_DATA = ("trainer", "prepare_batch")
_UNSET = {
    "data_loader": ("data", "a folder with images/ and labels/, or open layers"),
    "image_layer": ("image", "an open image layer, or the path of an image"),
    "network_from_config": ("config", "the YAML file of an experiment"),
    "checkpoint_loader": ("run", "a run folder or checkpoint"),
}


def find_faults(graph: Graph) -> tuple[str, ...]:
    """Return a sentence for everything that keeps a graph from running, in the order of its nodes."""
    if not graph.nodes:
        return ("The graph is empty: add a node, or open a template",)
    found = [fault for node in graph.nodes for fault in faults_of(graph, node)]
    return tuple(dict.fromkeys([*found, *_of_one_role(graph)]))


def refuse_faults(graph: Graph, where: str = "") -> None:
    """Raise when a graph cannot run.

    Parameters
    ----------
    graph
        The graph.
    where
        What it is, such as a file; it begins the message.

    Raises
    ------
    GraphError
        Lists every fault.
    """
    if faults := find_faults(graph):
        raise GraphError.listing(faults, where)


def faults_of(graph: Graph, node: Node) -> tuple[str, ...]:
    """Return a sentence for everything about one node that keeps a graph from running."""
    looks = (_open, _wrong_kinds, _misled, _without_data, _elsewhere)
    return tuple(fault for look in looks for fault in look(graph, node))


def _open(graph: Graph, node: Node) -> Iterator[str]:
    """Yield a sentence for each input that has to be connected, and is not."""
    for port in node.kind.inputs:
        if port.required and graph.link_into(node.name, port.name) is None:
            yield f"Required input '{port.name}' on node '{node.name}' is not connected"
    if node.type == "predictor" and not any(
        graph.link_into(node.name, port) for port in ("image", "dataloader")
    ):
        yield f"Required input 'image' or 'dataloader' on node '{node.name}' is not connected"


def _wrong_kinds(graph: Graph, node: Node) -> Iterator[str]:
    """Yield a sentence for each input that gets nothing, or of the right type something else."""
    for link in graph.links_into(node.name):
        taken = node.kind.input(link.target_port)
        given = graph.node(link.source).kind.output(link.source_port)
        kind = _given(graph, link)
        if taken is None or given is None or not taken.kinds or kind in taken.kinds:
            continue
        end = f"output '{link.source_port}' on node '{link.source}'"
        if kind is not None:
            wanted = taken.kinds[0] if len(taken.kinds) == 1 else "a loader of batches"
            yield f"Input '{taken.name}' on node '{node.name}' takes {wanted}, and {end} gives {kind}"
        elif graph.link_into(link.source, given.follows) is None and given.kinds:
            yield f"O{end[1:]} gives nothing: nothing is connected to its input '{given.follows}'"


def _given(graph: Graph, link: Link | None) -> Kind | None:
    """Return what comes through a link; None when it is nothing."""
    while link is not None:
        port = graph.node(link.source).kind.output(link.source_port)
        if port is None:
            break
        before = graph.link_into(link.source, port.follows) if port.follows else None
        if port.kinds:
            return None if port.follows and before is None else port.kinds[0]
        link = before
    return None


def _misled(graph: Graph, node: Node) -> Iterator[str]:
    """Yield a sentence for each training whose links do not fit together."""
    if node.type == "repeat" and graph.link_into(node.name, "step"):
        if not body_of(graph, node.name):
            yield f"Node '{node.name}' has nothing to repeat: connect what the last of the steps gives"
        yield from _between(graph, node.name)
    if node.type == "trainer":
        network = graph.link_into(node.name, "model")
        optimizer = graph.link_into(node.name, "optimizer")
        changed = optimizer and graph.link_into(optimizer.source, "model")
        if network and changed and network.source != changed.source:
            yield (
                f"Node '{node.name}' trains '{network.source}', but its optimizer changes the weights of "
                f"'{changed.source}': connect the same network to both"
            )


def _between(graph: Graph, repeat: str) -> Iterator[str]:
    """Yield a sentence for whatever stands between the steps of a repetition, and is none."""
    body = body_of(graph, repeat)
    before = graph.upstream(repeat)
    for link in graph.links:
        if link.source in body and link.target in before and link.target not in (*body, repeat):
            yield (
                f"Node '{link.target}' stands between step '{link.source}' and '{repeat}', which repeats "
                f"steps only: connect a step to '{repeat}', and '{link.target}' to nothing that is repeated"
            )


def _of_one_role(graph: Graph) -> Iterator[str]:
    """Yield a sentence for nodes that learn together, of which only one can."""
    for members in dict.fromkeys(learns_with(graph, node.name) for node in graph.nodes):
        try:
            for role in ROLES:
                trains_from(graph, members, role)
        except GraphError as error:
            yield str(error)


def _without_data(graph: Graph, node: Node) -> Iterator[str]:
    """Yield a sentence for what follows from the data that is learnt from, where there is none."""
    new = node.type in ("unet_model", "vnet_model") and is_untrained(node)
    if not new and node.type not in _BEGINS:
        return
    if any(True for other in graph.nodes for _ in _open(graph, other)):
        return  # the link that is missing may be the one to the data
    members = learns_with(graph, node.name)
    if any(graph.node(name).type in _TAKES_DATA for name in members):
        return
    if new and not members:
        yield (
            f"The network '{node.name}' has new weights, and nothing trains it: connect its model to a "
            "trainer and an optimizer, or set its weights"
        )
    elif node.type in _BEGINS:
        yield (
            f"Nothing is trained with node '{node.name}': connect it to a trainer, or to steps that a data "
            "loader gives batches"
        )


def _elsewhere(graph: Graph, node: Node) -> Iterator[str]:
    """Yield a sentence for what a workflow does not do."""
    config = node.config
    several = (getattr(config, "devices", None) or 1) * getattr(config, "num_nodes", 1) > 1
    named = "," in getattr(config, "device", "")
    strategy = getattr(config, "strategy", None)
    if node.kind.category in LEARNS and (several or named or strategy == "ddp"):
        yield (
            f"Node '{node.name}' trains on several devices, and a workflow on one: leave devices, num_nodes "
            "and strategy at their defaults and name one device; or write the experiment with segtrain "
            "workflow to-config, and train it with segtrain train"
        )
    if strategy == "distributed":
        yield (
            f"Node '{node.name}': strategy distributed predicts from the command line (segtrain predict … "
            "--workers 4): choose another strategy"
        )


def find_warnings(graph: Graph) -> tuple[str, ...]:
    """Return a sentence for everything that runs, but probably not as it was meant."""
    return tuple(warning for node in graph.nodes for warning in _warnings_of(graph, node))


def _warnings_of(graph: Graph, node: Node) -> Iterator[str]:
    if node.type in _UNSET:
        parameter, wanted = _UNSET[node.type]
        if getattr(node.config, parameter) is None and not getattr(node.config, "layers", ()):
            yield f"Parameter '{parameter}' on node '{node.name}' is not set: give {wanted}"
    for link in graph.links_into(node.name):
        yield from _misused(graph, link)
    if node.type in NETWORKS and graph.link_into(node.name, "input"):
        trained = graph.downstream(*_direct(graph, node)) & {n.name for n in graph.of_type("trainer")}
        if trained or _is_stepped(graph, node):
            yield (
                f"Input 'input' on node '{node.name}' is wired in a training graph: the trainer feeds the "
                "network from its dataloader; the input is for inference"
            )
        elif is_untrained(node):
            yield f"The network '{node.name}' predicts with untrained weights: {_TRAIN_FIRST}"
    if node.type == "predictor":
        into = graph.link_into(node.name, "model")
        network = None if into is None else graph.node(into.source)
        if network is not None and is_untrained(network):
            yield f"Predictor '{node.name}' gets the untrained network '{network.name}': {_TRAIN_FIRST}"
    if node.kind.inputs and not graph.links_into(node.name) and not graph.links_from(node.name):
        yield f"Node '{node.name}' is not connected to anything"


def _misused(graph: Graph, link: Link) -> Iterator[str]:
    given = graph.node(link.source).kind.output(link.source_port)
    taken = graph.node(link.target).kind.input(link.target_port)
    if given is None or taken is None or (taken.kinds and _given(graph, link) not in taken.kinds):
        return  # it is a fault
    if "both" not in (given.use, taken.use) and given.use != taken.use:
        yield (
            f"Output '{given.name}' on node '{link.source}' is for {given.use}, but input '{taken.name}' on "
            f"node '{link.target}' is for {taken.use}"
        )


_TRAIN_FIRST = "connect the model of a trainer or of a checkpoint loader, or set its weights"


def _direct(graph: Graph, node: Node) -> list[str]:
    """Return the nodes that get a network itself."""
    return [link.target for link in graph.links_from(node.name) if link.source_port == "model"]


def has_steps(graph: Graph) -> bool:
    """Return whether a graph takes steps."""
    return any(node.kind.category == "steps" for node in graph.nodes)


def _is_stepped(graph: Graph, node: Node) -> bool:
    return any(graph.node(name).kind.category == "steps" for name in _direct(graph, node))


def is_untrained(node: Node) -> bool:
    """Return whether a network begins with new weights, as far as the graph says."""
    return node.type in NETWORKS and getattr(node.config, "weights", "there are some") is None
