import threading

import numpy as np
import pytest
import torch

from napari_segtrain.config import DataError, DataFacts, ExperimentConfig, TargetFacts
from napari_segtrain.config.auxiliary import TASK_TYPES
from napari_segtrain.targets import (
    TargetDeriver,
    field_kernels,
    nearest,
    object_kernels,
    resolve_heads,
    smoothing,
    tensor_kernels,
    warm_up,
)


def build(targets, known, ndim=2, tasks=None, **sections):
    config = ExperimentConfig.parse(
        {"dataset_config": {"targets": targets}, "auxiliary_tasks": tasks or {}, **sections}
    )
    facts = DataFacts(ndim=ndim, shape=(32,) * ndim, spacing=(1.0,) * ndim, targets=known)
    heads = resolve_heads(config, facts)
    return heads, TargetDeriver(config, heads, facts)


@pytest.mark.parametrize("ndim", [2, 3])
def test_every_head_gets_a_target_and_a_mask_of_the_documented_shape_and_type(ndim):
    known = {"c": TargetFacts(values=(0, 4, 9)), "r": TargetFacts(integer=False, channels=2)}
    tasks = {
        f"{name}_{source}": {"type": name, "source_target": source} for name in TASK_TYPES for source in "bic"
    }
    heads, derive = build(
        {"b": {"kind": "binary"}, "i": {"kind": "instances"}, "c": {}, "r": {}}, known, ndim, tasks
    )
    rng = np.random.default_rng(0)
    shape = (16,) * ndim
    labels = {
        "b": rng.integers(0, 2, shape).astype(np.uint8),
        "i": rng.integers(0, 5, shape).astype(np.uint16),
        "c": rng.choice([0, 4, 9], shape).astype(np.int32),
        "r": rng.normal(size=(2, *shape)),
    }
    mask = rng.random(shape) > 0.2
    out = derive(labels, dict.fromkeys(labels, mask), (1.0,) * ndim)
    assert set(out) == {h.name for h in heads} | {f"{h.name}_mask" for h in heads}
    for head in heads:
        values, valid = out[head.name], out[f"{head.name}_mask"]
        channels = 1 if head.encoding == "classes" else head.out_channels
        assert values.shape == (channels, *shape)
        assert values.dtype == (np.int64 if head.encoding == "classes" else np.float32)
        assert valid.shape == (1, *shape)
        assert valid.dtype == bool
        assert np.isfinite(values).all()
        assert not valid[0][~mask].any()
        torch.from_numpy(values)
    np.testing.assert_array_equal(out["c"][0][mask], np.searchsorted([0, 4, 9], labels["c"])[mask])
    np.testing.assert_allclose(out["r"][:, mask], labels["r"][:, mask], rtol=1e-6)


def test_a_class_nobody_listed_is_unlabelled_but_background_beside_a_given_list():
    labels = {"c": np.array([[0, 1, 2, 7]] * 4)}
    _, derive = build({"c": {"kind": "classes"}}, {"c": TargetFacts(values=(0, 1, 2))})
    out = derive(labels, {}, (1.0, 1.0))
    assert out["c_mask"][0, 0].tolist() == [True, True, True, False]
    _, derive = build(
        {"c": {"kind": "classes", "values": [0, 2, 7]}}, {"c": TargetFacts(values=(0, 1, 2, 7))}
    )
    out = derive(labels, {}, (1.0, 1.0))
    assert out["c"][0, 0].tolist() == [0, 0, 1, 2]
    assert out["c_mask"].all()


def test_scribbles_with_zero_unlabelled():
    _, derive = build({"c": {"unlabelled": 0}}, {"c": TargetFacts(values=(0, 1, 2, 3))})
    out = derive({"c": np.array([[0, 1, 2, 3]] * 4)}, {}, (1.0, 1.0))
    assert out["c"][0, 0].tolist() == [0, 0, 1, 2]
    assert out["c_mask"][0, 0].tolist() == [False, True, True, True]


def test_a_binary_target_with_two_channels_gives_class_numbers():
    _, derive = build({"b": {"kind": "binary", "out_channels": 2, "values": [5]}}, {})
    out = derive({"b": np.array([[0, 5, 3, 5]] * 4)}, {}, (1.0, 1.0))
    assert out["b"][0, 0].tolist() == [0, 1, 0, 1]
    assert out["b"].dtype == np.int64


def test_loss_on_label_only_looks_at_foreground_alone():
    tasks = {"d": {"type": "distance_transform", "source_target": "b"}}
    _, derive = build({"b": {"kind": "binary"}}, {}, tasks=tasks, tr_config={"loss_on_label_only": True})
    labels = np.zeros((16, 16), np.uint8)
    labels[4:12, 4:12] = 1
    out = derive({"b": labels}, {}, (1.0, 1.0))
    np.testing.assert_array_equal(out["b_mask"][0], labels == 1)
    assert out["d_mask"].any()
    assert not out["d_mask"][0][labels == 0].any()


def test_not_a_number_is_unlabelled_and_never_reaches_the_loss():
    _, derive = build({"r": {"kind": "regression"}}, {"r": TargetFacts(integer=False)})
    values = np.ones((1, 8, 8))
    values[0, 2] = np.nan
    out = derive({"r": values}, {}, (1.0, 1.0))
    assert np.isfinite(out["r"]).all()
    assert not out["r_mask"][0, 2].any()
    assert out["r_mask"].sum() == 56


def test_labels_that_do_not_fit_are_refused():
    _, derive = build({"r": {"kind": "regression"}}, {"r": TargetFacts(integer=False)})
    with pytest.raises(DataError, match="2 channels, the network outputs 1"):
        derive({"r": np.ones((2, 8, 8))}, {}, (1.0, 1.0))
    with pytest.raises(DataError, match="no labels for target 'r'"):
        derive({"x": np.ones((8, 8))}, {}, (1.0, 1.0))


def test_threads_share_a_deriver_and_inputs_stay_as_they_were():
    tasks = {"n": {"type": "surface_normals", "source_target": "i"}}
    _, derive = build({"i": {"kind": "instances"}}, {}, tasks=tasks)
    labels = np.zeros((48, 48), np.int32)
    labels[10:30, 10:30] = 3
    labels[30:40, 10:30] = 4
    before = labels.copy()
    expected = derive({"i": labels}, {}, (1.0, 1.0))
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(derive({"i": labels}, {}, (1.0, 1.0))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    for result in results:
        for key, value in expected.items():
            np.testing.assert_array_equal(result[key], value)
    np.testing.assert_array_equal(labels, before)


def test_warm_up_compiles_what_patches_of_either_dimension_run():
    warm_up()
    kernels = {
        name: kernel
        for module in (field_kernels, nearest, object_kernels, smoothing, tensor_kernels)
        for name, kernel in vars(module).items()
        if hasattr(kernel, "signatures")
    }
    assert len(kernels) > 10
    counts = {name: len(kernel.signatures) for name, kernel in kernels.items()}
    tasks = {name: {"type": name, "source_target": "i"} for name in TASK_TYPES}
    for ndim in (2, 3):
        _, derive = build({"i": {"kind": "instances"}}, {}, ndim, tasks)
        labels = np.zeros((8,) * ndim, np.uint16)
        labels[:4] = 5
        derive({"i": labels}, {}, (1.0, 2.0, 3.0)[:ndim])
    assert {name: len(kernel.signatures) for name, kernel in kernels.items()} == counts
