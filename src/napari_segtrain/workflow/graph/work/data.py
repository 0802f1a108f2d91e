"""Data loaders and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_segtrain.data import PARTS, Part
from napari_segtrain.workflow.run_data import open_data

from ..context import Context
from ..parameters import DataLoaderParameters, ImageLayerParameters
from ..ports import GraphError
from .setting import Loader, open_setting


@dataclass(frozen=True, eq=False)
class Picture:
    """An image that a network is to predict; it is read when the network says how.

    Attributes
    ----------
    name
        What its predictions are called after.
    where
        What `open_source` opens.
    """

    name: str
    where: Any


def load_data(config: DataLoaderParameters, inputs: Mapping[str, Any], context: Context) -> dict[str, Loader]:
    """Open images and labels; with what is trained on them, prepare their batches."""
    data = config.data if context.data is None else context.data
    if data is None and config.layers:
        raise GraphError(
            f"Parameter 'layers' names {', '.join(map(repr, config.layers))}, which are layers of napari: "
            "here set layers to [], and data to a folder with images/ and labels/"
        )
    if data is None:
        raise GraphError("Parameter 'data' is not set: give a folder with images/ and labels/")
    names: dict[Part, str] = {part: f"{part}_loader" for part in PARTS}
    if len(context.recipe.members) > 1:
        setting = open_setting(context, data)
        dataset, experiment = setting.opened.dataset, setting.config
        return {name: Loader(part, dataset, experiment, data, setting) for part, name in names.items()}
    experiment = context.recipe.config
    dataset = open_data(data, experiment)
    return {name: Loader(part, dataset, experiment, data) for part, name in names.items()}


def load_image(
    config: ImageLayerParameters, inputs: Mapping[str, Any], context: Context
) -> dict[str, Picture]:
    """Find an image, among the layers of the viewer or as a file."""
    name = config.image
    if name is None:
        raise GraphError("Parameter 'image' is not set: give an open image layer, or the path of an image")
    if name in context.layers:
        return {"image": Picture(name, context.layers[name])}
    if "://" not in name and not Path(name).exists():
        raise GraphError(f"{name}: there is no such file, and no image layer of this name")
    return {"image": Picture(Path(name).stem, name)}
