"""Agreement of surfaces and of skeletons: how far borders are off, and whether thin things are connected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .overlap import Array, Mask

Floats = npt.NDArray[np.float64]


def hausdorff95(
    truth: Array, prediction: Array, spacing: Sequence[float], valid: Mask | None = None
) -> float | None:
    """Return how far the surfaces of two masks are from each other, but for the farthest twentieth.

    HD95 = max of the 95th percentiles of two sets: the distances from each voxel of the true surface to the
    predicted one, and the other way round (Huttenlocher et al. 1993; as MONAI and nnU-Net take it). A voxel
    is of a surface when it is foreground and has a background neighbour along an axis, both of them
    labelled: the border of the image, and that of what is labelled, is no surface.

    Parameters
    ----------
    truth, prediction
        `(*spatial)`; everything but 0 is foreground.
    spacing
        Size of a voxel along each axis; the result is in its unit.
    valid
        `(*spatial)`, True where the truth is known; None is everywhere.

    Returns
    -------
    float or None
        0 when there is no foreground in either. When only one has foreground, the diagonal of the image, the
        largest distance that there is: a missed object is the worst result, not a missing one. None when
        nothing is labelled, or when a foreground has no surface within what is labelled.
    """
    from scipy.spatial import cKDTree

    masks = [np.asarray(labels) != 0 for labels in (truth, prediction)]
    there = [bool((mask if valid is None else mask & valid).any()) for mask in masks]
    if valid is not None and not valid.any():
        return None
    if not any(there):
        return 0.0
    if not all(there):
        return float(np.linalg.norm([n * step for n, step in zip(truth.shape, spacing, strict=True)]))
    points = [surface(mask, valid) * np.asarray(spacing, np.float64) for mask in masks]
    if not all(len(found) for found in points):
        return None
    one, other = points
    distances = cKDTree(other).query(one)[0], cKDTree(one).query(other)[0]
    return max(float(np.percentile(found, 95)) for found in distances)


def surface(mask: Mask, valid: Mask | None = None) -> npt.NDArray[np.int64]:
    """Return the voxels of a mask's surface, `(points, ndim)`; see `hausdorff95`."""
    found = np.zeros(mask.shape, np.bool_)
    for axis in range(mask.ndim):
        low, high = (
            tuple(part if a == axis else slice(None) for a in range(mask.ndim))
            for part in (slice(None, -1), slice(1, None))
        )
        border = mask[low] != mask[high]
        if valid is not None:
            border &= valid[low] & valid[high]
        found[low] |= border & mask[low]
        found[high] |= border & mask[high]
    return np.argwhere(found)


@dataclass(frozen=True)
class SkeletonCounts:
    """Voxels of skeletons, and how many of them lie in the other mask; ``+`` adds those of several images."""

    true: int = 0
    true_found: int = 0
    predicted: int = 0
    predicted_right: int = 0

    def __add__(self, other: SkeletonCounts) -> SkeletonCounts:
        return SkeletonCounts(
            self.true + other.true,
            self.true_found + other.true_found,
            self.predicted + other.predicted,
            self.predicted_right + other.predicted_right,
        )

    @property
    def cl_dice(self) -> float:
        """Harmonic mean of topology precision and sensitivity (Shit et al. 2021); 1 without any skeleton."""
        if not self.true and not self.predicted:
            return 1.0
        sensitivity = self.true_found / self.true if self.true else 0.0
        precision = self.predicted_right / self.predicted if self.predicted else 0.0
        both = precision + sensitivity
        return 2 * precision * sensitivity / both if both else 0.0


def skeleton_counts(truth: Array, prediction: Array, valid: Mask | None = None) -> SkeletonCounts:
    """Compare two masks, `(*spatial)`, by their skeletons: how much of a thin structure is followed.

    Skeletons are those of the whole masks (in planes Zhang and Suen 1984, in volumes Lee et al. 1994); only
    their labelled voxels are counted.
    """
    from skimage.morphology import skeletonize

    masks = [np.asarray(labels) != 0 for labels in (truth, prediction)]
    thin = [np.asarray(skeletonize(mask)) != 0 if mask.any() else mask for mask in masks]
    if valid is not None:
        thin = [skeleton & valid for skeleton in thin]
    sizes = [int(np.count_nonzero(skeleton)) for skeleton in thin]
    inside = [int(np.count_nonzero(thin[n] & masks[1 - n])) for n in range(2)]
    return SkeletonCounts(sizes[0], inside[0], sizes[1], inside[1])
