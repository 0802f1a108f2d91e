"""Losses of overlapping regions: soft Dice, squared Dice, Tversky."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from .base import Loss, probabilities, require
from .joint import fraction_over_processes, over_processes


def overlap_loss(score: Tensor, labelled: Tensor, include_background: bool) -> Tensor:
    """Return the mean of ``1 - score`` over channels and over the samples that are labelled at all.

    Parameters
    ----------
    score
        ``(B or 1, C)``.
    labelled
        ``(B or 1, 1)``, labelled voxels in each.
    include_background
        Without it channel 0 is left out where there are several channels.
    """
    if score.shape[1] > 1 and not include_background:
        score = score[:, 1:]
    counts = (labelled > 0).to(score.dtype)
    total, weight = ((1 - score) * counts).sum(), counts.sum() * score.shape[1]
    total, weight = fraction_over_processes(total, weight)
    return total / weight.clamp_min(1)


def sums(values: Tensor, batch_dice: bool) -> Tensor:
    """Sum ``(B, C, *spatial)`` over space, and over the batch with `batch_dice`: ``(B or 1, C)``."""
    axes = tuple(range(2, values.dim()))
    return over_processes(values.sum(dim=(0, *axes))).unsqueeze(0) if batch_dice else values.sum(dim=axes)


def dice_score(
    chance: Tensor, truth: Tensor, known: Tensor, smooth: float, batch_dice: bool, power: int = 1
) -> Tensor:
    """Return the Dice overlap ``(B or 1, C)`` of probabilities with labels; see `SoftDiceLoss`."""
    seen = chance * known
    overlap = sums(seen * truth, batch_dice)
    if power == 1:
        both = sums(seen, batch_dice) + sums(truth * known, batch_dice)
    else:
        both = sums(seen * chance, batch_dice) + sums(truth * truth * known, batch_dice)
    return (2 * overlap + smooth) / (both + smooth).clamp_min(torch.finfo(both.dtype).tiny)


class SoftDiceLoss(Loss):
    r"""Mean over channels of one minus the soft Dice overlap.

    .. math:: 1 - \frac{2 \sum_i m_i p_i g_i + s}{\sum_i m_i p_i + \sum_i m_i g_i + s}

    p the probability (sigmoid; softmax for class numbers), g the label, m the mask.

    Parameters
    ----------
    smooth
        s. It keeps the score defined, and small at no cost, where labels are empty: the loss is then
        ``P / (P + s)`` with P the summed probability, which falls as P does.
    batch_dice
        True: i runs over all voxels of the batch, one score a channel, which is steadier when patches
        hold little or no foreground. False: one score a sample and channel; samples without a labelled
        voxel do not count.
    include_background
        Whether channel 0 of several counts.
    """

    logits: ClassVar[bool] = True
    power: ClassVar[int] = 1

    def __init__(
        self, smooth: float = 1.0, batch_dice: bool = True, include_background: bool = False
    ) -> None:
        super().__init__()
        require(smooth >= 0, "smooth must be 0 or more")
        self.smooth = smooth
        self.batch_dice = batch_dice
        self.include_background = include_background

    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """See `Loss.compute`."""
        chance, truth = probabilities(prediction, target)
        return self.of_probabilities(chance, truth, known)

    def of_probabilities(self, chance: Tensor, truth: Tensor, known: Tensor) -> Tensor:
        """Return the loss of probabilities and labels, both ``(B, C, *spatial)``."""
        score = dice_score(chance, truth, known, self.smooth, self.batch_dice, self.power)
        return overlap_loss(score, sums(known, self.batch_dice), self.include_background)


class DiceLoss(SoftDiceLoss):
    r"""Dice with squares in the denominator (Milletari et al. 2016, V-Net).

    .. math:: 1 - \frac{2 \sum_i m_i p_i g_i + s}{\sum_i m_i p_i^2 + \sum_i m_i g_i^2 + s}

    Parameters as for `SoftDiceLoss`.
    """

    power: ClassVar[int] = 2


class TverskyLoss(Loss):
    r"""One minus the Tversky index (Salehi et al. 2017), mean over channels.

    .. math:: 1 - \frac{TP + s}{TP + \alpha FP + \beta FN + s}

    with :math:`TP = \sum m p g`, :math:`FP = \sum m p (1 - g)`, :math:`FN = \sum m (1 - p) g`.

    Parameters
    ----------
    alpha
        Price of false positives; alpha = beta = 0.5 is Dice.
    beta
        Price of false negatives; more finds more of rare foreground.
    smooth, batch_dice, include_background
        As for `SoftDiceLoss`.
    """

    logits: ClassVar[bool] = True

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 1.0,
        batch_dice: bool = True,
        include_background: bool = False,
    ) -> None:
        super().__init__()
        require(
            alpha >= 0 and beta >= 0 and alpha + beta > 0, "alpha and beta must be 0 or more, one above 0"
        )
        require(smooth >= 0, "smooth must be 0 or more")
        self.alpha, self.beta, self.smooth = alpha, beta, smooth
        self.batch_dice = batch_dice
        self.include_background = include_background

    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """See `Loss.compute`."""
        chance, truth = probabilities(prediction, target)
        seen = chance * known
        hits = sums(seen * truth, self.batch_dice)
        false_positive = sums(seen, self.batch_dice) - hits
        false_negative = sums(truth * known, self.batch_dice) - hits
        price = hits + self.alpha * false_positive + self.beta * false_negative + self.smooth
        score = (hits + self.smooth) / price.clamp_min(torch.finfo(price.dtype).tiny)
        return overlap_loss(score, sums(known, self.batch_dice), self.include_background)
