"""Data sets made of the open layers of a viewer, or of arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..config import DataError, DatasetConfig, did_you_mean
from .assembly import Item, assemble
from .dataset import Dataset

KEYS = ("id", "image", "labels", "masks", "spacing", "unit", "ndim", "channel_axis", "level")


def open_layers(specs: Sequence[Mapping[str, Any]], config: DatasetConfig | None = None) -> Dataset:
    """Open layers as a data set.

    Parameters
    ----------
    specs
        One mapping an image: ``image`` (what `open_source` takes: an array, a path, a description),
        ``labels`` and ``masks`` (the same, by target; a mask under the key ``""`` is for all targets),
        and optionally ``id``, ``spacing`` ((z,) y, x), ``unit``, ``ndim``, ``channel_axis``, ``level``.
    config
        Targets and defaults. Its spacing wins over the layers'.

    Raises
    ------
    DataError
        When a mapping has an unknown key, or lacks an image.
    """
    if not specs:
        raise DataError("no layer was given. Choose an image layer and a labels layer.")
    items = []
    for number, spec in enumerate(specs):
        for key in spec:
            if key not in KEYS:
                raise DataError(
                    f"{key!r} is unknown in the description of a layer. {did_you_mean(key, KEYS)}"
                )
        if spec.get("image") is None:
            raise DataError(f"layer {spec.get('id', number)!r} has no image. Give one under the key 'image'.")
        items.append(
            Item(
                id=str(spec.get("id") or ("image" if len(specs) == 1 else f"image_{number}")),
                image=spec["image"],
                labels=dict(spec.get("labels") or {}),
                masks=dict(spec.get("masks") or {}),
                hints={k: spec.get(k) for k in ("spacing", "ndim", "channel_axis", "level")},
                unit=spec.get("unit"),
            )
        )
    dataset = assemble(items, config or DatasetConfig(), origin="layers")
    return replace(dataset, layers=frozenset(dataset.records))
