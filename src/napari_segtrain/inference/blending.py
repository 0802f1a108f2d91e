"""Weights with which overlapping tiles are averaged; separable, so the sum over a grid is too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Literal

import numpy as np
import numpy.typing as npt

from .tiling import Slices, TileGrid

Blending = Literal["gaussian", "constant"]
_SIGMA_SHARE = 1 / 8
# Along one axis. Three axes multiply, and float32 keeps six digits at a sum of 1e-9 without trouble.
_SMALLEST = 1e-3


def axis_weights(tile: int, blending: Blending) -> npt.NDArray[np.float32]:
    """Return the weights of a tile along one axis, at most 1, all above 0.

    Parameters
    ----------
    tile
        Voxels of the tile along the axis.
    blending
        gaussian: standard deviation an eighth of the tile, centred (Isensee et al. 2021, nnU-Net);
        constant: every voxel counts the same.
    """
    if blending == "constant":
        return np.ones(tile, dtype=np.float32)
    offset = np.arange(tile) - (tile - 1) / 2
    weights = np.exp(-0.5 * (offset / max(tile * _SIGMA_SHARE, 1e-6)) ** 2)
    return np.asarray(np.maximum(weights / weights.max(), _SMALLEST), np.float32)


def tile_weights(tile: Sequence[int], blending: Blending) -> npt.NDArray[np.float32]:
    """Return the weights of a whole tile, `(*tile)`: the product of the weights along its axes."""
    axes = [axis_weights(size, blending) for size in tile]
    return np.ascontiguousarray(reduce(np.multiply.outer, axes))


class Normaliser:
    """The sum of all weights at every voxel, kept as one reciprocal vector an axis.

    Tiles are the product of positions along the axes and weights the product of weights along them, so
    Σ_tiles Π_a w_a = Π_a Σ_positions w_a: the sum of an N³ volume takes 3 N numbers.
    """

    def __init__(self, grid: TileGrid, blending: Blending) -> None:
        self._reciprocals = []
        for size, starts, part in zip(grid.tile, grid.starts, grid.bounds, strict=True):
            weights = axis_weights(size, blending).astype(np.float64)
            total = np.zeros(part.stop - part.start)
            for start in starts:
                first, last = max(start, part.start), min(start + size, part.stop)
                total[first - part.start : last - part.start] += weights[first - start : last - start]
            self._reciprocals.append((1.0 / total).astype(np.float32))

    def apply(self, summed: npt.NDArray[np.float32], where: Slices) -> None:
        """Divide `summed`, `(C, *block)`, in place by the sum of weights at `where` (region coordinates)."""
        parts = [r[s] for r, s in zip(self._reciprocals, where, strict=True)]
        plane = reduce(np.multiply.outer, parts[-2:])
        np.multiply(summed, plane, out=summed)
        for axis, part in enumerate(parts[:-2]):
            shape = (-1,) + (1,) * (len(parts) - 1 - axis)
            np.multiply(summed, part.reshape(shape), out=summed)
