"""Passes over numbered objects: their boundary, and their depth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import as_volume, compiled


def instance_boundary(ids: NDArray[np.int32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark the voxels on both sides of every border between objects, and between object and background.

    Parameters
    ----------
    ids
        ``(*spatial)``; 0 background, -1 unlabelled, else the number of the object.

    Returns
    -------
    boundary : ndarray of bool
        ``(*spatial)``, labelled voxels that share a face with a labelled voxel of another number; the
        same as `skimage.segmentation.find_boundaries` in mode *thick* where all is labelled.
    valid : ndarray of bool
        ``(*spatial)``, boundary voxels and those all of whose neighbours are known. A voxel beside an
        unlabelled one or at the patch border may be boundary or not.
    """
    boundary, valid = _boundary(as_volume(ids), ids.ndim)
    return boundary.reshape(ids.shape), valid.reshape(ids.shape)


def normalise_instances(
    ids: NDArray[np.int32],
    distance: NDArray[np.float32],
    certain: NDArray[np.float32],
    share: float,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Divide the distance in every object by the object's largest.

    Parameters
    ----------
    ids
        ``(*spatial)``; 0 background, -1 unlabelled, else small positive numbers.
    distance
        ``(*spatial)``, distance to the nearest voxel centre outside the object, of any sign.
    certain
        ``(*spatial)``, distance to the nearest voxel centre that is unlabelled or outside the patch.
    share
        An object is trusted when the largest distance among voxels nearer to its surface than to
        anything unknown is at least this share of its largest distance.

    Returns
    -------
    values : ndarray of float32
        ``(*spatial)``, 0 … 1, 0 outside objects and in objects that are not trusted.
    valid : ndarray of bool
        ``(*spatial)``, background and trusted objects.
    """
    values, valid = _normalise(as_volume(ids), as_volume(distance), as_volume(certain), np.float32(share))
    return values.reshape(ids.shape), valid.reshape(ids.shape)


@compiled
def _boundary(ids: Any, ndim: int) -> Any:
    depth, height, width = ids.shape
    boundary = np.zeros((depth, height, width), np.bool_)
    valid = np.zeros((depth, height, width), np.bool_)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                own = ids[z, y, x]
                if own < 0:
                    continue
                differs = False
                known = True
                for axis in range(3 - ndim, 3):
                    for step in (-1, 1):
                        zz = z + step * (axis == 0)
                        yy = y + step * (axis == 1)
                        xx = x + step * (axis == 2)
                        if zz < 0 or yy < 0 or xx < 0 or zz >= depth or yy >= height or xx >= width:
                            known = False
                            continue
                        other = ids[zz, yy, xx]
                        if other < 0:
                            known = False
                        elif other != own:
                            differs = True
                boundary[z, y, x] = differs
                valid[z, y, x] = differs or known
    return boundary, valid


@compiled
def _normalise(ids: Any, distance: Any, certain: Any, share: Any) -> Any:
    depth, height, width = ids.shape
    count = max(ids.max(), 0) + 1
    largest = np.zeros(count, np.float32)
    sure = np.zeros(count, np.float32)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                i = ids[z, y, x]
                if i > 0:
                    d = abs(distance[z, y, x])
                    largest[i] = max(largest[i], d)
                    if d < certain[z, y, x]:
                        sure[i] = max(sure[i], d)
    values = np.zeros((depth, height, width), np.float32)
    valid = np.zeros((depth, height, width), np.bool_)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                i = ids[z, y, x]
                if i == 0:
                    valid[z, y, x] = True
                elif i > 0 and sure[i] > 0 and sure[i] >= share * largest[i]:
                    values[z, y, x] = abs(distance[z, y, x]) / largest[i]
                    valid[z, y, x] = True
    return values, valid
