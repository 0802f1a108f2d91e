"""A data set: its records, and what was found when they were opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import DataError, DatasetConfig, TargetConfig
from .records import Record, Region
from .scan import LabelScan, scan_labels


@dataclass(frozen=True)
class Dataset:
    """Images with their labels and masks, opened lazily.

    Attributes
    ----------
    origin
        Folder or name, as messages call it.
    config
        What it was opened with.
    records
        Every usable image by its id.
    faults
        What could not be opened, a sentence each; `check_dataset` reports them with everything else.
    notes
        What the user should know about how files are read.
    split_file
        Content of the data folder's ``split.json``, None when there is none.
    label_names
        Every name under which labels were found.
    mask_names
        Every name under which masks were found, beside those that belong to an image as a whole.
    broken
        Names of the images that could not be opened.
    layers
        Ids of the records that are layers, which may be painted on; the others are files.
    """

    origin: str
    config: DatasetConfig
    records: dict[str, Record]
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    split_file: Mapping[str, Any] | None = None
    label_names: tuple[str, ...] = ()
    mask_names: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    layers: frozenset[str] = frozenset()
    _scans: dict[tuple[str, str], LabelScan] = field(default_factory=dict, repr=False, compare=False)

    @property
    def targets(self) -> dict[str, TargetConfig]:
        """The configured targets, else one of unknown kind for every label name that was found."""
        if self.config.targets:
            return dict(self.config.targets)
        return {name: TargetConfig() for name in self.label_names}

    @property
    def ndim(self) -> int:
        """Spatial axes of the images.

        Raises
        ------
        DataError
            When there is no image.
        """
        for record in self.records.values():
            return record.ndim
        why = f" {' '.join(self.faults)}" if self.faults else ""
        raise DataError(f"{self.origin}: there is no usable image.{why}")

    def labelled_records(self) -> list[Record]:
        """Return the records with labels of at least one target, in the order of `records`."""
        return [record for record in self.records.values() if record.labels]

    def scan(self, record: str, target: str) -> LabelScan:
        """Return what the labels of one record look like; read once, in bounded memory.

        Raises
        ------
        DataError
            When the labels cannot be read.
        """
        key = (record, target)
        if key not in self._scans:
            shares = sum(len(r.labels) for r in self.records.values())
            config = self.targets.get(target, TargetConfig())
            self._scans[key] = scan_labels(self.records[record], target, config, shares=max(1, shares))
        return self._scans[key]

    def require(self, regions: Iterable[Region]) -> None:
        """Refuse data that lacks what a run was trained on.

        Raises
        ------
        DataError
            When a region lies on no image, or on one without labels.
        """
        for region in regions:
            record = self.records.get(region.record)
            inside = record is not None and len(record.shape) == len(region.stop)
            if (
                record is None
                or not inside
                or any(b > n for b, n in zip(region.stop, record.shape, strict=True))
            ):
                raise DataError(
                    f"{self.origin}: the run was trained on an image {region.record!r} that reaches to "
                    f"{region.stop}, and there is none like it here; give the data of the run (--input DATA)"
                )
            if not record.labels:
                raise DataError(
                    f"{self.origin}: the image {region.record!r} has no labels here; give the data of the "
                    "run (--input DATA)"
                )
