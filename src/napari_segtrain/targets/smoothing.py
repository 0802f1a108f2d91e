"""Gaussian smoothing of small volumes: one banded matrix an axis, which holds what lies beyond the border."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .compiled import as_volume, compiled

Beyond = Literal["linear", "zero"]
Band = tuple[NDArray[np.int64], NDArray[np.float32]]
"""For every place on an axis the first neighbour that counts, and the weights from there on."""

_LEAST_WIDTH = 0.2
_REACH = 3.0
_UNROLLED = 4


def smooth(
    field: NDArray[np.float32], widths: Sequence[float], beyond: Beyond = "linear"
) -> NDArray[np.float32]:
    """Smooth with a gaussian that reaches three standard deviations.

    Parameters
    ----------
    field
        ``(*spatial)``.
    widths
        Standard deviation along each axis in voxels; below 0.2 an axis stays as it is.
    beyond
        What is taken to lie beyond the border. ``linear``: the point reflection at the last voxel,
        ``2 f(0) - f(k)`` for ``f(-k)``, so that a plane stays a plane. ``zero``: nothing.

    Notes
    -----
    Along an axis every result is a sum of neighbours with weights that depend on its place alone. Four of
    them are added in one go over whole rows of the other axes, which keeps the sum in registers.
    """
    volume = as_volume(field)
    out = np.empty_like(volume)
    smooth_into(volume, bands(volume.shape, widths, beyond), scratch(*volume.shape), out)
    return out.reshape(field.shape)


def bands(shape: tuple[int, ...], widths: Sequence[float], beyond: Beyond) -> tuple[Band, Band, Band]:
    """Return the weights along each axis of a volume; `widths` are those of its last axes."""
    every = (0.0,) * (3 - len(widths)) + tuple(float(width) for width in widths)
    along_z, along_y, along_x = (_band(n, width, beyond) for n, width in zip(shape, every, strict=True))
    return along_z, along_y, along_x


@lru_cache(maxsize=64)
def _band(n: int, width: float, beyond: Beyond) -> Band:
    """Return the weights for an axis of `n` voxels; none when it stays as it is."""
    if width < _LEAST_WIDTH:
        return np.zeros(0, np.int64), np.zeros((0, 0), np.float32)
    radius = max(1, int(np.ceil(_REACH * width)))
    gauss = np.exp(-0.5 * (np.arange(-radius, radius + 1) / width) ** 2)
    gauss /= gauss.sum()
    full = np.zeros((n, n))
    last = n - 1
    for place in range(n):
        for neighbour, weight in enumerate(gauss, start=place - radius):
            if 0 <= neighbour <= last:
                full[place, neighbour] += weight
            elif beyond == "linear":
                low = neighbour < 0
                edge, inner = (0, min(-neighbour, last)) if low else (last, max(2 * last - neighbour, 0))
                full[place, edge] += 2 * weight
                full[place, inner] -= weight
    columns = -(-min(2 * radius + 1, n) // _UNROLLED) * _UNROLLED
    first = np.clip(np.arange(n) - radius, 0, max(n - columns, 0))
    padded = np.pad(full, ((0, 0), (0, columns)))
    weights = np.stack([padded[place, start : start + columns] for place, start in enumerate(first)])
    return first.astype(np.int64), weights.astype(np.float32)


@compiled
def scratch(depth: int, height: int, width: int) -> Any:
    """Return what `smooth_into` needs to work with, for volumes of one shape."""
    return (
        np.empty((depth, height, width), np.float32),
        np.empty((depth, height, width), np.float32),
        np.empty((width, height), np.float32),
        np.empty((width, height), np.float32),
    )


@compiled
def smooth_into(field: Any, along: Any, work: Any, out: Any) -> None:
    """Smooth a volume with the weights of `bands` into another one."""
    depth, height, width = field.shape
    one, other, turned, result = work
    if len(along[0][0]):
        plane = height * width
        _combine(field.reshape(depth, plane), along[0], one.reshape(depth, plane))
        field = one
    if len(along[1][0]):
        for z in range(depth):
            _combine(field[z], along[1], other[z])
        field = other
    if not len(along[2][0]):
        out[:] = field
        return
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                turned[x, y] = field[z, y, x]
        _combine(turned, along[2], result)
        for y in range(height):
            for x in range(width):
                out[z, y, x] = result[x, y]


@compiled
def _combine(rows: Any, along: Any, out: Any) -> None:
    """Write weighted sums of rows ``(n, m)`` into `out` ``(n, m)``."""
    first, weights = along
    n, m = rows.shape
    last = n - 1
    for place in range(n):
        row = out[place]
        for column in range(0, weights.shape[1], 4):
            j = first[place] + column
            wa, wb = weights[place, column], weights[place, column + 1]
            wc, wd = weights[place, column + 2], weights[place, column + 3]
            # Weights beyond the last row are 0.
            a, b = rows[min(j, last)], rows[min(j + 1, last)]
            c, d = rows[min(j + 2, last)], rows[min(j + 3, last)]
            if column == 0:
                for x in range(m):
                    row[x] = wa * a[x] + wb * b[x] + wc * c[x] + wd * d[x]
            else:
                for x in range(m):
                    row[x] += wa * a[x] + wb * b[x] + wc * c[x] + wd * d[x]
