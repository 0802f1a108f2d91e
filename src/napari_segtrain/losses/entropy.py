"""Losses of single voxels: binary and multi-class cross-entropy, focal loss."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from .base import Loss, masked_mean, one_hot, require


class BCEWithLogitsLoss(Loss):
    r"""Binary cross-entropy, mean over labelled voxels and channels.

    .. math:: -\frac{1}{N} \sum_i m_i \left( w g_i \log p_i + (1 - g_i) \log (1 - p_i) \right)

    p the sigmoid of the raw output. Class numbers are compared class by class (one against the rest).

    Parameters
    ----------
    pos_weight
        w, how much more foreground counts than background.
    """

    logits: ClassVar[bool] = True

    def __init__(self, pos_weight: float = 1.0) -> None:
        super().__init__()
        require(pos_weight > 0, "pos_weight must be above 0")
        self.pos_weight = pos_weight

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
        weight = None if self.pos_weight == 1 else prediction.new_tensor(self.pos_weight)
        errors = functional.binary_cross_entropy_with_logits(
            prediction, target, pos_weight=weight, reduction="none"
        )
        return masked_mean(errors, known)


class CrossEntropyLoss(Loss):
    r"""Cross-entropy over the classes, mean over labelled voxels.

    .. math:: -\frac{1}{N} \sum_i m_i \log p_{i, g_i}

    p the softmax of the raw output, g the class number.

    Parameters
    ----------
    label_smoothing
        Share of the truth that is spread evenly over all classes.
    """

    logits: ClassVar[bool] = True

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        require(0 <= label_smoothing < 1, "label_smoothing must be 0 or more and below 1")
        self.label_smoothing = label_smoothing

    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """See `Loss.compute`."""
        return self.of_logs(torch.log_softmax(prediction, dim=1), target, known)

    def of_logs(self, logs: Tensor, target: Tensor, known: Tensor) -> Tensor:
        """Return the loss of logarithms of probabilities ``(B, C, *spatial)`` and class numbers."""
        errors = functional.nll_loss(logs, target[:, 0], reduction="none").unsqueeze(1)
        if self.label_smoothing:
            spread = -logs.mean(dim=1, keepdim=True)
            errors = (1 - self.label_smoothing) * errors + self.label_smoothing * spread
        return masked_mean(errors, known)


class FocalLoss(Loss):
    r"""Cross-entropy that fades where the prediction is already right (Lin et al. 2017).

    .. math:: -\frac{1}{N} \sum_i m_i a_i (1 - q_i)^\gamma \log q_i

    q the probability of the truth: sigmoid for 0-or-1 targets, softmax for class numbers.

    Parameters
    ----------
    gamma
        How fast it fades; 0 is cross-entropy.
    alpha
        For 0-or-1 targets: a is alpha in the foreground and 1 - alpha in the background. None: a is 1.
    """

    logits: ClassVar[bool] = True

    def __init__(self, gamma: float = 2.0, alpha: float | None = None) -> None:
        super().__init__()
        require(gamma >= 0, "gamma must be 0 or more")
        require(alpha is None or 0 < alpha < 1, "alpha must be between 0 and 1, or empty")
        self.gamma = gamma
        self.alpha = alpha

    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """See `Loss.compute`."""
        if target.is_floating_point():
            errors = functional.binary_cross_entropy_with_logits(prediction, target, reduction="none")
        else:
            errors = functional.cross_entropy(prediction, target[:, 0], reduction="none").unsqueeze(1)
        # 1 - q = 1 - exp(-error) without losing digits where the prediction is right.
        wrong = -torch.expm1(-errors)
        errors = errors * wrong.pow(self.gamma) if self.gamma else errors
        if self.alpha is not None and target.is_floating_point():
            errors = errors * (self.alpha * target + (1 - self.alpha) * (1 - target))
        return masked_mean(errors, known)
