"""Opens whatever can be a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import DataError, DatasetConfig
from .dataset import Dataset
from .folder import open_folder
from .layers import open_layers


def open_dataset(spec: str | Path | Mapping[str, Any], config: DatasetConfig | None = None) -> Dataset:
    """Open a folder, or the layers of a viewer.

    Parameters
    ----------
    spec
        A folder (see `open_folder`), or ``{"layers": […]}`` (see `open_layers`).
    config
        Targets, dimension, channel axis, level and spacing; the defaults detect all of them.

    Raises
    ------
    DataError
        When nothing usable is there.
    """
    if isinstance(spec, str | Path):
        return open_folder(spec, config)
    if not isinstance(spec, Mapping) or set(spec) != {"layers"}:
        raise DataError(f'a data set is a folder or {{"layers": […]}}, not {str(spec)[:80]!r}.')
    return open_layers(spec["layers"], config)
