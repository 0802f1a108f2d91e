"""Places that were painted a short while ago, which are drawn more often than the others for a while."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Box
from .patches import PatchSpec
from .region_index import RegionIndex

MOST = 64
"""So many places are kept at most; the oldest are forgotten first."""


@dataclass(frozen=True)
class Recent:
    """A place of one region.

    Attributes
    ----------
    number
        Number of the region in its index.
    region
        The region.
    cells
        Range of its cells that the painting touched.
    until
        Number of the batch, counted over all epochs from 0, from which on it is a place like any other.
    flats
        Flat indices of the usable positions that hold labelled voxels of it.
    """

    number: int
    region: RegionIndex
    cells: Box
    until: int
    flats: NDArray[np.int64]

    def moved(self, random: np.random.Generator) -> PatchSpec:
        """Return a patch that holds some of the place."""
        flat = int(self.flats[int(random.integers(len(self.flats)))])
        return self.region.moved(flat, random, within=self.cells)


class RecentPlaces:
    """The places of one index, oldest first; painting a place again makes it the newest.

    Parameters
    ----------
    regions
        The regions of the index.
    """

    def __init__(self, regions: Sequence[RegionIndex]) -> None:
        self._regions = regions
        self._until: dict[tuple[int, tuple[tuple[int, int], ...]], int] = {}

    def add(self, number: int, cells: Box, until: int, now: int) -> None:
        """Note that cells of a region were painted, and forget what was painted long before batch `now`."""
        key = (number, tuple((s.start, s.stop) for s in cells))
        self._until.pop(key, None)
        self._until = {old: end for old, end in self._until.items() if end > now}
        self._until[key] = until
        while len(self._until) > MOST:
            self._until.pop(next(iter(self._until)))

    def places(self, usable: Sequence[NDArray[np.int64]]) -> tuple[Recent, ...]:
        """Return the places at which there is something to learn, with the positions that are usable now."""
        found: list[Recent] = []
        for (number, sides), until in self._until.items():
            region, cells = self._regions[number], tuple(slice(*side) for side in sides)
            flats = np.intersect1d(region.holding(cells), usable[number])
            if len(flats):
                found.append(Recent(number, region, cells, until, flats))
        return tuple(found)

    def state(self, now: int) -> list[dict[str, Any]]:
        """Return the places of which batch `now` still draws more, as plain values; see `restore`."""
        return [
            {"region": number, "cells": [list(side) for side in sides], "until": until}
            for (number, sides), until in self._until.items()
            if until > now
        ]

    def restore(self, state: Iterable[dict[str, Any]]) -> None:
        """Take over what `state` returned; places that the data no longer has are left out."""
        for place in state:
            number, cells = int(place["region"]), tuple(slice(*map(int, side)) for side in place["cells"])
            if number < len(self._regions) and _inside(cells, self._regions[number].grid.cells):
                self.add(number, cells, int(place["until"]), -1)


def _inside(cells: Box, counts: Sequence[int]) -> bool:
    sides = zip(cells, counts, strict=False)
    return len(cells) == len(counts) and all(0 <= s.start < s.stop <= n for s, n in sides)
