"""Painting while training, through the files that the viewer and the engine share."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_segtrain.config import DataError, ExperimentConfig
from napari_segtrain.data import gather_facts, open_dataset, region_index
from napari_segtrain.data.live import labels_changed
from napari_segtrain.data.loader import PatchLoader
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.data.records import Region, Split
from napari_segtrain.targets import TargetDeriver, resolve_heads

MASKED = {"dataset_config": {"targets": {"cell": {"kind": "binary", "mask": "field"}}}}
CONFIG = {"dataset_config": {"targets": {"cell": {"kind": "binary", "unlabelled": 0}}}}


@pytest.fixture
def painted(tmp_path):
    """Return a function that makes shared layers of a shape: what the viewer writes to, and a loader."""

    def build(shape, ndim):
        image = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
        image.tofile(tmp_path / "image")
        labels = np.memmap(tmp_path / "labels", np.int32, "w+", shape=shape)
        labels[..., :4, :4] = 1
        labels[..., :4, 4:8] = 2
        labels.flush()

        def layer(name, dtype):
            return {"kind": "memmap", "path": str(tmp_path / name), "shape": list(shape), "dtype": dtype}

        spec = {
            "id": "sample",
            "image": layer("image", "uint8"),
            "labels": {"cell": layer("labels", "int32")},
        }
        config = ExperimentConfig.parse(CONFIG).with_overrides({"dataset_config.ndim": ndim})
        dataset = open_dataset({"layers": [spec]}, config.dataset_config)
        split = Split(train=tuple(Region(r.id, (0,) * ndim, r.shape) for r in dataset.records.values()))
        facts = gather_facts(dataset, config)
        deriver = TargetDeriver(config, resolve_heads(config, facts), facts)
        fitted = Normalisation.fit(config.dataset_config.normalisation, dataset, split)
        loader = PatchLoader(
            dataset, split, "train", config, (16,) * ndim, fitted, deriver, 2, num_workers=1, steps=40
        )
        return labels, dataset, loader

    return build


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "ndim"), [((64, 64), 2), ((32, 48, 48), 3)])
def test_a_stroke_written_by_the_viewer_is_drawn_and_learned_from(painted, shape, ndim):
    labels, dataset, loader = painted(shape, ndim)
    assert not all(batch["cell_mask"].all() for batch in loader)
    places = len(loader.index)
    box = (slice(20, 30),) * ndim
    labels[box] = 2
    assert labels_changed(dataset, [loader], "sample", "cell", [[20, 30]] * ndim)
    assert len(loader.index) > places
    labels[:] = 2
    assert labels_changed(dataset, [loader], "sample", "cell", [[0, n] for n in shape])
    assert all(batch["cell_mask"].all() and batch["cell"].all() for batch in loader)
    loader.close()


def test_a_stroke_in_a_stack_of_planes_finds_its_plane(painted):
    labels, dataset, loader = painted((3, 64, 64), 2)
    places = [spec.record for spec in loader.index.positions]
    labels[1, 40:44, 40:44] = 2
    assert labels_changed(dataset, [loader], "sample", "cell", [[1, 2], [40, 44], [40, 44]])
    now = [spec.record for spec in loader.index.positions]
    gained = {name for name in set(now) if now.count(name) > places.count(name)}
    assert gained == {list(dataset.records)[1]}
    with pytest.raises(DataError, match="another shape"):
        labels_changed(dataset, [loader], "sample", "cell", [[40, 44], [40, 44]])
    loader.close()


def test_a_stroke_in_a_mask_opens_new_places():
    image, labels = np.random.default_rng(0).random((2, 64, 64))
    labels = (labels > 0.5).astype(np.uint8)
    field = np.zeros((64, 64), np.uint8)
    field[:16, :16] = 1
    config = ExperimentConfig.parse(MASKED)
    spec = {"id": "sample", "image": image, "labels": {"cell": labels}, "masks": {"field": field}}
    dataset = open_dataset({"layers": [spec]}, config.dataset_config)
    facts = gather_facts(dataset, config)
    deriver = TargetDeriver(config, resolve_heads(config, facts), facts)
    split = Split(train=(Region("sample", (0, 0), (64, 64)),))
    loader = PatchLoader(dataset, split, "train", config, (16, 16), Normalisation(), deriver, 2, steps=40)
    places = len(loader.index)
    field[40:60, 40:60] = 1
    assert labels_changed(dataset, [loader], "sample", "cell", [[40, 60], [40, 60]])
    assert len(loader.index) > places
    loader.close()


def test_a_layer_that_was_taken_away_while_training_is_named(painted):
    _, dataset, loader = painted((64, 64), 2)
    with pytest.raises(DataError, match="no target 'cells'"):
        labels_changed(dataset, [loader], "sample", "cells", [[0, 1], [0, 1]])
    with pytest.raises(DataError, match="no image 'Sample'"):
        labels_changed(dataset, [loader], "Sample", "cell", [[0, 1], [0, 1]])


def test_files_are_counted_once_and_again_when_they_change(tmp_path, monkeypatch):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    labels = np.zeros((48, 64), np.uint8)
    labels[5:9, 5:9], labels[5:9, 9] = 2, 1
    tifffile.imwrite(tmp_path / "images" / "a.tif", labels + 3)
    tifffile.imwrite(tmp_path / "labels" / "a_cell.tif", labels, compression="zlib")
    counted = []
    original = region_index.RegionIndex.count_all
    monkeypatch.setattr(
        region_index.RegionIndex, "count_all", lambda self: counted.append(1) or original(self)
    )

    def positions():
        config = ExperimentConfig.parse(CONFIG)
        dataset = open_dataset(tmp_path, config.dataset_config)
        region = Region("a", (0, 0), (48, 64))
        arguments = (dataset, Split(train=(region,)), "train", config, (16, 16), Normalisation(), dict, 2)
        loader = PatchLoader(*arguments, cache_dir=tmp_path / "cache")
        return [spec.start for spec in loader.index.positions]

    first = positions()
    assert positions() == first
    assert len(counted) == 1
    labels[40:44, 50:54] = 2
    tifffile.imwrite(tmp_path / "labels" / "a_cell.tif", labels, compression="zlib")
    assert len(positions()) > len(first)
    assert len(counted) == 2


def test_labels_painted_in_a_region_of_validation_stay_validation():
    image, labels = np.random.default_rng(0).random((64, 64)), np.zeros((64, 64), np.uint8)
    labels[:, 2:6] = labels[:, 50:52] = 1
    labels[:4, 2:6] = 2
    config = ExperimentConfig.parse(CONFIG)
    dataset = open_dataset(
        {"layers": [{"id": "sample", "image": image, "labels": {"cell": labels}}]}, config.dataset_config
    )
    facts = gather_facts(dataset, config)
    deriver = TargetDeriver(config, resolve_heads(config, facts), facts)
    split = Split(train=(Region("sample", (0, 0), (64, 40)),), val=(Region("sample", (0, 48), (64, 64)),))
    train, val = (
        PatchLoader(dataset, split, part, config, (16, 16), Normalisation(), deriver, 2, steps=40)
        for part in ("train", "val")
    )
    before, labels[8:12, 52:60] = list(train.index.positions), 2
    assert labels_changed(dataset, [train, val], "sample", "cell", [[8, 12], [52, 60]])
    assert list(train.index.positions) == before and train.index.view.recent == ()
    assert any((batch["cell"] == 1).any() for batch in val)
    draws = [train.dataset._sampler.draw(0, n, np.random.default_rng(n)) for n in range(40)]
    assert all(spec.stop[1] <= 40 for spec in draws)
    assert not labels_changed(dataset, [train, val], "sample", "cell", [[8, 12], [41, 46]]), "the gap"
