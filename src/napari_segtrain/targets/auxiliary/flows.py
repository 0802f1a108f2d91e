"""Auxiliary task `flows`: which way it is to the centre of an object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...config import LossConfig
from ..source import SourcePatch
from .base import AuxiliaryTarget


class Flows(AuxiliaryTarget):
    r"""Unit vectors towards the centre of one's own object.

    .. math:: f(x) = \frac{c - x}{\lVert c - x \rVert}, \qquad c = \frac{1}{|O|} \sum_{x' \in O} x'

    O the object that x belongs to: of an instance target, else a connected part of the foreground. c is its
    centre of mass as in HoVer-Net (Graham et al. 2019), whose two distances are here one direction of length
    1 as in Cellpose (Stringer et al. 2021); where the centre of mass lies outside of a bent object, c is the
    object's voxel nearest to it. In physical space, components in array order; 0 in the background.

    Notes
    -----
    Cellpose's flows follow a diffusion inside the object, for which a patch would have to be as large as
    the object in any case; the straight line needs the centre alone. Affinities, the other common
    representation, say of pairs of neighbours whether they belong together, which the boundary of an
    instance target says already, and belong to places between voxels, which move when an image is mirrored.

    A voxel is valid in objects that are seen whole: the centre of one that touches the patch border or an
    unlabelled voxel is not known. Within a voxel of the centre there is no direction, in the background no
    object.
    """

    encoding: ClassVar[Literal["flows"]] = "flows"

    @staticmethod
    def channels(ndim: int) -> int:
        """Return one channel a spatial axis."""
        return ndim

    @staticmethod
    def default_loss(scale: float, spacing: Sequence[float]) -> LossConfig:
        """Return the cosine error."""
        return LossConfig(name="CosineSimilarityLoss")

    def derive(self, patch: SourcePatch) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the flows ``(ndim, *spatial)``, zero where invalid, and where they are known."""
        from ..object_kernels import flows_to_centres

        return flows_to_centres(patch.objects, patch.spacing)
