"""The values that data is described with: an image with its labels, a part of it, and a split into parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from ..config import DataError
from .sources.base import Regions, Source

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Record:
    """One image with everything that was painted on it.

    Attributes
    ----------
    id
        Name of the image, unique in its data set. A plane of a stack is called ``<stack>[<index>]``.
    image
        The image, (C, (z,) y, x) when read.
    labels
        Labels by target name, (1, (z,) y, x) when read; a regression target may have more channels.
    masks
        Loss masks by target name, (1, (z,) y, x) when read; zero means that the labels do not count there.
    group
        Name of the file or layer that the image came from; planes of one stack share it.
    """

    id: str
    image: Source
    labels: dict[str, Source] = field(default_factory=dict)
    masks: dict[str, Source] = field(default_factory=dict)
    group: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape of the image, (z,) y, x."""
        return self.image.shape

    @property
    def spacing(self) -> tuple[float, ...]:
        """Size of a voxel along each spatial axis of the image."""
        return self.image.spacing

    @property
    def ndim(self) -> int:
        """Number of spatial axes."""
        return len(self.image.shape)


@dataclass(frozen=True)
class Region:
    """A box of one record that a part of a split may use.

    Attributes
    ----------
    record
        Id of the record.
    start, stop
        First voxel and the one after the last, a number a spatial axis.
    """

    record: str
    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of the box in voxels, (z,) y, x."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> Regions:
        """The box as what `Source.read` takes."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    def overlaps(self, other: Region) -> bool:
        """Return whether two boxes share a voxel."""
        if self.record != other.record or len(self.start) != len(other.start):
            return False
        mine = zip(self.start, self.stop, strict=True)
        theirs = zip(other.start, other.stop, strict=True)
        return all(a < d and c < b for (a, b), (c, d) in zip(mine, theirs, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return the box as ``split.json`` spells it: ``{"image": …, "region": [[start, stop], …]}``."""
        bounds = zip(self.start, self.stop, strict=True)
        return {"image": self.record, "region": [[a, b] for a, b in bounds]}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises
        ------
        DataError
            When a key is missing or the bounds are not pairs of whole numbers.
        """
        try:
            bounds = [(int(a), int(b)) for a, b in value["region"]]
            record = str(value["image"])
        except (KeyError, TypeError, ValueError):
            raise DataError(
                f"{value!r} is not a region: give an image and the start and stop of each axis, such as "
                '{"image": "cell_1", "region": [[0, 64], [0, 512], [0, 512]]}'
            ) from None
        return cls(record, tuple(a for a, _ in bounds), tuple(b for _, b in bounds))


@dataclass(frozen=True)
class Split:
    """Which boxes of which records are trained on, validated on and tested on.

    A part may be empty: `test` unless a ``split.json`` names one, and `val` when the labelled voxels
    lie too close together for a separate block.
    """

    train: tuple[Region, ...] = ()
    val: tuple[Region, ...] = ()
    test: tuple[Region, ...] = ()

    def part(self, name: Part) -> tuple[Region, ...]:
        """Return the regions of one part.

        Raises
        ------
        DataError
            When there is no part of that name.
        """
        parts: dict[str, tuple[Region, ...]] = {"train": self.train, "val": self.val, "test": self.test}
        if name not in parts:
            raise DataError(f"{name!r} is not a part of a split. Allowed: {', '.join(PARTS)}.")
        return parts[name]

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Return plain JSON-able values, in the form of a ``split.json``."""
        return {name: [region.to_dict() for region in self.part(name)] for name in PARTS}

    @classmethod
    def from_dict(cls, value: Mapping[str, Sequence[Mapping[str, Any]]]) -> Self:
        """Read what `to_dict` wrote; every region must be spelt out.

        Raises
        ------
        DataError
            When a region is not spelt out or malformed.
        """
        regions = {name: tuple(Region.from_dict(item) for item in value.get(name, ())) for name in PARTS}
        return cls(**regions)
