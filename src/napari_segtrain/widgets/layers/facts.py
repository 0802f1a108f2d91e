"""An image in a sentence, so that the user sees how it is read before anything is computed."""

from __future__ import annotations

from typing import Any

from ...config import DatasetConfig
from .axes import layer_axes, level_data, level_geometry

_UNITS = {"micrometer": "µm", "nanometer": "nm", "millimeter": "mm", "pixel": "px"}


def describe_image(layer: Any, config: DatasetConfig, layers: int = 0) -> str:
    """Return what the network sees of a layer: ``volume of 48 × 128 × 128, 1 channel, voxel 2 × 1 × 1 µm``.

    Parameters
    ----------
    layer
        An image layer.
    config
        Section `dataset_config`.
    layers
        How many layers are the channels of the image; 0 when the layer is the image.

    Raises
    ------
    DataError
        When the layer cannot be an image.
    """
    axes = layer_axes(layer, config.ndim, config.channel_axis)
    shape = level_data(layer, config.level).shape
    kept = [axis for axis, letter in enumerate(axes.letters) if letter not in "cs"]
    geometry = level_geometry(layer, config.level).select(kept)
    spatial = " × ".join(str(shape[axis]) for axis in axes.spatial)
    noun = "volume" if axes.ndim == 3 else "image"
    count = 1
    for axis in axes.stack:
        count *= shape[axis]
    what = f"{noun} of {spatial}" if count == 1 else f"{count} {noun}s of {spatial}"
    channels = layers or (1 if axes.channel is None else shape[axes.channel])
    colour = "RGB" if axes.letters.endswith("s") else f"{channels} channel{'s' if channels > 1 else ''}"
    spacing = config.spacing or tuple(abs(geometry.scale[kept.index(axis)]) for axis in axes.spatial)
    unit = str(geometry.units[-1]) if geometry.units else "pixel"
    size = " × ".join(f"{step:.4g}" for step in spacing)
    return f"{what}, {colour}, voxel {size} {_UNITS.get(unit, unit)}"
