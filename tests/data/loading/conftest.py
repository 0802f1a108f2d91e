"""Arrays in memory that stand for files, so that what is read, and how often, can be looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import DatasetConfig
from napari_segtrain.data import Dataset
from napari_segtrain.data.records import Record, Region


class ArraySource:
    """A source over an array, with or without a channel axis, that counts what is read."""

    def __init__(self, array: np.ndarray, chunks: tuple[int, ...], channels: bool) -> None:
        self.array = array if channels else array[None]
        self.shape = self.array.shape[1:]
        self.channels = self.array.shape[0]
        self.dtype = array.dtype
        self.spacing = (1.0,) * len(self.shape)
        self.unit = "pixel"
        self.chunks = chunks
        self.voxels_read = 0
        self.largest = 0

    def read(self, region: tuple[slice, ...]) -> np.ndarray:
        for part, size in zip(region, self.shape, strict=True):
            assert 0 <= part.start < part.stop <= size, f"{region} is outside {self.shape}"
        block = self.array[(slice(None), *region)].copy()
        self.voxels_read += block[0].size
        self.largest = max(self.largest, block[0].size)
        return block


def make_source(array: np.ndarray, *, chunks: tuple[int, ...] | None = None, channels: bool = False) -> Any:
    ndim = array.ndim - channels
    return ArraySource(array, chunks or (1,) * (ndim - 1) + (array.shape[-1],), channels)


def make_record(
    name: str,
    image: np.ndarray,
    labels: Mapping[str, np.ndarray] | None = None,
    masks: Mapping[str, np.ndarray] | None = None,
    *,
    channels: bool = False,
    chunks: tuple[int, ...] | None = None,
) -> Record:
    return Record(
        name,
        make_source(image, channels=channels, chunks=chunks),
        {t: make_source(a, chunks=chunks) for t, a in (labels or {}).items()},
        {t: make_source(a, chunks=chunks) for t, a in (masks or {}).items()},
    )


def make_dataset(*records: Record) -> Dataset:
    """Return a data set of records that need no opening."""
    names = {name for record in records for name in record.labels}
    return Dataset("arrays", DatasetConfig(), {r.id: r for r in records}, label_names=tuple(sorted(names)))


def whole(record: Record) -> Region:
    return Region(record.id, (0,) * record.ndim, record.shape)


@pytest.fixture(scope="session")
def source() -> Callable[..., Any]:
    return make_source


@pytest.fixture(scope="session")
def record() -> Callable[..., Record]:
    return make_record


@pytest.fixture(scope="session")
def dataset() -> Callable[..., Any]:
    return make_dataset


@pytest.fixture(scope="session")
def whole_region() -> Callable[[Record], Region]:
    return whole
