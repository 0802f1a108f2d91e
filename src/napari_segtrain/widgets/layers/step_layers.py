"""What a training sees and makes of a batch, as layers: one above the other where the first patch lies."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...config import DataError
from ...runs import PatchPlace, StepPicture, StepTaken
from ...runs.scratch import open_memmap
from .closed import close_to_painting
from .data_spec import TrainingData
from .geometry import Geometry
from .placing import Place, place_of
from .results import OURS
from .view import covers_middle, look_at, name_sliders

_KIND = "steps"
_PLACED = ("scale", "translate", "rotate", "shear", "affine")


@dataclass(frozen=True, eq=False)
class StepLayer:
    """What a layer is made of, without the layer: made in a worker thread, shown on the main thread.

    Attributes
    ----------
    picture
        What it is.
    array
        ``(B, *axes)`` or ``(C, B, *axes)``, on the axes of the image's array.
    geometry
        Where it lies.
    """

    picture: StepPicture
    array: npt.NDArray[Any]
    geometry: Geometry


@dataclass(frozen=True, eq=False)
class StepLayers:
    """What can be seen after a step.

    Attributes
    ----------
    layers
        In the order in which they lie above each other.
    patches
        Where the patches come from.
    place
        Where the first of them lies; None when its image is not open.
    """

    layers: tuple[StepLayer, ...]
    patches: tuple[PatchPlace, ...]
    place: Place | None


def prepare(event: StepTaken, data: TrainingData) -> StepLayers:
    """Read what can be seen of a batch and lay it out on the axes of the first patch's image.

    Parameters
    ----------
    event
        Says where the arrays are.
    data
        The layers that are trained on.

    Raises
    ------
    DataError
        When there is no patch.
    RunError
        When the arrays are gone.
    """
    if not event.patches:
        raise DataError("there is no batch to look at: prepare one first")
    first = event.patches[0]
    place = place_of(data.images, first.record, first.start, first.stop)
    base = Geometry.placed(event.spacing, first.start, event.unit) if place is None else place.geometry
    spatial = range(base.ndim) if place is None else place.image.axes.spatial
    made = tuple(_layer(picture, base, spatial) for picture in event.pictures)
    return StepLayers(made, event.patches, place)


def _layer(picture: StepPicture, base: Geometry, spatial: Sequence[int]) -> StepLayer:
    array = np.array(open_memmap(picture.array))
    stacked = 2 if picture.channels else 1
    size, factors = [1] * base.ndim, [1.0] * base.ndim
    for axis, length, factor in zip(spatial, array.shape[stacked:], picture.factors, strict=True):
        size[axis], factors[axis] = length, factor
    geometry = base.coarser(factors).stacked()
    if picture.channels:
        geometry = geometry.stacked("feature" if picture.group == "activations" else "channel")
    return StepLayer(picture, array.reshape(*array.shape[:stacked], *size), geometry)


def show(viewer: Any, shown: StepLayers) -> list[Any]:
    """Show the layers; those of earlier steps of the same kind take on what is new, or go.

    The patches of a batch lie one behind the other, along an axis of their own, where the first of them lies;
    the camera goes there when it looks elsewhere. What came last is seen over the batch; what came before is
    hidden, since it may be of another batch.

    Parameters
    ----------
    viewer
        The napari viewer.
    shown
        What `prepare` returned.

    Returns
    -------
    list
        The layers of these groups.
    """
    selected = set(viewer.layers.selection)
    camera = getattr(viewer, "scene", viewer).camera
    view = (tuple(camera.center), camera.zoom)
    fresh = not own_layers(viewer)
    kept = []
    for layer in shown.layers:
        found = _find(viewer, layer)
        kept.append(_add(viewer, layer) if found is None else _renew(found, layer))
        kept[-1].metadata[OURS]["patches"] = [place.model_dump() for place in shown.patches]
    groups = {layer.picture.group for layer in shown.layers}
    for old in [old for old in own_layers(viewer, groups) if old not in kept]:
        viewer.layers.remove(old)
    _show_last(viewer, groups)
    inside = len(shown.layers[0].geometry.scale) - (2 if shown.layers[0].picture.channels else 1)
    name_sliders(viewer, inside)
    camera.center, camera.zoom = view
    if fresh:
        viewer.dims.set_current_step(viewer.dims.ndim - kept[0].ndim, 0)
    if shown.place is not None and (fresh or not covers_middle(viewer, kept[0])):
        look_at(viewer, shown.place)
    if selected:
        viewer.layers.selection = {layer for layer in selected if layer in viewer.layers}
    return kept


def _show_last(viewer: Any, groups: Collection[str]) -> None:
    """Show the first layer of each of these groups, and hide those of others except of the batch itself.

    Activations are of the prediction that is there, which stays as it is.
    """
    over = {"prediction", "activations", "gradient"} - (
        {"prediction"} if set(groups) == {"activations"} else set()
    )
    for group in over:
        for number, layer in enumerate(own_layers(viewer, {group})):
            layer.visible = group in groups and number == 0


def own_layers(viewer: Any, groups: Any = None) -> list[Any]:
    """Return the layers of a training that is stepped through, all or those of some groups.

    A duplicate that the user made has the same metadata, and is the user's.
    """
    noted = ((layer, layer.metadata.get(OURS, {})) for layer in viewer.layers)
    return [
        layer
        for layer, ours in noted
        if ours.get("show") == _KIND
        and ours.get("layer") == str(layer.unique_id)
        and (groups is None or ours["group"] in groups)
    ]


def _find(viewer: Any, new: StepLayer) -> Any:
    """Return the layer that can take on what is new."""
    for layer in own_layers(viewer, {new.picture.group}):
        ours = layer.metadata[OURS]
        same = (ours["name"], ours["kind"]) == (new.picture.name, new.picture.kind)
        if same and layer.data.ndim == new.array.ndim and tuple(layer.units) == _units(new.geometry):
            return layer
    return None


def _units(geometry: Geometry) -> tuple[Any, ...]:
    return tuple(geometry.units or ())


def _renew(layer: Any, new: StepLayer) -> Any:
    layer.data = new.array
    for name in _PLACED:
        setattr(layer, name, getattr(new.geometry, name))
    ours, limits = layer.metadata[OURS], new.picture.limits
    if limits is not None and tuple(layer.contrast_limits) == ours.get("limits"):
        layer.contrast_limits_range = layer.contrast_limits = limits
        ours["limits"] = tuple(layer.contrast_limits)
    return layer


def _add(viewer: Any, new: StepLayer) -> Any:
    picture = new.picture
    main = picture.group == "batch" and picture.kind == "image" and picture.name == "image"
    about = {"preview": True, "image": "", "head": "", "show": _KIND}
    options = {
        **new.geometry.kwargs(),
        "name": f"step · {picture.group} · {picture.name}",
        "opacity": 1.0 if main else 0.6,
        "visible": main,
        "metadata": {OURS: {**about, "group": picture.group, "name": picture.name, "kind": picture.kind}},
    }
    if picture.kind == "labels":
        layer = viewer.add_labels(new.array, **options)
        close_to_painting(layer)  # nobody learns from these
    else:
        layer = viewer.add_image(
            new.array, rgb=False, colormap=picture.colours, contrast_limits=picture.limits, **options
        )
    layer.metadata[OURS] |= {
        "layer": str(layer.unique_id),
        "limits": tuple(getattr(layer, "contrast_limits", ())),  # those that the user changes are the user's
    }
    return layer
