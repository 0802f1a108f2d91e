"""Auxiliary task `structure_tensor`: in which directions the source target's surface runs."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi, sqrt
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...config import LossConfig
from ..source import SourcePatch
from ..structure import structure_of, triangle
from .base import AuxiliaryTarget


class StructureTensor(AuxiliaryTarget):
    r"""Mean outer product of the gradient with itself.

    .. math:: J = \frac{\sum_q G_\tau(q) \, m(q) \, \nabla u(q) \nabla u(q)^T}{\sum_q G_\tau(q) \, m(q)},
              \qquad u = G_\sigma * f

    (Bigün and Granlund 1987, Förstner and Gülch 1987), f the signed distance to the surface (`sdt`) or the
    foreground mask (`binary`), :math:`\sigma` `grad_sigma` and :math:`\tau` `tensor_sigma` in voxels along
    every axis, m = 1 where the gradient is known. Gradients are taken in the units of the spacing; those of
    the mask in those of the finest spacing, so that no unit matters. Channels are the upper triangle in
    array order: zz, zy, zx, yy, yx, xx, in two dimensions yy, yx, xx.

    Of a signed distance the tensor of a plane with normal n is :math:`n n^T`, its trace 1.

    Notes
    -----
    The sum runs over known gradients alone and is divided by their weights, so that the patch border
    leaves no trace. A gradient is known where no unlabelled voxel and nothing outside the patch can be
    nearer to it than the surface (see `DistanceTransform`), of the mask where the smoothing reaches
    neither. A voxel is valid in the foreground where nine tenths of the weights lie on known gradients,
    and where there is any structure: the trace is at least 0.001. The background has none of its own.
    The signed distance of the labels' steps differs from a plane's, by at most 0.16 a component.
    """

    encoding: ClassVar[Literal["structure_tensor"]] = "structure_tensor"

    @staticmethod
    def channels(ndim: int) -> int:
        """Return 3 in two dimensions, 6 in three."""
        return triangle(ndim)

    @property
    def scale(self) -> float:
        """The trace on a straight edge."""
        if self.task.compute_from == "sdt":
            return 1.0
        # A mask has slopes of half a step each side of its edge even where it is not smoothed.
        edge = max(float(self.task.grad_sigma), 0.7)
        return edge / sqrt(2) / sqrt(edge**2 / 2 + self.task.tensor_sigma**2) / (2 * pi * edge**2)

    @staticmethod
    def default_loss(scale: float, spacing: Sequence[float]) -> LossConfig:
        """Return the squared error in units of `scale`."""
        return LossConfig(name="MaskedMSELoss", weight=1.0 / scale**2)

    def derive(self, patch: SourcePatch) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the tensors ``(triangle, *spatial)``, zero where invalid, and where they are known."""
        return structure_of(patch, self.task.compute_from, self.task.grad_sigma, self.task.tensor_sigma)
