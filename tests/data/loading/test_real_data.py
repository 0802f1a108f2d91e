"""From a folder of labelled images to batches, everything real: sources, split, augmentation, targets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data import gather_facts, make_split, open_dataset
from napari_segtrain.data.loader import PatchLoader
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.targets import TargetDeriver, resolve_heads

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def folder() -> Path:
    if "SEGTRAIN_DATA" not in os.environ:
        pytest.skip("SEGTRAIN_DATA does not name a folder with the labelled data sets")
    return Path(os.environ["SEGTRAIN_DATA"])


def open_loaders(folder, config, patch, batch, cache=None, **options):
    dataset = open_dataset(folder, config.dataset_config)
    split = make_split(dataset, config.tr_setup.train_split, config.tr_setup.seed, patch)
    facts = gather_facts(dataset, config)
    deriver = TargetDeriver(config, resolve_heads(config, facts), facts)
    normalisation = Normalisation.fit(config.dataset_config.normalisation, dataset, split)
    shared = (config, patch, normalisation, deriver, batch)
    train = PatchLoader(dataset, split, "train", *shared, augment=True, cache_dir=cache, **options)
    val = PatchLoader(dataset, split, "val", *shared, cache_dir=cache)
    return dataset, split, train, val


def check(batch, shape, heads):
    assert batch["image"].shape == shape
    assert bool(torch.isfinite(batch["image"]).all())
    for head, channels in heads.items():
        assert batch[head].shape == (shape[0], channels, *shape[2:])
        assert batch[f"{head}_mask"].shape == (shape[0], 1, *shape[2:])
        assert batch[f"{head}_mask"].dtype == torch.bool
        assert bool(torch.isfinite(batch[head]).all())


def test_nuclei_with_derived_targets(folder, tmp_path):
    config = ExperimentConfig.parse(
        {
            "dataset_config": {"targets": {"nuclei": {"kind": "instances"}}},
            "auxiliary_tasks": {
                "distance": {"type": "distance_transform", "source_target": "nuclei"},
                "normals": {"type": "surface_normals", "source_target": "nuclei"},
            },
        }
    )
    _, split, train, val = open_loaders(
        folder / "dsb2018_fluo", config, (128, 128), 4, tmp_path, num_workers=2, steps=6
    )
    heads = {"nuclei": 1, "nuclei_boundary": 1, "nuclei_distance": 1, "distance": 1, "normals": 2}
    batches = list(train)
    train.close()
    assert len(batches) == 6
    for batch in batches:
        check(batch, (4, 1, 128, 128), heads)
        assert set(batch) == {"image", *heads, *(f"{h}_mask" for h in heads)}
    together = {name: torch.cat([b[name] for b in batches]) for name in batches[0]}
    inside = together["nuclei"].bool() & together["nuclei_mask"]
    background = ~together["nuclei"].bool() & together["nuclei_mask"]
    assert together["image"][inside].mean() > together["image"][background].mean() + 0.5, "nuclei are bright"
    assert bool((together["distance"][inside & together["distance_mask"]] < 0).all())
    lengths = together["normals"].norm(dim=1, keepdim=True)[together["normals_mask"]]
    assert torch.allclose(lengths, torch.ones_like(lengths), atol=1e-3)
    assert val.index.positions[0].record in {region.record for region in split.val}
    for batch in val:
        check(batch, (len(batch["image"]), 1, 128, 128), heads)
        assert bool(batch["nuclei_mask"].any())
    assert len(list((tmp_path).glob("patch_index_*.npz"))) == 2


def test_membranes_in_a_block_that_is_thinner_than_the_patch(folder):
    config = ExperimentConfig.parse({"dataset_config": {"targets": {"boundary": {"kind": "binary"}}}})
    dataset, split, train, val = open_loaders(folder / "fib25_em3d", config, (48, 48, 48), 2, steps=2)
    for batch in train:
        check(batch, (2, 1, 48, 48, 48), {"boundary": 1})
    (region,) = split.val
    assert region.stop[0] - region.start[0] == 30
    mask = val.batch(0)["boundary_mask"][0, 0]
    assert mask.any(dim=(1, 2)).sum() == 30
    assert bool((~mask[:9]).all() and (~mask[39:]).all())
    assert len(dataset.records) == 1


def test_vessels_count_inside_the_field_of_view_only(folder):
    config = ExperimentConfig.parse({})
    dataset, _, train, val = open_loaders(folder / "chase_db1", config, (96, 96), 4, steps=3)
    (target,) = dataset.targets
    for batch in train:
        check(batch, (4, 3, 96, 96), {target: 1})
    shares = [float(batch[f"{target}_mask"].float().mean()) for batch in val]
    assert min(shares) < 1.0
    assert max(shares) == 1.0
