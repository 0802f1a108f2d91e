"""Vectors are derived from augmented labels and never turned themselves: both ways must agree."""

from __future__ import annotations

import numpy as np
import pytest

from napari_segtrain.config import AugmentationConfig, DataFacts, ExperimentConfig
from napari_segtrain.data.augmentation import Augmenter
from napari_segtrain.targets import TargetDeriver, resolve_heads

TASKS = {
    "normals": {"type": "surface_normals", "source_target": "t", "band": 5.0},
    "direction": {"type": "inplane_direction", "source_target": "t"},
}
GEOMETRIES = [
    ((64, 64), (1.0, 1.0)),
    ((48, 64), (1.5, 1.0)),
    ((40, 40, 40), (1.0, 1.0, 1.0)),
    ((16, 48, 48), (5.0, 1.0, 1.0)),
]


def deriver_of(size, spacing):
    config = ExperimentConfig.parse(
        {"dataset_config": {"targets": {"t": {"kind": "binary"}}}, "auxiliary_tasks": TASKS}
    )
    facts = DataFacts(ndim=len(size), shape=size, spacing=spacing)
    return TargetDeriver(config, resolve_heads(config, facts), facts)


def ellipsoid(size, spacing):
    """Return the labels of a body whose normals point everywhere, three times as long as thick."""
    axes = [(np.arange(n) - n / 2) * s for n, s in zip(size, spacing, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    edge = min(n * s for n, s in zip(size, spacing, strict=True))
    radii = (0.2 * edge, *(0.3 * edge,) * (len(size) - 2), 0.45 * edge)
    return (sum((g / r) ** 2 for g, r in zip(grid, radii, strict=True)) < 1).astype(np.uint8)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize(("size", "spacing"), GEOMETRIES)
def test_derived_after_augmentation_is_derived_before_and_turned(name, size, spacing):
    """With q = A p in physical units, a field of unit normals n(q) becomes Aᵀ n, a direction A⁻¹ v."""
    never = dict.fromkeys([n for n in AugmentationConfig.model_fields if n.startswith("max_")], 0.0)
    config = AugmentationConfig(**never | {"max_low_resolution": 1.0}, rotate=1.0, scale=1.0, scaling=0.1)
    augmenter = Augmenter(config, len(size), size, spacing)
    derive = deriver_of(size, spacing)
    labels = ellipsoid(augmenter.source_size(), spacing)
    before = derive({"t": labels}, {}, spacing)
    step = np.asarray(spacing)
    flat = np.zeros((1, *labels.shape), np.float32)
    for seed in range(3):
        params = augmenter.draw(np.random.default_rng(seed))
        assert params.spatial.angles or params.spatial.turns
        given = {"t": labels, "vectors": before[name]}
        _, moved, masks = augmenter.apply(params, flat, given, {"known": before[f"{name}_mask"][0]})
        after = derive({"t": moved["t"]}, {}, spacing)
        turned = augmenter.frame.matrix(params.spatial) * step[:, None] / step[None, :]
        matrix = turned.T if name == "normals" else np.linalg.inv(turned)
        expected = np.tensordot(matrix, moved["vectors"], 1)
        expected /= np.maximum(np.linalg.norm(expected, axis=0), 1e-9)
        both = masks["known"] & after[f"{name}_mask"][0]
        assert both.sum() > 100
        cosine = (expected * after[name]).sum(axis=0)[both]
        if name == "direction":
            cosine = np.abs(cosine)
        # Steps of the labels, and a voxel's rounding, turn single vectors by some degrees.
        assert np.mean(cosine) > 0.98
        assert np.quantile(cosine, 0.05) > 0.9
        # Left as they were, they would not fit.
        unturned = (moved["vectors"] * after[name]).sum(axis=0)[both]
        if params.spatial.angles:
            assert np.mean(np.abs(unturned)) < 0.97
