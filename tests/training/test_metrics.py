"""Scores equal their definition, look at labelled voxels only, and are None where they say nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.training.metrics import build_metrics, compute_scores, metric_names


def score(head, outputs, target, mask, batches: int = 1) -> dict[str, float | None]:
    metrics = build_metrics([head], "val_")
    for part in zip(outputs.chunk(batches), target.chunk(batches), mask.chunk(batches), strict=True):
        metrics.update({head.name: part[0]}, {head.name: part[1], f"{head.name}_mask": part[2]})
    return compute_scores(metrics)


@pytest.mark.parametrize("ndim", [2, 3])
@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_dice_of_a_binary_head_is_its_formula(fake_head, ndim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (4, 1, *(5,) * ndim)
    output, target, mask = rng.normal(size=shape), rng.random(shape) < 0.4, rng.random(shape) < 0.6
    got = score(
        fake_head("a"), torch.tensor(output), torch.tensor(target).float(), torch.tensor(mask), batches=2
    )
    a, b = (output > 0) & mask, target & mask
    if a.sum() + b.sum():
        assert got["val_a_dice"] == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()), abs=1e-6)
    assert got["val_a_accuracy"] == pytest.approx((a == b)[mask].mean(), abs=1e-6)
    assert got["val_accuracy"] == got["val_a_accuracy"]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_dice_of_classes_is_the_mean_without_background(fake_head, ndim: int, activation: str) -> None:
    rng = np.random.default_rng(ndim)
    shape = (2, *(6,) * ndim)
    predicted, target, mask = rng.integers(0, 3, shape), rng.integers(0, 3, shape), rng.random(shape) < 0.7
    output = np.moveaxis(np.eye(3)[predicted], -1, 1)
    head = fake_head("c", encoding="classes", activation=activation, out_channels=3)
    got = score(head, torch.tensor(output), torch.tensor(target)[:, None], torch.tensor(mask)[:, None])
    expected = []
    for value in (1, 2):
        a, b = (predicted == value) & mask, (target == value) & mask
        expected.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert got["val_c_dice"] == pytest.approx(np.mean(expected), abs=1e-6)
    assert got["val_c_accuracy"] == pytest.approx((predicted == target)[mask].mean(), abs=1e-6)


def test_a_class_that_never_occurs_does_not_count(fake_head) -> None:
    target = torch.tensor([[[[0, 1, 1, 0]]]])
    output = torch.nn.functional.one_hot(target[:, 0], 4).movedim(-1, 1).float()
    head = fake_head("c", encoding="classes", activation="softmax", out_channels=4)
    assert score(head, output, target, torch.ones(1, 1, 1, 4, dtype=torch.bool))["val_c_dice"] == 1.0


def test_the_finest_output_of_deep_supervision_is_scored(fake_head) -> None:
    head = fake_head("a")
    target = torch.tensor([[[[1.0, 0.0]]]])
    metrics = build_metrics([head], "val_")
    metrics.update(
        {"a": [target * 2 - 1, -torch.ones(1, 1, 1, 1)]}, {"a": target, "a_mask": torch.ones_like(target) > 0}
    )
    assert compute_scores(metrics)["val_a_dice"] == 1.0


@pytest.mark.parametrize("activation", ["sigmoid", "softmax", "none"])
def test_measured_values_are_compared_after_the_activation(fake_head, activation: str) -> None:
    raw = torch.tensor([[1.0, -2.0], [0.5, 3.0]])[:, :, None, None]
    target = torch.tensor([[0.2, 0.8], [0.4, 0.6]])[:, :, None, None]
    predicted = {"sigmoid": raw.sigmoid(), "softmax": raw.softmax(1), "none": raw}[activation]
    head = fake_head("r", encoding="regression", activation=activation, out_channels=2)
    got = score(head, raw, target, torch.ones(2, 1, 1, 1, dtype=torch.bool))
    assert got["val_r_mae"] == pytest.approx((predicted - target).abs().mean().item())


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ({"encoding": "binary"}, "a_dice"),
        ({"encoding": "classes", "activation": "softmax", "out_channels": 2}, "a_dice"),
        ({"encoding": "regression", "activation": "none"}, "a_mae"),
        ({"encoding": "surface_normals", "activation": "none", "out_channels": 2}, "a_angle"),
    ],
)
def test_nothing_labelled_has_no_score(fake_head, kind: dict, name: str) -> None:
    head = fake_head("a", **kind)
    channels = head.out_channels
    target = torch.zeros(1, 1 if head.encoding == "classes" else channels, 4, 4)
    target = target.long() if head.encoding == "classes" else target
    got = score(head, torch.zeros(1, channels, 4, 4), target, torch.zeros(1, 1, 4, 4, dtype=torch.bool))
    assert got[f"val_{name}"] is None


def test_mean_absolute_error_is_in_the_targets_units_and_ignores_what_is_unknown(fake_head) -> None:
    head = fake_head("d", encoding="distance_transform", activation="none", scale=4.0)
    output = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    target = torch.tensor([[[[3.0, 8.0, float("nan")]]]])
    mask = torch.tensor([[[[True, True, False]]]])
    assert score(head, output, target, mask)["val_d_mae"] == pytest.approx(0.5)


def test_mean_absolute_error_of_a_sigmoid_head_is_of_its_probability(fake_head) -> None:
    head = fake_head("d", encoding="centre_distance")
    output, target = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert score(head, output, target, torch.ones(1, 1, 2, 2) > 0)["val_d_mae"] == pytest.approx(0.5)


def test_angle_is_between_directions_whatever_their_length(fake_head) -> None:
    head = fake_head("n", encoding="surface_normals", activation="none", out_channels=2)
    output = torch.tensor([[[[5.0, 0.0]], [[0.0, 1.0]]]])
    target = torch.tensor([[[[0.0, 0.0]], [[1.0, 1.0]]]])
    got = score(head, output, target, torch.ones(1, 1, 1, 2) > 0)
    assert got["val_n_angle"] == pytest.approx(45.0, abs=1e-3)


def test_of_directions_without_a_sign_the_opposite_is_as_good(fake_head) -> None:
    head = fake_head("t", encoding="inplane_direction", activation="none", out_channels=2)
    output = torch.tensor([[[[-5.0, 0.0]], [[0.0, -1.0]]]])
    target = torch.tensor([[[[1.0, 0.0]], [[1.0, 1.0]]]])
    got = score(head, output, target, torch.ones(1, 1, 1, 2) > 0)
    assert got["val_t_angle"] == pytest.approx(22.5, abs=1e-3)


def test_scores_start_anew_after_they_were_asked_for(fake_head) -> None:
    head = fake_head("a")
    metrics = build_metrics([head], "train_")
    ones = torch.ones(1, 1, 2, 2)
    metrics.update({"a": ones}, {"a": ones, "a_mask": ones > 0})
    assert compute_scores(metrics)["train_a_dice"] == 1.0
    assert compute_scores(metrics) == {}
    metrics.update({"a": -ones}, {"a": ones, "a_mask": ones > 0})
    assert compute_scores(metrics)["train_a_dice"] == 0.0


def test_names_are_those_of_the_values(fake_head) -> None:
    heads = [
        fake_head("a.b"),
        fake_head("c", encoding="classes", activation="softmax", out_channels=2),
        fake_head("d", encoding="regression", activation="none"),
        fake_head("n", encoding="surface_normals", activation="none", out_channels=3),
    ]
    batch, outputs = {}, {}
    for head in heads:
        outputs[head.name] = torch.zeros(1, head.out_channels, 2, 2, 2)
        batch[head.name] = torch.zeros(1, 1 if head.name == "c" else head.out_channels, 2, 2, 2).long()
        batch[f"{head.name}_mask"] = torch.ones(1, 1, 2, 2, 2) > 0
    metrics = build_metrics(heads, "val_")
    metrics.update(outputs, batch)
    assert set(compute_scores(metrics)) == {f"val_{n}" for n in metric_names(heads)} | {"val_accuracy"}
