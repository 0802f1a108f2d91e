"""Losses of measured values: squared, absolute and smooth L1 errors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .base import Loss, masked_mean, require


class MSELoss(Loss):
    r"""Mean squared error over labelled voxels and channels, :math:`\frac1N \sum_i m_i (p_i - g_i)^2`."""

    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """See `Loss.compute`."""
        return masked_mean(functional.mse_loss(prediction, target, reduction="none"), known)


class L1Loss(Loss):
    r"""Mean absolute error over labelled voxels and channels, :math:`\frac1N \sum_i m_i |p_i - g_i|`."""

    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """See `Loss.compute`."""
        return masked_mean(functional.l1_loss(prediction, target, reduction="none"), known)


class SmoothL1Loss(Loss):
    r"""Mean over labelled voxels of a squared error that becomes an absolute one.

    .. math:: \ell(e) = \begin{cases} e^2 / 2\beta & |e| < \beta \\ |e| - \beta/2 & \text{else} \end{cases}

    Parameters
    ----------
    beta
        Where the two meet, in units of the target.
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        require(beta > 0, "beta must be above 0")
        self.beta = beta

    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """See `Loss.compute`."""
        errors = functional.smooth_l1_loss(prediction, target, reduction="none", beta=self.beta)
        return masked_mean(errors, self.weights(target, known))

    def weights(self, target: Tensor, known: Tensor) -> Tensor:
        """Return the weight ``(B, 1, *spatial)`` of every voxel, 0 where the target is not known."""
        return known


class WeightedSmoothL1Loss(SmoothL1Loss):
    r"""Smooth L1 with a weight a voxel, :math:`\sum_i m_i w_i \ell(e_i) / \sum_i m_i w_i`.

    .. math:: w_i = 1 + (f - 1)\,[g_i \neq 0] + a \exp(-(g_i / b)^2)

    The first extra term counts objects more than the background between them (normalised distances are 0
    in the background); the second counts the neighbourhood of the surface more (signed distances are 0 at
    the surface). With several channels g is the length over the channels.

    Parameters
    ----------
    beta
        As for `SmoothL1Loss`.
    foreground_weight
        f.
    surface_weight
        a.
    surface_width
        b, in units of the target.
    """

    def __init__(
        self,
        beta: float = 1.0,
        foreground_weight: float = 2.0,
        surface_weight: float = 0.0,
        surface_width: float = 3.0,
    ) -> None:
        super().__init__(beta)
        require(foreground_weight > 0, "foreground_weight must be above 0")
        require(surface_weight >= 0, "surface_weight must be 0 or more")
        require(surface_width > 0, "surface_width must be above 0")
        self.foreground_weight = foreground_weight
        self.surface_weight = surface_weight
        self.surface_width = surface_width

    def weights(self, target: Tensor, known: Tensor) -> Tensor:
        """See `SmoothL1Loss.weights`."""
        size = target if target.shape[1] == 1 else target.norm(dim=1, keepdim=True)
        weights = torch.where(size != 0, known * self.foreground_weight, known)
        if self.surface_weight:
            near = torch.exp(-((size / self.surface_width) ** 2))
            weights = weights + self.surface_weight * near * known
        return weights
