"""Auxiliary task `nearest_component`: where the nearest component of the source target is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...config import LossConfig
from ..source import SourcePatch
from .base import AuxiliaryTarget, quarter_edge


class NearestComponent(AuxiliaryTarget):
    r"""Vector from a voxel to the nearest voxel of the nearest component.

    .. math:: v(x) = \arg\min_{c \in C} \lVert c - x \rVert - x

    C the centres of the foreground's voxels: ``x + v(x)`` is the centre of a voxel of the component that is
    nearest to x, a connected part of the foreground or an object. Components in array order, in the units
    of the spacing; 0 in the foreground. Length and direction in one, where a distance and a direction of
    their own would have to agree.

    Notes
    -----
    A voxel is valid within `band` of its component when nothing unknown is nearer: its vector is at most
    as long as the way to the nearest unlabelled voxel or to the outside of the patch. The foreground is
    valid wherever it is labelled. Of several voxels at the same distance any is taken; halfway between
    two components the vector therefore jumps, as it does in truth.
    """

    encoding: ClassVar[Literal["nearest_component"]] = "nearest_component"

    @staticmethod
    def channels(ndim: int) -> int:
        """Return one channel a spatial axis."""
        return ndim

    @property
    def scale(self) -> float:
        """Half of the longest vector that is learned: components then lie between -2 and 2."""
        return float(self.task.band) / 2.0

    @staticmethod
    def default_loss(scale: float, spacing: Sequence[float]) -> LossConfig:
        """Return the smooth L1 error in units of `scale`, linear from one voxel on."""
        return LossConfig(name="SmoothL1Loss", weight=1.0 / scale, kwargs={"beta": float(min(spacing))})

    def derive(self, patch: SourcePatch) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the vectors ``(ndim, *spatial)``, zero where invalid, and where they are known."""
        sides = patch.sides
        if sides is None:
            return np.zeros((len(patch.shape), *patch.shape), np.float32), patch.foreground
        band = self.task.band if self.task.band is not None else quarter_edge(patch)
        distance = sides.nearest.distance
        near = distance <= np.minimum(patch.reach * np.float32(1 + 1e-5), np.float32(band))
        near &= patch.labelled & ~patch.foreground
        return sides.nearest.vectors(near), near | patch.foreground
