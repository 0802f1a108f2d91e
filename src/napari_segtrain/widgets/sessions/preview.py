"""Live previews: a layer a target that shows what the network predicts while it learns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ...config import ExperimentConfig, RunError, TargetConfig, TargetKind
from ...runs.events import PreviewReady
from ...runs.scratch import open_memmap
from ...targets.colours import direction_colours
from ...targets.head import HeadKind, kind_of
from ..layers.closed import close_to_painting
from ..layers.colours import around_zero, foreground_colours, number_options
from ..layers.covered import COVERED, Covered, cover, covered_of, part_from
from ..layers.data_spec import TrainedImage
from ..layers.geometry import Geometry
from ..layers.placing import Place, place_of
from .beat import Beat
from .preview_objects import PART, PreviewObjects

_LARGEST = 2**31
"""Bytes up to which a preview has the size of its image; of larger ones only the newest block is shown."""

_Waiting = tuple[PreviewReady, npt.NDArray[Any]]


class PreviewLayers:
    """Shows the newest preview of each output and image, on the main thread.

    Parameters
    ----------
    viewer
        The napari viewer.
    config
        The experiment: it says which outputs are classes, values or directions.
    images
        The images that are trained on, by id.
    beat
        Says when layers may change.
    goes_on
        The run was resumed: its earlier previews that are still open are gone on with.

    Attributes
    ----------
    foreground
        The outputs that are foreground against background; known when the run has begun.
    kinds
        What each target is, by its name; known when the run has begun.
    """

    def __init__(
        self,
        viewer: Any,
        config: ExperimentConfig,
        images: Mapping[str, TrainedImage],
        beat: Beat,
        *,
        goes_on: bool = False,
    ) -> None:
        self.foreground: tuple[str, ...] = ()
        self.kinds: Mapping[str, TargetKind] = {}
        self._beat = beat
        self._goes_on = goes_on
        self._viewer = viewer
        self._config = config
        self._images = dict(images)
        self._newest: dict[tuple[str, str], list[_Waiting]] = {}
        self._layers: dict[tuple[str, str], Any] = {}
        self._objects = PreviewObjects(viewer, config, goes_on=goes_on)
        viewer.layers.events.inserted.connect(self._on_inserted)

    def take(self, event: PreviewReady) -> None:
        """Remember a preview; it is shown at the next update."""
        try:
            # Mapped at once: the run deletes the file when it ends, which may be before the next update.
            array = open_memmap(event.array)
        except RunError:
            return
        waiting = self._newest.setdefault((event.record, event.head), [])
        waiting[:] = [old for old in waiting if (old[0].start, old[0].stop) != (event.start, event.stop)]
        waiting.append((event, array))
        self._beat.ask(self.show_newest)

    def show_newest(self) -> None:
        """Show what waits; the layers stay."""
        newest, self._newest = self._newest, {}
        for waiting in newest.values():
            for event, array in waiting:
                self._show(event, array)

    def finish(self) -> None:
        """Show what waits, and the layers' thumbnails, which are not worth their time before the end."""
        self.show_newest()
        for layer in self._layers.values():
            layer.refresh()
        self._objects.finish()
        self._viewer.layers.events.inserted.disconnect(self._on_inserted)

    def _on_inserted(self, event: Any) -> None:
        part_from(event.value)

    def _show(self, event: PreviewReady, array: npt.NDArray[Any]) -> None:
        place = place_of(self._images, event.record, event.start, event.stop)
        if place is None:
            return
        block = _read(event, array)
        if event.head.endswith(PART):
            self._objects.take(
                place, event.head, block.reshape(place.size), self._name(place, "{} · objects")
            )
            return
        show = self._kind(event.head, block)
        values = _as_layer_data(block.reshape(len(block), *place.size), show)
        key = (place.image.id, event.head)
        layer = self._layers.get(key)
        if layer is None or layer not in self._viewer.layers or layer.metadata[_OURS]["show"] != show:
            selected = set(self._viewer.layers.selection)
            layer = self._layers[key] = self._new_layer(place, event.head, values, show)
            self._viewer.layers.selection = selected  # the user may be painting on another layer
        self._write(layer, place, values)

    def _kind(self, head: str, block: npt.NDArray[Any]) -> HeadKind:
        """Tell classes from values by the experiment, and where it leaves that open by the numbers."""
        task = self._config.auxiliary_tasks.get(head)
        if task is not None:
            return kind_of(task.type)
        if np.issubdtype(block.dtype, np.integer) or block.dtype == bool:
            return "segmentation"
        target = self._config.dataset_config.targets.get(head)
        if target is None or target.kind == "regression":
            return "scalar"
        if target.kind is None and (block.min() < -1e-3 or block.max() > 1.001):
            return "scalar"
        return "segmentation"

    def _new_layer(self, place: Place, head: str, values: npt.NDArray[Any], show: HeadKind) -> Any:
        image = place.image
        trailing = values.shape[len(image.shape) :]
        whole = int(np.prod(image.shape + trailing)) * values.dtype.itemsize <= _LARGEST
        shape = image.shape if whole else place.size
        geometry = image.geometry if whole else place.geometry
        name = self._name(place, head)
        options = {
            **geometry.kwargs(),
            "name": name,
            # Distances and directions would hide what they are drawn over; they wait for the eye.
            "visible": show == "segmentation" or head not in self._config.auxiliary_tasks,
            "metadata": {
                _OURS: {
                    "preview": True,
                    "image": image.id,
                    "head": head,
                    "show": show,
                    "whole": whole,
                    "target": self._target(head),
                }
            },
        }
        # Zeros take no memory until they are written to: what was never predicted costs nothing.
        data = np.zeros((*shape, *trailing), values.dtype)
        earlier = [layer for layer in self._viewer.layers if layer.name == name]
        if self._goes_on and earlier and _alike(earlier[0], data, options["metadata"], geometry):
            earlier[0].visible = options["visible"]  # a result may have hidden it
            return earlier[0]
        if show == "segmentation":
            colours = foreground_colours(self.foreground, head)
            layer = self._viewer.add_labels(data, opacity=0.5, colormap=colours, **options)
            cover(layer, Covered(shape) if whole else None)
            close_to_painting(layer)  # the next block would take the place of strokes
            return layer
        if show not in ("segmentation", "scalar"):
            return self._viewer.add_image(data, rgb=True, opacity=0.7, **options)
        return self._viewer.add_image(data, opacity=0.6, **number_options(values), **options)

    def _target(self, head: str) -> TargetConfig | None:
        """Return the target that an output is of, with what the run has taken it for."""
        target, kind = self._config.dataset_config.targets.get(head), self.kinds.get(head)
        return target if kind is None else (target or TargetConfig()).replace(kind=kind)

    def _name(self, place: Place, what: str) -> str:
        several = len(self._images) > 1
        return f"{place.image.id} · {what} · live" if several else f"{what} · live"

    def _write(self, layer: Any, place: Place, values: npt.NDArray[Any]) -> None:
        ours = layer.metadata[_OURS]
        if not ours["whole"]:
            layer.translate = place.geometry.translate
            layer.data = values
            return
        layer.data[place.box] = values
        if (covered := covered_of(layer)) is not None:
            covered.add(place.box)
        if ours["show"] == "scalar":
            low, high = layer.contrast_limits
            small, large = float(values.min()), float(values.max())
            if small < low or large > high:
                limits = around_zero(min(low, small), max(high, large))
                layer.contrast_limits_range = layer.contrast_limits = limits
        layer.refresh(extent=False, thumbnail=False)


