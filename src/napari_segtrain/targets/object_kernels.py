"""Passes over numbered objects: their boundary, their depth, and the way to their centre."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import as_volume, compiled, three_spacings


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


def flows_to_centres(
    ids: NDArray[np.int32], spacing: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the direction from every voxel to the centre of its object.

    Parameters
    ----------
    ids
        ``(*spatial)``; 0 background, -1 unlabelled, else small positive numbers.
    spacing
        Size of a voxel in array order.

    Returns
    -------
    flows : ndarray of float32
        ``(ndim, *spatial)``, unit vectors in physical space, components in array order; 0 where invalid.
    valid : ndarray of bool
        ``(*spatial)``, voxels of objects that are seen whole, one voxel of the finest axis or more from
        their centre.
    """
    ndim = ids.ndim
    volume = as_volume(ids)
    flows, valid = _flows(volume, _centres(volume, three_spacings(spacing), ndim), three_spacings(spacing))
    return np.asarray(flows)[3 - ndim :].reshape(ndim, *ids.shape), np.asarray(valid).reshape(ids.shape)


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


@compiled
def _surrounded(ids: Any, z: int, y: int, x: int, ndim: int) -> bool:
    """Return whether a voxel is neither at the border nor beside an unlabelled one."""
    for axis in range(3 - ndim, 3):
        place = (z, y, x)[axis]
        if place == 0 or place == ids.shape[axis] - 1:
            return False
        for step in (-1, 1):
            if ids[z + step * (axis == 0), y + step * (axis == 1), x + step * (axis == 2)] < 0:
                return False
    return True


@compiled
def _centres(ids: Any, spacing: Any, ndim: int) -> Any:
    """Return the centre of every object in voxels, (number, 3); NaN for one that is not seen whole."""
    depth, height, width = ids.shape
    count = max(ids.max(), 0) + 1
    centres = np.zeros((count, 3))
    sizes = np.zeros(count)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                i = ids[z, y, x]
                if i > 0:
                    sizes[i] += 1
                    centres[i, 0] += z
                    centres[i, 1] += y
                    centres[i, 2] += x
                    if not _surrounded(ids, z, y, x, ndim):
                        centres[i, 0] = np.nan
    inside = True
    for i in range(1, count):
        if sizes[i] > 0 and not np.isnan(centres[i, 0]):
            centres[i] /= sizes[i]
            z, y, x = np.round(centres[i, 0]), np.round(centres[i, 1]), np.round(centres[i, 2])
            inside = inside and ids[int(z), int(y), int(x)] == i
    return centres if inside else _nearest_own(ids, centres, spacing)


@compiled
def _nearest_own(ids: Any, centres: Any, spacing: Any) -> Any:
    """Move every centre that lies outside of its object to the object's nearest voxel."""
    depth, height, width = ids.shape
    moved = centres.copy()
    best = np.full(len(centres), np.inf)
    for i in range(1, len(centres)):
        if not np.isnan(centres[i, 0]):
            z, y, x = np.round(centres[i, 0]), np.round(centres[i, 1]), np.round(centres[i, 2])
            if ids[int(z), int(y), int(x)] == i:
                best[i] = -1
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                i = ids[z, y, x]
                if i <= 0 or best[i] < 0 or np.isnan(centres[i, 0]):
                    continue
                away = (
                    ((z - centres[i, 0]) * spacing[0]) ** 2
                    + ((y - centres[i, 1]) * spacing[1]) ** 2
                    + ((x - centres[i, 2]) * spacing[2]) ** 2
                )
                if away < best[i]:
                    best[i] = away
                    moved[i, 0], moved[i, 1], moved[i, 2] = z, y, x
    return moved


@compiled
def _flows(ids: Any, centres: Any, spacing: Any) -> Any:
    depth, height, width = ids.shape
    flows = np.zeros((3, depth, height, width), np.float32)
    valid = np.zeros((depth, height, width), np.bool_)
    finest = min(spacing[0], spacing[1], spacing[2]) if depth > 1 else min(spacing[1], spacing[2])
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                i = ids[z, y, x]
                if i <= 0 or np.isnan(centres[i, 0]):
                    continue
                a = (centres[i, 0] - z) * spacing[0]
                b = (centres[i, 1] - y) * spacing[1]
                c = (centres[i, 2] - x) * spacing[2]
                length = np.sqrt(a * a + b * b + c * c)
                if length < finest:
                    continue
                flows[0, z, y, x] = a / length
                flows[1, z, y, x] = b / length
                flows[2, z, y, x] = c / length
                valid[z, y, x] = True
    return flows, valid
