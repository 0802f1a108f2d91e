"""A data set: its records, what is known of them, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import DataError, DataFacts, DatasetConfig, ExperimentConfig, TargetConfig
from .check import CheckReport, check_dataset
from .facts import gather_facts
from .records import Record, Region, Split
from .scan import LabelScan, scan_labels
from .split import make_split


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
        What could not be opened, a sentence each; `check` reports them with everything else.
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
        raise DataError(f"{self.origin}: there is no usable image.")

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

    def facts(self, config: ExperimentConfig) -> DataFacts:
        """Return what every automatic choice is made from; see `gather_facts`."""
        return gather_facts(self, config)

    def check(self, config: ExperimentConfig | None = None, origin: str = "") -> CheckReport:
        """Return every fault in one list; see `check_dataset`."""
        return check_dataset(self, config, origin)

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

    def split(
        self, train_split: float = 0.8, seed: int = 0, patch_size: tuple[int, ...] | None = None
    ) -> Split:
        """Return which parts are trained on, validated on and tested on; see `make_split`."""
        return make_split(self, train_split, seed, patch_size)
