"""Graphs to begin with, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from napari_segtrain.config import ExperimentConfig, did_you_mean

from .from_config import graph_of
from .graph import Graph
from .ports import GraphError

_Node = tuple[str, str, Mapping[str, Any], tuple[float, float]]
_Link = tuple[str, str, str, str]


def _graph(nodes: tuple[_Node, ...], links: tuple[_Link, ...]) -> Graph:
    graph = Graph()
    for kind, name, config, position in nodes:
        graph = graph.add(graph.new_node(kind, name or kind, config, position))
    for link in links:
        graph = graph.connect(*link)
    return graph


def _predict() -> Graph:
    return _graph(
        (
            ("checkpoint_loader", "", {}, (0.0, 0.0)),
            ("image_layer", "", {}, (0.0, 180.0)),
            ("predictor", "", {}, (280.0, 60.0)),
        ),
        (
            ("checkpoint_loader", "model", "predictor", "model"),
            ("image_layer", "image", "predictor", "image"),
        ),
    )


def _evaluate() -> Graph:
    return _graph(
        (
            ("checkpoint_loader", "", {}, (0.0, 0.0)),
            ("data_loader", "", {}, (0.0, 180.0)),
            ("predictor", "", {}, (280.0, 60.0)),
            ("metrics", "", {}, (560.0, 80.0)),
        ),
        (
            ("checkpoint_loader", "model", "predictor", "model"),
            ("data_loader", "val_loader", "predictor", "dataloader"),
            ("predictor", "all_predictions", "metrics", "predictions"),
            ("predictor", "all_labels", "metrics", "labels"),
        ),
    )


def _direct() -> Graph:
    return _graph(
        (("image_layer", "", {}, (0.0, 0.0)), ("checkpoint_loader", "", {}, (280.0, 0.0))),
        (("image_layer", "image", "checkpoint_loader", "input"),),
    )


def _stepwise() -> Graph:
    steps = (
        "initialize_optimizer",
        "prepare_batch",
        "zero_gradients",
        "forward_pass",
        "calculate_loss",
        "backward_pass",
        "optimizer_step",
    )
    places = {name: (280.0 + 220.0 * n, 60.0 + 160.0 * (n % 2)) for n, name in enumerate(steps)}
    return _graph(
        (
            ("data_loader", "", {}, (0.0, 0.0)),
            ("unet_model", "", {}, (0.0, 180.0)),
            ("loss_function", "", {}, (0.0, 360.0)),
            *((name, "", {}, places[name]) for name in steps),
            ("repeat", "", {"num_epochs": 1}, (280.0 + 220.0 * len(steps), 120.0)),
        ),
        (
            ("unet_model", "model", "initialize_optimizer", "model"),
            ("data_loader", "train_loader", "prepare_batch", "dataloader"),
            ("initialize_optimizer", "optimizer", "zero_gradients", "optimizer"),
            ("unet_model", "model", "forward_pass", "model"),
            ("prepare_batch", "batch", "forward_pass", "batch"),
            ("forward_pass", "prediction", "calculate_loss", "prediction"),
            ("prepare_batch", "batch", "calculate_loss", "batch"),
            ("loss_function", "loss_fn", "calculate_loss", "loss_fn"),
            ("zero_gradients", "optimizer", "backward_pass", "optimizer"),
            ("calculate_loss", "loss", "backward_pass", "loss"),
            ("zero_gradients", "optimizer", "optimizer_step", "optimizer"),
            ("backward_pass", "gradients", "optimizer_step", "gradients"),
            ("optimizer_step", "step_info", "repeat", "step"),
        ),
    )


def _fine_tune() -> Graph:
    graph = graph_of(ExperimentConfig()).remove("unet_model")
    graph = graph.add(graph.new_node("checkpoint_loader", position=(0.0, 400.0)))
    graph = graph.connect("checkpoint_loader", "model", "optimizer", "model")
    return graph.connect("checkpoint_loader", "model", "trainer", "model")


TEMPLATES: dict[str, tuple[str, Callable[[], Graph]]] = {
    "train": ("Train a network on labelled images.", lambda: graph_of(ExperimentConfig())),
    "predict": ("Predict an image with a trained network, tile by tile.", _predict),
    "evaluate": ("Score a trained network on held-out images.", _evaluate),
    "direct": ("Predict an image at the input of a network itself.", _direct),
    "stepwise": ("Train step by step: the seven steps, repeated.", _stepwise),
    "fine_tune": ("Train on, from the weights of another run.", _fine_tune),
}
"""A sentence, and what makes the graph, by name; ``examples/workflows`` has each as a file."""


def template(name: str) -> Graph:
    """Return a graph to begin with.

    Raises
    ------
    GraphError
        When there is none of this name.
    """
    if name not in TEMPLATES:
        raise GraphError(f"template {name!r} is unknown. {did_you_mean(name, TEMPLATES)}")
    return TEMPLATES[name][1]()
