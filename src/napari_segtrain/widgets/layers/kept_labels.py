"""The labels that a run has kept, as new layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...config import DataError, RunError
from ...runs import RunFolder, noted_data
from ...runs.label_store import LabelStore, StoredArray
from .geometry import Geometry
from .layer_choice import is_image
from .results import OURS

_KEPT = "kept"
"""Key, in what this plugin notes of a layer, of the run whose labels it shows, and of whose layer."""
_MOST_IMAGES = 12
"""Images whose labels are opened at once."""


@dataclass(frozen=True)
class KeptLabels:
    """One layer's worth of labels, or a mask.

    Attributes
    ----------
    image
        Name of the layer that they belong to.
    name
        What the new layer is called after.
    values
        (stack,) (z,) y, x.
    spacing
        Size of a voxel on the axes of space.
    unit
        Unit of `spacing`.
    layer
        Name of the layer that the run was trained on; empty where it was a file.
    """

    image: str
    name: str
    values: NDArray[Any]
    spacing: tuple[float, ...]
    unit: str
    layer: str = ""


def read_kept(run: Path, opened: Collection[str] = ()) -> list[KeptLabels]:
    """Read the newest labels and masks of a run into memory; takes as long as the disk does.

    Parameters
    ----------
    run
        The run folder.
    opened
        Names of the images that are open. Of a run on many images only the labels of these are read.

    Raises
    ------
    RunError
        When the run has kept none, or they are damaged.
    DataError
        When all of them are vectors or numbers, which no labels layer shows; or they were too many layers.
    """
    store, layers = LabelStore(run), _layers_of(run)
    found: dict[tuple[str, str, str], KeptLabels] = {}
    for array in _wanted(store, opened):
        key = (array.group, array.kind, array.name)
        if key not in found:
            empty = _empty(array)
            found[key] = replace(empty, layer=layers.get((empty.image, array.kind, array.name), ""))
        for place, values in store.read(array):
            found[key].values[array.position][place] = values[0]
    return list(found.values())


def _wanted(store: LabelStore, opened: Collection[str]) -> list[StoredArray]:
    run = store.folder.parent
    arrays = [
        array
        for array in store.arrays(store.state_of())
        if array.channels == 1 and np.dtype(array.dtype).kind in "iub"
    ]
    if not arrays:
        raise DataError(f"{run}: has kept numbers, not labels; segtrain labels writes them into files")
    images = {array.group for array in arrays}
    if len(images) > _MOST_IMAGES:
        arrays = [array for array in arrays if array.group in opened]
    if len({array.group for array in arrays}) not in range(1, _MOST_IMAGES + 1):
        raise DataError(
            f"{run}: has kept the labels of {len(images)} images, too many to open all of them; open the "
            f"images whose labels you want to see (at most {_MOST_IMAGES}), or write all into files with: "
            f"segtrain labels {run} -o FOLDER"
        )
    return arrays


def _layers_of(run: Path) -> dict[tuple[str, str, str], str]:
    """Return the names of the layers that a run was trained on, by image, kind and name of the labels."""
    stored: Any = None
    with suppress(RunError):
        stored = noted_data(RunFolder(run))
    entries = stored.get("layers", ()) if isinstance(stored, Mapping) else ()
    return {
        (entry["id"], kind, name): spec.get("name", "")
        for entry in entries
        for kind in ("labels", "masks")
        for name, spec in entry.get(kind, {}).items()
        if isinstance(spec, Mapping)
    }


def add_kept(viewer: Any, kept: list[KeptLabels], run: Path) -> list[Any]:
    """Add a new labels layer for each, where its image lies; what is open is not touched.

    They note what they are, so that the run goes on with them where the layer itself is not open.

    Parameters
    ----------
    viewer
        The napari viewer.
    kept
        What was read.
    run
        The run folder, whose name is in the names of the layers.
    """
    return [
        viewer.add_labels(
            one.values,
            name=f"{one.name} · {run.name}",
            metadata=kept_note(run, one.layer),
            **_place(viewer, one).kwargs(),
        )
        for one in kept
    ]


def kept_note(run: Path, layer: str) -> dict[str, Any]:
    """Return the metadata of a layer that shows what a run has kept of a layer of another name."""
    return {OURS: {_KEPT: {"run": str(run.resolve()), "layer": layer}}} if layer else {}


def stand_ins(layers: Iterable[Any], run: Path | None) -> dict[str, Any]:
    """Return the layers that were opened as the kept labels of a run, by the name that they had there.

    Parameters
    ----------
    layers
        Layers of the viewer; of several that stand for one the newest counts.
    run
        The run folder; None for no run.
    """
    if run is None:
        return {}
    noted = ((layer, layer.metadata.get(OURS, {}).get(_KEPT)) for layer in layers)
    return {note["layer"]: layer for layer, note in noted if note and note["run"] == str(run.resolve())}


def _empty(array: StoredArray) -> KeptLabels:
    dtype = np.dtype(array.dtype)
    values = np.zeros((*array.stack, *array.shape), np.uint8 if dtype.kind == "b" else dtype)
    image = array.group if array.stack else array.record
    name = f"{image}_{array.name}" if array.name else f"{image}_{array.kind}"
    return KeptLabels(image, name, values, array.spacing, array.unit)


def _place(viewer: Any, kept: KeptLabels) -> Geometry:
    """Return where the image lies; where it is not open, an upright place with the size of its voxels."""
    ndim = kept.values.ndim
    for layer in viewer.layers:
        alike = layer.name == kept.image and is_image(layer) and layer.ndim == ndim
        if alike and tuple(layer.data.shape[:ndim]) == kept.values.shape:
            return Geometry.of(layer)
    spacing = (*(1.0 for _ in range(ndim - len(kept.spacing))), *kept.spacing)
    return Geometry.placed(spacing, (0,) * ndim, kept.unit)
