"""The small frozen values that the seven steps hand to each other, and the rules of their order.

::

    define_model ─> network
    initialize_optimizer(network) ─> Optimization
    prepare_batch(loader, index)  ─> Batch
    zero_gradients(Optimization)  ─> Optimization
    forward_pass(network, Batch)  ─> Prediction
    calculate_loss(Prediction, Batch, loss) ─> LossValue
    backward_pass(Optimization, LossValue)  ─> Gradients
    optimizer_step(Optimization, Gradients) ─> Optimization, StepInfo
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn

from napari_segtrain.config import TrainingError
from napari_segtrain.data.loader import STAND_IN
from napari_segtrain.network import is_out_of_memory

from .schedules import Journey

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LambdaLR


class StepOrderError(TrainingError):
    """A step was taken before one that it needs; the message names the rule."""


_CHANGES: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


def state_of(network: nn.Module) -> int:
    """Return how often steps have changed the weights of a network, which tells one state from another."""
    return _CHANGES.get(network, 0)


def note_change(network: nn.Module) -> None:
    """Take note that a step changes the weights of a network."""
    _CHANGES[network] = state_of(network) + 1


class Ledger:
    """What really happened to one optimizer's gradients; the frozen values of its steps share it.

    A value that was kept from earlier can be told from the current one by it.

    Attributes
    ----------
    frugal
        Whether steps change one tensor after another, since memory ran out in one of them.
    judged
        The losses that had their backward pass, as long as somebody holds them.
    """

    __slots__ = ("current", "frugal", "judged", "micro_batches", "steps", "used")

    def __init__(self) -> None:
        self.steps = 0
        self.micro_batches = 0
        self.current: Gradients | None = None
        self.judged: WeakSet[LossValue] = WeakSet()
        self.used = False
        self.frugal = False

    def close(self, *, used: bool) -> None:
        """Take note that the gradients are gone: zeroed, or used for a step but still in the network."""
        self.micro_batches = 0
        self.current = None
        self.used = used


@dataclass(frozen=True, eq=False)
class Optimization:
    """A network with what changes its weights; the result of `initialize_optimizer`.

    Attributes
    ----------
    network
        What is trained.
    optimizer
        Holds the learning rate and the moments.
    scheduler
        Stepped once after every step of the optimizer, or None.
    scaler
        Scales the loss for fp16, or None.
    step
        Steps of the optimizer so far.
    journey
        The length of the training, which the scheduler follows.
    """

    network: nn.Module
    optimizer: Optimizer
    scheduler: LambdaLR | None = None
    scaler: torch.amp.GradScaler | None = None
    step: int = 0
    ledger: Ledger = field(default_factory=Ledger, repr=False)
    journey: Journey = field(default_factory=lambda: Journey(1, 1), repr=False)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def at(self, step: int) -> Optimization:
        """Return the same after another number of steps; values from before are no longer current."""
        self.ledger.close(used=self.ledger.used)
        self.ledger.steps = step
        return replace(self, step=step)


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches on the device, with what the network shall predict for them.

    Attributes
    ----------
    tensors
        ``"image"`` (B, C, *spatial) float32; for each head its target ``"<head>"`` (B, Ct, *spatial) and
        ``"<head>_mask"`` (B, 1, *spatial) bool, True where the target is known.
    index
        Position in the epoch, counted from 0.
    """

    tensors: Mapping[str, Tensor]
    index: int = 0

    @property
    def image(self) -> Tensor:
        """The patches, (B, C, *spatial)."""
        return self.tensors["image"]

    @property
    def size(self) -> int:
        """Number of patches; 0 of a batch that only stands in for one (`STAND_IN`)."""
        return 0 if STAND_IN in self.tensors else int(self.image.shape[0])


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network made of a batch.

    Attributes
    ----------
    outputs
        Raw output in float32 by head: (B, C, *spatial), or with deep supervision a list, finest first.
    batch, network
        What was predicted, and by whom.
    state
        The state of the weights by which it was (see `state_of`); None where that is not known.
    """

    outputs: Mapping[str, Any]
    batch: Batch
    network: nn.Module
    state: int | None = None


@dataclass(frozen=True, eq=False)
class LossValue:
    """How wrong a prediction is.

    Attributes
    ----------
    total
        What is minimised, a scalar with its gradient graph.
    parts
        The losses by ``"<head>/<loss>"`` and their sums by ``"<head>"``, scalars without graph.
    valid
        For each head, whether any voxel of the batch is labelled for it.
    prediction
        What was judged.
    """

    total: Tensor
    prediction: Prediction
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    valid: Mapping[str, bool | Tensor] = field(default_factory=dict)

    @property
    def value(self) -> float:
        """The total as a number."""
        return float(self.total.detach())

    def without_graph(self) -> LossValue:
        """Return the same as plain numbers, which hold nothing that a backward pass needs."""
        outputs = {
            name: [level.detach() for level in output] if isinstance(output, list) else output.detach()
            for name, output in self.prediction.outputs.items()
        }
        prediction = replace(self.prediction, outputs=outputs)
        return replace(self, total=self.total.detach(), prediction=prediction)


@dataclass(frozen=True, eq=False)
class Gradients:
    """The gradients of one batch, or of several that were accumulated, in the network's parameters.

    Attributes
    ----------
    network
        Whose parameters hold them.
    micro_batches
        Batches they are the sum of.
    step
        Steps of the optimizer that had been taken when they were computed.
    """

    network: nn.Module
    micro_batches: int
    step: int


@dataclass(frozen=True, eq=False)
class StepInfo:
    """What a step of the optimizer did.

    Attributes
    ----------
    step
        Steps so far, this one included.
    learning_rate
        The learning rate of this step.
    norm
        Total L2 norm of the gradient before clipping, a scalar tensor on the device; None when it was
        not asked for.
    clip
        Largest norm allowed; 0 for none.
    """

    step: int
    learning_rate: float
    norm: Tensor | None = None
    clip: float = 0.0

    @property
    def norm_before(self) -> float | None:
        """Norm of the gradient as it was computed."""
        return None if self.norm is None else float(self.norm)

    @property
    def norm_after(self) -> float | None:
        """Norm of the gradient that was applied."""
        before = self.norm_before
        return before if before is None or not self.clip else min(before, self.clip)


def mean_of(values: Sequence[LossValue]) -> LossValue:
    """Return the loss of a batch from those of its parts: their mean a patch; a single one as it is."""
    if len(values) == 1:
        return values[0]
    sizes = [value.prediction.batch.size for value in values]

    def mean(tensors: Sequence[Tensor]) -> Tensor:
        weighted = [tensor * size for tensor, size in zip(tensors, sizes, strict=True)]
        return torch.stack(weighted).sum() / sum(sizes)

    parts = {name: mean([value.parts[name] for value in values]) for name in values[0].parts}
    return replace(values[-1], total=mean([value.total for value in values]), parts=parts)


def joined_outputs(values: Sequence[LossValue]) -> Mapping[str, Any]:
    """Return the outputs of a batch from those of its parts, full resolution only where there are several.

    Where memory does not suffice to join them, they are joined in the processor's.
    """
    real = [value for value in values if value.prediction.batch.size] or values[:1]
    outputs = [value.prediction.outputs for value in real]
    if len(outputs) == 1:
        return outputs[0]
    return {name: _joined([_finest(output[name]) for output in outputs]) for name in outputs[0]}


def _joined(tensors: list[Tensor]) -> Tensor:
    try:
        return torch.cat(tensors)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    return torch.cat([tensor.cpu() for tensor in tensors])


def _finest(output: Tensor | list[Tensor]) -> Tensor:
    return output[0] if isinstance(output, list) else output
