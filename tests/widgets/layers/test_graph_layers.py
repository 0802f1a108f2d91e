from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_segtrain.config import DataError
from napari_segtrain.data import open_dataset, open_source
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.widgets.layers.graph_layers import GraphData, add_output, graph_data, graph_of
from napari_segtrain.widgets.layers.results import OURS
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


def lies(node: str, record: str, *start: int, **others: Any) -> dict[str, Any]:
    """What is told of an array."""
    place = {"node": node, "record": record, "start": list(start)}
    return {**place, "spacing": [2.0] * len(start), "unit": "micrometer", **others}


def test_an_output_lies_on_the_image_that_it_belongs_to() -> None:
    viewer, graph, data = shown((6, 8), (6, 8))
    names = ("Image", "Image [1]", "Imagery")
    arrays = {f"{name} nuclei": np.ones((6, 8), np.int32) for name in names}
    nodes = dict(zip(names, ("image_layer", "image_layer_2", "nobody"), strict=True))
    told = {f"{name} nuclei": lies(nodes[name], name, 0, 0) for name in names}
    added = add_output(viewer, data, graph, "predictor.predictions", arrays, told)
    assert [tuple(layer.translate) for layer in added] == [(0, 0), (1, 1), (0, 0)]
    assert [layer.scale[0] for layer in added] == [0.5, 0.5, 2.0]


def test_channels_are_told_by_the_image_that_an_output_belongs_to() -> None:
    viewer, graph, data = shown((6, 8), (4, 6, 8))
    arrays = {"Image nuclei": np.ones((2, 6, 8)), "Image [1] nuclei": np.ones((4, 6, 8))}
    told = {"Image nuclei": lies("image_layer", "Image", 0, 0)}
    told["Image [1] nuclei"] = lies("image_layer_2", "Image [1]", 0, 0, 0)
    added = add_output(viewer, data, graph, "predictor.predictions", arrays, told)
    before = "predictor.predictions · Image"
    assert [layer.name for layer in added] == [
        f"{before} nuclei 0",
        f"{before} nuclei 1",
        f"{before} [1] nuclei",
    ]
    assert [layer.ndim for layer in added] == [2, 2, 3]


def test_numbers_are_shown_as_what_they_are() -> None:
    """Bytes may be a mask, or a measure; what is predicted is offered for correction, what is true is not."""
    viewer, graph, data = shown((6, 8))
    arrays = {f"Image {kind}": np.ones((6, 8), np.uint8) for kind in ("labels", "image")}
    told = {
        f"Image {kind}": lies("image_layer", "Image", 0, 0, shown_as=kind) for kind in ("labels", "image")
    }
    predicted = add_output(viewer, data, graph, "predictor.predictions", arrays, told)
    assert [layer._type_string for layer in predicted] == ["labels", "image"]
    true = add_output(viewer, data, graph, "predictor.all_labels", arrays, {})
    assert [layer._type_string for layer in true] == ["labels", "labels"]
    assert [bool(layer.metadata[OURS].get("result")) for layer in (*predicted, *true)] == [True] * 2 + [
        False
    ] * 2
    assert graph_of(true[0]) == graph


def test_the_output_of_a_file_has_its_voxel_size_place_and_channels() -> None:
    viewer, graph, data = shown((6, 8))
    told = {"file nuclei": lies("data_loader", "file", 3, 1)}  # of a folder, though a layer may be called so
    arrays = {"file nuclei": np.ones((2, 6, 8)), "other nuclei": np.ones((2, 6, 8))}
    added = add_output(viewer, data, graph, "predictor.predictions", arrays, told)
    assert [tuple(layer.scale) for layer in added] == [(2, 2), (2, 2), (1, 1, 1)]
    assert tuple(added[0].translate) == (6, 2)
    assert {str(unit) for unit in added[0].units} == {"micrometer"}


def test_patches_lie_one_behind_the_other_where_the_first_is(tmp_path: Path) -> None:
    viewer = ViewerModel()
    space: dict[str, Any] = {"scale": (4.0, 0.5, 0.25), "translate": (8.0, 1.0, 2.0), "units": ("um",) * 3}
    viewer.add_image(np.ones((6, 8, 10), np.uint8), name="a", **space)
    viewer.add_labels(np.ones((6, 8, 10), np.uint8), name="a_cells", **space)
    graph = template("stepwise").configure("data_loader", {"layers": ["a"]})
    data = graph_data(viewer, graph)
    [record] = data.loaders["data_loader"].images
    arrays = {
        "image": np.ones((3, 2, 4, 4), np.float32),
        "flow": np.arange(3 * 2 * 2 * 4 * 4).reshape(3, 2, 2, 4, 4).astype(np.float32),
        "cells_mask": np.ones((3, 2, 4, 4), np.uint8),
    }
    told = {name: lies("data_loader", record, 1, 2, 4, stacked=True) for name in arrays}
    added = add_output(viewer, data, graph, "prepare_batch.batch", arrays, told)
    before = "prepare_batch.batch · "
    names = ["image", "flow 0", "flow 1", "cells_mask"]
    assert [layer.name for layer in added] == [before + name for name in names]
    for layer in added:
        assert layer.data.shape == (3, 2, 4, 4)
        assert tuple(layer.scale) == (1.0, 4.0, 0.5, 0.25)
        assert tuple(layer.translate) == (0.0, 12.0, 2.0, 3.0)
        assert [str(unit) for unit in layer.units] == ["pixel"] + ["micrometer"] * 3
    np.testing.assert_array_equal(added[2].data, arrays["flow"][:, 1])
    assert [layer._type_string for layer in added] == ["image"] * 3 + ["labels"]
    assert viewer.dims.axis_labels[0] == "patch"

    # Of a folder they lie in the file, also those of one plane of it.
    lain = {"image": lies("elsewhere", "file[3]", 3, 1, stacked=True)}
    [layer] = add_output(viewer, data, graph, "forward_pass.prediction", {"image": np.ones((3, 4, 4))}, lain)
    assert (tuple(layer.scale), tuple(layer.translate)) == ((1, 2, 2), (0, 6, 2))


