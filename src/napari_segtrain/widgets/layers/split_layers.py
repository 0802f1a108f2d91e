"""The split as layers: what a training would use which part of an image for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...runs import SplitReady
from .closed import close_to_painting
from .data_spec import TrainedImage, TrainingData
from .placing import place_of

_OURS = "napari_segtrain"
_KIND = "split"
_PARTS = ("train", "validation", "test", "gap")
"""By label value, from 1."""
_COLOURS = ("#2f7fff", "#ffb000", "#22b573", "#808080")
LEGEND = "Blue: train, orange: validation, green: test, grey: gap"

Box = tuple[slice, ...]


class BoxLabels:
    """Label values by boxes, made where they are looked at: costs nothing however large the image is.

    Parameters
    ----------
    shape
        Of the array.
    boxes
        Boxes and their values; everything else has the value `others`.
    others
        See `boxes`.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, shape: Sequence[int], boxes: Sequence[tuple[Box, int]], others: int) -> None:
        self.shape = tuple(shape)
        self.ndim = len(self.shape)
        self.boxes = tuple(boxes)
        self.others = others

    def __getitem__(self, index: Any) -> npt.NDArray[np.uint8]:
        """Return a part, as numpy's basic indexing would."""
        given = index if isinstance(index, tuple) else (index,)
        if Ellipsis in given:
            at = given.index(Ellipsis)
            filling = (slice(None),) * (self.ndim - len(given) + 1)
            given = (*given[:at], *filling, *given[at + 1 :])
        given = (*given, *(slice(None),) * (self.ndim - len(given)))
        chosen = [np.arange(n)[part] for n, part in zip(self.shape, given, strict=True)]
        places = [np.atleast_1d(along) for along in chosen]
        out = np.full([len(along) for along in places], self.others, self.dtype)
        for box, value in self.boxes:
            inside = [(along >= s.start) & (along < s.stop) for along, s in zip(places, box, strict=True)]
            out[np.ix_(*inside)] = value
        return out.reshape([len(along) for along in chosen if along.ndim])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Return all of it."""
        return np.asarray(self[...], dtype)


@dataclass(frozen=True, eq=False)
class SplitLayers:
    """What `show` takes: the images that are cut into parts, and the split in words."""

    images: tuple[tuple[TrainedImage, BoxLabels], ...]
    words: tuple[str, ...]


def prepare(event: SplitReady, data: TrainingData) -> SplitLayers:
    """Find the boxes of every image; an image that serves one purpose as a whole needs no layer."""
    boxes: dict[str, list[tuple[Box, int]]] = {}
    for value, regions in enumerate(event.split.values(), start=1):
        for region in regions:
            start, stop = zip(*region["region"], strict=True)
            place = place_of(data.images, region["image"], start, stop)
            if place is not None:
                boxes.setdefault(place.image.id, []).append((place.box, value))
    cut = [
        (data.images[name], BoxLabels(data.images[name].shape, found, len(_PARTS)))
        for name, found in boxes.items()
        if not _is_whole(data.images[name], found)
    ]
    return SplitLayers(tuple(cut), event.words)


def _is_whole(image: TrainedImage, boxes: Sequence[tuple[Box, int]]) -> bool:
    covered = sum(int(np.prod([s.stop - s.start for s in box])) for box, _ in boxes)
    return covered == int(np.prod(image.shape)) and len({value for _, value in boxes}) == 1


def show(viewer: Any, found: SplitLayers) -> list[Any]:
    """Add a layer for each image that is cut, where the image lies; those of an earlier press go.

    Returns
    -------
    list of napari.layers.Labels
        Named ``<image> · split``: 1 train, 2 validation, 3 test, 4 the gap that no part uses.
    """
    from napari.utils.colormaps import DirectLabelColormap

    selected = set(viewer.layers.selection)
    for layer in [layer for layer in viewer.layers if layer.metadata.get(_OURS, {}).get("show") == _KIND]:
        viewer.layers.remove(layer)
    colours: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    colours |= dict(enumerate(_COLOURS, start=1))
    added = []
    for image, values in found.images:
        layer = viewer.add_labels(
            values,
            name=f"{image.id} · split",
            colormap=DirectLabelColormap(color_dict=colours),
            features={"index": [1, 2, 3, 4], "part": list(_PARTS)},
            opacity=0.3,
            metadata={_OURS: {"preview": True, "image": image.id, "head": "", "show": _KIND}},
            **image.geometry.kwargs(),
        )
        close_to_painting(layer)  # nobody reads what is painted here
        added.append(layer)
    if selected:
        viewer.layers.selection = {layer for layer in selected if layer in viewer.layers}
    return added
