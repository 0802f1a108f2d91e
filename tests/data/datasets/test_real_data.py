"""The labelled data sets: each opens, is without fault, and splits as its authors say."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from napari_segtrain.config import DatasetConfig, ExperimentConfig
from napari_segtrain.data import check_dataset, gather_facts, make_split, open_folder

ROOT = os.environ.get("SEGTRAIN_DATA")
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(ROOT is None, reason="SEGTRAIN_DATA does not name the folder of the data sets"),
]

EXPECTED = {
    "chase_db1": (20, 2, 3, {"vessel"}, (14, 2, 4)),
    "dsb2018_fluo": (58, 2, 1, {"nuclei"}, (39, 8, 11)),
    "fib25_em3d": (1, 3, 1, {"boundary", "neurons"}, (1, 1, 1)),
    "qcanet_embryo3d": (2, 3, 1, {"nuclei"}, (1, 1, 1)),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_data_set_opens_checks_and_splits(name: str) -> None:
    images, ndim, channels, targets, parts = EXPECTED[name]
    dataset = open_folder(Path(str(ROOT)) / name)
    assert len(dataset.records) == images and dataset.faults == ()
    assert str(check_dataset(dataset)) == "no faults"
    facts = gather_facts(dataset, ExperimentConfig())
    assert (facts.ndim, facts.in_channels, set(facts.targets), facts.images) == (
        ndim,
        channels,
        targets,
        images,
    )
    split = make_split(dataset)
    assert tuple(map(len, (split.train, split.val, split.test))) == parts
    if name == "chase_db1":
        assert all("vessel" in record.masks for record in dataset.records.values())


def test_a_volume_trains_as_planes_with_the_same_split() -> None:
    dataset = open_folder(Path(str(ROOT)) / "fib25_em3d", DatasetConfig(ndim=2))
    split = make_split(dataset)
    assert tuple(map(len, (split.train, split.val, split.test))) == (150, 30, 70)
    assert split.val[0].record == "sample2[150]" and split.val[0].shape == (250, 250)


def test_opening_58_images_is_quick() -> None:
    folder = Path(str(ROOT)) / "dsb2018_fluo"
    open_folder(folder)  # imports
    start = time.process_time()
    open_folder(folder)
    assert time.process_time() - start < 1.0
