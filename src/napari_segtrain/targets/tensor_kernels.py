"""Passes over slopes and symmetric tensors: local means of products, and eigenvectors in closed form.

A symmetric tensor is kept as its upper triangle, a channel each, in array order: zz, zy, zx, yy, yx, xx, in
two dimensions yy, yx, xx.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiled import as_volume, compiled, three_spacings
from .smoothing import bands, scratch, smooth_into
from .structure import triangle


def mean_products(
    field: NDArray[np.float32],
    spacing: Sequence[float],
    known: NDArray[np.bool_],
    widths: Sequence[float],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return local means of the products of a field's slopes.

    Parameters
    ----------
    field
        ``(*spatial)``; NaN where nothing is known.
    spacing
        Size of a voxel in array order.
    known
        ``(*spatial)``, where slopes count.
    widths
        Standard deviation of the gaussian weights along each axis in voxels.

    Returns
    -------
    sums : ndarray of float32
        ``(triangle, *spatial)``: the weighted sum of the upper triangle of the gradient's outer product
        with itself, over the slopes that count and are numbers. Central differences, one-sided at the
        border.
    share : ndarray of float32
        ``(*spatial)``, share of the weights that lies on such slopes; ``sums / share`` is their mean, to
        which nothing beyond them is added.
    """
    ndim = field.ndim
    volume = as_volume(field)
    along = bands(volume.shape, widths, "zero")
    # Made by numpy, which asks for large pages: touching fresh memory costs as much as computing here.
    sums = np.empty((triangle(ndim), *volume.shape), np.float32)
    share = _sum_products(volume, three_spacings(spacing), as_volume(known), along, ndim, sums)
    return sums.reshape(-1, *field.shape), np.asarray(share).reshape(field.shape)


def settle(
    sums: NDArray[np.float32],
    share: NDArray[np.float32],
    wanted: NDArray[np.bool_],
    least_share: float,
    least_trace: float,
) -> NDArray[np.bool_]:
    """Turn sums and shares of `mean_products` into means, in place.

    Parameters
    ----------
    sums, share
        See `mean_products`; sums are divided where the result is True, and 0 elsewhere.
    wanted
        ``(*spatial)``, where a mean is wanted.
    least_share
        A mean of less than this share of the weights is not trusted.
    least_trace
        Where the mean has a smaller trace, there is no structure.

    Returns
    -------
    ndarray of bool
        ``(*spatial)``, where the mean is known.
    """
    volume = as_volume(wanted)
    tensors = sums.reshape(len(sums), *volume.shape)
    valid = _settle(tensors, as_volume(share), volume, np.float32(least_share), np.float32(least_trace))
    return np.asarray(valid).reshape(wanted.shape)


