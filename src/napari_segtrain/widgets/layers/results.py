"""Predictions as layers, aligned with the image they were made of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...inference.kept_parts import KeptParts, kept_parts
from ...runs import PredictDone
from ...targets import Head
from .colours import foreground_colours, number_options
from .geometry import Geometry

OURS = "napari_segtrain"
"""Key of what this plugin notes in the metadata of its layers."""
_SAMPLE = 2**20
"""Voxels of a result that are looked at to choose the range of its colours."""
_MOST_PARTS = 2**31
"""Bytes that are kept in memory so that instances can be separated again."""


class Predicted(Protocol):
    """The image that was predicted, as far as its layers follow from it."""

    @property
    def name(self) -> str:
        """Name of the image."""
        ...

    @property
    def geometry(self) -> Geometry:
        """Where what was predicted of it lies."""
        ...


def add_results(
    viewer: Any,
    event: PredictDone,
    data: Predicted,
    arrays: dict[str, Any],
    *,
    as_numbers: bool,
    heads: Mapping[str, Head] | None = None,
    parts: Mapping[str, KeptParts] | None = None,
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
    heads
        The outputs of the network by name, where they are known. Each that is foreground against background
        has a colour, and components of directions and tensors have their axes as names.
    parts
        What separated objects are made of, by output: their layers keep it, so that they can be separated
        again.
    """
    known = heads or {}
    foreground = [name for name, head in known.items() if head.encoding == "binary"]
    _hide_previews(viewer, data.name, arrays)
    shown_parts = [
        (*part, event.limits.get(name))
        for name in arrays
        for part in _channels(name, arrays[name], event.outputs[name], known)
    ]
    kinds = {name: _is_labels(array, as_numbers=as_numbers) for name, array, *_ in shown_parts}
    added = []
    # Labels go on top, and other results wait for the eye: they would hide what they are drawn over.
    for name, array, head, limits in sorted(shown_parts, key=lambda part: kinds[part[0]]):
        options = {
            **data.geometry.kwargs(),
            "name": f"{data.name} · {name}",
            "metadata": {
                OURS: {"result": True, "head": name, "settings": event.settings, **_restoring(limits)}
            },
        }
        if kinds[name]:
            # Separated objects have wider numbers than a mask, and a colour each.
            colours = foreground_colours(foreground, name) if array.dtype == np.uint8 else None
            options["metadata"][OURS] |= _origin(data, (parts or {}).get(name))
            added.append(viewer.add_labels(array, colormap=colours, **options))
        else:
            shown = not any(kinds.values())
            options |= _number_options(array, head, limits)
            added.append(viewer.add_image(array, visible=shown, opacity=0.7, **options))
    return added


def _origin(data: Predicted, parts: KeptParts | None) -> dict[str, Any]:
    """Return what separated objects are made of, and the image they are measured in, where it is known."""
    return {} if parts is None else {"parts": parts, "intensity": getattr(data, "intensity", None)}


def _hide_previews(viewer: Any, image: str, heads: Iterable[str]) -> None:
    """Hide the live previews of what is predicted now: they would show through."""
    for layer in viewer.layers:
        ours = layer.metadata.get(OURS, {})
        if ours.get("preview") and ours["image"] == image and ours["head"] in heads:
            layer.visible = False


def _channels(
    name: str, array: Any, spec: Mapping[str, Any], heads: Mapping[str, Head]
) -> list[tuple[str, Any, Head | None]]:
    """Return the channels of a result by name: axes of vectors and tensors, else the channel's number."""
    head = heads.get(name)
    if spec.get("channel_axis") is None:
        return [(name, array, head)]
    count, spatial = array.shape[0], len(array.shape) - 1
    letters = [str(channel) for channel in range(count)]
    if head is not None and head.kind == "tensor":
        # A network for planes predicts stacks of them too; its tensors have three components.
        axes = "yx" if count == 3 else "zyx"
        letters = ["".join(pair) for pair in itertools.combinations_with_replacement(axes, 2)]
    elif head.kind in ("vector", "line") if head is not None else count == spatial:
        letters = list("zyx"[-count:])
    return [(f"{name} {letter}", array[channel], head) for channel, letter in enumerate(letters)]


def _restoring(limits: tuple[float, float] | None) -> dict[str, Any]:
    """Return how the numbers of a scaled layer become values: offset + scale · number."""
    if limits is None:
        return {}
    low, high = limits
    return {"limits": limits, "scale": (high - low) / 255, "offset": low}


def _number_options(array: Any, head: Head | None, limits: tuple[float, float] | None) -> dict[str, Any]:
    """Return colours for numbers; those of a lazy result are read where they are shown, and not before."""
    if limits is not None:
        return {"contrast_limits": (0, 255), "colormap": "PiYG" if limits[0] < 0 else "magma"}
    if head is not None and head.unit:
        return {"contrast_limits": (-1.0, 1.0), "colormap": "PiYG"}
    if isinstance(array, np.ndarray) and array.dtype.kind == "f":
        step = max(1, math.ceil((array.size / _SAMPLE) ** (1 / array.ndim)))
        return number_options(array[(slice(None, None, step),) * array.ndim])
    return {"colormap": "magma"}


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


def parts_of(event: PredictDone, *, lazy: bool) -> dict[str, KeptParts]:
    """Return what the instances of a prediction are made of, where it was kept, by output.

    In memory unless `lazy`; what is too large for that is left out.
    """
    stores = {Path(spec["path"]).parent for spec in event.outputs.values() if spec["kind"] == "zarr"}
    found = {name: parts for store in stores for name, parts in kept_parts(store).items()}
    if lazy:
        return found
    if sum(parts.nbytes for parts in found.values()) > _MOST_PARTS:
        return {}
    return {name: parts.loaded() for name, parts in found.items()}


def read_all(event: PredictDone) -> dict[str, Any]:
    """Read every output into memory."""
    import zarr

    return {
        name: np.asarray(zarr.open_array(spec["path"], mode="r")[...]) for name, spec in event.outputs.items()
    }
