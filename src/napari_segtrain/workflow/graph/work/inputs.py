"""What the inputs of nodes take: links have a type, and there are several kinds of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from napari_segtrain.training import Batch, Gradients, LossValue, Optimization, Prediction

from ..context import Values
from ..graph import Graph
from ..ports import GraphError
from .data import Picture
from .inference import Labelled, Predicted
from .setting import Loader

_KINDS: Mapping[type, str] = {
    Picture: "the image of an image layer",
    Predicted: "predictions of a predictor or a network",
    Labelled: "the all_labels of a predictor",
    Prediction: "the prediction of a forward pass",
    Gradients: "the gradients of a backward pass",
    Loader: "a loader of batches",
    Batch: "one batch, which prepare_batch gives",
    LossValue: "the loss that calculate_loss gives",
    Optimization: "an optimizer",
    nn.Module: "a network or a loss function",
}
_TAKEN: Mapping[str, type] = {
    "image": Picture,
    "input": Picture,
    "dataloader": Loader,
    "batch": Batch,
    "prediction": Prediction,
    "predictions": Predicted,
    "labels": Labelled,
    "loss": LossValue,
    "loss_fn": nn.Module,
    "gradients": Gradients,
    "optimizer": Optimization,
    "model": nn.Module,
}
"""By the name of an input, which is the same at all nodes; an input that is not here takes anything."""


def check_inputs(graph: Graph, name: str, inputs: Values) -> None:
    """Refuse what a node cannot work with, though the types of its links are right.

    Parameters
    ----------
    graph
        The graph.
    name
        The node.
    inputs
        What it got, by the name of the input.

    Raises
    ------
    GraphError
        Names the input, and what it takes.
    """
    for link in graph.links_into(name):
        taken = _TAKEN.get(link.target_port, object)
        if link.target_port in inputs and not isinstance(inputs[link.target_port], taken):
            raise GraphError(
                f"input '{link.target_port}' takes {_KINDS[taken]}, and output '{link.source_port}' of "
                f"'{link.source}' gives {_kind(inputs[link.target_port])}"
            )


def _kind(value: Any) -> str:
    if value is None:
        return "nothing: nothing is at its own input"
    return next((text for kind, text in _KINDS.items() if isinstance(value, kind)), "something else")
