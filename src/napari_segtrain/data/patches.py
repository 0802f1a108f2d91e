"""Where a patch lies and what must be read for it: values that keep crop and padding together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .blocks import Box
from .records import Region


@dataclass(frozen=True)
class Crop:
    """What is read from a record, and what is added around it.

    Attributes
    ----------
    source
        The box to read, inside the region.
    padding
        Voxels to add before and after, for each spatial axis.
    """

    source: Box
    padding: tuple[tuple[int, int], ...]

    @property
    def padded(self) -> bool:
        """Whether anything is added."""
        return any(before or after for before, after in self.padding)

    def pad_image(self, image: NDArray[Any]) -> NDArray[Any]:
        """Continue ``(C, *source)`` by reflection, which keeps texture and brightness."""
        return np.pad(image, ((0, 0), *self.padding), mode="reflect") if self.padded else image

    def pad_labels(self, labels: NDArray[Any], value: float) -> NDArray[Any]:
        """Continue ``(*source)`` or ``(C, *source)`` by one value."""
        if not self.padded:
            return labels
        channels = [(0, 0)] * (labels.ndim - len(self.padding))
        return np.pad(labels, (*channels, *self.padding), mode="constant", constant_values=value)


@dataclass(frozen=True)
class PatchSpec:
    """One patch of one record.

    Attributes
    ----------
    region
        The region that the patch belongs to; nothing outside of it is read.
    start
        First voxel, in the record's coordinates; outside the region where the region is smaller than the
        patch, which then lies in the patch's middle.
    size
        The patch size.
    anchor
        Start of the indexed position that the patch was moved from; `start` when it was not.
    """

    region: Region
    start: tuple[int, ...]
    size: tuple[int, ...]
    anchor: tuple[int, ...]

    @property
    def record(self) -> str:
        """Id of the record."""
        return self.region.record

    @property
    def stop(self) -> tuple[int, ...]:
        """One beyond the last voxel, in the record's coordinates."""
        return tuple(a + n for a, n in zip(self.start, self.size, strict=True))

    def at_anchor(self) -> PatchSpec:
        """Return the indexed position itself."""
        return PatchSpec(self.region, self.anchor, self.size, self.anchor)

    def crop(self, size: Sequence[int] | None = None) -> Crop:
        """Return what to read for a crop of `size` with the patch in its middle; None: for the patch."""
        source: list[slice] = []
        padding: list[tuple[int, int]] = []
        for axis, (start, length) in enumerate(zip(self.start, self.size, strict=True)):
            wanted = length if size is None else size[axis]
            first = start - (wanted - length) // 2
            low = max(first, self.region.start[axis])
            high = min(first + wanted, self.region.stop[axis])
            source.append(slice(low, high))
            padding.append((low - first, first + wanted - high))
        return Crop(tuple(source), tuple(padding))

    def __str__(self) -> str:
        place = ", ".join(f"{a}:{b}" for a, b in zip(self.start, self.stop, strict=True))
        return f"{self.record!r} at [{place}]"
