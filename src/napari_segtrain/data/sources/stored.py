"""An opened array as a file format hands it over: its own axis order, and what its metadata says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...config import DataError
from .base import Regions


@dataclass(frozen=True)
class OpenOptions:
    """What the caller knows about an array beyond what is stored with it.

    Attributes
    ----------
    ndim
        2 when every plane is an image, 3 when the array is a volume, None to tell from the array.
    channel_axis
        Position of the channels in the stored array; None to tell from the metadata or the shape.
    level
        Resolution level of a multiscale image, 0 the finest.
    spacing
        Size of a voxel, (z,) y, x; None to take the stored one.
    labels
        Whether the array holds labels or masks, in which a last axis of 3 is never a colour.
    cache
        Whether decoded blocks may be kept in memory, in the bounded cache that all sources share.
    """

    ndim: int | None = None
    channel_axis: int | None = None
    level: int = 0
    spacing: tuple[float, ...] | None = None
    labels: bool = False
    cache: bool = False


@dataclass(frozen=True)
class Stored:
    """An array behind a file, a store or an object, in the axis order in which it is stored.

    Attributes
    ----------
    name
        File, store or layer, as error messages call it.
    shape, dtype
        Of the stored array.
    fetch
        Takes one slice for each stored axis and returns that part, with as many axes. May be a view.
    axes
        One lower-case letter an axis: z, y, x, c (channels), s (the samples of a colour); any other
        letter is an axis along which separate images lie. None when the metadata does not say.
    chunks
        Shape of the blocks that are stored or decoded together; None when single rows are cheap.
    steps
        Size of a voxel by axis letter.
    unit
        Unit of `steps`, ``"pixel"`` when unknown.
    written
        Returns the boxes of the chunks that were ever written, None when the format does not know; all
        other voxels are zero.
    joined_reads
        Whether several chunks are read faster by one call than one after the other.
    path
        File or folder on this machine that holds the voxels, None when there is none.
    notes
        What the user should know about how the array is read.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fetch: Callable[[Regions], NDArray[Any]]
    axes: str | None = None
    chunks: tuple[int, ...] | None = None
    steps: Mapping[str, float] = field(default_factory=dict)
    unit: str = "pixel"
    written: Callable[[], list[Regions] | None] | None = None
    joined_reads: bool = False
    path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        """Size of the decoded array."""
        return math.prod(self.shape) * self.dtype.itemsize


def check_level(name: str, level: int, count: int) -> None:
    """Refuse a resolution level that an image does not have.

    Raises
    ------
    DataError
        Says how many levels there are.
    """
    if level >= count:
        raise DataError(
            f"{name}: resolution level {level} was asked for, but the image has {count} (0 to {count - 1}). "
            "Change dataset_config.level."
        )


_UNITS = {
    "um": "micrometer",
    "µm": "micrometer",
    "μm": "micrometer",
    "\\u00b5m": "micrometer",
    "micron": "micrometer",
    "microns": "micrometer",
    "micrometre": "micrometer",
    "nm": "nanometer",
    "nanometre": "nanometer",
    "mm": "millimeter",
    "millimetre": "millimeter",
    "cm": "centimeter",
    "centimetre": "centimeter",
    "å": "angstrom",
    "px": "pixel",
    "pixels": "pixel",
    "voxel": "pixel",
    "": "pixel",
}


def unit_name(text: Any) -> str:
    """Return one spelling of a unit, such as ``"micrometer"`` for ``"µm"`` and for ``"micron"``."""
    plain = str(text or "").strip().lower()
    return _UNITS.get(plain, plain)


def usable_step(value: Any) -> float | None:
    """Return a voxel size as a positive number, None when it is not one."""
    try:
        size = abs(float(value))
    except (TypeError, ValueError):
        return None
    return size if math.isfinite(size) and size > 0 else None
