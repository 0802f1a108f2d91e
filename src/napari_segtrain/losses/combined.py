"""A voxel loss and a region loss together, their common parts computed once."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from .base import Loss, one_hot, require
from .entropy import BCEWithLogitsLoss, CrossEntropyLoss
from .overlap import SoftDiceLoss


class BCEDiceLoss(Loss):
    """``bce_weight`` · `BCEWithLogitsLoss` + ``dice_weight`` · `SoftDiceLoss`, both with sigmoid.

    Class numbers are compared class by class (one against the rest).

    Parameters
    ----------
    bce_weight, dice_weight
        Factors of the two.
    pos_weight
        As for `BCEWithLogitsLoss`.
    smooth, batch_dice
        As for `SoftDiceLoss`.
    """

    logits: ClassVar[bool] = True

    def __init__(
        self,
        bce_weight: float = 1.0,
        dice_weight: float = 1.0,
        pos_weight: float = 1.0,
        smooth: float = 1.0,
        batch_dice: bool = True,
    ) -> None:
        super().__init__()
        require(bce_weight >= 0 and dice_weight >= 0, "bce_weight and dice_weight must be 0 or more")
        self.bce_weight, self.dice_weight = bce_weight, dice_weight
        self.entropy = BCEWithLogitsLoss(pos_weight)
        self.dice = SoftDiceLoss(smooth, batch_dice, include_background=True)

    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """See `Loss.compute`."""
        if not target.is_floating_point():
            target = one_hot(target, prediction.shape[1], prediction.dtype)
        entropy = self.entropy.compute(prediction, target, known, spacing, None)
        dice = self.dice.of_probabilities(torch.sigmoid(prediction), target, known)
        return self.bce_weight * entropy + self.dice_weight * dice


class DiceCELoss(Loss):
    """``ce_weight`` · `CrossEntropyLoss` + ``dice_weight`` · `SoftDiceLoss`, both with softmax.

    Parameters
    ----------
    ce_weight, dice_weight
        Factors of the two.
    label_smoothing
        As for `CrossEntropyLoss`.
    smooth, batch_dice, include_background
        As for `SoftDiceLoss`.
    """

    logits: ClassVar[bool] = True

    def __init__(
        self,
        ce_weight: float = 1.0,
        dice_weight: float = 1.0,
        label_smoothing: float = 0.0,
        smooth: float = 1.0,
        batch_dice: bool = True,
        include_background: bool = False,
    ) -> None:
        super().__init__()
        require(ce_weight >= 0 and dice_weight >= 0, "ce_weight and dice_weight must be 0 or more")
        self.ce_weight, self.dice_weight = ce_weight, dice_weight
        self.entropy = CrossEntropyLoss(label_smoothing)
        self.dice = SoftDiceLoss(smooth, batch_dice, include_background)

    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """See `Loss.compute`."""
        logs = torch.log_softmax(prediction, dim=1)
        entropy = self.entropy.of_logs(logs, target, known)
        truth = one_hot(target, prediction.shape[1], prediction.dtype)
        dice = self.dice.of_probabilities(logs.exp(), truth, known)
        return self.ce_weight * entropy + self.dice_weight * dice
