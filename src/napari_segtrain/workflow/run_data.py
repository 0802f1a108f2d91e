"""Where the data of a run is, in every form in which it can be said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data import Dataset, open_dataset

DataSpec = str | Path | Mapping[str, Any] | Dataset
"""What `open_dataset` takes: a folder, layers, or both; or a data set that is open already."""


@dataclass(frozen=True)
class OpenData:
    """Data that is open.

    Attributes
    ----------
    dataset
        The data set.
    where
        Where it is, as plain values; None when it is only in this process' memory.
    noted
        Whether the run knows that already.
    changed
        Whether its content is no longer what the run was trained on.
    """

    dataset: Dataset
    where: Any
    noted: bool = False
    changed: bool = False


def open_data(data: DataSpec, config: ExperimentConfig) -> Dataset:
    """Return the data set, opened with the configuration unless it is open already."""
    return data if isinstance(data, Dataset) else open_dataset(data, config.dataset_config)


def where_it_is(data: DataSpec, dataset: Dataset) -> Any:
    """Return where the data is, as plain values; None when it is only in this process' memory."""
    if isinstance(data, Mapping):
        try:
            return json.loads(json.dumps(data))
        except TypeError:
            return None
    folder = Path(dataset.origin)
    # A folder may be given from anywhere, and the run is opened from somewhere else.
    return str(folder.resolve()) if folder.exists() else None
