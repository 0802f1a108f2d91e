"""Passes over a field of distances: half a voxel, smoothing, direction of the gradient."""

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


def smooth_linear(field: NDArray[np.float32], widths: Sequence[float]) -> NDArray[np.float32]:
    """Smooth with a gaussian, continuing the field linearly beyond its border.

    Parameters
    ----------
    field
        ``(*spatial)``.
    widths
        Standard deviation along each axis in voxels; below 0.2 an axis stays as it is.

    Notes
    -----
    The continuation is the point reflection at the last voxel, ``2 f(0) - f(k)`` for ``f(-k)``: a plane
    stays a plane. Kernels reach three standard deviations.
    """
    volume = as_volume(field)
    for axis, width in enumerate(widths, start=3 - field.ndim):
        if width < 0.2:
            continue
        radius = max(1, int(np.ceil(3 * width)))
        place = np.arange(radius + 1)
        weights = np.exp(-0.5 * (place / width) ** 2)
        weights /= weights[0] + 2 * weights[1:].sum()
        volume = _SMOOTH[axis](volume, weights.astype(np.float32))
    return volume.reshape(field.shape)


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


@compiled
def _outer(last: int, i: int) -> tuple[int, int]:
    """Return the inner place and the border place of the point reflection of `i`."""
    if i < 0:
        return min(-i, last), 0
    return max(2 * last - i, 0), last


@compiled
def _smooth_z(field: Any, weights: Any) -> Any:
    n, height, width = field.shape
    out = np.empty_like(field)
    for i in range(n):
        for y in range(height):
            for x in range(width):
                out[i, y, x] = weights[0] * field[i, y, x]
            for k in range(1, len(weights)):
                for j in (i - k, i + k):
                    if 0 <= j < n:
                        for x in range(width):
                            out[i, y, x] += weights[k] * field[j, y, x]
                    else:
                        inner, edge = _outer(n - 1, j)
                        for x in range(width):
                            out[i, y, x] += weights[k] * (2 * field[edge, y, x] - field[inner, y, x])
    return out


@compiled
def _smooth_y(field: Any, weights: Any) -> Any:
    depth, n, width = field.shape
    out = np.empty_like(field)
    for z in range(depth):
        for i in range(n):
            for x in range(width):
                out[z, i, x] = weights[0] * field[z, i, x]
            for k in range(1, len(weights)):
                for j in (i - k, i + k):
                    if 0 <= j < n:
                        for x in range(width):
                            out[z, i, x] += weights[k] * field[z, j, x]
                    else:
                        inner, edge = _outer(n - 1, j)
                        for x in range(width):
                            out[z, i, x] += weights[k] * (2 * field[z, edge, x] - field[z, inner, x])
    return out


@compiled
def _smooth_x(field: Any, weights: Any) -> Any:
    depth, height, n = field.shape
    radius = len(weights) - 1
    out = np.empty_like(field)
    row = np.empty(n + 2 * radius, np.float32)
    for z in range(depth):
        for y in range(height):
            for j in range(n):
                row[radius + j] = field[z, y, j]
            for k in range(1, radius + 1):
                row[radius - k] = 2 * field[z, y, 0] - field[z, y, min(k, n - 1)]
                row[radius + n - 1 + k] = 2 * field[z, y, n - 1] - field[z, y, max(n - 1 - k, 0)]
            for x in range(n):
                out[z, y, x] = weights[0] * row[radius + x]
            for k in range(1, radius + 1):
                for x in range(n):
                    out[z, y, x] += weights[k] * (row[radius + x - k] + row[radius + x + k])
    return out


_SMOOTH = (_smooth_z, _smooth_y, _smooth_x)
