"""Sets of patch positions to draw from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from .patches import PatchSpec
from .recent import Recent
from .region_index import RegionIndex


@dataclass(frozen=True)
class Pool(Sequence[PatchSpec]):
    """Positions to draw from; a sequence of patches, which are made when they are asked for.

    Attributes
    ----------
    regions
        The indexed regions.
    ends
        Number of positions in all regions up to and with each.
    flats
        For each region the flat indices of its positions.
    target, value
        The target, and the class of it, whose foreground each position holds; None: any label.
    """

    regions: tuple[RegionIndex, ...]
    ends: tuple[int, ...]
    flats: tuple[NDArray[np.int64], ...]
    target: str | None = None
    value: int | None = None

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    @overload
    def __getitem__(self, index: int) -> PatchSpec: ...
    @overload
    def __getitem__(self, index: slice) -> list[PatchSpec]: ...
    def __getitem__(self, index: int | slice) -> PatchSpec | list[PatchSpec]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        region, flat = self._find(index)
        return region.spec(flat)

    def __iter__(self) -> Iterator[PatchSpec]:
        return (self[i] for i in range(len(self)))

    def moved(self, index: int, random: np.random.Generator) -> PatchSpec:
        """Return the position moved at random, holding on to what the pool is about."""
        region, flat = self._find(index)
        return region.moved(flat, random, self.target, self.value)

    def nearest(self, point: Sequence[float]) -> PatchSpec:
        """Return the position whose middle is nearest to a point.

        Parameters
        ----------
        point
            In voxels of the record, (z,) y, x; all regions of the pool are meant to be of one record.
        """
        found: list[tuple[float, RegionIndex, int]] = []
        for region, flats in zip(self.regions, self.flats, strict=True):
            places = np.unravel_index(flats, region.grid.positions)
            away = np.zeros(len(flats))
            for axis, (place, at) in enumerate(zip(places, point, strict=True)):
                middle = region.region.start[axis] + region.grid.extent[axis] / 2
                away += np.square(region.grid.starts[axis][place] + middle - at)
            closest = int(np.argmin(away))
            found.append((float(away[closest]), region, int(flats[closest])))
        _, region, flat = min(found, key=lambda one: one[0])
        return region.spec(flat)

    def _find(self, index: int) -> tuple[RegionIndex, int]:
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(f"position {index} of {len(self)}")
        which = bisect_right(self.ends, index)
        before = self.ends[which - 1] if which else 0
        return self.regions[which], int(self.flats[which][index - before])


@dataclass(frozen=True)
class IndexView:
    """The state of an index at one time; an update makes a new one."""

    everywhere: Pool
    foreground: dict[str, Pool]
    classes: dict[str, dict[int, Pool]]
    recent: tuple[Recent, ...] = ()
