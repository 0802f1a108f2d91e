"""From a layer and a scope to what the engine is told to predict, and where the results belong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from ...config import DatasetConfig
from .axes import Copies, LayerAxes, array_spec, layer_axes, level_data, level_geometry
from .geometry import Geometry
from .view import Box, coarser_box, current_step, slice_box, visible_box


class Scope(StrEnum):
    """How much of a layer is predicted."""

    LAYER = "layer"
    SLICE = "slice"
    VISIBLE = "visible"


SCOPES: dict[Scope, str] = {
    Scope.LAYER: "whole layer",
    Scope.SLICE: "current slice",
    Scope.VISIBLE: "visible region",
}


@dataclass(frozen=True)
class PredictionData:
    """A layer as the engine is told of it.

    Attributes
    ----------
    name
        Name of the layer.
    spec
        Source specification of the image; complete when `copies` are written.
    copies
        Arrays that have to be written into shared files first.
    start, stop
        The block on the spatial axes; None for everything.
    geometry
        Where the predicted block lies.
    spacing
        Size of a voxel.
    intensity
        The image itself, in that block.
    """

    name: str
    spec: dict[str, Any]
    copies: Copies
    start: tuple[int, ...] | None
    stop: tuple[int, ...] | None
    geometry: Geometry
    spacing: tuple[float, ...]
    intensity: Intensity


@dataclass(frozen=True)
class Intensity:
    """The voxels of what is predicted; read away from the main thread.

    Attributes
    ----------
    array
        The array of a layer, of one level.
    axes
        What its axes are.
    start
        First voxel of what is predicted, on the spatial axes.
    """

    array: Any
    axes: LayerAxes
    start: tuple[int, ...]

    def __call__(self, where: tuple[slice, ...]) -> npt.NDArray[Any]:
        """Return a part, `(channels, *where)`; `where` is counted from the first voxel."""
        place = [slice(None)] * len(self.axes.letters)
        for axis, side, first in zip(self.axes.spatial, where, self.start, strict=True):
            place[axis] = slice(side.start + first, side.stop + first)
        found = np.asarray(self.array[tuple(place)])
        channel = self.axes.channel
        return found[np.newaxis] if channel is None else np.moveaxis(found, channel, 0)

    def __deepcopy__(self, memo: Any) -> Intensity:
        # Nobody writes into it: the copy of a layer shares it.
        return self


def prediction_data(
    viewer: Any, layer: Any, scope: Scope, config: DatasetConfig | None = None, *, copy: str = "image"
) -> PredictionData:
    """Describe a layer, or a part of it, for prediction.

    A stack of planes is given to the engine as a volume; a network for planes predicts it plane by plane.
    Of a layer with more than three axes besides channels, the volume that is shown is predicted.

    Parameters
    ----------
    viewer
        The napari viewer; it says what is shown.
    layer
        An image layer.
    scope
        How much of it.
    config
        `dataset_config` of the run: its channel axis and resolution level count here too.
    copy
        Name of the shared file, where one is needed.

    Raises
    ------
    DataError
        When the layer cannot be an image.
    """
    config = config or DatasetConfig()
    level = min(config.level, len(layer.data) - 1) if layer.multiscale else 0
    axes = layer_axes(layer)
    if axes.channel is None and config.channel_axis is not None and layer.ndim > 2:
        # What the layer says itself of its axes wins: the run's images may have had another order.
        axes = layer_axes(layer, None, config.channel_axis)
    spatial = tuple(axis for axis, letter in enumerate(axes.letters) if letter not in "cs")
    fixed, kept = spatial[:-3], spatial[-3:]
    copies = Copies()
    letters = list(axes.letters)
    for name, axis in zip("zyx"[-len(kept) :], kept, strict=True):
        letters[axis] = name
    if fixed:
        step = current_step(viewer, layer)
        index = tuple(step[axis] if axis in fixed else slice(None) for axis in range(len(letters)))
        plain = LayerAxes("".join(a for i, a in enumerate(letters) if i not in fixed), len(kept))
        array = level_data(layer, level)[index]
        spec = array_spec(copy, [_Part(layer.name, array)], plain, copies)
    else:
        plain, array = LayerAxes("".join(letters), len(kept)), level_data(layer, level)
        spec = array_spec(copy, [layer], plain, copies, level=level)
    box = _box(viewer, layer, scope, level)
    geometry = level_geometry(layer, level)
    spacing = tuple(abs(float(geometry.scale[axis])) for axis in kept)  # a layer may be flipped
    start, stop = None, None
    place, first = geometry.select(kept), (0,) * len(kept)
    if box is not None:
        start, stop = (tuple(box[axis][side] for axis in kept) for side in (0, 1))
        place, first = place.crop(start), start
    intensity = Intensity(array, plain, first)
    return PredictionData(layer.name, spec, copies, start, stop, place, spacing, intensity)


def _box(viewer: Any, layer: Any, scope: Scope, level: int) -> Box | None:
    if scope is Scope.LAYER:
        return None
    box = slice_box(viewer, layer) if scope is Scope.SLICE else visible_box(viewer, layer)
    if level:
        box = coarser_box(box, layer.downsample_factors[level][: layer.ndim])
    return box


@dataclass(frozen=True)
class _Part:
    """A part of a layer's array that stands for a layer."""

    name: str
    data: Any
    multiscale: bool = False
