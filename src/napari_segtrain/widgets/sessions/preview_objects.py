"""Objects in the live preview: separated in the viewer, from what the network says while it learns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ...config import ExperimentConfig
from ...inference.kept_parts import KeptParts
from ..layers.axes import LayerAxes, level_data
from ..layers.covered import Covered, cover
from ..layers.data_spec import TrainedImage
from ..layers.geometry import Geometry
from ..layers.instance_settings import settings_of
from ..layers.placing import Place
from ..layers.prediction_data import Intensity
from ..layers.results import OURS
from .live_instances import LiveInstances

PART = "~part"
"""End of the names of outputs that objects are made of."""
_ENDS = {"": "foreground", "_boundary": "boundary", "_distance": "distance"}
_LARGEST = 2**26
"""Voxels up to which an image has objects in its preview: they take 10 bytes each."""
_REST = 500
"""Milliseconds between a new block and the separation of the objects."""


class PreviewObjects:
    """A hidden layer of objects for each instance target and image; it is computed while it is seen.

    Parameters
    ----------
    viewer
        The napari viewer.
    config
        The experiment.
    goes_on
        The run was resumed: its layers that are still open are gone on with.
    """

    def __init__(self, viewer: Any, config: ExperimentConfig, *, goes_on: bool) -> None:
        self._viewer = viewer
        self._targets = config.dataset_config.targets
        self._inference = config.inference_config
        self._goes_on = goes_on
        self._layers: dict[tuple[str, str], Any] = {}
        self._live: dict[Any, LiveInstances] = {}

    def take(self, place: Place, head: str, block: npt.NDArray[Any], name: str) -> None:
        """Take a new block of what objects are made of.

        Parameters
        ----------
        place
            Where it lies.
        head
            Output that it is of, which ends with `PART`.
        block
            Its values.
        name
            Name of the layer, for the target ``{}``.
        """
        found = self._part_of(head)
        if found is None or not _fits(place.image):
            return
        target, part = found
        key = (place.image.id, target)
        layer = self._layers.get(key)
        if layer is None or layer not in self._viewer.layers:
            selected = set(self._viewer.layers.selection)
            layer = self._layers[key] = self._layer(place.image, target, name.format(target))
            self._viewer.layers.selection = selected  # the user may be painting on another layer
        getattr(layer.metadata[OURS]["parts"], part)[place.box] = block
        if part == "foreground":
            layer.metadata[OURS]["taken"].add(place.box)
        if layer.visible and not self._live[layer].busy:
            self._live[layer].separate(layer, settings_of(layer), _REST)

    def finish(self) -> None:
        """Bring the layers up to date that are seen; the others are when they are shown."""
        for layer in self._layers.values():
            if layer in self._viewer.layers and layer.visible:
                self._live[layer].separate(layer, settings_of(layer))

    def _part_of(self, head: str) -> tuple[str, str] | None:
        """Return the target and the kind of a part."""
        name = head.removesuffix(PART)
        for target in self._targets:
            for end, part in _ENDS.items():
                if name == f"{target}{end}":
                    return target, part
        return None

    def _layer(self, image: TrainedImage, target: str, name: str) -> Any:
        earlier = [layer for layer in self._viewer.layers if layer.name == name]
        if self._goes_on and earlier and _alike(earlier[0], image):
            layer = earlier[0]
        else:
            layer = self._new_layer(image, target, name)
        live = self._live[layer] = LiveInstances(self._viewer)

        def on_eye(_: Any) -> None:
            # Also after the training: whoever made the layer may be gone by then.
            if layer.visible and not live.busy:
                live.separate(layer, settings_of(layer), _REST)

        layer.events.visible.connect(on_eye)
        return layer

    def _new_layer(self, image: TrainedImage, target: str, name: str) -> Any:
        # Zeros take no memory until they are written to: what was never predicted costs nothing.
        foreground, boundary, distance = (np.zeros(image.shape, np.float16) for _ in _ENDS)
        ours = {
            "preview": True,
            "image": image.id,
            "head": target,
            "target": self._targets[target],
            "parts": KeptParts(foreground, boundary, distance, image.axes.ndim, _spacing(image)),
            "taken": Covered(image.shape),
            "intensity": _intensity(image),
            "settings": {"inference_config": self._inference.to_dict()},
        }
        data = np.zeros(image.shape, np.int32)
        options = {**image.geometry.kwargs(), "name": name, "metadata": {OURS: ours}}
        layer = self._viewer.add_labels(data, visible=False, **options)
        cover(layer, Covered(image.shape))  # nothing is separated yet
        return layer


def _fits(image: TrainedImage) -> bool:
    """Return whether the network's axes are the last ones, in its order, and the image is not too large."""
    count, spatial = len(image.shape), image.axes.spatial
    return spatial == tuple(range(count - len(spatial), count)) and math.prod(image.shape) <= _LARGEST


def _spacing(image: TrainedImage) -> tuple[float, ...]:
    return tuple(abs(float(step)) for step in image.geometry.scale)  # it may be flipped


def _intensity(image: TrainedImage) -> Intensity | None:
    """Return where the image is measured; None where channels lie between its axes."""
    count = len(image.shape)
    if image.layer.ndim != count or getattr(image.layer, "rgb", False) or count > 3:
        return None
    axes = LayerAxes("zyx"[-count:], count)
    return Intensity(level_data(image.layer, image.level), axes, (0,) * count)


def _alike(layer: Any, image: TrainedImage) -> bool:
    """Return whether a layer holds the objects of the same image at the same place."""
    parts = layer.metadata.get(OURS, {}).get("parts")
    same = isinstance(parts, KeptParts) and parts.size == image.shape
    return same and Geometry.of(layer).coincides(image.geometry)
