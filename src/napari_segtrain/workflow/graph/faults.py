"""What keeps a whole graph from running, what is doubtful about it, and what it still needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .graph import Graph, Link, Node
from .node_types import NODE_TYPES
from .ports import GraphError
from .repetition import body_of

Purpose = Literal["training", "inference"]

_TRAINS = ("trainer", "loss_function", "optimizer")
_NETWORKS = ("unet_model", "vnet_model", "network_from_config", "checkpoint_loader")
_UNSET = {
    "data_loader": ("data", "a folder with images/ and labels/, or open layers"),
    "image_layer": ("image", "an open image layer, or the path of an image"),
    "network_from_config": ("config", "the YAML file of an experiment"),
    "checkpoint_loader": ("run", "a run folder or checkpoint"),
}


@dataclass(frozen=True)
class Check:
    """One line of a checklist.

    Attributes
    ----------
    text
        What the graph needs, such as ``"a data loader"``.
    done
        Whether it has it.
    """

    text: str
    done: bool


def purpose_of(graph: Graph) -> Purpose:
    """Return what a graph is for: training when it has a trainer, a loss, an optimizer or a step."""
    training = any(node.type in _TRAINS or node.kind.category == "steps" for node in graph.nodes)
    return "training" if training else "inference"


def find_faults(graph: Graph) -> tuple[str, ...]:
    """Return a sentence for everything that keeps a graph from running, in the order of its nodes."""
    if not graph.nodes:
        return ("The graph is empty: add a node, or open a template",)
    return tuple(fault for node in graph.nodes for fault in _faults_of(graph, node))


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


def _faults_of(graph: Graph, node: Node) -> Iterator[str]:
    for port in node.kind.inputs:
        if port.required and graph.link_into(node.name, port.name) is None:
            yield f"Required input '{port.name}' on node '{node.name}' is not connected"
    if node.type == "predictor" and not any(
        graph.link_into(node.name, port) for port in ("image", "dataloader")
    ):
        yield f"Required input 'image' or 'dataloader' on node '{node.name}' is not connected"
    if node.type == "repeat":
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


def find_warnings(graph: Graph) -> tuple[str, ...]:
    """Return a sentence for everything that runs, but probably not as it was meant."""
    found = [warning for node in graph.nodes for warning in _warnings_of(graph, node)]
    has = {kind: bool(graph.of_type(kind)) for kind in _TRAINS}
    if (has["loss_function"] or has["optimizer"]) and not has["trainer"] and not _steps(graph):
        found.append("Nothing is trained: the graph has a loss or an optimizer, and no trainer")
    return tuple(found)


def _warnings_of(graph: Graph, node: Node) -> Iterator[str]:
    if node.type in _UNSET:
        parameter, wanted = _UNSET[node.type]
        if getattr(node.config, parameter) is None and not getattr(node.config, "layers", ()):
            yield f"Parameter '{parameter}' on node '{node.name}' is not set: give {wanted}"
    for link in graph.links_into(node.name):
        yield from _misused(graph, link)
    if node.type in _NETWORKS and graph.link_into(node.name, "input"):
        trained = graph.downstream(*_direct(graph, node)) & {n.name for n in graph.of_type("trainer")}
        if trained or _is_stepped(graph, node):
            yield (
                f"Input 'input' on node '{node.name}' is wired in a training graph: the trainer feeds the "
                "network from its dataloader; the input is for inference"
            )
        elif _is_untrained(node):
            yield f"The network '{node.name}' predicts with untrained weights: {_TRAIN_FIRST}"
    if node.type == "predictor":
        into = graph.link_into(node.name, "model")
        network = None if into is None else graph.node(into.source)
        if network is not None and _is_untrained(network):
            yield f"Predictor '{node.name}' gets the untrained network '{network.name}': {_TRAIN_FIRST}"
    if node.kind.inputs and not graph.links_into(node.name) and not graph.links_from(node.name):
        yield f"Node '{node.name}' is not connected to anything"


def _misused(graph: Graph, link: Link) -> Iterator[str]:
    given = graph.node(link.source).kind.output(link.source_port)
    taken = graph.node(link.target).kind.input(link.target_port)
    if given and taken and "both" not in (given.use, taken.use) and given.use != taken.use:
        yield (
            f"Output '{given.name}' on node '{link.source}' is for {given.use}, but input '{taken.name}' on "
            f"node '{link.target}' is for {taken.use}"
        )


_TRAIN_FIRST = "connect the model of a trainer or of a checkpoint loader, or set its weights"


def _direct(graph: Graph, node: Node) -> list[str]:
    """Return the nodes that get a network itself."""
    return [link.target for link in graph.links_from(node.name) if link.source_port == "model"]


def _steps(graph: Graph) -> bool:
    return any(node.kind.category == "steps" for node in graph.nodes)


def _is_stepped(graph: Graph, node: Node) -> bool:
    return any(graph.node(name).kind.category == "steps" for name in _direct(graph, node))


def _is_untrained(node: Node) -> bool:
    return node.type in _NETWORKS and getattr(node.config, "weights", "there are some") is None


def checklist(graph: Graph, purpose: Purpose | None = None) -> tuple[Check, ...]:
    """Return what a graph of some purpose needs, and what it has of it.

    Parameters
    ----------
    graph
        The graph.
    purpose
        By default what it seems to be for.
    """
    purpose = purpose or purpose_of(graph)
    if purpose == "training" and _steps(graph):
        return tuple(_stepping_checks(graph))
    return tuple(_training_checks(graph) if purpose == "training" else _inference_checks(graph))


def _training_checks(graph: Graph) -> Iterator[Check]:
    trainers = graph.of_type("trainer")
    trainer = trainers[0].name if trainers else ""
    sources = {
        port: graph.link_into(trainer, port) for port in ("dataloader", "model", "loss_fn", "optimizer")
    }
    optimizer = sources["optimizer"]
    network = sources["model"]
    trained = optimizer and graph.link_into(optimizer.source, "model")
    yield Check("a trainer", bool(trainers))
    yield Check("a data loader's train_loader at the trainer's dataloader", sources["dataloader"] is not None)
    yield Check("a network's model at the trainer's model", network is not None)
    yield Check("a loss function's loss_fn at the trainer's loss_fn", sources["loss_fn"] is not None)
    yield Check("an optimizer's optimizer at the trainer's optimizer", optimizer is not None)
    same = bool(
        trained and network and (trained.source, trained.source_port) == (network.source, network.source_port)
    )
    yield Check("the same network's model at the optimizer's model", same)
    wired = any(graph.link_into(node.name, "input") for node in graph.of_type(*_NETWORKS))
    yield Check("the network's input left open", not wired)


def _stepping_checks(graph: Graph) -> Iterator[Check]:
    steps = [kind for kind in NODE_TYPES.values() if kind.category == "steps"]
    for kind in steps:
        yield Check(f"{kind.title}: all inputs connected", _complete(graph, kind.name))
    yield Check("a repetition, to take the steps more than once", _complete(graph, "repeat"))


def _complete(graph: Graph, kind: str) -> bool:
    nodes = graph.of_type(kind)
    return bool(nodes) and not any(fault for node in nodes for fault in _faults_of(graph, node))


def _inference_checks(graph: Graph) -> Iterator[Check]:
    networks = graph.of_type(*_NETWORKS)
    trained = bool(networks) and not any(_is_untrained(node) for node in networks)
    images = any(graph.links_from(node.name) for node in graph.of_type("image_layer", "data_loader"))
    direct = any(graph.link_into(node.name, "input") for node in networks)
    predicts = any(graph.link_into(node.name, "model") for node in graph.of_type("predictor"))
    yield Check("a trained network: a checkpoint loader, or a network with weights", trained)
    yield Check("an image or a data loader that is connected", images)
    yield Check("the network's model at a predictor, or the image at the network's input", direct or predicts)
    yield Check("no loss, optimizer or trainer", not graph.of_type(*_TRAINS))
