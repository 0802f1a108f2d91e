"""The loss of symmetric tensors' eigenvalues."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Loss, masked_mean
from .encodings import triangle

_TINY = 1e-20
"""Below this squared size a tensor counts as isotropic: its powers stay within float32."""


class EigenvalueLoss(Loss):
    r"""Mean squared error of the eigenvalues of symmetric tensors, compared in ascending order.

    .. math:: \frac{1}{N} \sum_i m_i \frac{1}{D} \sum_{k=1}^{D}
              \left( \lambda_k(P_i) - \lambda_k(G_i) \right)^2

    P and G are the symmetric D × D tensors with the upper triangle that the channels hold: ``yy, yx, xx``
    in 2D, ``zz, zy, zx, yy, yx, xx`` in 3D. It is the smallest squared distance of P to any rotation of G,
    divided by D (Hoffman & Wielandt 1953): strength and anisotropy count, directions do not. Add it to a
    loss of the components, such as `MSELoss`.

    Notes
    -----
    Eigenvalues are never computed one by one. In 2D they are :math:`m \pm r` with mean m and radius
    :math:`r = \sqrt{(yy - xx)^2 / 4 + yx^2}`, and their squared distance is
    :math:`2 (m - m')^2 + 2 (r - r')^2`. In 3D (Smith 1961, Communications of the ACM 4(4), 168) they are
    :math:`m + 2 s \cos(\varphi + 2 \pi k / 3)` with
    :math:`s^2 = \lVert A - m I \rVert^2 / 6`,
    :math:`\cos 3 \varphi = \det((A - m I) / s) / 2`, and the law of cosines gives

    .. math:: 3 (m - m')^2 + 6 (s - s')^2 + 24 s s' \sin^2 \frac{\varphi - \varphi'}{2} .

    This has no difference of nearly equal numbers. Where eigenvalues coincide, the radius, or the angle,
    has a kink: there that part of the gradient is 0, the middle of what it may be, and never infinite.
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
        ndim = prediction.dim() - 2
        if prediction.shape[1] != triangle(ndim):
            raise ValueError(
                f"the prediction has {prediction.shape[1]} channels, needed are {triangle(ndim)}: "
                f"the upper triangle of symmetric tensors in {ndim}D"
            )
        squared = squared_distance_2d if ndim == 2 else squared_distance_3d
        return masked_mean(squared(prediction, target) / ndim, known)


def squared_distance_2d(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared distance of the eigenvalues of ``(B, 3, *spatial)``, ``(B, 1, *spatial)``."""
    mean, radius = _circle(first)
    other_mean, other_radius = _circle(second)
    return 2 * ((mean - other_mean) ** 2 + (radius - other_radius) ** 2)


def squared_distance_3d(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared distance of the eigenvalues of ``(B, 6, *spatial)``, ``(B, 1, *spatial)``."""
    mean, size, angle = _invariants(first)
    other_mean, other_size, other_angle = _invariants(second)
    turned = 4 * size * other_size * torch.sin((angle - other_angle) / 2) ** 2
    return 3 * (mean - other_mean) ** 2 + 6 * ((size - other_size) ** 2 + turned)


def _circle(tensors: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and radius of the eigenvalues of 2 × 2 tensors."""
    yy, yx, xx = tensors.chunk(3, dim=1)
    half = (yy - xx) / 2
    return (yy + xx) / 2, torch.sqrt((half * half + yx * yx).clamp_min(_TINY))


def _invariants(tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, size and angle of the eigenvalues of 3 × 3 tensors; see `EigenvalueLoss`."""
    zz, zy, zx, yy, yx, xx = tensors.chunk(6, dim=1)
    mean = (zz + yy + xx) / 3
    zz, yy, xx = zz - mean, yy - mean, xx - mean
    beside = zy * zy + zx * zx + yx * yx
    size = torch.sqrt(((zz * zz + yy * yy + xx * xx + 2 * beside) / 6).clamp_min(_TINY))
    # Divided first, numbers of any size have a determinant within float32.
    zz, zy, zx, yy, yx, xx = (part / size for part in (zz, zy, zx, yy, yx, xx))
    half = (zz * (yy * xx - yx * yx) - zy * (zy * xx - yx * zx) + zx * (zy * yx - yy * zx)) / 2
    limit = 1 - 4 * torch.finfo(tensors.dtype).eps
    return mean, size, torch.acos(half.clamp(-limit, limit)) / 3
