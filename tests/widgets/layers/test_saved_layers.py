"""What napari itself saves is a data folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari_builtins.io import napari_write_image, napari_write_labels

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data import (
    Normalisation,
    PatchLoader,
    check_dataset,
    gather_facts,
    make_split,
    open_folder,
)
from napari_segtrain.targets import TargetDeriver, resolve_heads


@pytest.mark.parametrize(
    ("shape", "rgb", "dtype"),
    [((40, 50), False, np.uint8), ((40, 50), True, np.uint8), ((8, 40, 50), False, np.float32)],
)
def test_saved_layers_are_checked_and_become_a_batch(
    tmp_path: Path, shape: tuple[int, ...], rgb: bool, dtype: type
) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (*shape, 3) if rgb else shape).astype(dtype)
    labels = np.zeros(shape, np.uint8)
    labels[..., 10:30, 5:45] = 1
    mask = np.ones(shape, np.uint8)
    mask[..., :4, :] = 0
    assert napari_write_image(str(tmp_path / "day_1.tif"), image, {"rgb": rgb})
    assert napari_write_labels(str(tmp_path / "day_1_cell_wall.tif"), labels, {})
    assert napari_write_labels(str(tmp_path / "day_1_mask.tif"), mask, {})
    config = ExperimentConfig.parse({"dataset_config": {"format": "napari"}})
    dataset = open_folder(tmp_path, config.dataset_config)
    assert str(check_dataset(dataset, config)) == "no faults"
    facts = gather_facts(dataset, config)
    assert (facts.shape, facts.in_channels, list(facts.targets)) == (shape, 3 if rgb else 1, ["cell_wall"])
    patch = (8, 16, 16)[-len(shape) :]
    split = make_split(dataset, 0.7, 0, patch)
    fitted = Normalisation.fit(config.dataset_config.normalisation, dataset, split)
    deriver = TargetDeriver(config, resolve_heads(config, facts), facts)
    loader = PatchLoader(
        dataset, split, "train", config, patch, fitted, deriver, 2, facts=facts, steps=20, augment=True
    )
    batches = list(loader)
    assert batches[0]["image"].shape == (2, 3 if rgb else 1, *patch)
    assert {tuple(b["cell_wall"].shape) for b in batches} == {(2, 1, *patch)}
    assert not all(bool(b["cell_wall_mask"].all()) for b in batches), "the mask is read"
