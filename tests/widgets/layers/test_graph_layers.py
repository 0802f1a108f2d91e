from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_segtrain.data import open_source
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.widgets.layers.graph_layers import GraphData, add_output, graph_data
from napari_segtrain.workflow.graph import Graph
from napari_segtrain.workflow.graph.templates import template

pytestmark = pytest.mark.gui


def shown(*shapes: tuple[int, ...], **options: Any) -> tuple[ViewerModel, Graph, GraphData]:
    """Images called "Image", "Image [1]" and so on, which a graph names."""
    viewer, graph = ViewerModel(), template("predict").remove("image_layer")
    for number, shape in enumerate(shapes):
        name = f"Image [{number}]" if number else "Image"
        space = {"scale": [-4.0, 0.5, 0.25][-len(shape) :], "units": ["um"] * len(shape), **options}
        translate = [float(number)] * len(shape)
        viewer.add_image(np.ones(shape, np.uint8), name=name, translate=translate, **space)
        node = graph.new_node("image_layer")
        graph = graph.add(node).configure(node.name, {"image": name})
    return viewer, graph, graph_data(viewer, graph)


@pytest.mark.parametrize("shape", [(6, 8), (4, 6, 8)])
def test_a_layer_is_read_with_its_voxel_size_and_unit(shape: tuple[int, ...], tmp_path: Path) -> None:
    _, _, data = shown(shape)
    list(data.copies.write(Scratch(tmp_path / "scratch")))
    source = open_source(data.spec["Image"])
    assert source.spacing == (4.0, 0.5, 0.25)[-len(shape) :]
    assert source.unit == "micrometer"


def test_an_output_lies_on_the_image_that_it_is_called_after() -> None:
    viewer, graph, data = shown((6, 8), (6, 8))
    arrays = {f"{name} nuclei": np.ones((6, 8), np.int32) for name in ("Image", "Image [1]", "Imagery")}
    added = add_output(viewer, data, graph, "predictor.predictions", arrays)
    assert [tuple(layer.translate) for layer in added] == [(0, 0), (1, 1), (0, 0)]
    assert [layer.scale[0] for layer in added] == [0.5, 0.5, 1.0]


def test_channels_are_told_by_the_image_that_an_output_belongs_to() -> None:
    viewer, graph, data = shown((6, 8), (4, 6, 8))
    arrays = {"Image nuclei": np.ones((2, 6, 8)), "Image [1] nuclei": np.ones((4, 6, 8))}
    added = add_output(viewer, data, graph, "predictor.predictions", arrays)
    before = "predictor.predictions · Image"
    assert [layer.name for layer in added] == [
        f"{before} nuclei 0",
        f"{before} nuclei 1",
        f"{before} [1] nuclei",
    ]
    assert [layer.ndim for layer in added] == [2, 2, 3]


def test_scaled_numbers_are_an_image() -> None:
    viewer, graph, data = shown((6, 8))
    arrays = {"Image nuclei": np.ones((6, 8), np.uint8), "Image cells": np.ones((6, 8), np.int32)}

    def kinds(graph: Graph, port: str) -> list[str]:
        return [layer._type_string for layer in add_output(viewer, data, graph, f"predictor.{port}", arrays)]

    assert kinds(graph, "predictions") == ["labels", "labels"]
    graph = graph.configure("predictor", {"output": "uint8"})
    assert kinds(graph, "predictions") == ["image", "labels"], "objects have numbers in every form"
    assert kinds(graph, "all_labels") == ["labels", "labels"]


def test_the_output_of_a_file_has_its_voxel_size_and_channels() -> None:
    viewer, graph, data = shown((6, 8))
    told = {"file nuclei": {"spacing": [0.5, 0.25], "unit": "micrometer"}}
    arrays = {"file nuclei": np.ones((2, 6, 8)), "other nuclei": np.ones((2, 6, 8))}
    added = add_output(viewer, data, graph, "predictor.predictions", arrays, told)
    assert [tuple(layer.scale) for layer in added] == [(0.5, 0.25), (0.5, 0.25), (1, 1, 1)]
    assert {str(unit) for unit in added[0].units} == {"micrometer"}
