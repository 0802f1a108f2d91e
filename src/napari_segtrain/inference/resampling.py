"""Images with another voxel size than the network knows: brought to it, and predictions brought back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_segtrain.config import DataError
from napari_segtrain.data.sources import Source

from .tiling import Slices

_MOST_VOXELS = 2**22
"""Voxels that are read at once to compute a part."""

_SAME = 0.01
"""Voxel sizes that differ by less, in relation, are the same."""

_METRES = {"angstrom": 1e-10, "nanometer": 1e-9, "micrometer": 1e-6, "millimeter": 1e-3, "centimeter": 1e-2}


class Resampled:
    """A source on another grid, which covers the same extent.

    Parameters
    ----------
    source
        The image.
    spacing
        Wanted size of a voxel along the last axes, in the unit of the image. The number of voxels is
        rounded, so the spacing that comes out differs by less than half a voxel in the whole image.

    Notes
    -----
    Along each axis the image is weighted with a triangle as wide as the larger of the two voxels: linear
    interpolation where voxels become finer, an average without aliasing where they become coarser. Whole
    numbers are rounded to whole numbers.
    """

    def __init__(self, source: Source, spacing: Sequence[float]) -> None:
        self._source = source
        stack = len(source.shape) - len(spacing)
        wanted = (*source.spacing[:stack], *spacing)
        extents = [n * step for n, step in zip(source.shape, source.spacing, strict=True)]
        self.shape = tuple(max(1, round(e / step)) for e, step in zip(extents, wanted, strict=True))
        self.spacing = tuple(e / n for e, n in zip(extents, self.shape, strict=True))
        self.channels = source.channels
        self.chunks = self.shape
        self.dtype = source.dtype if source.dtype.kind in "iu" else np.dtype(np.float32)
        self.unit = source.unit
        self.name = str(getattr(source, "name", ""))

    def read(self, region: Slices) -> npt.NDArray[Any]:
        """Return `(C, *region)`; see `Source.read`."""
        values = resample(self._source.read, self.channels, self._source.shape, self.shape, region)
        return values if self.dtype.kind == "f" else np.rint(values).astype(self.dtype)


def on_grid_of(source: Source, spacing: Sequence[float] | None, unit: str) -> Resampled | None:
    """Return an image with the voxel size that a network was trained on; None when it has it.

    Parameters
    ----------
    source
        The image.
    spacing, unit
        Size of a voxel in the training data.

    Raises
    ------
    DataError
        When the network's voxel size is not known.
    """
    if spacing is None:
        raise DataError(
            "the image cannot be resampled (inference_config.resample): this network does not say the voxel "
            "size that it was trained on. Predict without resampling"
        )
    wanted = np.asarray(spacing) / in_unit(1.0, source.unit, unit)
    if np.allclose(source.spacing[-len(spacing) :], wanted, rtol=_SAME):
        return None
    return Resampled(source, tuple(wanted))


def in_unit(length: float, unit: str, other: str) -> float:
    """Return a length in another unit; as it is where one of the units is not known."""
    if unit in _METRES and other in _METRES:
        return length * _METRES[unit] / _METRES[other]
    return length


def resample(
    read: Callable[[Slices], npt.NDArray[Any]],
    channels: int,
    size: Sequence[int],
    new_size: Sequence[int],
    where: Slices,
) -> npt.NDArray[np.float32]:
    """Compute a part of an array on another grid; what is needed for it is read in pieces of bounded size.

    Parameters
    ----------
    read
        Returns a part of the array, `(channels, *part)`.
    channels
        Of the array.
    size, new_size
        Its spatial shape, and that of the other grid, which covers the same extent.
    where
        The part, in voxels of the other grid.

    Returns
    -------
    ndarray of float32
        `(channels, *where)`.
    """
    axes = [_weights(n, m, part) for n, m, part in zip(size, new_size, where, strict=True)]
    needed = tuple(slice(first, first + weights.shape[1]) for first, weights in axes)
    lengths = [part.stop - part.start for part in where]
    longest = int(np.argmax(lengths))
    if math.prod(s.stop - s.start for s in needed) > _MOST_VOXELS and lengths[longest] > 1:
        middle = where[longest].start + lengths[longest] // 2
        halves = [
            resample(read, channels, size, new_size, (*where[:longest], half, *where[longest + 1 :]))
            for half in (slice(where[longest].start, middle), slice(middle, where[longest].stop))
        ]
        return np.concatenate(halves, axis=1 + longest)
    values: npt.NDArray[np.float32] = read(needed).astype(np.float32)
    for axis, (_, weights) in enumerate(axes, 1):
        if weights.shape[0] != weights.shape[1] or not np.array_equal(weights, np.eye(len(weights))):
            values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
    return np.ascontiguousarray(values)


def _weights(size: int, new_size: int, part: slice) -> tuple[int, npt.NDArray[np.float32]]:
    """Return the first voxel that a part of the new axis needs, and weights `(new voxels, needed voxels)`."""
    ratio = size / new_size
    width = max(1.0, ratio)
    centres = (np.arange(part.start, part.stop) + 0.5) * ratio - 0.5
    first = max(0, math.ceil(centres[0] - width + 1e-9))
    last = min(size - 1, math.floor(centres[-1] + width - 1e-9))
    distance = np.abs(np.arange(first, last + 1) - centres[:, None])
    weights = np.maximum(0.0, 1.0 - distance / width)
    return first, (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def covering(bounds: Slices, size: Sequence[int], new_size: Sequence[int]) -> Slices:
    """Return the part of a new grid that interpolation inside `bounds` of the old one looks at."""
    return tuple(
        slice(first, first + weights.shape[1])
        for first, weights in (
            _weights(m, n, part) for n, m, part in zip(size, new_size, bounds, strict=True)
        )
    )
