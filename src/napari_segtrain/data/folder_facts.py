"""What a data folder holds, from the headers of its files: for a table that shows it before a training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import DataError, DatasetConfig
from .assembly import UNNAMED, UNNAMED_TARGET
from .check import unlike
from .dataset import Dataset
from .folder import open_folder
from .glance import Painted
from .records import Record
from .sources.base import Source, full_region

MOST_BYTES = 2**30
"""Size of an image up to which it is read whole."""


@dataclass(frozen=True)
class FolderFacts:
    """A data folder.

    Attributes
    ----------
    dataset
        Its images; every label name is a target.
    images
        The records of each image by its name: several of a stack.
    faults
        What cannot be trained on, or not together, a sentence each.
    """

    dataset: Dataset
    images: dict[str, list[Record]]
    faults: tuple[str, ...]

    @property
    def label_names(self) -> tuple[str, ...]:
        """Every name of labels, as targets are called after it."""
        return self.dataset.label_names

    def painted(self, labels: str, mask: str | None) -> list[Painted]:
        """Return the labels of a name on all images, with their masks; `mask` is another name for those."""
        return [
            Painted(
                _Sliced(record.labels[labels]),
                _Sliced(found) if (found := record.masks.get(mask or labels)) is not None else None,
                tuple(range(record.ndim)),
                record.spacing,
            )
            for record in self.dataset.records.values()
            if labels in record.labels
        ]


def describe_folder(path: str | Path, config: DatasetConfig) -> FolderFacts:
    """Open a data folder and say what it holds; reads headers only.

    Parameters
    ----------
    path
        See `open_folder`.
    config
        Format, dimension, channel axis, level and spacing; its targets do not matter.

    Raises
    ------
    DataError
        When the folder does not exist or holds no image at all.
    """
    dataset = open_folder(path, config.replace(targets={}))
    images: dict[str, list[Record]] = {}
    for record in dataset.records.values():
        images.setdefault(record.group or record.id, []).append(record)
    faults = [*dataset.faults, *unlike(dataset)]
    if not dataset.label_names:
        faults.append(f"{dataset.origin}: no labels were found. Put them into labels/ as <image>_<target>.")
    return FolderFacts(dataset, images, tuple(faults))


def read_image(records: list[Record]) -> tuple[NDArray[Any], str]:
    """Read an image, or a stack of them, whole.

    Parameters
    ----------
    records
        All records of one image.

    Returns
    -------
    array : ndarray
        ``([T,] [C,] (z,) y, x)``.
    axes : str
        A letter an axis.

    Raises
    ------
    DataError
        When it is larger than `MOST_BYTES`, or cannot be read.
    """
    first = records[0].image
    size = len(records) * first.channels * int(np.prod(first.shape)) * first.dtype.itemsize
    if size > MOST_BYTES:
        raise DataError(
            f"image {records[0].group!r} has {size / 2**30:.1f} GiB, too much to open whole. Open its file "
            "in napari, where it is read as it is needed"
        )
    planes = np.stack([record.image.read(full_region(record.shape)) for record in records])
    axes = "tc" + "zyx"[-records[0].ndim :]
    for name, single in (("c", first.channels == 1), ("t", len(records) == 1)):
        if single:
            planes, axes = planes.squeeze(axes.index(name)), axes.replace(name, "")
    return planes, axes


def read_painted(records: list[Record]) -> dict[str, NDArray[Any]]:
    """Read the labels and masks of an image, or of a stack of them, whole.

    Parameters
    ----------
    records
        All records of one image.

    Returns
    -------
    dict
        Labels by their name, masks by theirs and ``_mask``: ``([T,] (z,) y, x)``; zeros where an image of the
        stack has none. Those with several channels are left out.

    Raises
    ------
    DataError
        When they are larger than `MOST_BYTES` together, or cannot be read.
    """
    found: dict[str, list[Source | None]] = {}
    for kind, ending in (("labels", ""), ("masks", "_mask")):
        for name in sorted({name for record in records for name in getattr(record, kind)}):
            sources = [getattr(record, kind).get(name) for record in records]
            if all(source is None or source.channels == 1 for source in sources):
                found[f"{name}{ending}"] = sources
    size = sum(
        int(np.prod(source.shape)) * source.dtype.itemsize
        for sources in found.values()
        for source in sources
        if source is not None
    )
    if size > MOST_BYTES:
        raise DataError(
            f"the labels of {records[0].group!r} have {size / 2**30:.1f} GiB, too much to open whole. Open "
            "their files in napari, where they are read as they are needed"
        )
    painted: dict[str, NDArray[Any]] = {}
    for name, sources in found.items():
        dtype = next(source.dtype for source in sources if source is not None)
        planes = [
            np.zeros(record.shape, dtype) if source is None else source.read(full_region(record.shape))[0]
            for record, source in zip(records, sources, strict=True)
        ]
        painted[name] = np.stack(planes) if len(planes) > 1 else planes[0]
    return painted


class _Sliced:
    """The first channel of a source, sliced like an array."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.shape, self.dtype, self.chunks = source.shape, source.dtype, source.chunks

    def __getitem__(self, box: tuple[slice, ...]) -> NDArray[Any]:
        return np.asarray(self._source.read(box)[0])


def named(target: str, labels: str | None, names: tuple[str, ...]) -> str:
    """Return the label name that a target reads: its own, another, or the only one without a name."""
    wanted = labels or target
    return UNNAMED_TARGET if wanted not in names and names == (UNNAMED_TARGET,) else wanted or UNNAMED
