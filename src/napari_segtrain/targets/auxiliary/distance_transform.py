"""Auxiliary task `distance_transform`: how far it is to the source target's surface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ...config import LossConfig
from ..source import SourcePatch
from .base import AuxiliaryTarget, quarter_edge


class DistanceTransform(AuxiliaryTarget):
    r"""Euclidean distance to the surface, cut off at `clip`.

    .. math:: d(x) = \pm \min(\min_{s \in S} \lVert x - s \rVert, \mathrm{clip})

    in the units of the spacing, negative inside. *inside* is ``max(-d, 0)``, *outside* ``max(d, 0)``.
    The surface S lies halfway between neighbouring voxels of different sides (see
    `targets.surface.SurfaceField`), so the voxels beside it are at half a voxel, not at 0.

    Notes
    -----
    A voxel is valid where its value cannot depend on what is not known: its distance, after the cut-off,
    is at most the distance to the nearest unlabelled voxel or to the outside of the patch. A patch
    without foreground, or without background, has no surface and no valid voxel; only the side on which
    an *inside* or *outside* distance is 0 by definition is valid wherever it is labelled. With the default
    cut-off 57 % of the voxels of 64³ patches of electron microscopy stay valid (membranes), 67 % and 73 %
    of 256² patches of nuclei and of vessels; cut off nearer to keep more.
    """

    encoding: ClassVar[Literal["distance_transform"]] = "distance_transform"

    @staticmethod
    def channels(ndim: int) -> int:
        """Return 1 in every dimension."""
        return 1

    @property
    def scale(self) -> float:
        """Half of the farthest distance that is learned: targets then lie between -2 and 2."""
        return float(self.task.clip) / 2.0

    @staticmethod
    def default_loss(scale: float, spacing: Sequence[float]) -> LossConfig:
        """Return the smooth L1 error in units of `scale`, linear from one voxel on."""
        return LossConfig(name="SignedDistanceLoss", weight=1.0 / scale, kwargs={"beta": float(min(spacing))})

    def derive(self, patch: SourcePatch) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the distance ``(1, *spatial)`` and where it is known."""
        clip = self.task.clip if self.task.clip is not None else quarter_edge(patch)
        kind = self.task.distance_type
        surface = patch.surface
        if surface is None:
            values = np.zeros((1, *patch.shape), np.float32)
            if kind == "signed":
                return values, np.zeros(patch.shape, bool)
            return values, self._zero_side(patch)
        values = np.clip(surface.signed, -clip, clip)
        # The tolerance keeps ties, which float32 roots of sums may break.
        valid = np.abs(values) <= surface.known * np.float32(1 + 1e-5)
        valid &= patch.labelled
        np.copyto(values, 0, where=np.isnan(values))
        if kind == "inside":
            values = np.maximum(np.negative(values, out=values), 0, out=values)
        elif kind == "outside":
            np.maximum(values, 0, out=values)
        if kind != "signed":
            valid |= self._zero_side(patch)
        return values[np.newaxis], valid

    def _zero_side(self, patch: SourcePatch) -> NDArray[np.bool_]:
        if self.task.distance_type == "inside":
            return patch.labelled & ~patch.foreground
        return patch.foreground