def loading(viewer: ViewerModel, **config: Any) -> Graph:
    """A graph whose data loader reads layers of the viewer."""
    return template("evaluate").configure("data_loader", config)


def test_a_data_loader_reads_open_layers_with_what_is_painted_for_them(tmp_path: Path) -> None:
    viewer = ViewerModel()
    space: dict[str, Any] = {"scale": (-0.5, 0.25), "units": ("um", "um")}
    for number, name in enumerate(("a", "b")):
        viewer.add_image(np.full((6, 8), number, np.uint8), name=name, **space)
        viewer.add_labels(np.full((6, 8), number + 1, np.uint8), name=f"{name}_cells", **space)
    viewer.add_labels(np.ones((6, 8), np.uint8), name="a_cells_mask", **space)
    graph = loading(viewer, layers=["a", "b"])
    data = graph_data(viewer, graph)
    list(data.copies.write(Scratch(tmp_path / "scratch")))
    dataset = open_dataset(data.data["data_loader"], graph.node("data_loader").config)
    assert list(dataset.records) == ["a", "b"]
    for number, record in enumerate(dataset.records.values()):
        assert record.spacing == (0.5, 0.25)
        everything = (slice(0, 6), slice(0, 8))
        assert (record.image.read(everything) == number).all()
        assert (record.labels["cells"].read(everything) == number + 1).all()
    assert list(dataset.records["a"].masks) == ["cells"]
    named = loading(viewer, layers=["a"], targets={"nuclei": {"labels": "b_cells"}})
    [mirror] = graph_data(viewer, named).loaders["data_loader"].mirrors
    assert (mirror.layer.name, mirror.targets) == ("b_cells", ("nuclei",))


def test_what_is_predicted_of_a_region_lies_there() -> None:
    """Also where it is a plane of a stack."""
    viewer = ViewerModel()
    viewer.add_image(np.ones((3, 6, 8)), name="a", scale=(4, 0.5, 0.25), axis_labels=("t", "y", "x"))
    viewer.add_labels(np.ones((3, 6, 8), np.uint8), name="a_cells", scale=(4, 0.5, 0.25))
    graph = loading(viewer, layers=["a"], ndim=2)
    data = graph_data(viewer, graph)
    [added] = add_output(
        viewer,
        data,
        graph,
        "predictor.all_predictions",
        {"a[2] cells": np.ones((4, 4), np.uint8)},
        {"a[2] cells": lies("data_loader", "a[2]", 2, 4)},
    )
    assert added.data.shape == (1, 4, 4)
    assert tuple(added.translate) == (8, 1, 1)
    assert tuple(added.scale) == (4, 0.5, 0.25)


def test_labels_belong_to_the_image_with_the_longest_name() -> None:
    viewer = ViewerModel()
    for name in ("a", "a_b", "a_c"):
        viewer.add_image(np.ones((6, 8), np.uint8), name=name)
        viewer.add_labels(np.ones((6, 8), np.uint8), name=f"{name}_cells")
    for layers in (["a"], ["a", "a_b"]):
        mirrors = graph_data(viewer, loading(viewer, layers=layers)).loaders["data_loader"].mirrors
        painted = [(mirror.record, mirror.layer.name, mirror.targets) for mirror in mirrors]
        assert painted == [(name, f"{name}_cells", ("cells",)) for name in layers]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"layers": ["a"], "targets": {"a": {}}}, "target 'a' is painted on no open layer; looked for 'a_a'"),
        ({"layers": ["a"], "targets": {"dots": {}}}, "target 'dots' is painted on no open layer"),
        ({"layers": ["c"]}, "node 'data_loader': there is no image layer 'c'; open are 'a'"),
        (
            {"layers": ["a"]},
            "no labels layer is called after 'a': call the one that is painted for it 'a_cells'",
        ),
        (
            {"layers": ["a"], "targets": {"nuclei": {"labels": "that"}}},
            "node 'data_loader': target 'nuclei' is painted on no open layer; looked for 'that'",
        ),
        (
            {"layers": ["a"], "targets": {"nuclei": {}}},
            "target 'nuclei' is painted on no open layer; looked for 'a_nuclei' and 'nuclei'",
        ),
    ],
)
def test_layers_that_are_missing_are_named(config: dict[str, Any], message: str) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.ones((6, 8)), name="a")
    viewer.add_labels(np.ones((6, 8), np.uint8), name="else")
    viewer.add_points(np.ones((1, 2)), name="dots")
    with pytest.raises(DataError, match=re.escape(message)):
        graph_data(viewer, loading(viewer, **config))
