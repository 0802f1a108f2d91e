from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segtrain import workflow
from napari_segtrain.config import DatasetConfig, ExperimentConfig, RunError, TargetConfig
from napari_segtrain.config.auxiliary import TASK_TYPES
from napari_segtrain.runs import TargetsReady
from napari_segtrain.widgets.layers import target_layers
from napari_segtrain.widgets.layers.data_spec import TrainingData, training_data
from napari_segtrain.widgets.layers.layer_choice import is_image, is_labels
from napari_segtrain.widgets.layers.placing import Place, place_of
from napari_segtrain.widgets.layers.target_layers import prepare, show
from napari_segtrain.widgets.sessions.preview_session import TARGETS

TASKS = {name: {"type": name, "source_target": "cells"} for name in TASK_TYPES}
GEOMETRY = {"scale": (2.0, 0.5), "rotate": 20, "translate": (7, -3), "shear": [0.2], "units": ("µm", "µm")}


@pytest.fixture
def viewer() -> Any:
    from napari.components import ViewerModel

    return ViewerModel()


Derived = tuple[TargetsReady, Place, TrainingData]


@pytest.fixture
def derive(viewer: Any, tmp_path: Path) -> Callable[..., Derived]:
    """Derive the targets of a region of discs, as the engine does; the image lies askew in the world."""

    def make(
        shape: tuple[int, ...] = (72, 96),
        kind: str = "instances",
        region: Any = ((4, 70), (6, 90)),
        **extra: Any,
    ) -> Derived:
        spatial = shape[-2:]
        y, x = np.indices(spatial)
        labels = np.zeros(spatial, np.uint16)
        for number, centre in enumerate([(24, 20), (30, 66), (56, 40)], start=1):
            labels[np.hypot(y - centre[0], x - centre[1]) < 11] = number
        labels = np.broadcast_to(labels, shape).copy()
        image = viewer.add_image(labels.astype(np.float32), name="im", **extra)
        paint = viewer.add_labels(labels, name="im_cells", **extra)
        dataset = DatasetConfig(targets={"cells": TargetConfig(kind=kind)}, ndim=2)
        data = training_data([image], {"cells": (paint, None)}, dataset, all_layers=list(viewer.layers))
        config = ExperimentConfig.parse(
            {
                "tr_config": {"patch_size": [64, 64]},
                "dataset_config": dataset.to_dict(),
                "auxiliary_tasks": TASKS,
            }
        )
        spec = data.layers[0]
        arrays = {**spec, "image": image.data, "labels": {"cells": labels}}
        record = "im[1]" if len(shape) == 3 else "im"
        dataset_ = {"layers": [arrays]}
        preview = workflow.preview_targets(config, dataset_, image=record, region=region)
        event = workflow.share_target_preview(preview, tmp_path / "shared")
        place = place_of(data.images, event.record, event.start, event.stop)
        assert place is not None
        return event, place, data

    return make


def world(layer: Any, point: Any) -> np.ndarray:
    return np.asarray(layer.data_to_world(point))


def test_every_layer_lies_where_its_image_lies(viewer: Any, derive: Callable[..., Derived]) -> None:
    event, place, _ = derive(**GEOMETRY)
    added = show(viewer, prepare(event, place), place, several=False)
    assert [layer.name for layer in added][:3] == [
        f"cells{part} · target" for part in ("", "_boundary", "_distance")
    ]
    assert len(added) == 3 + len(TASKS)
    image = viewer.layers["im"]
    for layer in added:
        np.testing.assert_allclose(world(layer, (5, 6)), world(image, (9, 12)))
        assert layer.units == image.units
    kinds = {layer.name.split(" ")[0]: type(layer).__name__ for layer in added}
    vectors = {"surface_normals", "inplane_direction", "nearest_component", "flows"}
    assert {name for name, kind in kinds.items() if kind == "Vectors"} == vectors
    assert {name for name, kind in kinds.items() if kind == "Labels"} == {"cells", "cells_boundary"}
    assert [layer.name for layer in added if layer.visible] == [
        "cells_boundary · target",
        "surface_normals · target",
    ]


def test_arrows_lead_where_the_vectors_say_in_the_world(viewer: Any, derive: Callable[..., Derived]) -> None:
    event, place, _ = derive(**GEOMETRY)
    added = {
        layer.name.split(" ")[0]: layer for layer in show(viewer, prepare(event, place), place, several=False)
    }
    labels = viewer.layers["im_cells"]
    nearest = added["nearest_component"]
    assert len(nearest.data) > 30
    for begin, reach in nearest.data:
        tip = labels.world_to_data(world(nearest, begin + reach))
        assert labels.data[tuple(np.round(tip).astype(int))] > 0 or np.allclose(reach, 0)
    # Flows lead to the middle of a disc, which is an ellipse in the world as in the data.
    flows = added["flows"]
    for begin, reach in flows.data:
        start = np.asarray(labels.world_to_data(world(flows, begin)))
        number = labels.data[tuple(np.round(start).astype(int))]
        centre = np.argwhere(labels.data == number).mean(axis=0)
        toward = centre - start
        cosine = toward @ reach / np.linalg.norm(toward) / np.linalg.norm(reach)
        assert cosine > 0.99
    # Normals of unit length in physical space have arrows of one length in it.
    lengths = np.linalg.norm(added["surface_normals"].data[:, 1] * GEOMETRY["scale"], axis=1)
    assert lengths.max() - lengths.min() < 1e-4


