"""Training, taken apart: the seven steps that the full training is made of, in their order.

The module's ``training_step`` calls these functions and nothing else, so that stepping by hand gives the
same weights as a whole training. Each takes and returns frozen values (`values`); a step that is taken out
of order raises a `StepOrderError` that names the rule. `take_apart` returns what the steps work with: the
network, the loss and the batches of an experiment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from napari_segtrain.config import AdamW, Constant, Optimizer, Schedule, TrainingError
from napari_segtrain.network import MultiTaskNetwork, NetworkPlan, build_network
from napari_segtrain.network.hardware import Number

from ..lazy_names import lazy
from .frugal import step_weights
from .judging import LossFunction, judge
from .optimizers import build_optimizer
from .schedules import Journey, build_scheduler
from .values import (
    Batch,
    Gradients,
    LossValue,
    Optimization,
    Prediction,
    StepInfo,
    StepOrderError,
    note_change,
    state_of,
)

if TYPE_CHECKING:
    from .taken_apart import Parts, take_apart

__all__ = [
    "Batch",
    "Gradients",
    "LossValue",
    "Optimization",
    "Parts",
    "Prediction",
    "StepInfo",
    "StepOrderError",
    "backward_pass",
    "calculate_loss",
    "define_model",
    "forward_pass",
    "initialize_optimizer",
    "optimizer_step",
    "prepare_batch",
    "take_apart",
    "zero_gradients",
]

# An experiment is built with these steps, and so it cannot be imported before them.
__getattr__ = lazy(__package__, {"Parts": "taken_apart", "take_apart": "taken_apart"})

_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_NO_GRADIENT = (
    "no weight of the network has a gradient: the loss does not follow from what the network said, or all "
    "weights are frozen"
)


class BatchSource(Protocol):
    """Something with numbered batches, such as a `PatchLoader`."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""

    def batch(self, index: int) -> Mapping[str, Tensor]:
        """Return one batch of the epoch that is set."""


def define_model(plan: NetworkPlan, device: torch.device | str = "cpu") -> MultiTaskNetwork:
    """Build the network that the steps train, with weights from torch's random state."""
    return build_network(plan).to(device)


def initialize_optimizer(
    network: nn.Module,
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    journey: Journey | None = None,
    precision: Number = "fp32",
) -> Optimization:
    """Step 1: make what will change the network's weights.

    Parameters
    ----------
    network
        On its device already.
    optimizer
        By default AdamW.
    schedule
        How the learning rate changes; by default it is constant.
    journey
        Length of the training, which a schedule that is not constant needs.
    precision
        fp16 gets a scaler for the loss.

    Raises
    ------
    TrainingError
        When a schedule is given without the length of the training.
    """
    schedule = schedule if schedule is not None else Constant()
    if journey is None:
        if not isinstance(schedule, Constant):
            raise TrainingError(
                f"the schedule {schedule.name} needs the length of the training: give a Journey, "
                "or the schedule constant"
            )
        journey = Journey(1, 1)
    built = build_optimizer(optimizer if optimizer is not None else AdamW(), network.parameters())
    device = next(network.parameters()).device
    scaler = torch.amp.GradScaler(device.type) if precision == "fp16" else None
    scheduler = build_scheduler(built, schedule, journey)
    return Optimization(network, built, scheduler, scaler, journey=journey)


def prepare_batch(
    source: BatchSource | Mapping[str, Tensor],
    batch_index: int = 0,
    device: torch.device | str = "cpu",
) -> Batch:
    """Step 2: bring one batch to the device.

    Parameters
    ----------
    source
        Tensors by name, or a loader, from which the batch with the number `batch_index` is taken: the
        one that the full training sees at that position of the epoch.
    batch_index
        Position in the epoch, from 0.
    device
        Where the network is.

    Raises
    ------
    TrainingError
        When there is no such batch; the message names the valid range.
    """
    if isinstance(source, Mapping):
        tensors = source
    else:
        number = len(source)
        if not 0 <= batch_index < number:
            has = f"batches 0 to {number - 1}" if number else "no batches"
            raise TrainingError(f"batch_index {batch_index} is out of range: this epoch has {has}")
        tensors = source.batch(batch_index)
    moved = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}
    return Batch(moved, batch_index)


