"""Predictions as layers, aligned with the image they were made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..runs import PredictDone
from .colours import foreground_colours
from .prediction_data import PredictionData


def add_results(
    viewer: Any,
    event: PredictDone,
    data: PredictionData,
    arrays: dict[str, Any],
    *,
    as_numbers: bool,
    foreground: tuple[str, ...] = (),
) -> list[Any]:
    """Add a layer for every output, for one with several channels a layer for each channel.

    Whole numbers become labels, other values images. A channel axis would be one more slider, and have
    napari set the camera anew.

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
    foreground
        The outputs that are foreground against background; each has a colour.
    """
    _hide_previews(viewer, data.name, arrays)
    parts = [part for name in arrays for part in _channels(name, arrays[name], event.outputs[name])]
    kinds = {name: _is_labels(array, as_numbers=as_numbers) for name, array in parts}
    added = []
    # Labels go on top, and other results wait for the eye: they would hide what they are drawn over.
    for name, array in sorted(parts, key=lambda part: kinds[part[0]]):
        options = {
            **data.geometry.kwargs(),
            "name": f"{data.name} · {name}",
            "metadata": {"napari_segtrain": {"result": True}},
        }
        if kinds[name]:
            # Separated objects have wider numbers than a mask, and a colour each.
            colours = foreground_colours(foreground, name) if array.dtype == np.uint8 else None
            added.append(viewer.add_labels(array, colormap=colours, **options))
        else:
            shown = not any(kinds.values())
            added.append(viewer.add_image(array, visible=shown, opacity=0.7, colormap="magma", **options))
    return added


def _hide_previews(viewer: Any, image: str, heads: Iterable[str]) -> None:
    """Hide the live previews of what is predicted now: they would show through."""
    for layer in viewer.layers:
        ours = layer.metadata.get("napari_segtrain", {})
        if ours.get("preview") and ours["image"] == image and ours["head"] in heads:
            layer.visible = False


def _channels(name: str, array: Any, spec: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the channels of a result by name: of a vector z, y and x, of others their number."""
    if spec.get("channel_axis") is None:
        return [(name, array)]
    spatial = len(array.shape) - 1
    letters = "zyx"[-spatial:] if array.shape[0] == spatial else [str(i) for i in range(array.shape[0])]
    return [(f"{name} {letter}", array[channel]) for channel, letter in enumerate(letters)]


def _is_labels(array: Any, *, as_numbers: bool) -> bool:
    if as_numbers and array.dtype == np.uint8:
        return False
    return bool(np.issubdtype(array.dtype, np.integer))


def open_lazily(event: PredictDone) -> dict[str, Any]:
    """Open every output without reading it; napari reads what it shows."""
    import dask.array
    import zarr

    opened = {}
    for name, spec in event.outputs.items():
        array = zarr.open_array(spec["path"], mode="r")
        several = spec.get("channel_axis") is not None
        # A Zarr array that is indexed is read; one channel of it is lazy only by way of dask.
        opened[name] = dask.array.from_zarr(array) if several else array
    return opened


def read_all(event: PredictDone) -> dict[str, Any]:
    """Read every output into memory."""
    import zarr

    return {
        name: np.asarray(zarr.open_array(spec["path"], mode="r")[...]) for name, spec in event.outputs.items()
    }
