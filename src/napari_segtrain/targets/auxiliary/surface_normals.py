"""Auxiliary task `surface_normals`: which way out of the source target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...config import LossConfig
from ..source import SourcePatch
from .base import AuxiliaryTarget, quarter_edge

LEAST_SLOPE = 0.3
"""Where the smoothed distance is flatter than this, two sides cancel and there is no direction."""


class SurfaceNormals(AuxiliaryTarget):
    r"""Outward unit normal of the nearest surface.

    .. math:: n = \frac{\nabla (G_\sigma * d)}{\lVert \nabla (G_\sigma * d) \rVert}

    d the signed distance (negative inside), gradients in physical units, components in array order
    ``(z,) y, x``. The gaussian's width is `smoothing` voxels along every axis, as wide as the steps that
    labels have. Beyond the patch the distance is continued linearly, which leaves planes as they are, so
    that normals do not bend at the border.

    Notes
    -----
    A voxel is valid within `band` of a surface that is known to be the nearest one (see
    `DistanceTransform`), and where the slope of the smoothed distance is at least 0.3: on the medial
    axis of thin structures the two sides cancel. Labels have steps of a voxel, so that normals of a plane
    at any angle are off by 2.7° on average with a smoothing of 1, and by 1.3° with 2.
    Beside unlabelled voxels of an instance target normals are invalid as far as the smoothing reaches.
    """

    encoding: ClassVar[Literal["surface_normals"]] = "surface_normals"

    @staticmethod
    def channels(ndim: int) -> int:
        """Return one channel a spatial axis."""
        return ndim

    @staticmethod
    def default_loss(scale: float, spacing: Sequence[float]) -> LossConfig:
        """Return the cosine error."""
        return LossConfig(name="CosineSimilarityLoss")

    def derive(self, patch: SourcePatch) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the normals ``(ndim, *spatial)``, zero where invalid, and where they are known."""
        from ..field_kernels import unit_gradient
        from ..smoothing import smooth

        surface = patch.surface
        if surface is None:
            shape = patch.shape
            return np.zeros((len(shape), *shape), np.float32), np.zeros(shape, bool)
        band = self.task.band if self.task.band is not None else quarter_edge(patch)
        field = smooth(surface.signed, [self.task.smoothing] * len(patch.shape))
        valid = np.abs(surface.signed) <= np.minimum(surface.known * np.float32(1 + 1e-5), np.float32(band))
        valid &= patch.labelled
        return unit_gradient(field, patch.spacing, valid, LEAST_SLOPE)
