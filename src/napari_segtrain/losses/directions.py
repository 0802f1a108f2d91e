"""Losses of vectors whose length does not matter."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Loss, masked_mean


class CosineSimilarityLoss(Loss):
    r"""Mean over labelled voxels of one minus the cosine of the angle between prediction and target.

    .. math:: \frac{1}{N} \sum_i m_i
              \left( 1 - \frac{\langle p_i, g_i \rangle}{\lVert p_i \rVert \lVert g_i \rVert} \right)

    Predicted lengths below 1e-3 count as 1e-3: a prediction of 0 costs 1, and the gradient, which grows
    as the vector shrinks, stays bounded. Where the target is 0 it has no direction, and the loss does not
    look.
    """

    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """See `Loss.compute`."""
        cosines, directed = cosine(prediction, target)
        return masked_mean(1 - cosines, known * directed)


class SignInvariantCosineLoss(Loss):
    r"""Mean over labelled voxels of one minus the cosine of the angle between two undirected lines.

    .. math:: \frac{1}{N} \sum_i m_i
              \left( 1 - \frac{|\langle p_i, g_i \rangle|}{\lVert p_i \rVert \lVert g_i \rVert} \right)

    A vector and its opposite are the same, as the sign of an eigenvector is arbitrary: the angle between
    two lines is at most 90°. Lengths are treated as in `CosineSimilarityLoss`.
    """

    def compute(
        self,
        prediction: Tensor,
        target: Tensor,
        known: Tensor,
        spacing: tuple[float, ...],
        source_prediction: Tensor | None,
    ) -> Tensor:
        """See `Loss.compute`."""
        cosines, directed = cosine(prediction, target)
        return masked_mean(1 - cosines.abs(), known * directed)


def cosine(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosine of the angle between vectors, and where the target has a direction.

    Both are ``(B, 1, *spatial)``, of vectors ``(B, C, *spatial)``.
    """
    # Sums of products are 18 times faster on a processor than functional.cosine_similarity.
    product = (prediction * target).sum(dim=1, keepdim=True)
    own = (prediction * prediction).sum(dim=1, keepdim=True).clamp_min(1e-6)
    true = (target * target).sum(dim=1, keepdim=True)
    return product * torch.rsqrt(own * true.clamp_min(1e-12)), true > 0


def unit(vectors: Tensor) -> Tensor:
    """Return ``(B, C, *spatial)`` vectors at length 1; below 1e-3 they are divided by that."""
    return vectors * torch.rsqrt((vectors * vectors).sum(dim=1, keepdim=True).clamp_min(1e-6))
