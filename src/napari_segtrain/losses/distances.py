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
    Gradients are central differences in physical units, one-sided beside the patch's border and beside
    unlabelled voxels, which take no part; a voxel between two of them has none and does not count. The
    second term looks at valid voxels whose target is not flat: where the target is cut off, or is the
    zero side of an inside or outside distance, its gradient is 0 and not 1. The eikonal term of learned
    distances is that of Gropp et al. (2020, ICML, "Implicit geometric regularization").
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
            both, seen = squared_slope(torch.cat([prediction, target], dim=1), known, spacing)
            length = torch.sqrt(both[:, :1] + 1e-12)
            sloped = both[:, 1:] > 0
            loss = loss + self.eikonal_weight * masked_mean((length - 1) ** 2, seen * sloped)
        return loss


def squared_slope(field: Tensor, known: Tensor, spacing: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Return the squared length of the gradient where it is known, over axes longer than 1.

    Parameters
    ----------
    field
        ``(B, C, *spatial)``.
    known
        ``(B, 1, *spatial)`` of 0 and 1; voxels with 0 take no part.
    spacing
        Size of a voxel in array order.

    Returns
    -------
    slope : Tensor
        ``(B, C, *spatial)``.
    seen : Tensor
        ``(B, 1, *spatial)``, `known` without voxels that have no known neighbour along an axis.
    """
    total, seen = torch.zeros_like(field), known
    for axis, step in enumerate(spacing, start=2):
        pairs = field.shape[axis] - 1
        if not pairs:
            continue
        joined = known.narrow(axis, 0, pairs) * known.narrow(axis, 1, pairs)
        count = _on_both_ends(joined, axis)
        slopes = _on_both_ends(torch.diff(field, dim=axis) * joined, axis) / (count.clamp_min(1) * step)
        total = total + slopes * slopes
        seen = seen * (count > 0)
    return total, seen


def _on_both_ends(pairs: Tensor, axis: int) -> Tensor:
    """Return for every voxel the sum of the values of the pairs of neighbours that it is in."""
    ends = [0] * (2 * (pairs.dim() - axis))
    before, after = list(ends), list(ends)
    # functional.pad counts axes from the last.
    before[-2], after[-1] = 1, 1
    return functional.pad(pairs, before) + functional.pad(pairs, after)
