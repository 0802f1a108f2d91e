"""Derived targets as layers: arrows for vectors, numbers with 0 in the middle of their colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...runs import TargetsReady
from ...runs.scratch import open_memmap
from ...targets import Head
from ...targets.colours import FOREGROUNDS, head_colours, scalar_limits
from .colours import foreground_colours
from .placing import Place

_OURS = "napari_segtrain"
_ALONG = 32
"""Arrows along the longer edge of a plane."""
_MOST_ARROWS = 20_000
_SHARE = 0.8
"""Length of a unit vector's arrow, as a share of the distance between two."""


@dataclass(frozen=True, eq=False)
class TargetLayer:
    """What a layer is made of, without the layer: made in a worker thread, shown on the main thread."""

    head: Head
    kind: Literal["image", "labels", "vectors"]
    data: npt.NDArray[Any]
    options: dict[str, Any] = field(default_factory=dict)
    empty: bool = False
    """Whether the loss looks nowhere in the region."""


def prepare(event: TargetsReady, place: Place) -> list[TargetLayer]:
    """Read what was derived and turn it into what layers take.

    Parameters
    ----------
    event
        Says where the arrays are.
    place
        Where they lie in the image's array.

    Raises
    ------
    RunError
        When the arrays are gone.
    """
    made = []
    for name, described in event.heads.items():
        head = Head.from_dict(described)
        values, valid = np.array(open_memmap(event.values[name])), np.array(open_memmap(event.valid[name]))
        if head.kind in ("vector", "line"):
            layer = _arrows(head, values, valid, event.spacing, place)
        else:
            layer = _voxels(head, values, valid, place.size)
        made.append(replace(layer, empty=not valid.any()))
    return made


def _voxels(
    head: Head, values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], size: tuple[int, ...]
) -> TargetLayer:
    if head.kind == "tensor":
        colours = head_colours(head, values, valid).reshape(*size, 4)
        return TargetLayer(head, "image", colours, {"rgb": True})
    if head.kind == "scalar":
        low, high = scalar_limits(values[0], valid)
        # Where the loss does not look there is no number, and nothing hides the image.
        numbers = np.where(valid, values[0], np.nan).astype(np.float32).reshape(size)
        options = {"contrast_limits": (low, high), "colormap": "PiYG" if low < 0 else "magma"}
        return TargetLayer(head, "image", numbers, options)
    classes = np.where(valid, np.round(values[0]), 0).astype(np.uint16).reshape(size)
    return TargetLayer(head, "labels", classes)


def _arrows(
    head: Head,
    values: npt.NDArray[Any],
    valid: npt.NDArray[np.bool_],
    spacing: Sequence[float],
    place: Place,
) -> TargetLayer:
    """Return arrows (N, 2, axes): where they begin, in voxels of the box, and how far they reach."""
    stride = max(1, -(-max(valid.shape[-2:]) // _ALONG))
    chosen = _every(valid, stride)
    while np.count_nonzero(chosen) > _MOST_ARROWS:
        stride += 1
        chosen = _every(valid, stride)
    steps = np.asarray(spacing, float)
    reach = values[:, chosen].T / steps
    if head.unit:
        reach *= _SHARE * stride * min(spacing[-2:])
    begin = np.argwhere(chosen).astype(float)
    if head.kind == "line":
        begin -= reach / 2
    arrows = np.zeros((len(begin), 2, len(place.size)))
    arrows[:, 0, list(place.image.axes.spatial)] = begin
    arrows[:, 1, list(place.image.axes.spatial)] = reach
    options = {
        "vector_style": "line" if head.kind == "line" else "arrow",
        "edge_width": 0.12 * stride,
        "ndim": len(place.size),
    }
    return TargetLayer(head, "vectors", arrows, options)


def _every(valid: npt.NDArray[np.bool_], stride: int) -> npt.NDArray[np.bool_]:
    """Return the valid voxels of which row and column are multiples of the stride, in every plane."""
    rows = (np.arange(valid.shape[-2]) % stride == stride // 2)[:, None]
    columns = np.arange(valid.shape[-1]) % stride == stride // 2
    return np.asarray(valid & rows & columns)


def show(viewer: Any, layers: Sequence[TargetLayer], place: Place, *, several: bool) -> list[Any]:
    """Add the layers where the image lies; earlier ones of the same targets go.

    The first arrows and the first picture are visible: more would hide each other.

    Parameters
    ----------
    viewer
        The napari viewer.
    layers
        What `prepare` returned.
    place
        Where they lie.
    several
        Whether names have to say which image.
    """
    selected = set(viewer.layers.selection)
    names = [layer.head.name for layer in layers if layer.head.encoding in ("binary", "boundary")]
    arrows = [layer for layer in layers if layer.kind == "vectors"]
    pictures = [layer for layer in layers if layer.kind != "vectors"]
    # The main output of a target is what was painted, which the user has before the eyes already.
    derived = [layer for layer in pictures if layer.head.name != layer.head.target]
    visible = [*arrows[:1], *(derived or pictures)[:1]]
    added = []
    for layer in [*pictures, *arrows]:
        name = f"{place.image.id} · {layer.head.name}" if several else layer.head.name
        options = {
            **place.geometry.kwargs(),
            **layer.options,
            "name": f"{name} · target",
            "opacity": 0.7,
            "visible": layer in visible,
            "metadata": {
                _OURS: {"preview": True, "image": place.image.id, "head": layer.head.name, "show": "target"}
            },
        }
        _forget(viewer, options["metadata"])
        if layer.kind == "vectors":
            colour = FOREGROUNDS[arrows.index(layer) % len(FOREGROUNDS)]
            options["edge_color"] = "#{:02x}{:02x}{:02x}".format(*colour)
        if layer.kind == "labels":
            options["colormap"] = foreground_colours(names, layer.head.name)
        added.append(getattr(viewer, f"add_{layer.kind}")(layer.data, **options))
    if selected:
        viewer.layers.selection = {layer for layer in selected if layer in viewer.layers}
    return added


def _forget(viewer: Any, metadata: dict[str, Any]) -> None:
    for layer in [layer for layer in viewer.layers if layer.metadata == metadata]:
        viewer.layers.remove(layer)