def eigenvectors(
    tensors: NDArray[np.float32], wanted: NDArray[np.bool_], gap: float, *, largest: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return unit eigenvectors of the smallest (or largest) eigenvalue.

    Parameters
    ----------
    tensors
        ``(triangle, *spatial)``, positive semidefinite; tensors of a plane may lie in a stack of planes.
    wanted
        ``(*spatial)``, where a vector is wanted.
    gap
        Where the eigenvalue is nearer to the next one than this share of the trace, the direction is not
        defined and the vector 0.
    largest
        Take the largest eigenvalue instead.

    Returns
    -------
    vectors : ndarray of float32
        ``(ndim, *spatial)``. An eigenvector has no sign: its first component that is not 0 is positive.
    defined : ndarray of bool
        ``(*spatial)``.

    Notes
    -----
    In two dimensions by the half angle, in three by the trigonometric solution of the characteristic
    polynomial (Smith 1961, "Eigenvalues of a symmetric 3 × 3 matrix"); the vector is the longest cross
    product of two rows of ``A - λ``. Well apart eigenvalues, which is what `gap` asks for, make this as
    exact as the input.
    """
    volume = as_volume(wanted)
    channels = np.ascontiguousarray(tensors).reshape(len(tensors), *volume.shape)
    solve = _eigenvectors_2d if len(tensors) == triangle(2) else _eigenvectors_3d
    vectors, defined = solve(channels, volume, float(gap), largest)
    return np.asarray(vectors).reshape(-1, *wanted.shape), np.asarray(defined).reshape(wanted.shape)


@compiled
def _slope_row(field: Any, z: int, y: int, axis: int, step: Any, out: Any) -> None:
    """Write the slopes along an axis for a row of voxels; 0 where the axis has one voxel."""
    depth, height, width = field.shape
    row = field[z, y]
    if axis == 2:
        half = np.float32(0.5) / step
        for x in range(1, width - 1):
            out[x] = (row[x + 1] - row[x - 1]) * half
        out[0] = (row[min(1, width - 1)] - row[0]) / step
        out[width - 1] = (row[width - 1] - row[max(width - 2, 0)]) / step
        return
    if axis == 0:
        low, high = max(z - 1, 0), min(z + 1, depth - 1)
        before, after = field[low, y], field[high, y]
    else:
        low, high = max(y - 1, 0), min(y + 1, height - 1)
        before, after = field[z, low], field[z, high]
    factor = np.float32(1) / (np.float32(max(high - low, 1)) * step)
    for x in range(width):
        out[x] = (after[x] - before[x]) * factor


@compiled
def _counting(field: Any, spacing: Any, known: Any, out: Any) -> None:
    """Write 1 where slopes are known and numbers, else 0."""
    depth, height, width = field.shape
    slope = np.empty(width, np.float32)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                out[z, y, x] = known[z, y, x]
            for axis in range(3):
                _slope_row(field, z, y, axis, spacing[axis], slope)
                for x in range(width):
                    if np.isnan(slope[x]):
                        out[z, y, x] = 0


@compiled
def _sum_products(field: Any, spacing: Any, known: Any, along: Any, ndim: int, sums: Any) -> Any:
    # One product at a time: volumes that stay in the cache, and memory that is used again.
    shape = field.shape
    depth, height, width = shape
    work = scratch(depth, height, width)
    counts, product, share = (
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
        np.empty(shape, np.float32),
    )
    a, b = np.empty(width, np.float32), np.empty(width, np.float32)
    _counting(field, spacing, known, counts)
    smooth_into(counts, along, work, share)
    channel = 0
    for first in range(3 - ndim, 3):
        for second in range(first, 3):
            for z in range(depth):
                for y in range(height):
                    _slope_row(field, z, y, first, spacing[first], a)
                    _slope_row(field, z, y, second, spacing[second], b)
                    for x in range(width):
                        product[z, y, x] = a[x] * b[x] if counts[z, y, x] > 0 else np.float32(0)
            smooth_into(product, along, work, sums[channel])
            channel += 1
    return share


@compiled
def _settle(sums: Any, share: Any, wanted: Any, least_share: Any, least_trace: Any) -> Any:
    depth, height, width = wanted.shape
    valid = np.zeros((depth, height, width), np.bool_)
    channels = len(sums)
    last = channels - 1
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                part = share[z, y, x]
                scale = np.float32(0)
                if wanted[z, y, x] and part >= least_share:
                    trace = sums[0, z, y, x] + sums[last, z, y, x]
                    if channels == 6:
                        trace += sums[3, z, y, x]
                    if trace >= least_trace * part:
                        scale = np.float32(1) / part
                        valid[z, y, x] = True
                for channel in range(channels):
                    sums[channel, z, y, x] *= scale
    return valid


@compiled
def _eigenvectors_2d(tensors: Any, wanted: Any, gap: Any, largest: bool) -> Any:
    depth, height, width = wanted.shape
    vectors = np.zeros((2, depth, height, width), np.float32)
    defined = np.zeros((depth, height, width), np.bool_)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if not wanted[z, y, x]:
                    continue
                yy, yx, xx = tensors[0, z, y, x], tensors[1, z, y, x], tensors[2, z, y, x]
                apart = np.hypot(yy - xx, 2 * yx)
                if not apart > gap * (yy + xx):
                    continue
                # Half the angle of (yy - xx, 2 yx) from the first axis is that of the largest eigenvalue.
                angle = 0.5 * np.arctan2(2 * yx, yy - xx) + (0.0 if largest else 0.5 * np.pi)
                a, b = np.cos(angle), np.sin(angle)
                sign = -1 if a < 0 or (a == 0 and b < 0) else 1
                vectors[0, z, y, x] = sign * a
                vectors[1, z, y, x] = sign * b
                defined[z, y, x] = True
    return vectors, defined


@compiled
def _eigenvectors_3d(tensors: Any, wanted: Any, gap: Any, largest: bool) -> Any:
    depth, height, width = wanted.shape
    vectors = np.zeros((3, depth, height, width), np.float32)
    defined = np.zeros((depth, height, width), np.bool_)
    m = np.empty(6)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                if not wanted[z, y, x]:
                    continue
                for channel in range(6):
                    m[channel] = tensors[channel, z, y, x]
                value, apart = _eigenvalue(m, largest)
                if not apart > gap * (m[0] + m[3] + m[5]):
                    continue
                a, b, c = _null_vector(m[0] - value, m[1], m[2], m[3] - value, m[4], m[5] - value)
                sign = 1
                if a < 0 or (a == 0 and (b < 0 or (b == 0 and c < 0))):
                    sign = -1
                vectors[0, z, y, x] = sign * a
                vectors[1, z, y, x] = sign * b
                vectors[2, z, y, x] = sign * c
                defined[z, y, x] = True
    return vectors, defined


@compiled
def _eigenvalue(m: Any, largest: bool) -> tuple[float, float]:
    """Return the smallest or largest eigenvalue of a 3 × 3 matrix, and how far the next one is."""
    mean = (m[0] + m[3] + m[5]) / 3
    a, b, c = m[0] - mean, m[3] - mean, m[5] - mean
    spread = np.sqrt((a * a + b * b + c * c + 2 * (m[1] * m[1] + m[2] * m[2] + m[4] * m[4])) / 6)
    if spread == 0:
        return mean, 0.0
    determinant = (
        a * (b * c - m[4] * m[4]) - m[1] * (m[1] * c - m[4] * m[2]) + m[2] * (m[1] * m[4] - b * m[2])
    )
    turn = np.arccos(min(max(determinant / (2 * spread**3), -1.0), 1.0)) / 3
    high = mean + 2 * spread * np.cos(turn)
    low = mean + 2 * spread * np.cos(turn + 2 * np.pi / 3)
    middle = 3 * mean - high - low
    return (high, high - middle) if largest else (low, middle - low)


@compiled
def _null_vector(
    zz: float, zy: float, zx: float, yy: float, yx: float, xx: float
) -> tuple[float, float, float]:
    """Return the unit vector that a symmetric matrix of rank 2 maps to 0: normal to two of its rows."""
    best = (zy * yx - zx * yy, zx * zy - zz * yx, zz * yy - zy * zy)
    other = (zy * xx - zx * yx, zx * zx - zz * xx, zz * yx - zy * zx)
    third = (yy * xx - yx * yx, yx * zx - zy * xx, zy * yx - yy * zx)
    length = best[0] ** 2 + best[1] ** 2 + best[2] ** 2
    for candidate in (other, third):
        square = candidate[0] ** 2 + candidate[1] ** 2 + candidate[2] ** 2
        if square > length:
            best, length = candidate, square
    root = np.sqrt(length)
    return best[0] / root, best[1] / root, best[2] / root
