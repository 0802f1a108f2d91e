"""What all losses share: masks, dtypes, the mean over what is labelled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from .joint import fraction_over_processes


class Loss(nn.Module, ABC):
    """A scalar that says how far a prediction is from its target where the target is known.

    Subclasses implement `compute`. Half-precision input is computed in float32, whatever autocast says:
    sums over a patch overflow or lose their end otherwise.

    Attributes
    ----------
    logits
        Whether the prediction is raw output (True) or a value after the head's activation (False).
    wants_source
        Whether it takes the prediction of the head's source target.
    """

    logits: ClassVar[bool] = False
    wants_source: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        mask: Tensor,
        *,
        spacing: Sequence[float] | None = None,
        source_prediction: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss.

        Parameters
        ----------
        prediction
            ``(B, C, *spatial)``, floating point.
        target
            ``(B, C, *spatial)`` numbers, or ``(B, 1, *spatial)`` int64 class numbers.
        mask
            ``(B, 1, *spatial)`` bool, True where the target is known. Targets elsewhere do not matter, be
            they NaN; predictions elsewhere do not as long as they are finite.
        spacing
            Size of a voxel in array order; 1 an axis without it.
        source_prediction
            ``(B, C', *spatial)``, prediction of the source target.

        Returns
        -------
        Tensor
            Scalar, float32 (float64 for float64 input). Without a valid voxel it is 0, with a gradient
            of 0.

        Raises
        ------
        ValueError
            When shapes do not fit together.
        """
        _check_shapes(prediction, target, mask)
        if source_prediction is not None and source_prediction.shape[2:] != prediction.shape[2:]:
            raise ValueError(
                f"prediction {tuple(prediction.shape)} and source prediction "
                f"{tuple(source_prediction.shape)} do not fit: give both at one resolution"
            )
        with torch.autocast(prediction.device.type, enabled=False):
            if prediction.dtype in (torch.float16, torch.bfloat16):
                prediction = prediction.float()
            if target.is_floating_point():
                target = target.to(prediction.dtype)
            target = target.masked_fill(~mask, 0)
            known = mask.to(prediction.dtype)
            steps = tuple(spacing) if spacing is not None else (1.0,) * (prediction.dim() - 2)
            return self.compute(prediction, target, known, steps, source_prediction)

    @abstractmethod
    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """Compute the loss in the prediction's own precision; `known` is the mask as 0 and 1."""


def _check_shapes(prediction: Tensor, target: Tensor, mask: Tensor) -> None:
    batch, space = prediction.shape[0], prediction.shape[2:]
    if mask.shape != (batch, 1, *space) or target.shape[0] != batch or target.shape[2:] != space:
        raise ValueError(
            f"prediction {tuple(prediction.shape)}, target {tuple(target.shape)} and mask "
            f"{tuple(mask.shape)} do not fit: give (B, C, *spatial), (B, C or 1, *spatial), (B, 1, *spatial)"
        )
    channels = 1 if not target.is_floating_point() else prediction.shape[1]
    if target.shape[1] != channels:
        raise ValueError(
            f"the target has {target.shape[1]} channels, needed are {channels} for a prediction of "
            f"{prediction.shape[1]} channels"
        )


def masked_mean(values: Tensor, known: Tensor) -> Tensor:
    """Return the mean of ``(B, C, *spatial)`` values over the voxels where `known` is not 0.

    `known` may hold weights; the sum of weights then divides. Without any the result is 0.
    """
    total, weight = (values * known).sum(), known.sum() * values.shape[1]
    total, weight = fraction_over_processes(total, weight)
    return total / _at_least_one_voxel(weight)


def _at_least_one_voxel(weight: Tensor) -> Tensor:
    """Return the weight, 1 where it is 0: dividing an empty sum by it gives 0 and not NaN."""
    return torch.where(weight > 0, weight, torch.ones_like(weight))


def one_hot(target: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """Return class numbers ``(B, 1, *spatial)`` as ``(B, channels, *spatial)`` of 0 and 1."""
    out = torch.zeros((target.shape[0], channels, *target.shape[2:]), dtype=dtype, device=target.device)
    return out.scatter_(1, target.long(), 1.0)


def probabilities(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return probabilities and targets of the same shape ``(B, C, *spatial)``.

    Class numbers mean that the channels are classes: softmax and one-hot. Else every channel is a
    question of its own: sigmoid.
    """
    if target.is_floating_point():
        return torch.sigmoid(prediction), target
    channels = prediction.shape[1]
    return torch.softmax(prediction, dim=1), one_hot(target, channels, prediction.dtype)


def require(condition: bool, message: str) -> None:
    """Raise ValueError with `message` unless `condition`; for the settings of a loss."""
    if not condition:
        raise ValueError(message)
