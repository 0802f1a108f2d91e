"""Passes over a field of distances: half a voxel, direction of the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import as_volume, compiled, three_spacings


def half_voxel(raw: NDArray[np.float32], spacing: Sequence[float]) -> NDArray[np.float32]:
    """Return half a voxel's length along the direction of the gradient of `raw`.

    Parameters
    ----------
    raw
        ``(*spatial)``, signed distance between voxel centres.
    spacing
        Size of a voxel in array order.

    Returns
    -------
    ndarray of float32
        ``(*spatial)``; never more than half of ``|raw|``, so that no sign changes.
    """
    half = _half_voxel(as_volume(raw), three_spacings(spacing), np.float32(min(spacing)))
    return np.asarray(half).reshape(raw.shape)


def unit_gradient(
    field: NDArray[np.float32], spacing: Sequence[float], valid: NDArray[np.bool_], least: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the direction of the gradient at valid voxels, zero elsewhere.

    Parameters
    ----------
    field
        ``(*spatial)``; NaN where nothing is known.
    spacing
        Size of a voxel in array order.
    valid
        ``(*spatial)``, where a direction is wanted.
    least
        Flatter places become invalid, and places beside NaN.

    Returns
    -------
    directions : ndarray of float32
        ``(ndim, *spatial)``, components in array order. Central differences, one-sided at the border.
    valid : ndarray of bool
        ``(*spatial)``.
    """
    directions, steep = _unit_gradient(
        as_volume(field), three_spacings(spacing), as_volume(valid), np.float32(least)
    )
    return directions[3 - field.ndim :].reshape(field.ndim, *field.shape), steep.reshape(field.shape)


@compiled
def _slope(field: Any, z: int, y: int, x: int, axis: int, step: Any) -> Any:
    n = field.shape[axis]
    if n == 1:
        return np.float32(0)
    i = (z, y, x)[axis]
    low, high = max(i - 1, 0), min(i + 1, n - 1)
    if axis == 0:
        difference = field[high, y, x] - field[low, y, x]
    elif axis == 1:
        difference = field[z, high, x] - field[z, low, x]
    else:
        difference = field[z, y, high] - field[z, y, low]
    return difference / (np.float32(high - low) * step)


@compiled
def _half_voxel(raw: Any, spacing: Any, finest: Any) -> Any:
    out = np.empty_like(raw)
    for z in range(raw.shape[0]):
        for y in range(raw.shape[1]):
            for x in range(raw.shape[2]):
                square = np.float32(0)
                length = np.float32(0)
                for axis in range(3):
                    g = _slope(raw, z, y, x, axis, spacing[axis])
                    square += g * g
                    length += (g * spacing[axis]) ** 2
                whole = finest
                if square > 1e-6:
                    whole = np.sqrt(length / square)
                out[z, y, x] = np.float32(0.5) * min(whole, abs(raw[z, y, x]))
    return out


@compiled
def _unit_gradient(field: Any, spacing: Any, valid: Any, least: Any) -> Any:
    depth, height, width = field.shape
    out = np.zeros((3, depth, height, width), np.float32)
    steep = np.zeros((depth, height, width), np.bool_)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if not valid[z, y, x]:
                    continue
                gz = _slope(field, z, y, x, 0, spacing[0])
                gy = _slope(field, z, y, x, 1, spacing[1])
                gx = _slope(field, z, y, x, 2, spacing[2])
                norm = np.sqrt(gz * gz + gy * gy + gx * gx)
                if not norm >= least:  # flat, or NaN beside unlabelled voxels
                    continue
                out[0, z, y, x] = gz / norm
                out[1, z, y, x] = gy / norm
                out[2, z, y, x] = gx / norm
                steep[z, y, x] = True
    return out, steep
