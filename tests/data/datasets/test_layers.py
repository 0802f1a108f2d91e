"""Open layers as a data set."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segtrain.config import DataError, DatasetConfig
from napari_segtrain.data import open_dataset, open_layers


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
