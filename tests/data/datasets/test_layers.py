"""Open layers as a data set."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_segtrain.config import DataError, DatasetConfig
from napari_segtrain.data import make_split, open_dataset, open_layers


def config(**values) -> DatasetConfig:
    return DatasetConfig.model_validate(values)


def test_a_layer_with_labels_and_mask(noise, blobs) -> None:
    image, labels = noise(6, 16, 20), blobs(6, 16, 20)
    spec = {
        "id": "cells",
        "image": image,
        "labels": {"nuclei": labels},
        "masks": {"": labels > 0},
        "spacing": (2.0, 0.5, 0.5),
        "unit": "micrometer",
    }
    dataset = open_dataset({"layers": [spec]})
    record = dataset.records["cells"]
    assert (record.spacing, record.image.unit, record.shape) == ((2.0, 0.5, 0.5), "micrometer", (6, 16, 20))
    box = (slice(1, 3), slice(0, 16), slice(2, 20))
    np.testing.assert_array_equal(record.labels["nuclei"].read(box)[0], labels[box])
    np.testing.assert_array_equal(record.masks["nuclei"].read(box)[0], labels[box] > 0)
    assert dataset.faults == () and list(dataset.targets) == ["nuclei"]


def test_what_a_layer_knows_and_what_the_configuration_decides(noise, blobs) -> None:
    spec = {
        "image": noise(3, 16, 20),
        "labels": {"a": blobs(16, 20)},
        "channel_axis": 0,
        "spacing": (2.0, 2.0),
    }
    record = open_layers([spec]).records["image"]
    assert (record.image.channels, record.spacing) == (3, (2.0, 2.0))
    record = open_layers([spec], config(spacing=(1.0, 4.0), channel_axis=2)).records["image"]
    assert (record.image.channels, record.spacing) == (3, (1.0, 4.0))


def test_a_layer_that_is_a_stack_of_planes(noise, blobs) -> None:
    spec = {"id": "s", "image": noise(4, 16, 20), "labels": {"a": blobs(4, 16, 20)}, "ndim": 2}
    assert list(open_layers([spec]).records) == ["s[0]", "s[1]", "s[2]", "s[3]"]


def test_one_layer_of_labels_for_two_targets(noise, blobs) -> None:
    spec = {"image": noise(16, 20), "labels": {"painted": blobs(16, 20)}}
    targets = {"nucleus": {"labels": "painted", "values": [1]}, "wall": {"labels": "painted", "values": [2]}}
    record = open_layers([spec], config(targets=targets)).records["image"]
    assert record.labels["nucleus"] is record.labels["wall"]


def test_faults_of_layers_are_listed(noise, blobs) -> None:
    specs = [
        {"id": "a", "image": noise(16, 20), "labels": {"x": blobs(16, 21)}},
        {"id": "a", "image": noise(16, 20), "labels": {"x": blobs(16, 20), "y": blobs(7)}},
        {"id": "b", "image": {"kind": "memmap", "path": "gone", "shape": [4, 4], "dtype": "u1"}},
    ]
    faults = "\n".join(open_layers(specs).faults)
    assert "image 'a' has the shape (16, 20), but its labels 'x' (16, 21)" in faults
    assert "a: two images have this name" in faults
    assert "a, labels 'y': array (7,): an array of shape (7) is not an image" in faults
    assert "b: gone: the file of this layer does not exist" in faults


def test_descriptions_of_layers_are_checked(noise) -> None:
    with pytest.raises(DataError, match="no layer was given"):
        open_layers([])
    with pytest.raises(DataError, match="'label' is unknown in the description of a layer"):
        open_layers([{"image": noise(4, 4), "label": {}}])
    with pytest.raises(DataError, match="layer 'a' has no image"):
        open_layers([{"id": "a"}])


def test_layers_beside_a_folder_and_in_the_place_of_its_files(noise, blobs, tmp_path) -> None:
    for kind in ("images", "labels", "masks"):
        (tmp_path / kind).mkdir()
    files = {name: blobs(16, 20) for name in "abc"}
    for name, labels in files.items():
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", noise(16, 20))
        tifffile.imwrite(tmp_path / "labels" / f"{name}_cells.tif", labels)
        tifffile.imwrite(tmp_path / "labels" / f"{name}_walls.tif", labels)
        tifffile.imwrite(tmp_path / "masks" / f"{name}_cells.tif", labels * 0 + 1)
    (tmp_path / "split.json").write_text('{"train": ["a"], "val": ["b", "c"]}')
    painted = np.zeros((16, 20), np.uint8)
    layers = [
        {"id": "new", "image": noise(16, 20), "labels": {"cells": painted}},
        {"id": "b", "image": noise(16, 20), "labels": {"cells": painted}},
    ]
    dataset = open_dataset({"folder": str(tmp_path), "layers": layers})
    assert list(dataset.records) == ["a", "b", "c", "new"], "in the place of its files"
    assert (dataset.layers, dataset.faults) == ({"b", "new"}, ())
    painted[3:5] = 7
    box = (slice(0, 16), slice(0, 20))
    opened = dataset.records["b"]
    np.testing.assert_array_equal(opened.labels["cells"].read(box)[0], painted)
    np.testing.assert_array_equal(opened.labels["walls"].read(box)[0], files["b"])
    assert opened.masks["cells"].read(box).all(), "what is not open is read from the files"
    split = make_split(dataset)
    assert [region.record for region in split.train] == ["a", "new"], "nobody holds a new image out"
    assert [region.record for region in split.val] == ["b", "c"]
    with pytest.raises(DataError, match=r"a data set is a folder, .* or \{\"folder\""):
        open_dataset({"folder": str(tmp_path)})


def test_a_layer_in_the_place_of_a_file_that_cannot_be_used(noise, blobs, tmp_path) -> None:
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for name in ("damaged", "larger"):
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", noise(16, 24))
        tifffile.imwrite(tmp_path / "labels" / f"{name}_walls.tif", blobs(16, 24))
    (tmp_path / "images" / "damaged.tif").write_bytes(b"II*")
    layers = [
        {"id": name, "image": noise(16, 20), "labels": {"cells": blobs(16, 20)}}
        for name in ("damaged", "larger")
    ]
    dataset = open_dataset({"folder": str(tmp_path), "layers": layers})
    assert dataset.faults == ()
    assert [set(record.labels) for record in dataset.records.values()] == [{"cells"}, {"cells"}]
    first, second = dataset.notes
    assert "damaged.tif" in first and first.endswith("The layers of damaged are used alone.")
    assert "larger: the layer has the shape (16, 20), its file in the folder (16, 24)" in second
    assert "not used (walls). Open it as a layer" in second
    alone = open_dataset({"folder": str(tmp_path), "layers": layers[1:]})
    assert len(alone.faults) == 1, "of an image that is not open as a layer it is a fault"
