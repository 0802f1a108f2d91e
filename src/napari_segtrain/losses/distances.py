"""The loss of signed distances."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .base import Loss, masked_mean, require


class SignedDistanceLoss(Loss):
    r"""Smooth L1 near the surface, and the eikonal equation.

    .. math:: \frac{1}{N_\rho} \sum_{|g_i| < \rho} m_i \ell_\beta(p_i - g_i)
              + \lambda \frac{1}{N} \sum_i m_i (\lVert \nabla p_i \rVert - 1)^2

    A distance has a gradient of length 1 almost everywhere; the second term asks for it, which keeps
    distances right away from the surface and surfaces smooth.

    Parameters
    ----------
    rho
        The first term looks at voxels nearer to the surface than this, at all when None. Physical units.
    beta
        Where the squared error becomes an absolute one. Physical units.
    eikonal
        Whether the second term counts.
    eikonal_weight
        λ.

    Notes
    -----
    Gradients are central differences in physical units (one-sided at the patch border). The second term
    looks at valid voxels whose target is not flat: where the target is cut off, or is the zero side of an
    inside or outside distance, its gradient is 0 and not 1.
    """

    def __init__(
        self,
        rho: float | None = None,
        beta: float = 1.0,
        eikonal: bool = False,
        eikonal_weight: float = 0.1,
    ) -> None:
        super().__init__()
        require(rho is None or rho > 0, "rho must be above 0, or empty")
        require(beta > 0, "beta must be above 0")
        require(eikonal_weight >= 0, "eikonal_weight must be 0 or more")
        self.rho = rho
        self.beta = beta
        self.eikonal = eikonal
        self.eikonal_weight = eikonal_weight

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
        near = known if self.rho is None else known * (target.abs() < self.rho)
        loss = masked_mean(errors, near)
        if self.eikonal and self.eikonal_weight:
            sloped = squared_slope(target, spacing) > 0
            length = torch.sqrt(squared_slope(prediction, spacing) + 1e-12)
            loss = loss + self.eikonal_weight * masked_mean((length - 1) ** 2, known * sloped)
        return loss


def squared_slope(field: Tensor, spacing: tuple[float, ...]) -> Tensor:
    """Return the squared length of the gradient of ``(B, C, *spatial)``, over axes longer than 1."""
    axes = [axis for axis in range(2, field.dim()) if field.shape[axis] > 1]
    if not axes:
        return torch.zeros_like(field)
    slopes = torch.gradient(field, spacing=[spacing[axis - 2] for axis in axes], dim=axes)
    total = slopes[0] ** 2
    for slope in slopes[1:]:
        total = total + slope**2
    return total
