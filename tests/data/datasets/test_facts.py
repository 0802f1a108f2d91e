"""What is known of the data before anything is decided."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_segtrain.config import DataError, ExperimentConfig
from napari_segtrain.data import gather_facts, open_layers, scan


def config(**dataset) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"dataset_config": dataset})


def dataset_of(specs, settings: ExperimentConfig):
    return open_layers(specs, settings.dataset_config)


def test_shapes_spacing_and_channels_are_medians(noise, blobs) -> None:
    specs = [
        {
            "id": str(k),
            "image": noise(n, 20, 2),
            "channel_axis": 2,
            "labels": {"a": blobs(n, 20)},
            "spacing": (s, 0.5),
            "unit": "nm",
        }
        for k, (n, s) in enumerate([(16, 1.0), (40, 2.0), (30, 9.0)])
    ]
    facts = gather_facts(dataset_of(specs, config()), config())
    assert (facts.ndim, facts.in_channels, facts.shape, facts.spacing) == (2, 2, (30, 20), (2.0, 0.5))
    assert (facts.unit, facts.images) == ("nm", 3)
    wanted = ExperimentConfig.model_validate({"model_config": {"in_channels": 5}})
    assert gather_facts(dataset_of(specs, wanted), wanted).in_channels == 5


def test_images_without_labels_do_not_count(noise, blobs) -> None:
    specs = [
        {"id": "a", "image": noise(16, 20), "labels": {"x": blobs(16, 20)}},
        {"id": "b", "image": noise(90, 90)},
    ]
    facts = gather_facts(dataset_of(specs, config()), config())
    assert (facts.images, facts.shape) == (1, (16, 20))
    bare = [{"id": "b", "image": noise(90, 90)}]
    facts = gather_facts(dataset_of(bare, config()), config())
    assert (facts.images, facts.shape, facts.targets) == (1, (90, 90), {})


def test_values_of_labels(noise) -> None:
    rng = np.random.default_rng(0)
    labels = {
        "ids": rng.integers(0, 5000, (40, 40)).astype(np.uint32),
        "classes": rng.choice([0, 3, 7], (40, 40)).astype(np.float32),
        "heat": rng.normal(size=(40, 40)).astype(np.float32),
        "flow": np.full((2, 40, 40), 0.5, np.float32),
        "signed": np.where(rng.random((40, 40)) < 0.5, -1, 4).astype(np.int16),
    }
    facts = gather_facts(dataset_of([{"image": noise(40, 40), "labels": labels}], config()), config()).targets
    assert facts["ids"].values == tuple(np.unique(labels["ids"])[:256].tolist())
    assert facts["ids"].max_value == labels["ids"].max() and facts["ids"].integer
    assert facts["classes"].values == (0, 3, 7) and facts["classes"].integer
    assert not facts["heat"].integer and facts["heat"].values == ()
    assert facts["flow"].channels == 2 and not facts["flow"].integer
    assert facts["signed"].values == (-1, 4)


def test_labels_where_the_mask_is_zero_are_not_seen(noise) -> None:
    labels = np.ones((16, 20), np.uint8)
    labels[:8] = 200
    mask = np.ones((16, 20), bool)
    mask[:8] = False
    spec = {"image": noise(16, 20), "labels": {"a": labels}, "masks": {"a": mask}}
    facts = gather_facts(dataset_of([spec], config()), config()).targets["a"]
    assert facts.values == (1,) and facts.max_value == 1


def test_facts_are_kept_by_target_and_by_label_name(noise, blobs) -> None:
    settings = config(
        targets={"one": {"labels": "all", "values": [1]}, "two": {"labels": "all", "values": [2]}}
    )
    spec = {"image": noise(16, 20), "labels": {"all": blobs(16, 20)}}
    facts = gather_facts(dataset_of([spec], settings), settings).targets
    assert set(facts) == {"one", "two", "all"} and facts["all"].values == (0, 1, 2)


def test_blocks_together_are_the_whole(noise, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 400, (9, 40, 50)) * (rng.random((9, 40, 50)) < 0.1)
    spec = {"image": noise(9, 40, 50), "labels": {"a": labels.astype(np.uint16)}}
    whole = dataset_of([spec], config()).scan("image", "a")
    monkeypatch.setattr(scan, "BLOCK_VOXELS", 500)
    parts = dataset_of([spec], config()).scan("image", "a")
    assert replace(parts, runs=whole.runs) == whole
    assert all(a >= b for a, b in zip(parts.runs, whole.runs, strict=True))
    assert whole.counts[0] == (0, np.count_nonzero(labels == 0))
    assert whole.labelled == labels.size and whole.foreground == np.count_nonzero(labels)


def test_large_labels_are_sampled_evenly(noise, monkeypatch) -> None:
    monkeypatch.setattr(scan, "BLOCK_VOXELS", 20 * 20)
    monkeypatch.setattr(scan, "MOST_LABEL_VOXELS", 20 * 20 * 10)
    labels = np.repeat(np.arange(100, dtype=np.uint16), 400).reshape(100, 20, 20)
    spec = {"image": noise(100, 20, 20), "labels": {"a": labels}}
    found = dataset_of([spec], config()).scan("image", "a")
    assert found.voxels == 4000
    assert found.values == tuple(range(0, 100, 10))


def test_sparse_labels_in_a_huge_store_are_found(tmp_path) -> None:
    import zarr

    shape = (4096, 4096, 4096)
    for name in ("image", "labels"):
        zarr.create_array(
            str(tmp_path / name), shape=shape, chunks=(64, 64, 64), dtype=np.uint8, fill_value=0
        )
    painted = zarr.open(str(tmp_path / "labels"), mode="r+")
    painted[2000, 2000:2010, 2000:2020] = 2
    painted[2000, 2010:2015, 2000:2020] = 1
    settings = config(targets={"a": {"unlabelled": 0}})
    spec = {
        "image": {"kind": "zarr", "path": str(tmp_path / "image")},
        "labels": {"a": {"kind": "zarr", "path": str(tmp_path / "labels")}},
    }
    dataset = dataset_of([spec], settings)
    assert gather_facts(dataset, settings).targets["a"].values == (0, 1, 2)
    found = dataset.scan("image", "a")
    assert (found.labelled, found.foreground) == (300, 200)


def test_planes_and_volumes_do_not_mix(noise, blobs) -> None:
    specs = [
        {"id": "flat", "image": noise(16, 20), "labels": {"a": blobs(16, 20)}},
        {"id": "deep", "image": noise(5, 16, 20), "labels": {"a": blobs(5, 16, 20)}},
    ]
    with pytest.raises(DataError, match=r"'flat' is a plane \(16, 20\) and 'deep' a volume"):
        gather_facts(dataset_of(specs, config()), config())
