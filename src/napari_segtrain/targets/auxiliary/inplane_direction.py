"""Auxiliary task `inplane_direction`: where the source target runs on unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...config import LossConfig
from ..source import SourcePatch
from ..structure import structure_of
from .base import AuxiliaryTarget

LEAST_GAP = {2: 0.1, 3: 0.02}
"""By dimension: how far apart the two smallest eigenvalues must be, as a share of the trace. The steps of
the labels tell the two of a plane in 3D apart by up to 0.005, which is no direction."""


class InplaneDirection(AuxiliaryTarget):
    r"""Unit eigenvector of the structure tensor's smallest eigenvalue.

    .. math:: J v = \lambda_{\min} v, \qquad \lVert v \rVert = 1

    J as `StructureTensor` has it, computed once for both tasks when their settings are the same. The surface
    changes least along v: the tangent of a line in two dimensions; the axis of a fibre, and the direction in
    which a sheet is not bent, in three. Components in array order, in physical space. v and -v are the same;
    the one whose first component that is not 0 is positive stands for both.

    Notes
    -----
    A voxel is valid where the tensor is, and where the smallest eigenvalue is apart from the next one by
    0.1 of the trace in two dimensions, 0.02 in three. In the middle of a ball, and everywhere on a flat sheet
    in three dimensions, every direction is as good as the other, and there is none to learn.
    """

    encoding: ClassVar[Literal["inplane_direction"]] = "inplane_direction"

    @staticmethod
    def channels(ndim: int) -> int:
        """Return one channel a spatial axis."""
        return ndim

    @staticmethod
    def default_loss(scale: float, spacing: Sequence[float]) -> LossConfig:
        """Return the cosine error of directions without a sign."""
        return LossConfig(name="SignInvariantCosineLoss")

    def derive(self, patch: SourcePatch) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the directions ``(ndim, *spatial)``, zero where invalid, and where they are known."""
        from ..tensor_kernels import eigenvectors

        task = self.task
        tensors, valid = structure_of(patch, task.compute_from, task.grad_sigma, task.tensor_sigma)
        return eigenvectors(tensors, valid, LEAST_GAP[len(patch.shape)])
