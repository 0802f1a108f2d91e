"""Predictions as layers, aligned with the image they were made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runs import PredictDone
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
    kinds = {
        name: _is_labels(array, event.outputs[name].get("channel_axis"), as_numbers=as_numbers)
        for name, array in arrays.items()
    }
    # Labels go on top, and other results wait for the eye: they would hide what they are drawn over.
    order = sorted(arrays, key=lambda name: kinds[name])
    added = []
    for name in order:
        leading = 0 if event.outputs[name].get("channel_axis") is None else 1
        options = {
            **data.geometry.with_leading(leading).kwargs(),
            "name": f"{data.name} · {name}",
            "metadata": {"napari_segtrain": {"result": True}},
        }
        if kinds[name]:
            added.append(viewer.add_labels(arrays[name], **options))
        else:
            shown = not any(kinds.values())
            added.append(
                viewer.add_image(arrays[name], visible=shown, opacity=0.7, colormap="magma", **options)
            )
    return added


def _is_labels(array: Any, channel_axis: int | None, *, as_numbers: bool) -> bool:
    if as_numbers and array.dtype == np.uint8:
        return False
    return bool(np.issubdtype(array.dtype, np.integer)) and channel_axis is None


def open_lazily(event: PredictDone) -> dict[str, Any]:
    """Open every output without reading it; napari reads what it shows."""
    import zarr

    return {name: zarr.open_array(spec["path"], mode="r") for name, spec in event.outputs.items()}


def read_all(event: PredictDone) -> dict[str, Any]:
    """Read every output into memory."""
    return {name: np.asarray(array[...]) for name, array in open_lazily(event).items()}
