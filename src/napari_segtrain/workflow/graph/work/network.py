"""Networks: planned for the data that trains them, or rebuilt from a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_segtrain.inference import Trained, load_trained
from napari_segtrain.inference.checkpoint import label_values
from napari_segtrain.runs import Warned, find_checkpoint
from napari_segtrain.training import device_explained, network_of

from ..context import Context
from ..parameters import CheckpointParameters, NetworkFileParameters, NetworkParameters
from ..ports import GraphError
from .inference import predict_picture
from .models import describe
from .setting import setting_of

_NO_DATA = "a network with new weights is planned for the data that it learns from"


def unet(config: NetworkParameters, inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Build a U-Net."""
    return _network(config.weights, inputs, context, "unet")


def vnet(config: NetworkParameters, inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Build a V-Net."""
    return _network(config.weights, inputs, context, "vnet")


def from_config(config: NetworkFileParameters, inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Build the network of a configuration file."""
    return _network(config.weights, inputs, context)


def from_checkpoint(
    config: CheckpointParameters, inputs: Mapping[str, Any], context: Context
) -> dict[str, Any]:
    """Rebuild a trained network, to predict with it or to train it on."""
    if config.run is None:
        raise GraphError("Parameter 'run' is not set: give a run folder or checkpoint")
    return _network(str(find_checkpoint(config.run, config.checkpoint)), inputs, context)


def _network(
    weights: str | None, inputs: Mapping[str, Any], context: Context, kind: str | None = None
) -> dict[str, Any]:
    if len(context.recipe.members) == 1 and weights is not None:
        trained = load_trained(weights)
        if kind not in (None, trained.plan.architecture):
            raise GraphError(
                f"{weights} has weights of a {trained.plan.architecture}, not of a {kind}: take a "
                f"{trained.plan.architecture}_model, or a checkpoint loader, which is either"
            )
        model = describe(trained)
    else:
        model = _planned(context)
    found: dict[str, Any] = {"model": model, "output": None}
    if "input" in inputs:
        found["output"] = predict_picture(model, inputs["input"], context).finest
    return found


def _planned(context: Context) -> Any:
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
