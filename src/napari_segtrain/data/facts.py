"""What is known of the data before anything is decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..config import DataError, DataFacts, ExperimentConfig, TargetFacts
from .dataset import Dataset

if TYPE_CHECKING:
    from .scan import LabelScan

MOST_VALUES = 256


def gather_facts(dataset: Dataset, config: ExperimentConfig) -> DataFacts:
    """Return shapes, spacing, channels and label values.

    Labels are looked at in bounded memory and a bounded time: of very large ones evenly spread blocks.
    The result depends on the data and the configuration alone.

    Parameters
    ----------
    dataset
        Has at least one image.
    config
        Its ``model_config.in_channels`` wins over the data.

    Returns
    -------
    DataFacts
        Targets are listed by their own name and by the name of their labels.

    Raises
    ------
    DataError
        When there is no usable image, images are of both dimensions, or labels cannot be read.
    """
    ndim = dataset.ndim
    records = dataset.labelled_records() or list(dataset.records.values())
    if len({record.ndim for record in records}) > 1:
        raise DataError(mixed_dimensions(dataset))
    channels = Counter(record.image.channels for record in records).most_common(1)[0][0]
    units = Counter(record.image.unit for record in records)
    targets: dict[str, TargetFacts] = {}
    by_labels: dict[str, list[LabelScan]] = {}
    for name, target in dataset.targets.items():
        scans = [dataset.scan(record.id, name) for record in records if name in record.labels]
        if not scans:
            continue
        targets[name] = _merged(scans)
        if target.labels is not None and target.labels not in dataset.targets:
            by_labels.setdefault(target.labels, []).extend(scans)
    return DataFacts(
        ndim=ndim,
        in_channels=config.network.in_channels or channels,
        shape=tuple(int(n) for n in np.median([record.shape for record in records], axis=0)),
        spacing=tuple(float(s) for s in np.median([record.spacing for record in records], axis=0)),
        unit=units.most_common(1)[0][0],
        images=len(records),
        targets=targets | {name: _merged(scans) for name, scans in by_labels.items()},
    )


def mixed_dimensions(dataset: Dataset) -> str:
    """Return the sentence that names a plane and a volume of one data set."""
    by_ndim = {record.ndim: record for record in dataset.records.values()}
    flat, deep = by_ndim[2], by_ndim[3]
    return (
        f"{dataset.origin}: image {flat.id!r} is a plane {flat.shape} and {deep.id!r} a volume {deep.shape}. "
        "Set dataset_config.ndim to 2 to train on planes, or take the planes out."
    )


def _merged(scans: Iterable[LabelScan]) -> TargetFacts:
    scans = list(scans)
    integer = all(scan.integer for scan in scans)
    values = sorted({value for scan in scans for value in scan.values})
    return TargetFacts(
        integer=integer,
        values=tuple(values[:MOST_VALUES]) if integer else (),
        max_value=max(scan.maximum for scan in scans),
        channels=max(scan.channels for scan in scans),
    )
