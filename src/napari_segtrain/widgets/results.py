"""Predictions as layers, aligned with the image they were made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runs import PredictDone
from .geometry import Geometry
from .prediction_data import PredictionData


def add_results(
    viewer: Any, event: PredictDone, data: PredictionData, arrays: dict[str, Any], *, as_numbers: bool
) -> list[Any]:
    """Add a layer for every output.

    Whole numbers become labels, other values images; several channels become a first axis.

    Parameters
    ----------
    viewer
        The napari viewer.
    event
        What was predicted.
    data
        The image that was predicted.
    arrays
        The result of each output, in memory or lazy.
    as_numbers
        Whole numbers are probabilities from 0 to 255 and not labels, except for instances.
    """
    added = []
    for name, array in arrays.items():
        channel = event.outputs[name].get("channel_axis")
        leading = 0 if channel is None else 1
        labels = np.issubdtype(array.dtype, np.integer) and not leading
        if as_numbers and array.dtype == np.uint8:
            labels = False
        added.append(
            _add(viewer, f"{data.name} · {name}", array, data.geometry, leading, labels=bool(labels))
        )
    return added


def _add(viewer: Any, name: str, array: Any, geometry: Geometry, leading: int, *, labels: bool) -> Any:
    options = {**geometry.with_leading(leading).kwargs(), "name": name}
    if labels:
        return viewer.add_labels(array, **options)
    return viewer.add_image(array, opacity=0.7, colormap="magma", blending="translucent", **options)


def open_lazily(event: PredictDone) -> dict[str, Any]:
    """Open every output without reading it; napari reads what it shows."""
    import zarr

    return {name: zarr.open_array(spec["path"], mode="r") for name, spec in event.outputs.items()}


def read_all(event: PredictDone) -> dict[str, Any]:
    """Read every output into memory."""
    return {name: np.asarray(array[...]) for name, array in open_lazily(event).items()}
