"""Open layers as a graph takes them, and what its nodes gave as new layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...workflow.graph import Graph, GraphError, graph_from_dict, graph_to_dict
from .axes import Copies
from .geometry import Geometry
from .layer_choice import is_image
from .prediction_data import PredictionData, Scope, prediction_data
from .results import OURS

_GRAPH = "workflow"
"""Key of the graph in what this plugin notes in the metadata of a layer."""


@dataclass
class GraphData:
    """The open layers that the image nodes of a graph name.

    Attributes
    ----------
    images
        By the name of the layer.
    copies
        Arrays that have to be written into shared files first.
    """

    images: dict[str, PredictionData] = field(default_factory=dict)
    copies: Copies = field(default_factory=Copies)

    @property
    def spec(self) -> dict[str, Any]:
        """Source specification of each layer by its name; complete when `copies` are written."""
        return {name: {**data.spec, **_grid(data)} for name, data in self.images.items()}

    def image_of(self, name: str) -> PredictionData | None:
        """Return the layer that an array belongs to by its name, ``"<layer> <target>"``, or None.

        A layer may be called as another one with more behind it: the longest name counts.
        """
        found = [image for image in self.images if name.startswith(f"{image} ")]
        return self.images[max(found, key=len)] if found else None


def _grid(data: PredictionData) -> dict[str, Any]:
    """Return what a shared array does not say itself: size of a voxel, (z,) y, x, and its unit."""
    units = data.geometry.units
    return {"spacing": [abs(step) for step in data.spacing], "unit": str(units[-1]) if units else "pixel"}


def graph_data(viewer: Any, graph: Graph) -> GraphData:
    """Describe the open layers that a graph names.

    Raises
    ------
    DataError
        When one of them cannot be an image.
    """
    found = GraphData()
    open_images = {layer.name: layer for layer in viewer.layers if is_image(layer)}
    for node in graph.of_type("image_layer"):
        name = str(getattr(node.config, "image", None))
        if name in open_images and name not in found.images:
            data = prediction_data(viewer, open_images[name], Scope.LAYER, copy=f"image_{len(found.images)}")
            found.images[name] = data
            found.copies.items += data.copies.items
    return found


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
        The arrays by name, ``(*spatial)`` or with channels in front.
    told
        By the same names where they lie in which image, and what they are, where it is known: see
        `NodeOutput.arrays`.
    """
    added = []
    for name, array in arrays.items():
        known = (told or {}).get(name, {})
        place = _place_of(known, array.shape, data)
        ndim = None if place is None else place.ndim
        several = ndim is not None and array.ndim == ndim + 1
        is_labels = np.issubdtype(array.dtype, np.integer) and known.get("kind") != "image"
        for channel in range(array.shape[0]) if several else (None,):
            shown = array if channel is None else array[channel]
            options: dict[str, Any] = {}
            if place is not None and shown.ndim == ndim:
                options = dict(place.kwargs())
            options["name"] = f"{where} · {name}" + ("" if channel is None else f" {channel}")
            options["metadata"] = {OURS: {"result": True, _GRAPH: graph_to_dict(graph), "output": where}}
            added.append((viewer.add_labels if is_labels else viewer.add_image)(shown, **options))
    return added


def _place_of(known: Mapping[str, Any], shape: Sequence[int], data: GraphData) -> Geometry | None:
    """Return where an array lies: on its layer, or in its file; None where nothing is known."""
    if "record" not in known:
        return None
    start = known["start"]
    layer = data.images.get(known["record"])
    if layer is not None:
        return layer.geometry.crop(start)
    return Geometry.placed(known["spacing"], start, known["unit"])


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
