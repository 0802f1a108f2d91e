"""Which open layers are those that a run was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import DatasetConfig, TargetConfig
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.widgets.layers.data_spec import training_data
from napari_segtrain.widgets.layers.kept_labels import kept_note
from napari_segtrain.widgets.layers.reattach import reattach

pytestmark = pytest.mark.gui


def stored(data: Any, folder: Path) -> Any:
    """What a run has in its `data.json` of these layers."""
    list(data.copies.write(Scratch(folder / "scratch")))
    return json.loads(json.dumps(data.spec))


def run_on(viewer: Any, config: DatasetConfig, folder: Path, images: tuple[str, ...] = ("cells",)) -> Any:
    layers = viewer.layers
    targets = {
        name: (layers[target.labels or f"{images[0]}_{name}"], layers[target.mask] if target.mask else None)
        for name, target in config.targets.items()
    }
    found = [layers[name] for name in images]
    return stored(training_data(found, targets, config, all_layers=list(layers)), folder)


NUCLEI = DatasetConfig(targets={"nuclei": TargetConfig(labels="cells_nuclei")})


def test_layers_that_are_still_open_are_trained_on_as_they_are_now(
    viewer: Any, cells: Any, tmp_path: Path
) -> None:
    config = NUCLEI.replace(
        targets={**NUCLEI.targets, "same": TargetConfig(labels="cells_nuclei", mask="field")}
    )
    viewer.add_labels(np.ones((48, 64), np.uint8), name="field")
    before = run_on(viewer, config, tmp_path)
    viewer.add_image(np.zeros((3, 3)), name="another")
    found = reattach(before, config, list(viewer.layers))
    assert found.data.spec is not None
    assert cells[1] in [mirror.layer for mirror in found.data.mirrors]
    assert found.words.startswith("goes on with the open layers and the labels as they are now in ")
    assert "'cells_nuclei'" in found.words


def test_several_images_with_labels_of_their_own(viewer: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        viewer.add_image(np.zeros((8, 9)), name=name)
        viewer.add_labels(np.zeros((8, 9), np.uint8), name=f"{name}_x")
    config = DatasetConfig(targets={"x": TargetConfig()})
    before = run_on(viewer, config, tmp_path, ("a", "b"))
    found = reattach(before, config, list(viewer.layers))
    assert [mirror.layer.name for mirror in found.data.mirrors] == ["a_x", "b_x"]
    viewer.layers.remove("b_x")
    found = reattach(before, config, list(viewer.layers))
    assert found.data.spec is None
    assert "layer 'b_x' is not open" in found.words
    assert list(found.data.images) == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "words", "previews"),
    [
        (lambda v: v.layers.remove("cells_nuclei"), "layer 'cells_nuclei' is not open", True),
        (lambda v: v.layers.clear(), "layer 'cells' is not open. Open 'cells' before you resume", False),
        (
            lambda v: setattr(v.layers["cells"], "data", np.zeros((4, 5))),
            "layer 'cells' is of shape 4 × 5 now, and was of shape 48 × 64",
            False,
        ),
    ],
)
def test_else_the_run_goes_on_with_its_copies_and_says_why(
    viewer: Any, cells: Any, tmp_path: Path, change: Any, words: str, previews: bool
) -> None:
    before = run_on(viewer, NUCLEI, tmp_path)
    change(viewer)
    found = reattach(before, NUCLEI, list(viewer.layers))
    assert found.data.spec is None
    assert not found.data.copies.items
    assert not found.data.mirrors
    assert found.words.startswith("goes on with the copies of its layers, with the labels it had: ")
    assert words in found.words
    assert list(found.data.images) == ["cells"] * previews, "an image alone is enough for previews"


def test_layers_of_the_same_names_and_another_shape(viewer: Any, cells: Any, tmp_path: Path) -> None:
    before = run_on(viewer, NUCLEI, tmp_path)
    viewer.layers.clear()
    viewer.add_image(np.zeros((4, 5)), name="cells")
    viewer.add_labels(np.zeros((4, 5), np.uint8), name="cells_nuclei")
    found = reattach(before, NUCLEI, list(viewer.layers))
    assert found.data.spec is None
    assert "layer 'cells' is of shape 4 × 5 now, and was of shape 48 × 64" in found.words


def test_a_store_is_known_by_its_place(viewer: Any, tmp_path: Path) -> None:
    import zarr

    for name in ("one", "two"):
        zarr.create_array(str(tmp_path / f"{name}.zarr"), shape=(8, 9), dtype="u1")
    viewer.add_image(zarr.open_array(str(tmp_path / "one.zarr"), mode="r"), name="cells")
    viewer.add_labels(np.zeros((8, 9), np.uint8), name="cells_nuclei")
    before = run_on(viewer, NUCLEI, tmp_path)
    assert reattach(before, NUCLEI, list(viewer.layers)).data.spec is not None
    viewer.layers.remove("cells")
    viewer.add_image(zarr.open_array(str(tmp_path / "two.zarr"), mode="r"), name="cells")
    assert "two.zarr now, and was" in reattach(before, NUCLEI, list(viewer.layers)).words


def test_labels_opened_from_the_run_stand_for_a_layer_that_is_not_open(
    viewer: Any, cells: Any, tmp_path: Path
) -> None:
    before, layers = run_on(viewer, NUCLEI, tmp_path), viewer.layers
    run, other = tmp_path / "base", tmp_path / "other"
    opened = viewer.add_labels(
        cells[1].data, name="opened", metadata=kept_note(run, "cells_nuclei"), translate=(3, 4)
    )
    both = reattach(before, NUCLEI, list(layers), run=run)
    assert [mirror.layer for mirror in both.data.mirrors] == [cells[1]], "the layer itself is open"
    assert both.words.endswith("as they are now in 'cells_nuclei'")
    chosen = reattach(before, NUCLEI, list(layers), run=run, instead={"cells_nuclei": opened})
    assert [mirror.layer for mirror in chosen.data.mirrors] == [opened]
    layers.remove("cells_nuclei")
    assert reattach(before, NUCLEI, list(layers), run=other).data.spec is None, "of another run"
    assert reattach(before, NUCLEI, list(layers)).data.spec is None
    found = reattach(before, NUCLEI, list(layers), run=run)
    assert [mirror.layer for mirror in found.data.mirrors] == [opened]
    assert found.words.endswith("'opened', which stands for 'cells_nuclei'")
    # The run knows its own layer again when that is opened the next time.
    again = stored(found.data, tmp_path)
    assert again["layers"][0]["labels"]["cells_nuclei"]["name"] == "cells_nuclei"
    layers.remove(opened)
    viewer.add_labels(np.array(opened.data), name="cells_nuclei")
    assert reattach(again, NUCLEI, list(layers), run=run).data.spec is not None


def test_kept_labels_without_an_axis_of_length_one_stand_for_a_layer_with_it(
    viewer: Any, cells: Any, tmp_path: Path
) -> None:
    image = viewer.add_image(np.zeros((1, 8, 9)), name="thin")
    labels = viewer.add_labels(np.ones((1, 8, 9), np.uint8), name="thin_nuclei")
    config = DatasetConfig(targets={"nuclei": TargetConfig(labels="thin_nuclei")}, ndim=2)
    before = run_on(viewer, config, tmp_path, (image.name,))
    viewer.layers.remove(labels)
    run = tmp_path / "base"
    opened = viewer.add_labels(
        np.ones((8, 9), np.uint8), name="opened", metadata=kept_note(run, "thin_nuclei")
    )
    found = reattach(before, config, list(viewer.layers), run=run)
    assert [mirror.layer for mirror in found.data.mirrors] == [opened]


def test_a_folder_has_no_layers(viewer: Any) -> None:
    found = reattach("/data/cells", NUCLEI, [])
    assert found.data.spec is None
    assert found.words == "goes on with its data in /data/cells"
