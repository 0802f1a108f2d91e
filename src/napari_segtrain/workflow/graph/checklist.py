"""What a graph is for, and what such a graph needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .faults import TRAINS, faults_of, has_steps, is_untrained
from .from_config import NETWORKS
from .graph import Graph, Link
from .node_types import NODE_TYPES

Purpose = Literal["training", "inference"]


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
    training = any(node.type in TRAINS or node.kind.category == "steps" for node in graph.nodes)
    return "training" if training else "inference"


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
    if purpose == "training" and has_steps(graph):
        return tuple(_stepping_checks(graph))
    return tuple(_training_checks(graph) if purpose == "training" else _inference_checks(graph))


def _training_checks(graph: Graph) -> Iterator[Check]:
    trainers = graph.of_type("trainer")
    trainer = trainers[0].name if trainers else ""

    def gets(port: str, output: str, *types: str) -> Link | None:
        """Return the link into an input of the trainer where it is from this output of these types."""
        link = graph.link_into(trainer, port)
        right = link and link.source_port == output and graph.node(link.source).type in types
        return link if right else None

    network = gets("model", "model", *NETWORKS)
    optimizer = gets("optimizer", "optimizer", "optimizer")
    changed = optimizer and graph.link_into(optimizer.source, "model")
    same = network and changed and (changed.source, changed.source_port) == (network.source, "model")
    wired = any(graph.link_into(node.name, "input") for node in graph.of_type(*NETWORKS))
    yield Check("a trainer", bool(trainers))
    yield Check(
        "a data loader's train_loader at the trainer's dataloader",
        gets("dataloader", "train_loader", "data_loader") is not None,
    )
    yield Check("a network's model at the trainer's model", network is not None)
    yield Check(
        "a loss function's loss_fn at the trainer's loss_fn",
        gets("loss_fn", "loss_fn", "loss_function") is not None,
    )
    yield Check("an optimizer's optimizer at the trainer's optimizer", optimizer is not None)
    yield Check("the same network's model at the optimizer's model", bool(same))
    yield Check("the network's input left open", not wired)


def _stepping_checks(graph: Graph) -> Iterator[Check]:
    steps = [kind for kind in NODE_TYPES.values() if kind.category == "steps"]
    for kind in steps:
        yield Check(f"{kind.title}: all inputs connected", _complete(graph, kind.name))
    yield Check("a repetition, to take the steps more than once", _complete(graph, "repeat"))


def _complete(graph: Graph, kind: str) -> bool:
    nodes = graph.of_type(kind)
    return bool(nodes) and not any(fault for node in nodes for fault in faults_of(graph, node))


def _inference_checks(graph: Graph) -> Iterator[Check]:
    networks = graph.of_type(*NETWORKS)
    trained = bool(networks) and not any(is_untrained(node) for node in networks)
    images = any(graph.links_from(node.name) for node in graph.of_type("image_layer", "data_loader"))
    direct = any(graph.link_into(node.name, "input") for node in networks)
    predicts = any(graph.link_into(node.name, "model") for node in graph.of_type("predictor"))
    yield Check("a trained network: a checkpoint loader, or a network with weights", trained)
    yield Check("an image or a data loader that is connected", images)
    yield Check("the network's model at a predictor, or the image at the network's input", direct or predicts)
    yield Check("no loss, optimizer or trainer", not graph.of_type(*TRAINS))