def zero_gradients(optimization: Optimization) -> Optimization:
    """Step 3: forget the gradients of earlier batches."""
    optimization.optimizer.zero_grad(set_to_none=True)
    optimization.ledger.close(used=False)
    return optimization


def forward_pass(
    network: nn.Module,
    batch: Batch,
    precision: Number = "fp32",
    run: Callable[[Tensor], dict[str, Any]] | None = None,
) -> Prediction:
    """Step 4: let the network predict the batch.

    Outputs are float32 whatever the arithmetic inside, because losses are computed in float32.

    Parameters
    ----------
    network
        The network, in the mode (train or eval) that is wanted.
    batch
        Result of `prepare_batch`.
    precision
        Number format of the arithmetic.
    run
        What computes in the network's place, such as its ``forward`` where it is compiled.
    """
    with autocast(batch.image.device, precision):
        outputs = (run if run is not None else network)(batch.image)
    if precision != "fp32":
        outputs = {name: _to_float(value) for name, value in outputs.items()}
    return Prediction(outputs, batch, network, state_of(network))


def autocast(device: torch.device, precision: Number) -> AbstractContextManager[Any]:
    """Return the context in which a network computes in `precision`."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=_AUTOCAST[precision])


def _to_float(value: Any) -> Any:
    return [v.float() for v in value] if isinstance(value, list) else value.float()


def calculate_loss(
    prediction: Prediction, batch: Batch, loss: LossFunction | nn.Module | str, epoch: int = 0
) -> LossValue:
    """Step 5: measure how wrong the prediction is.

    Parameters
    ----------
    prediction
        Result of `forward_pass`.
    batch
        The batch that was predicted.
    loss
        A `MultiTaskLoss`; any callable of outputs, targets and epoch; or a name, ``mse``, ``mae``, ``huber``
        or that of any loss, by which each raw output is compared with its target (`NamedLoss`).
    epoch
        Counted from 0; some losses begin later.

    Raises
    ------
    StepOrderError
        When `batch` is not the one that was predicted.
    TrainingError
        When it is no such function, or does not return one number as a tensor.
    ConfigError
        When there is no loss of this name.
    """
    if (predicted := prediction.batch) is not batch:
        rule = "calculate_loss must get the batch that forward_pass was given"
        if predicted.index == batch.index:
            raise StepOrderError(
                f"{rule}: this is another preparation of batch {batch.index}; give forward_pass and "
                "calculate_loss the same value"
            )
        raise StepOrderError(
            f"{rule}: this prediction is of batch {predicted.index}, the targets are of batch {batch.index}; "
            "run forward_pass on it first"
        )
    total, parts, valid = judge(loss, prediction.outputs, batch.tensors, epoch)
    return LossValue(total, prediction, parts, valid)


def backward_pass(
    optimization: Optimization,
    loss: LossValue,
    *,
    accumulate: bool = False,
    divide_by: float = 1,
    backward: Callable[[Tensor], None] | None = None,
) -> Gradients:
    """Step 6: compute the gradient of the loss for every weight.

    Parameters
    ----------
    optimization
        Whose network the loss came from.
    loss
        Result of `calculate_loss`.
    accumulate
        Add to the gradients that are there, instead of refusing to.
    divide_by
        Number of batches that are accumulated into one step, so that their mean is taken; for a part of a
        batch, as many times more as the batch has parts of its size.
    backward
        What runs the backward pass; a trainer of several processes gives its own.

    Raises
    ------
    StepOrderError
        When the loss is of another network, it or its prediction was used already or is of weights that have
        changed since, or gradients are there and `accumulate` is not set.
    TrainingError
        When the loss depends on no weight of the network.
    """
    _check_order(optimization, loss, accumulate=accumulate)
    ledger, network = optimization.ledger, optimization.network
    total = loss.total if divide_by == 1 else loss.total / divide_by
    if not total.requires_grad:
        raise TrainingError(
            "the loss has no gradient: it was detached, made of plain numbers, or computed without a graph "
            "(no_grad); compute it from the outputs with torch's operations"
        )
    if optimization.scaler is not None:
        total = optimization.scaler.scale(total)
    ledger.judged.add(loss)
    _differentiate(total, backward if backward is not None else Tensor.backward)
    if all(p.grad is None for p in network.parameters()):
        raise TrainingError(_NO_GRADIENT)
    ledger.micro_batches += 1
    ledger.current = Gradients(network, ledger.micro_batches, ledger.steps)
    return ledger.current


def _check_order(optimization: Optimization, loss: LossValue, *, accumulate: bool) -> None:
    """Refuse a backward pass that is taken out of order."""
    ledger, network = optimization.ledger, optimization.network
    if loss.prediction.network is not network:
        raise StepOrderError(
            "backward_pass must get a loss of the network that the optimizer trains: another network "
            "was forwarded; run forward_pass with the optimizer's network"
        )
    if loss in ledger.judged:
        raise StepOrderError(
            "each loss has one backward_pass, and this one had it: run forward_pass and calculate_loss again"
        )
    if loss.prediction.state not in (None, state_of(network)):
        raise StepOrderError(
            "forward_pass must come after optimizer_step: the weights changed since this prediction; run "
            "forward_pass and calculate_loss again"
        )
    there = any(p.grad is not None for p in network.parameters())
    if there and ledger.used:
        raise StepOrderError(
            "zero_gradients must come before backward_pass: the gradients that are there have already "
            "been used for a step"
        )
    if there and not accumulate:
        raise StepOrderError(
            "zero_gradients must come before backward_pass: the gradients of an earlier batch are still "
            "there; set accumulate=True to add to them"
        )


def _differentiate(total: Tensor, backward: Callable[[Tensor], None]) -> None:
    try:
        backward(total)
    except RuntimeError as error:
        if "backward through the graph a second time" not in str(error):
            raise
        raise StepOrderError(
            "each prediction has one backward_pass, and this one had it: run forward_pass again, or add "
            "the losses up before"
        ) from error


def optimizer_step(
    optimization: Optimization, gradients: Gradients, *, gradient_clip: float = 0.0, measure: bool = True
) -> tuple[Optimization, StepInfo]:
    """Step 7: change the weights, and then the learning rate.

    When memory runs out the step is taken all the same, one tensor of weights after another.

    Parameters
    ----------
    optimization
        What to change.
    gradients
        Result of `backward_pass`.
    gradient_clip
        Largest total L2 norm of the gradient; longer ones are scaled down. 0 switches clipping off.
    measure
        Compute the norm without clipping too; a training that clips nothing saves the pass over all weights.

    Returns
    -------
    tuple of Optimization and StepInfo
        The optimization after the step, and what the step did.

    Raises
    ------
    StepOrderError
        When `gradients` are not those in the network now.
    """
    ledger = optimization.ledger
    if not isinstance(gradients, Gradients) or ledger.current is not gradients:
        raise StepOrderError(
            "backward_pass must come before optimizer_step: these gradients are not in the network "
            "(they were used for a step, zeroed, or replaced by later ones)"
        )
    if gradients.network is not optimization.network:
        raise StepOrderError("optimizer_step must get gradients of the network that the optimizer trains")
    scaler, optimizer = optimization.scaler, optimization.optimizer
    norm: Tensor | None = None
    if gradient_clip > 0 or measure:
        if scaler is not None:
            scaler.unscale_(optimizer)
        norm = _clip(optimization.network, gradient_clip)
    learning_rate = optimization.learning_rate
    note_change(optimization.network)
    step_weights(optimization)
    if scaler is not None:
        scaler.update()
    if optimization.scheduler is not None:
        optimization.scheduler.step()
    ledger.close(used=True)
    after = optimization.at(ledger.steps + 1)
    return after, StepInfo(after.step, learning_rate, norm, gradient_clip)


def gradient_norm(gradients: list[Tensor]) -> Tensor:
    """Return the total L2 norm of the gradients of all weights, a scalar on their device.

    Raises
    ------
    TrainingError
        When there are none.
    """
    if not gradients:
        raise TrainingError(_NO_GRADIENT)
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients, 2.0)))
    return norm


def _clip(network: nn.Module, limit: float) -> Tensor:
    """Return the total L2 norm of the gradient, and scale the gradient down to `limit` unless that is 0."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    norm = gradient_norm(gradients)
    if limit > 0:
        # On a processor the norm is known without a wait, and a pass over all weights can be saved.
        if norm.device.type != "cpu":
            torch._foreach_mul_(gradients, (limit / (norm + 1e-6)).clamp(max=1.0))
        elif norm > limit:
            torch._foreach_mul_(gradients, limit / (float(norm) + 1e-6))
    return norm
