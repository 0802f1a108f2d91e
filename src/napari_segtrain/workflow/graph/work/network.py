"""Networks: planned for the data that trains them, or rebuilt from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from napari_segtrain.inference import Trained, load_trained
from napari_segtrain.inference.checkpoint import label_values
from napari_segtrain.runs import Warned, find_checkpoint
from napari_segtrain.training import device_explained, network_of

from ..context import Context
from ..parameters import CheckpointParameters, Parameters
from ..ports import GraphError
from .inference import predict_picture
from .models import describe
from .setting import setting_of

_NO_DATA = "a network with new weights is planned for the data that it learns from"


def planned(config: Parameters, inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Build a network as its parameters, or its configuration file, say."""
    said = context.recipe.config.network
    if len(context.recipe.members) > 1 or said.weights is None:
        return _with_output(_planned(context), inputs, context)
    trained = load_trained(said.weights)
    kind = trained.plan.architecture
    if kind != said.architecture:
        raise GraphError(
            f"{said.weights} has weights of a {kind}, not of a {said.architecture}: take a {kind}_model, or "
            "a checkpoint loader, which is either"
        )
    return _with_output(describe(trained), inputs, context)


def from_checkpoint(
    config: CheckpointParameters, inputs: Mapping[str, Any], context: Context
) -> dict[str, Any]:
    """Rebuild a trained network, to predict with it or to train it on."""
    if len(context.recipe.members) > 1:
        return _with_output(_planned(context), inputs, context)
    model = describe(load_trained(find_checkpoint(*config.chosen())))
    return _with_output(model, inputs, context)


def _with_output(model: nn.Module, inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return what a network node gives: the network, and its prediction of all images at its input."""
    predicted = predict_picture(model, inputs["input"], context) if "input" in inputs else None
    return {"model": model, "output": predicted}


def _planned(context: Context) -> nn.Module:
    """Build the network that a training of this experiment begins with, by what the training calls, too."""
    setting = setting_of(context, _NO_DATA)
    config = setting.config
    with device_explained(config, setting.resolved):
        network, resolved = network_of(config, setting.resolved)
    for message in resolved.messages[len(setting.resolved.messages) :]:
        context.emit(Warned(message=message))
    normalisation = resolved.normalisation
    if normalisation is None:
        raise GraphError(f"{_NO_DATA}: its normalisation is not known")
    return describe(
        Trained(
            network,
            resolved.plan,
            resolved.heads,
            normalisation,
            inference=config.inference_config,
            dataset=config.dataset_config,
            spacing=resolved.facts.spacing,
            unit=resolved.facts.unit,
            values=label_values(config, resolved.facts, resolved.heads),
            config=config,
        ),
        resolved,
    )
