"""The seven steps as nodes; each calls the step that a training calls."""

from __future__ import annotations

from typing import Any

from napari_segtrain.network import MultiTaskNetwork
from napari_segtrain.runs import Warned
from napari_segtrain.training import steps
from napari_segtrain.training.deviations import deviations

from ..context import Context, Values
from ..parameters import (
    BackwardParameters,
    BatchParameters,
    InitializeParameters,
    NoParameters,
    StepParameters,
)
from .models import described
from .patches import placed
from .setting import Loader, setting_of
from .training import optimizer

_NEEDS_DATA = "a step is taken with a batch of data"


def initialize_optimizer(config: InitializeParameters, inputs: Values, context: Context) -> dict[str, Any]:
    """Step 1."""
    return optimizer(config, inputs, context)


def prepare_batch(config: BatchParameters, inputs: Values, context: Context) -> dict[str, Any]:
    """Step 2: the batch of the round, from epoch to epoch."""
    loader: Loader = inputs["dataloader"]
    setting = setting_of(context, _NEEDS_DATA)
    number = config.batch_index + context.round
    # Without a repetition a batch that the epoch does not have is refused by the step itself.
    epoch, index = divmod(number, len(loader)) if context.round else (0, number)
    loader.set_epoch(epoch)
    context.memo["epoch"] = epoch
    return {"batch": placed(steps.prepare_batch(loader, index, setting.resolved.device), loader, context)}


def zero_gradients(config: NoParameters, inputs: Values, context: Context) -> dict[str, Any]:
    """Step 3."""
    return {"optimizer": steps.zero_gradients(inputs["optimizer"])}


def forward_pass(config: NoParameters, inputs: Values, context: Context) -> dict[str, Any]:
    """Step 4, in training mode and not compiled, as a training's first epoch is."""
    network = inputs["model"].train()
    setting = setting_of(context, _NEEDS_DATA)
    resolved = setting.resolved
    if context.round == 0:
        # Whether a training compiles the network was decided when it was built.
        built = described(network)[1] or resolved
        for sentence in deviations(setting.config, built, whole=True):
            context.emit(Warned(message=sentence))
    if isinstance(network, MultiTaskNetwork):
        network.checkpointing = resolved.load.recompute
    prediction = steps.forward_pass(network, inputs["batch"], resolved.precision, run=network.forward)
    return {"prediction": prediction}


def calculate_loss(config: NoParameters, inputs: Values, context: Context) -> dict[str, Any]:
    """Step 5."""
    epoch = int(context.memo.get("epoch", 0))
    return {"loss": steps.calculate_loss(inputs["prediction"], inputs["batch"], inputs["loss_fn"], epoch)}


def backward_pass(config: BackwardParameters, inputs: Values, context: Context) -> dict[str, Any]:
    """Step 6."""
    return {
        "gradients": steps.backward_pass(inputs["optimizer"], inputs["loss"], accumulate=config.accumulate)
    }


def optimizer_step(config: StepParameters, inputs: Values, context: Context) -> dict[str, Any]:
    """Step 7."""
    after, info = steps.optimizer_step(
        inputs["optimizer"], inputs["gradients"], gradient_clip=config.gradient_clip
    )
    return {"optimizer": after, "step_info": info, "model": after.network}
