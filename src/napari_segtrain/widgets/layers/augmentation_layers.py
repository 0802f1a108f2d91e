"""Augmented patches as layers: stacked along an axis of their own, the patch as it is first."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...runs import AugmentationReady
from ...runs.scratch import open_memmap
from .closed import close_to_painting
from .data_spec import TrainingData
from .placing import Place

_OURS = "napari_segtrain"
_KIND = "augmentation"


@dataclass(frozen=True, eq=False)
class Stack:
    """What layers are made of, without the layers: made in a worker thread, shown on the main thread.

    Attributes
    ----------
    channels
        ``(N, *size)`` float32 for each channel of the image; of a picture in colour ``(N, *size, 3)`` alone.
    limits
        Darkest and brightest value for each of `channels`.
    labels
        ``(N, *size)`` by target.
    words
        For each of the N what was done.
    """

    channels: list[npt.NDArray[np.float32]]
    limits: list[tuple[float, float]]
    labels: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    words: tuple[tuple[str, ...], ...] = ()


def prepare(event: AugmentationReady, place: Place) -> Stack:
    """Read the patches and lay them out on the axes of the image's array.

    Parameters
    ----------
    event
        Says where the arrays are.
    place
        Where the patch lies in the image's array.

    Raises
    ------
    RunError
        When the arrays are gone.
    """
    images = np.array(open_memmap(event.image))
    size = (len(images), *place.size)
    limits = [_limits(images[:, channel]) for channel in range(images.shape[1])]
    if getattr(place.image.layer, "rgb", False) and images.shape[1] == 3:
        scaled = [(images[:, c] - low) / (high - low) for c, (low, high) in enumerate(limits)]
        colours = np.clip(np.stack(scaled, -1), 0, 1).astype(np.float32)
        channels, limits = [colours.reshape(*size, 3)], [(0.0, 1.0)]
    else:
        channels = [images[:, channel].reshape(size) for channel in range(images.shape[1])]
    labels = {}
    for target, spec in event.labels.items():
        array = np.array(open_memmap(spec))
        if array.size == np.prod(size):  # several channels of measured values are nothing to look at
            labels[target] = array.reshape(size)
    return Stack(channels, limits, labels, event.words)


def _limits(images: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Return one range for all patches, so that changes of brightness are seen as such."""
    low, high = (float(v) for v in np.percentile(images, (0.5, 99.5)))
    return low, max(high, low + 1e-6)


def show(viewer: Any, stack: Stack, place: Place, data: TrainingData) -> list[Any]:
    """Add the patches where the first of them lies; earlier ones go, of whatever image.

    They have an axis more than the image: its slider goes from the patch as it is through the draws. The
    camera stays. Labels are outlines in the colours of the painted layer.

    Parameters
    ----------
    viewer
        The napari viewer.
    stack
        What `prepare` returned.
    place
        Where the patch lies.
    data
        The chosen layers.
    """
    selected = set(viewer.layers.selection)
    camera = getattr(viewer, "scene", viewer).camera
    view = (tuple(camera.center), camera.zoom)
    for layer in [layer for layer in viewer.layers if layer.metadata.get(_OURS, {}).get("show") == _KIND]:
        viewer.layers.remove(layer)
    name = f"{place.image.id} · augmented"
    about = {"preview": True, "image": place.image.id, "head": "", "show": _KIND, "words": stack.words}
    options = {**place.geometry.stacked().kwargs(), "metadata": {_OURS: about}}
    added = []
    for number, (pixels, limits) in enumerate(zip(stack.channels, stack.limits, strict=True)):
        title = name if len(stack.channels) == 1 else f"{name} {number + 1}"
        given = {**options, "name": title, "visible": number == 0}
        if pixels.ndim == len(place.size) + 2:
            added.append(viewer.add_image(pixels, rgb=True, **given))
        else:
            added.append(viewer.add_image(pixels, contrast_limits=limits, colormap="gray", **given))
    for target, labels in stack.labels.items():
        given = {**options, "name": f"{name} · {target}"}
        if labels.dtype.kind == "f":
            added.append(viewer.add_image(labels, visible=False, **given))
        else:
            added.append(_add_labels(viewer, labels, _painted(data, place.image.id, target), given))
    viewer.dims.set_current_step(viewer.dims.ndim - added[0].ndim, 0)
    camera.center, camera.zoom = view
    if selected:
        viewer.layers.selection = {layer for layer in selected if layer in viewer.layers}
    return added


def _add_labels(viewer: Any, labels: npt.NDArray[Any], painted: Any, options: dict[str, Any]) -> Any:
    colours = None if painted is None else copy.deepcopy(painted.colormap)
    layer = viewer.add_labels(labels, colormap=colours, opacity=1.0, **options)
    layer.contour = 1
    close_to_painting(layer)  # nobody learns from these
    return layer


def _painted(data: TrainingData, image: str, target: str) -> Any:
    """Return the layer that a target is painted on, None when it is not known."""
    found = (mirror.layer for mirror in data.mirrors if mirror.record == image and target in mirror.targets)
    return next((layer for layer in found if hasattr(layer, "show_selected_label")), None)
