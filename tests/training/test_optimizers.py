"""The configured optimizer is the one that steps, with its settings."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_segtrain.config import SGD, Adam, AdamW, NAdam, Optimizer, RAdam
from napari_segtrain.training import build_optimizer

ALL = [
    (AdamW(lr=0.01, weight_decay=0.1), torch.optim.AdamW),
    (Adam(lr=0.01), torch.optim.Adam),
    (NAdam(lr=0.01), torch.optim.NAdam),
    (RAdam(lr=0.01), torch.optim.RAdam),
    (SGD(lr=0.01, momentum=0.9), torch.optim.SGD),
]


@pytest.mark.parametrize(("config", "expected"), ALL, ids=lambda v: getattr(v, "name", None))
def test_every_optimizer_lowers_a_quadratic(config: Optimizer, expected: type) -> None:
    weight = nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = build_optimizer(config, [weight])
    assert type(optimizer) is expected
    assert optimizer.param_groups[0]["lr"] == config.lr
    assert optimizer.param_groups[0]["weight_decay"] == config.weight_decay
    start = float(weight.detach().square().sum())
    for _ in range(50):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    assert float(weight.detach().square().sum()) < start


def test_the_default_optimizer_is_fused() -> None:
    optimizer = build_optimizer(AdamW(), nn.Linear(2, 2).parameters())
    assert optimizer.param_groups[0]["fused"]


def test_sgd_takes_its_momentum_and_does_without() -> None:
    with_momentum = build_optimizer(SGD(momentum=0.8), nn.Linear(2, 2).parameters())
    assert with_momentum.param_groups[0]["momentum"] == 0.8
    assert with_momentum.param_groups[0]["nesterov"]
    without = build_optimizer(SGD(momentum=0.0), nn.Linear(2, 2).parameters())
    assert not without.param_groups[0]["nesterov"]
    plain = build_optimizer(SGD(momentum=0.8, nesterov=False), nn.Linear(2, 2).parameters())
    assert not plain.param_groups[0]["nesterov"]


def test_frozen_weights_are_left_out() -> None:
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    groups = build_optimizer(AdamW(), layer.parameters()).param_groups
    assert [p.shape for p in groups[0]["params"]] == [layer.weight.shape]
