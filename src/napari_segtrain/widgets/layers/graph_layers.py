"""Open layers as a graph takes them, and what its nodes gave as new layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...config import DataError, DatasetConfig, SegtrainError, TargetConfig
from ...runs import RunFolder
from ...workflow.graph import Graph, GraphError, Node, graph_from_dict, graph_to_dict
from .axes import Copies
from .data_spec import TrainingData, training_data
from .geometry import Geometry
from .layer_choice import can_be_labels, is_image, is_labels
from .placing import place_of
from .prediction_data import PredictionData, Scope, prediction_data
from .results import OURS
from .view import name_sliders

_GRAPH = "workflow"
"""Key of the graph in what this plugin notes in the metadata of a layer."""
_PREDICTIONS = ("predictions", "all_predictions", "output")
"""Outputs that are what a network says; others are true labels, or what it learns from."""


@dataclass
class GraphData:
    """The open layers that the nodes of a graph name.

    Attributes
    ----------
    images
        What image nodes name, by the name of the layer.
    loaders
        What data loaders name, by the name of the node.
    copies
        Arrays that have to be written into shared files first.
    """

    images: dict[str, PredictionData] = field(default_factory=dict)
    loaders: dict[str, TrainingData] = field(default_factory=dict)
    copies: Copies = field(default_factory=Copies)

    @property
    def spec(self) -> dict[str, Any]:
        """Source specification of each layer by its name; complete when `copies` are written."""
        return {name: {**data.spec, **_grid(data)} for name, data in self.images.items()}

    @property
    def data(self) -> dict[str, Any]:
        """Data of each loader that reads layers, by the name of its node; complete as `spec` is."""
        return {name: data.spec for name, data in self.loaders.items()}


def _grid(data: PredictionData) -> dict[str, Any]:
    """Return what a shared array does not say itself: size of a voxel, (z,) y, x, and its unit."""
    units = data.geometry.units
    return {"spacing": list(data.spacing), "unit": str(units[-1]) if units else "pixel"}


def runs_of_images(graph: Graph) -> dict[str, str]:
    """Return the run or checkpoint whose network predicts the image of an image node, by the node's name."""
    found = {}
    for node in graph.of_type("image_layer"):
        around = graph.upstream(*graph.downstream(node.name))
        configs = [other.config for other in graph.nodes if other.name in around]
        given = [getattr(config, "run", None) or getattr(config, "weights", None) for config in configs]
        if runs := [str(run) for run in given if run]:
            found[node.name] = runs[0]
    return found


def how_runs_read(runs: Mapping[str, str]) -> dict[str, DatasetConfig]:
    """Return how runs have read their images, by the same names; reads files.

    Of a run that cannot be read nothing is returned: whatever loads its network says why.
    """
    found = {}
    for name, path in runs.items():
        given = Path(path).expanduser()
        with suppress(SegtrainError):
            run = RunFolder.open(given.parent.parent if given.is_file() else given)
            found[name] = run.read_config().dataset_config
    return found


def graph_data(viewer: Any, graph: Graph, read: Mapping[str, DatasetConfig] | None = None) -> GraphData:
    """Describe the open layers that a graph names.

    Parameters
    ----------
    viewer
        The napari viewer.
    graph
        The graph.
    read
        By the name of an image node how the run has read its images that predicts it: its channel axis and
        its resolution level count here too.

    Raises
    ------
    DataError
        When one of them cannot be an image, or one that a data loader names is not there.
    """
    found = GraphData()
    open_images = {layer.name: layer for layer in viewer.layers if is_image(layer)}
    for node in graph.of_type("image_layer"):
        name = str(getattr(node.config, "image", None))
        if name in open_images and name not in found.images:
            config, copy = (read or {}).get(node.name), f"image_{len(found.images)}"
            data = prediction_data(viewer, open_images[name], Scope.LAYER, config, copy=copy)
            found.images[name] = data
            found.copies.items += data.copies.items
    for node in graph.of_type("data_loader"):
        if getattr(node.config, "layers", ()):
            loaded = _loader_data(viewer, node, prefix=f"data_{len(found.loaders)}_")
            found.loaders[node.name] = loaded
            found.copies.items += loaded.copies.items
    return found


def _loader_data(viewer: Any, node: Node, prefix: str) -> TrainingData:
    """Describe the layers of a data loader, with what is painted for them.

    Labels are told by their names, as they are in a folder; without targets all that are called after one
    of the images are learned.
    """
    config: Any = node.config
    open_layers = list(viewer.layers)
    images = [_open_image(name, node.name, open_layers) for name in config.layers]
    names = list(config.targets) or _painted_for(images, open_layers)
    if not names:
        raise DataError(
            f"node '{node.name}': no labels layer is called after {images[0].name!r}: call the one that is "
            f"painted for it {images[0].name + '_cells'!r}, or say under Targets which it is, such as "
            "cells: {labels: Labels}"
        )
    targets = {name: _target_layers(name, config, images, open_layers, node.name) for name in names}
    return training_data(images, targets, config, all_layers=open_layers, prefix=prefix)


def _open_image(name: str, node: str, layers: Sequence[Any]) -> Any:
    found = next((layer for layer in layers if layer.name == name and is_image(layer)), None)
    if found is None:
        there = ", ".join(repr(layer.name) for layer in layers if is_image(layer)) or "none"
        raise DataError(f"node '{node}': there is no image layer {name!r}; open are {there}")
    return found


