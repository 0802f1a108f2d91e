"""What outputs gave, as arrays and plain numbers: for files, and for layers of a viewer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from napari_segtrain.training import Batch, LossValue, Prediction, StepInfo

from .data import Picture
from .inference import Labelled, Place, Predicted
from .patches import PlacedBatch

Arrays = dict[str, npt.NDArray[Any]]


def arrays_of(value: Any) -> Arrays:
    """Return the arrays that an output gave by a name for each, often none.

    Parameters
    ----------
    value
        What an output gave.

    Returns
    -------
    dict
        Predictions and labels ``(*spatial)`` or ``(C, *spatial)`` by image and target; of a batch and its
        prediction ``(B, *spatial)`` or ``(B, C, *spatial)`` by target.
    """
    if isinstance(value, Predicted):
        return _named(value.arrays)
    if isinstance(value, Labelled):
        return {name: array[0] if len(array) == 1 else array for name, array in _named(value.truth).items()}
    if isinstance(value, Batch):
        return {name: _numpy(tensor) for name, tensor in value.tensors.items()}
    if isinstance(value, Prediction):
        finest = {name: out[0] if isinstance(out, list) else out for name, out in value.outputs.items()}
        return {name: _numpy(tensor) for name, tensor in finest.items()}
    return {}


def told_of(value: Any) -> dict[str, dict[str, Any]]:
    """Return what is known of the arrays that an output gave, by the names of `arrays_of`, often nothing.

    Returns
    -------
    dict
        ``node``, ``record``, ``start``, ``spacing`` and ``unit`` of what lies in an image; for a
        prediction its ``shown_as``, ``"labels"`` or ``"image"``; of patches one behind the other
        ``stacked``, and the place of the first.
    """
    if isinstance(value, Predicted):
        kinds = {True: {"shown_as": "labels"}, False: {"shown_as": "image"}}
        return {
            f"{image} {name}": _place(value.places[image]) | kinds[name in value.labels]
            for image, arrays in value.arrays.items()
            for name in arrays
        }
    if isinstance(value, Labelled):
        return {
            f"{image} {name}": _place(value.places[image])
            for image, arrays in value.truth.items()
            for name in arrays
        }
    batch = value.batch if isinstance(value, Prediction) else value
    if isinstance(batch, PlacedBatch) and batch.place is not None:
        names = batch.tensors if value is batch else value.outputs
        return {name: {**_place(batch.place), "stacked": True} for name in names}
    return {}


def numbers_of(value: Any) -> dict[str, Any]:
    """Return what an output gave that is not an array, as plain values, often nothing."""
    if isinstance(value, LossValue):
        return {"loss": value.value}
    if isinstance(value, StepInfo):
        return {"step": value.step, "learning_rate": value.learning_rate, "norm": value.norm_before}
    if isinstance(value, list):
        return {"history": value}
    if isinstance(value, Picture):
        return {"image": value.name}
    return dict(value) if isinstance(value, Mapping) else {}


def _named(found: Mapping[str, Mapping[str, npt.NDArray[Any]]]) -> Arrays:
    return {
        f"{image} {name}": _shown(array) for image, arrays in found.items() for name, array in arrays.items()
    }


def _place(place: Place) -> dict[str, Any]:
    return {
        "node": place.node,
        "record": place.record,
        "start": list(place.start),
        "spacing": list(place.spacing),
        "unit": place.unit,
    }


def _shown(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array as a viewer shows it: nothing draws truth values."""
    return array.astype(np.uint8) if array.dtype == np.bool_ else array


def _numpy(tensor: Tensor) -> npt.NDArray[Any]:
    array = _shown(tensor.detach().cpu().numpy())
    return array[:, 0] if array.shape[1] == 1 else array
