"""What would happen if: another learning rate, many steps on one patch. On copies; nothing is changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from napari_segtrain.config import TrainingError
from napari_segtrain.network import MultiTaskNetwork, build_network
from napari_segtrain.training import Parts, build_optimizer
from napari_segtrain.training.randomness import restore_random_states, untouched_randomness
from napari_segtrain.training.steps import (
    Batch,
    Gradients,
    Optimization,
    backward_pass,
    calculate_loss,
    forward_pass,
    initialize_optimizer,
    optimizer_step,
    zero_gradients,
)
from napari_segtrain.training.values import mean_of

LEARNED = 0.1
"""Share of its first loss that one patch must come down to, to count as learned."""


def copy_of(network: MultiTaskNetwork) -> MultiTaskNetwork:
    """Return a network of the same plan, weights and mode, which shares nothing."""
    with untouched_randomness():
        copy = build_network(network.plan).to(next(network.parameters()).device)
    if network.memory_format is not None:
        copy.use_channels_last()
    copy.load_state_dict(network.state_dict())
    copy.checkpointing = network.checkpointing
    return copy.train(network.training)


def loss_after_step(
    parts: Parts,
    optimization: Optimization,
    batch: Batch,
    epoch: int,
    learning_rate: float,
    random_states: dict[str, Any],
) -> float:
    """Return what the loss of a batch would be after a step with another learning rate.

    Parameters
    ----------
    parts
        The experiment.
    optimization
        Has the network with its gradients, and the state of the optimizer; neither is changed.
    batch
        The batch that is predicted again.
    epoch
        From 0.
    learning_rate
        Of the step.
    random_states
        Those before the network predicted the batch, so that it drops the same out.
    """
    network = copy_of(parts.network)
    scale = 1.0 if optimization.scaler is None else float(optimization.scaler.get_scale())
    for own, other in zip(network.parameters(), parts.network.parameters(), strict=True):
        own.grad = None if other.grad is None else other.grad / scale
    built = build_optimizer(parts.config.tr_config.optimizer, network.parameters())
    built.load_state_dict(deepcopy(optimization.optimizer.state_dict()))
    for group in built.param_groups:
        group["lr"] = learning_rate
    stepped = Optimization(network, built)
    gradients = Gradients(network, optimization.ledger.micro_batches, optimization.step)
    stepped.ledger.current = gradients
    optimizer_step(stepped, gradients, gradient_clip=parts.gradient_clip, measure=False)
    judged = []
    with untouched_randomness(), torch.no_grad():
        restore_random_states(random_states)
        for part, _ in parts.divide(batch):
            prediction = forward_pass(network, part, parts.precision, run=network.forward)
            judged.append(calculate_loss(prediction, part, parts.loss, epoch))
    return mean_of(judged).value


def _no_number(steps: int) -> str:
    if steps:
        return f"after {_count(steps)} on this patch its loss is no number: try a lower learning rate"
    return (
        "the loss of this patch is no number, before any step: the weights are ruined, or there are extreme "
        "values in the image or a target; define the model anew, or look at the patch"
    )


def _count(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


@dataclass(frozen=True)
class Overfitted:
    """How far the loss of one patch came down.

    Attributes
    ----------
    first, last
        The loss before the first step, and the lowest one since.
    steps
        Steps that were taken.
    halted
        Whether somebody ended it early.
    """

    first: float
    last: float
    steps: int
    halted: bool = False

    @property
    def learned(self) -> bool:
        """Whether the network could learn the patch by heart."""
        return self.last <= LEARNED * self.first

    @property
    def words(self) -> str:
        """Say whether it could, and what to think of where it could not."""
        came = f"its loss came from {self.first:.4g} to {self.last:.4g} in {_count(self.steps)}"
        if self.learned:
            return f"The network can learn this patch by heart: {came}"
        if self.halted:
            return f"Stopped: {came}; that does not say yet whether it can learn this patch by heart"
        return (
            f"The network could not learn this patch by heart: {came}; wanted is {LEARNED:.0%} of it. "
            "Look at the patch and its targets: do they fit each other? Else try another learning rate, more "
            "steps, or a larger network"
        )


def overfit(
    parts: Parts,
    batch: Batch,
    patch: int,
    epoch: int,
    steps: int,
    progress: Callable[[float], None],
    halted: Callable[[], bool],
) -> Overfitted:
    """Let a copy of the network learn one patch again and again.

    A network, a loss and an optimizer that work can learn a single patch by heart; where they cannot,
    training on many will not help.

    Parameters
    ----------
    parts
        The experiment; the weights are those of now, the learning rate does not change.
    batch, patch
        A batch, and which of its patches, from 0.
    epoch
        From 0; some losses begin later.
    steps
        At most.
    progress
        Told the share that is done.
    halted
        Asked before each step whether to end early.

    Raises
    ------
    TrainingError
        When there is no such patch, nothing in it is labelled, or the loss becomes infinite.
    """
    if patch >= batch.size:
        raise TrainingError(f"patch {patch} is out of range: this batch has patches 0 to {batch.size - 1}")
    one = Batch({name: t.detach()[patch : patch + 1] for name, t in batch.tensors.items()}, batch.index)
    network = copy_of(parts.network).train()
    step = initialize_optimizer(network, parts.config.tr_config.optimizer, precision=parts.precision)
    first: float | None = None
    lowest, taken = float("inf"), 0
    with untouched_randomness():
        for taken in range(steps + 1):
            prediction = forward_pass(network, one, parts.precision, run=network.forward)
            loss = calculate_loss(prediction, one, parts.loss, epoch)
            if first is None:
                if not any(bool(valid) for valid in loss.valid.values()):
                    raise TrainingError("nothing in this patch is labelled: choose another patch or batch")
                first = loss.value
            if not math.isfinite(loss.value):
                raise TrainingError(_no_number(taken))
            lowest = min(lowest, loss.value)
            if taken == steps or lowest <= LEARNED / 2 * first or halted():
                break
            step = zero_gradients(step)
            gradients = backward_pass(step, loss)
            step, _ = optimizer_step(step, gradients, gradient_clip=parts.gradient_clip, measure=False)
            progress((taken + 1) / steps)
    return Overfitted(first or 0.0, lowest, taken, halted())