def _painted_for(images: Sequence[Any], layers: Sequence[Any]) -> list[str]:
    """Return what is painted for images, by the names of the layers.

    An image may be called as another one with more behind it: labels belong to the longest name.
    """
    all_names = [str(layer.name) for layer in layers if is_image(layer)]
    endings: list[str] = []
    for layer in filter(is_labels, layers):
        owner = max((name for name in all_names if layer.name.startswith(f"{name}_")), key=len, default="")
        if any(image.name == owner for image in images):
            endings.append(layer.name[len(owner) + 1 :])
    return [name for name in dict.fromkeys(endings) if name and not name.endswith("_mask")]


def _target_layers(
    name: str, config: Any, images: Sequence[Any], layers: Sequence[Any], node: str
) -> tuple[Any, Any]:
    """Return the layer that a target is painted on, and that of its mask or None."""
    target = config.targets.get(name, TargetConfig())
    found = []
    for own, ending, accepts in (
        (target.labels, name, can_be_labels),
        (target.mask, f"{name}_mask", is_labels),
    ):
        called = [own] if own else [*(f"{image.name}_{ending}" for image in images), ending]
        fit = [layer for layer in layers if accepts(layer) and layer not in images]
        layer = next((layer for text in called for layer in fit if layer.name == text), None)
        if layer is None and (own or ending == name):
            raise DataError(
                f"node '{node}': target {name!r} is painted on no open layer; looked for "
                + " and ".join(map(repr, called))
            )
        found.append(layer)
    return found[0], found[1]


def add_output(
    viewer: Any,
    data: GraphData,
    graph: Graph,
    where: str,
    arrays: Mapping[str, Any],
    told: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Any]:
    """Add what an output of a node gave, a layer for each array; the layers know the graph.

    Parameters
    ----------
    viewer
        The napari viewer.
    data
        The layers that the graph was given.
    graph
        What made them.
    where
        Node and port, such as ``"predictor.predictions"``; the layers are called after it.
    arrays
        The arrays by name, ``(*spatial)`` or with channels in front; of a batch ``(B, *spatial)`` or
        ``(B, C, *spatial)``, patches that lie one behind the other where the first of them does.
    told
        By the same names where they lie in which image, and what they are, where it is known: see
        `NodeOutput.told`.
    """
    added = []
    predicted = where.rpartition(".")[2] in _PREDICTIONS
    for name, array in arrays.items():
        known = (told or {}).get(name, {})
        stacked = 1 if known.get("stacked") else 0
        ndim = len(known["start"]) if "start" in known else array.ndim
        shape, place = _place_of(known, array.shape[-ndim:], data, graph)
        if stacked and place is not None:
            shape, place = (len(array), *shape), place.stacked()
        is_labels = np.issubdtype(array.dtype, np.integer) and known.get("shown_as") != "image"
        several = array.ndim > stacked + ndim
        for channel in range(array.shape[stacked]) if several else (None,):
            options: dict[str, Any] = {} if place is None else place.kwargs()
            options["name"] = f"{where} · {name}" + ("" if channel is None else f" {channel}")
            noted = {"result": True} if predicted else {}
            options["metadata"] = {OURS: {**noted, _GRAPH: graph_to_dict(graph), "output": where}}
            shown = (array if channel is None else array.take(channel, stacked)).reshape(shape)
            added.append((viewer.add_labels if is_labels else viewer.add_image)(shown, **options))
        if stacked:
            name_sliders(viewer, len(shape) - 1)
    return added


def _place_of(
    known: Mapping[str, Any], shape: Sequence[int], data: GraphData, graph: Graph
) -> tuple[tuple[int, ...], Geometry | None]:
    """Return the shape of an array on all axes of what it belongs to, and where it lies, where it is known.

    Parameters
    ----------
    known
        What is told of the array.
    shape
        Its own shape, on the spatial axes.
    data
        The layers that it may lie on; else it lies in its file.
    graph
        Says which layer a node has named.
    """
    if "start" not in known:
        return tuple(shape), None
    start, node = known["start"], known["node"]
    loader = data.loaders.get(node)
    if loader is not None:
        stop = [first + size for first, size in zip(start, shape, strict=True)]
        place = place_of(loader.images, known["record"], start, stop)
        return (tuple(shape), None) if place is None else (place.size, place.geometry)
    image = (
        data.images.get(getattr(graph.node(node).config, "image", None) or "") if graph.has(node) else None
    )
    if image is None:
        return tuple(shape), Geometry.placed(known["spacing"], start, known["unit"])
    flat = image.geometry.ndim - len(start)  # axes of length 1, which nobody predicts
    return (*(1,) * flat, *shape), image.geometry.crop((*(0,) * flat, *start))


def graph_of(layer: Any) -> Graph:
    """Return the graph that made a layer.

    Raises
    ------
    GraphError
        When no graph made it, or its graph is not one of this program.
    """
    noted = None if layer is None else layer.metadata.get(OURS, {}).get(_GRAPH)
    if noted is None:
        raise GraphError("no workflow made the selected layer: select a layer that came from one")
    return graph_from_dict(noted, f"layer {layer.name!r}")
