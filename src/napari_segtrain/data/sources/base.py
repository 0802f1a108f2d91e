"""What every image, label and mask looks like to the rest of the house, wherever it is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Regions = tuple[slice, ...]


@runtime_checkable
class Source(Protocol):
    """An array that is read by regions and never needs to be in memory as a whole.

    Attributes
    ----------
    shape
        Spatial shape, (z,) y, x, in voxels.
    channels
        Number of channels; 1 for an array without a channel axis.
    dtype
        Type of the voxels, in the byte order of this machine.
    spacing
        Size of a voxel along each spatial axis.
    unit
        Unit of `spacing`, ``"pixel"`` when the data does not say.
    chunks
        Spatial shape of the blocks that are cheap to read at once; reading along them is fastest.
    """

    shape: tuple[int, ...]
    channels: int
    dtype: np.dtype[Any]
    spacing: tuple[float, ...]
    unit: str
    chunks: tuple[int, ...]

    def read(self, region: Regions) -> NDArray[Any]:
        """Return a part of the array.

        Parameters
        ----------
        region
            One slice a spatial axis, without steps, inside the array; negative bounds are not counted from
            the end.

        Returns
        -------
        ndarray, (C, *region)
            A new, contiguous, writable array, channels first; always with the channel axis.

        Raises
        ------
        DataError
            When the region is not inside the array, or the storage cannot be read there.
        """
        ...


def full_region(shape: Sequence[int]) -> Regions:
    """Return the slices that cover an array of spatial `shape`."""
    return tuple(slice(0, int(size)) for size in shape)
