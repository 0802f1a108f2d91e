"""Tiles as values: one global grid that covers an image, whatever part of it is asked for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Slices = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a tile is read and where its prediction goes, together.

    Attributes
    ----------
    index
        Position in the grid, a number a spatial axis.
    crop
        What is read of the image, in image coordinates; shorter than the tile where the image is.
    pad
        Voxels added before and after, an axis, so that the crop becomes as large as the tile.
    keep
        The part of a prediction of tile size that lies in image and region.
    paste
        Where `keep` goes, in coordinates of the region.
    """

    index: tuple[int, ...]
    crop: Slices
    pad: tuple[tuple[int, int], ...]
    keep: Slices
    paste: Slices


@dataclass(frozen=True)
class TileGrid:
    """Every tile of an image: neighbours share `overlap`, the last tile ends with the image.

    The grid depends on image, tile and overlap alone. Predicting a region, or going on after an
    interruption, uses tiles of the same grid and so gives the same values as predicting everything.

    Attributes
    ----------
    shape
        Spatial shape of the image, (z,) y, x.
    tile
        Size of a tile. An axis on which the image is smaller has one tile that is padded at its end.
    overlap
        Share of a tile that it has in common with its neighbour, 0 ≤ overlap < 1, a number an axis.
    region
        The part of the image to predict; None is all of it. Tiles that do not touch it are left out.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]
    overlap: tuple[float, ...]
    region: Slices | None = None

    def __post_init__(self) -> None:
        if not self.shape or not len(self.shape) == len(self.tile) == len(self.overlap):
            raise ValueError(
                f"shape {self.shape}, tile {self.tile} and overlap {self.overlap} need a number for each axis"
            )
        if min(self.shape) < 1 or min(self.tile) < 1:
            raise ValueError(f"shape {self.shape} and tile {self.tile} need sizes of at least 1")
        if not all(0 <= share < 1 for share in self.overlap):
            raise ValueError(f"overlap {self.overlap} is not a share of at least 0 and below 1")
        for part, extent in zip(self.bounds, self.shape, strict=True):
            if part.step not in (None, 1) or not 0 <= part.start < part.stop <= extent:
                raise ValueError(f"region {self.region} is not a part of an image of shape {self.shape}")

    @cached_property
    def bounds(self) -> Slices:
        """The region in image coordinates, starts and stops filled in."""
        if self.region is None:
            return tuple(slice(0, extent) for extent in self.shape)
        if len(self.region) != len(self.shape):
            raise ValueError(f"region {self.region} needs a slice for each axis of {self.shape}")
        return tuple(
            slice(part.start or 0, extent if part.stop is None else part.stop, part.step)
            for part, extent in zip(self.region, self.shape, strict=True)
        )

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial shape of the region, which is the output's."""
        return tuple(part.stop - part.start for part in self.bounds)

    @cached_property
    def starts(self) -> tuple[npt.NDArray[np.int64], ...]:
        """First voxel of every tile, in image coordinates, ascending; the grid is their product."""
        found = []
        for extent, tile, overlap, part in zip(self.shape, self.tile, self.overlap, self.bounds, strict=True):
            starts = axis_starts(extent, tile, overlap)
            found.append(starts[(starts < part.stop) & (starts + tile > part.start)])
        return tuple(found)

    def __len__(self) -> int:
        return math.prod(len(starts) for starts in self.starts)

    def __iter__(self) -> Iterator[Tile]:
        for index in itertools.product(*(range(len(starts)) for starts in self.starts)):
            yield self.at(index)

    def at(self, index: Sequence[int]) -> Tile:
        """Return the tile at a position of the grid."""
        axes = zip(self.starts, index, self.tile, self.shape, self.bounds, strict=True)
        crop, pad, keep, paste = [], [], [], []
        for starts, number, tile, extent, part in axes:
            start = int(starts[number])
            stop = min(start + tile, extent)
            first, last = max(start, part.start), min(stop, part.stop)
            crop.append(slice(start, stop))
            pad.append((0, start + tile - stop))
            keep.append(slice(first - start, last - start))
            paste.append(slice(first - part.start, last - part.start))
        return Tile(tuple(index), tuple(crop), tuple(pad), tuple(keep), tuple(paste))


def axis_starts(extent: int, tile: int, overlap: float) -> npt.NDArray[np.int64]:
    """Return the first voxel of each tile along one axis.

    Tiles are `tile · (1 − overlap)` apart, rounded and at least 1; the last one is flush with the end.
    """
    if extent <= tile:
        return np.zeros(1, dtype=np.int64)
    step = max(1, round(tile * (1.0 - overlap)))
    starts = np.arange(0, extent - tile, step, dtype=np.int64)
    return np.append(starts, extent - tile)