_OURS = "napari_segtrain"


def _alike(layer: Any, data: npt.NDArray[Any], metadata: Mapping[str, Any], geometry: Geometry) -> bool:
    """Return whether a layer is a preview of the same array at the same place."""
    noted = {key: said for key, said in layer.metadata.get(_OURS, {}).items() if key != COVERED}
    return (
        noted == metadata[_OURS]
        and (layer.data.shape, layer.data.dtype) == (data.shape, data.dtype)
        and Geometry.of(layer).coincides(geometry)
    )


def _read(event: PreviewReady, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the new block, (channels, *block), copied out of the shared file."""
    axis = event.array.get("channel_axis")
    array = array[np.newaxis] if axis is None else np.moveaxis(array, axis, 0)
    size = tuple(high - low for low, high in zip(event.start, event.stop, strict=True))
    if array.shape[1:] != size:
        array = array[(slice(None), *(slice(a, b) for a, b in zip(event.start, event.stop, strict=True)))]
    return np.array(array)


def _as_layer_data(block: npt.NDArray[Any], show: HeadKind) -> npt.NDArray[Any]:
    """Turn (channels, *spatial) into what a layer shows."""
    if show == "scalar":
        return np.asarray(block[0], np.float32)
    if show != "segmentation":
        return direction_colours(block, show)
    if np.issubdtype(block.dtype, np.integer):
        return np.asarray(block[0])
    if len(block) > 1:
        return np.asarray(block.argmax(axis=0), np.uint8 if len(block) < 256 else np.uint16)
    return np.asarray(block[0] > 0.5, np.uint8)
