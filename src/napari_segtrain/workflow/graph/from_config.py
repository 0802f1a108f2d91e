"""Experiments as graphs, and back: every key of an experiment is a parameter of one node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from napari_segtrain.config import ExperimentConfig, LossConfig, SegtrainError, load_config

from .arrange import arrange
from .graph import Graph, Node
from .parameters import CheckpointParameters, LossParameters, NetworkFileParameters, RepeatParameters
from .ports import GraphError, NodeError

NETWORKS = ("unet_model", "vnet_model", "network_from_config", "checkpoint_loader")
ROLES = {
    "data loader": ("data_loader",),
    "network": NETWORKS,
    "loss function": ("loss_function",),
    "optimizer": ("optimizer", "initialize_optimizer"),
    "trainer": ("trainer",),
    "repeat": ("repeat",),
}
LEARNS = ("training", "steps", "control")
_LINKS = (
    ("data_loader", "train_loader", "trainer", "dataloader"),
    ("{network}", "model", "trainer", "model"),
    ("loss_function", "loss_fn", "trainer", "loss_fn"),
    ("{network}", "model", "optimizer", "model"),
    ("optimizer", "optimizer", "trainer", "optimizer"),
)


@dataclass(frozen=True)
class Recipe:
    """What nodes that learn together say of their experiment.

    Attributes
    ----------
    config
        The experiment.
    members
        The nodes.
    losses
        Terms of the loss of every target, in the place of those in `config`; empty for these.
    data
        Folder of the data.
    project
        Folder that gets the run; None without a trainer.
    checkpoint
        Run folder or checkpoint, and which of a run's, whose network is trained on; None for another one.
    rounds
        Batches that are stepped through; None for all of the epochs.
    """

    config: ExperimentConfig
    members: frozenset[str]
    losses: tuple[LossConfig, ...] = ()
    data: str | None = None
    project: str | None = None
    checkpoint: tuple[str, str] | None = None
    rounds: int | None = None


def graph_of(config: ExperimentConfig, data: str | None = None, project: str | None = None) -> Graph:
    """Return the graph that trains an experiment: five nodes, and the links between them.

    Parameters
    ----------
    config
        The experiment.
    data
        Folder of the data, when it is known.
    project
        Folder that gets the run, when it is known.
    """
    network = f"{config.network.architecture}_model"
    others: dict[str, dict[str, Any]] = {
        "data_loader": {"data": data},
        "trainer": {} if project is None else {"project": project},
    }
    graph = Graph()
    for name in ("data_loader", network, "loss_function", "optimizer", "trainer"):
        node = graph.new_node(name)
        parameters = type(node.config).of_experiment(config, **others.get(name, {}))
        graph = graph.add(node.replace(config=parameters))
    for link in _LINKS:
        graph = graph.connect(*(end.format(network=network) for end in link))
    return graph.move(arrange(graph))


def learns_with(graph: Graph, name: str) -> frozenset[str]:
    """Return the nodes that a node learns with: all that its trainer, or its steps, depend on; often none."""
    around = graph.downstream(name) | graph.upstream(name)
    learning = [n for n in around if graph.node(n).kind.category in LEARNS]
    if not learning:
        return frozenset()
    # Other steps and repetitions may follow from the same nodes.
    ends = [n for n in graph.downstream(*learning) if graph.node(n).kind.category in LEARNS]
    return graph.upstream(*ends)


def trains_from(graph: Graph, members: Iterable[str], role: str) -> Node | None:
    """Return the node among some that has a role, such as ``"data loader"``; None when there is none.

    Raises
    ------
    GraphError
        When there are several: then nobody can say which one is meant.
    """
    found = [node for node in graph.nodes if node.name in members and node.type in ROLES[role]]
    if len(found) > 1:
        names = " and ".join(f"'{node.name}'" for node in found)
        raise GraphError(
            f"{names} are learnt with together, and one training has one {role}: give each training nodes of "
            "its own"
        )
    return found[0] if found else None


def recipe_of(graph: Graph, name: str) -> Recipe:
    """Return the experiment that a node learns in; of one that learns in none, what it says itself.

    Raises
    ------
    GraphError
        When several nodes have the same role in it.
    NodeError
        When a file that describes the network cannot be read or is not chosen, or what the nodes say
        together is not an experiment.
    """
    members = learns_with(graph, name) or frozenset((name,))
    nodes = {role: trains_from(graph, members, role) for role in ROLES}
    network, loss = nodes["network"], nodes["loss function"]
    loader, trainer, repeat = nodes["data loader"], nodes["trainer"], nodes["repeat"]
    sections = ExperimentConfig().to_dict()
    # Where two nodes have the same key, such as the device, that of the trainer counts: it comes last.
    for node in sorted(
        (node for node in graph.nodes if node.name in members), key=lambda node: node.type == "trainer"
    ):
        _merge(sections, node.config.to_sections())
    checkpoint = None
    if network is not None:
        with _named(network.name):
            checkpoint = _network(sections, network)
    # What no node has checked alone is about targets, which a data loader has.
    with _named(name if loader is None else loader.name):
        config = ExperimentConfig.parse(sections, "")
    rounds = repeat.config.rounds if repeat and isinstance(repeat.config, RepeatParameters) else None
    return Recipe(
        config,
        members,
        loss.config.losses if loss and isinstance(loss.config, LossParameters) else (),
        getattr(loader.config, "data", None) if loader else None,
        getattr(trainer.config, "project", None) if trainer else None,
        checkpoint,
        rounds,
    )


def _merge(sections: dict[str, Any], said: Mapping[str, Any]) -> None:
    for section, values in said.items():
        if section == "auxiliary_tasks":
            sections[section] = values
        else:
            sections[section] |= values


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Let an error say at which node it is."""
    try:
        yield
    except SegtrainError as error:
        raise NodeError(name, error) from error


def _network(sections: dict[str, Any], node: Node) -> tuple[str, str] | None:
    """Write what a node says of the network, and return the checkpoint that has it instead."""
    if isinstance(node.config, NetworkFileParameters):
        said = load_config(node.config.chosen()).network.to_dict()
        sections["model_config"] = said | {"weights": node.config.weights or said["weights"]}
    elif isinstance(node.config, CheckpointParameters):
        return node.config.chosen()
    return None


def at_home(graph: Graph, layers: Iterable[str] = ()) -> Graph:
    """Return a graph with the home folder where a path begins with ``~``.

    Parameters
    ----------
    graph
        The graph.
    layers
        Names of images that are no paths.
    """
    known = set(layers)
    return graph.replace(
        nodes=tuple(
            node
            if getattr(node.config, "image", None) in known
            else node.replace(config=node.config.at_home())
            for node in graph.nodes
        )
    )


def experiment_of(graph: Graph) -> Recipe:
    """Return the experiment of a graph's only trainer.

    Raises
    ------
    GraphError
        When there is no trainer, or several; or what the nodes say together is not an experiment.
    """
    trainers = graph.of_type("trainer")
    if len(trainers) != 1:
        raise GraphError(
            f"an experiment is made of a graph with one trainer, and this one has {len(trainers)}"
        )
    return recipe_of(at_home(graph), trainers[0].name)
