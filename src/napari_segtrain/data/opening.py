"""Opens whatever can be a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config import DataError, DatasetConfig
from .dataset import Dataset
from .folder import open_folder
from .layers import open_layers
from .records import Record


def open_dataset(spec: str | Path | Mapping[str, Any], config: DatasetConfig | None = None) -> Dataset:
    """Open a folder, the layers of a viewer, or both as one data set.

    Parameters
    ----------
    spec
        A folder (see `open_folder`), ``{"layers": […]}`` (see `open_layers`), or ``{"folder": …, "layers":
        […]}``: then layers are added to the images of the folder, and one of a name that is in the folder
        takes the place of its files.
    config
        Targets, dimension, channel axis, level and spacing; the defaults detect all of them.

    Raises
    ------
    DataError
        When nothing usable is there.
    """
    if isinstance(spec, str | Path):
        return open_folder(spec, config)
    if not isinstance(spec, Mapping) or set(spec) not in ({"layers"}, {"layers", "folder"}):
        raise DataError(
            'a data set is a folder, {"layers": […]} or {"folder": …, "layers": […]}, not '
            f"{str(spec)[:80]!r}."
        )
    layers = open_layers(spec["layers"], config)
    if "folder" not in spec:
        return layers
    names = {record.group for record in layers.records.values()}
    return _joined(open_folder(spec["folder"], config, elsewhere=names), layers)


def _joined(folder: Dataset, layers: Dataset) -> Dataset:
    """Return the images of both; those of the folder keep their places, which decide the split."""
    opened: dict[str, dict[str, Record]] = {}
    notes: list[str] = []
    for record in layers.records.values():
        completed = _completed(record, folder.records.get(record.id), notes)
        opened.setdefault(record.group, {})[record.id] = completed
    records: dict[str, Record] = {}
    for record in folder.records.values():
        records |= opened.get(record.group, {record.id: record})
    added = {name: found for name, found in opened.items() if not records.keys() & found.keys()}
    for found in added.values():
        records |= found
    split = folder.split_file
    if split is not None and added:
        # Of images that a split.json cannot know, nobody said that they are held out.
        split = {**split, "train": [*split.get("train", ()), *added]}
    return replace(
        folder,
        records=records,
        faults=(*folder.faults, *layers.faults),
        notes=(*folder.notes, *layers.notes, *notes),
        split_file=split,
        label_names=tuple(sorted({*folder.label_names, *layers.label_names})),
        mask_names=tuple(sorted({*folder.mask_names, *layers.mask_names})),
        layers=layers.layers,
    )


def _completed(layer: Record, file: Record | None, notes: list[str]) -> Record:
    """Return an image with those of its labels and masks from files that are not open as layers."""
    if file is None:
        return layer
    more = (file.labels.keys() | file.masks.keys()) - (layer.labels.keys() | layer.masks.keys())
    if file.shape != layer.shape:
        if more:
            notes.append(
                f"{layer.id}: the layer has the shape {layer.shape}, its file in the folder {file.shape}: "
                f"what only the folder holds is not used ({', '.join(sorted(more))}). Open it as a layer to "
                "use it."
            )
        return layer
    return replace(layer, labels={**file.labels, **layer.labels}, masks={**file.masks, **layer.masks})