def test_lines_have_their_voxel_in_the_middle_and_no_head(
    viewer: Any, derive: Callable[..., Derived]
) -> None:
    event, place, _ = derive()
    layer = next(one for one in prepare(event, place) if one.head.name == "inplane_direction")
    middle = layer.data[:, 0] + layer.data[:, 1] / 2
    np.testing.assert_allclose(middle, np.round(middle), atol=1e-5)
    assert layer.options["vector_style"] == "line"


def test_numbers_have_0_in_the_middle_and_nothing_where_they_are_not_known(
    viewer: Any, derive: Callable[..., Derived]
) -> None:
    event, place, _ = derive()
    show(viewer, prepare(event, place), place, several=False)
    distance = viewer.layers["distance_transform · target"]
    assert distance.contrast_limits[0] == -distance.contrast_limits[1]
    assert distance.colormap.name == "PiYG"
    unknown = np.isnan(distance.data)
    assert 0.02 < unknown.mean() < 0.9
    assert viewer.layers["cells_distance · target"].colormap.name == "magma"
    tensor = viewer.layers["structure_tensor · target"]
    assert tensor.rgb
    assert tensor.data.shape == (66, 84, 4)
    assert set(np.unique(tensor.data[..., 3])) == {0, 255}


def test_what_has_nothing_to_learn_is_said(viewer: Any, derive: Callable[..., Derived]) -> None:
    event, place, data = derive(region=((20, 60), (14, 26)))  # through the middle of an object
    layers = prepare(event, place)
    assert [layer.head.name for layer in layers if layer.empty] == ["flows"]
    words = TARGETS.show(viewer, (place, layers), data)
    assert words.endswith("There is nothing to learn here for flows: no place where it is defined")


def test_a_plane_of_a_stack_is_shown_in_its_plane(viewer: Any, derive: Callable[..., Derived]) -> None:
    event, place, _ = derive((3, 72, 96), scale=(5.0, 2.0, 1.0))
    assert event.record == "im[1]"
    for layer in show(viewer, prepare(event, place), place, several=False):
        assert layer.ndim == 3
        np.testing.assert_allclose(world(layer, (0, 0, 0)), (5.0, 8.0, 6.0))


def test_a_second_preview_replaces_the_first_and_painting_goes_on(
    viewer: Any, derive: Callable[..., Derived]
) -> None:
    event, place, _ = derive()
    viewer.layers.selection = {viewer.layers["im_cells"]}
    show(viewer, prepare(event, place), place, several=True)
    count = len(viewer.layers)
    assert "im · flows · target" in viewer.layers
    show(viewer, prepare(event, place), place, several=True)
    assert len(viewer.layers) == count
    assert viewer.layers.selection == {viewer.layers["im_cells"]}
    offered = [layer.name for layer in viewer.layers if is_image(layer) or is_labels(layer)]
    assert offered == ["im", "im_cells"]


def test_a_result_takes_the_place_of_its_target(viewer: Any, derive: Callable[..., Derived]) -> None:
    from napari_segtrain.widgets.layers.results import _hide_previews

    event, place, _ = derive()
    show(viewer, prepare(event, place), place, several=False)
    _hide_previews(viewer, "im", ["surface_normals"])
    assert not viewer.layers["surface_normals · target"].visible
    assert viewer.layers["cells_boundary · target"].visible


def test_there_are_never_more_arrows_than_can_be_drawn(
    derive: Callable[..., Derived], monkeypatch: pytest.MonkeyPatch
) -> None:
    event, place, _ = derive()
    some = {layer.head.name: len(layer.data) for layer in prepare(event, place) if layer.kind == "vectors"}
    monkeypatch.setattr(target_layers, "_MOST_ARROWS", 40)
    fewer = {layer.head.name: len(layer.data) for layer in prepare(event, place) if layer.kind == "vectors"}
    assert max(some.values()) > 200
    assert all(10 < count <= 40 for count in fewer.values())


def test_arrays_that_are_gone_are_said_so(derive: Callable[..., Derived], tmp_path: Path) -> None:
    import shutil

    event, place, _ = derive()
    shutil.rmtree(tmp_path / "shared")
    with pytest.raises(RunError, match="cannot be opened"):
        prepare(event, place)
