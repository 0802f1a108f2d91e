"""Averaged weights, loss means, random states, the monitored value: each on its own."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from napari_segtrain.config import ConfigError
from napari_segtrain.training import AveragedWeights, Monitor, seed_everything
from napari_segtrain.training.monitor import check_monitor
from napari_segtrain.training.randomness import random_states, restore_random_states, untouched_randomness
from napari_segtrain.training.tally import LossTally
from napari_segtrain.training.values import Batch, LossValue, Prediction


def bits(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))


def test_the_average_follows_its_formula() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    ema = AveragedWeights(layer, 0.9)
    expected = 1.0
    for number in range(20):
        nn.init.constant_(layer.weight, float(number))
        ema.update()
        decay = min(0.9, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * number
    assert float(ema.weights()["weight"]) == pytest.approx(expected, rel=1e-5)


def test_applying_the_average_leaves_the_weights_bit_for_bit() -> None:
    net = network()
    ema = AveragedWeights(net, 0.99)
    net(torch.randn(2, 1, 8, 8))
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    ema.update()
    before, average = bits(net), {k: v.clone() for k, v in ema.weights().items()}
    with ema.applied():
        with ema.applied():
            assert same(bits(net), average)
        assert same(bits(net), average)
        assert same(ema.weights(), average)
    assert same(bits(net), before)
    assert not same(before, average)


def test_weights_come_back_after_an_error() -> None:
    net = network()
    ema = AveragedWeights(net, 0.99)
    nn.init.normal_(net[0].weight)
    before = bits(net)
    with pytest.raises(ZeroDivisionError), ema.applied():
        _ = 1 / 0
    assert same(bits(net), before)


def loss_value(total: float, parts: dict[str, float], valid: dict[str, bool]) -> LossValue:
    prediction = Prediction({}, Batch({}), nn.Identity())
    return LossValue(torch.tensor(total), prediction, {k: torch.tensor(v) for k, v in parts.items()}, valid)


def test_means_are_over_patches() -> None:
    tally = LossTally()
    tally.add(loss_value(1.0, {"a": 2.0}, {"a": True}), 4)
    tally.add(loss_value(4.0, {"a": 5.0}, {"a": True}), 2)
    assert tally.means() == {"loss": pytest.approx(2.0), "a": pytest.approx(3.0)}


def test_many_batches_are_summed_as_one() -> None:
    tally = LossTally()
    values = np.random.default_rng(0).random(1000)
    for value in values:
        tally.add(loss_value(value, {}, {}), 1)
    assert tally.means()["loss"] == pytest.approx(values.mean(), rel=1e-6)


def test_a_head_counts_as_seen_when_one_batch_had_a_label() -> None:
    tally = LossTally()
    tally.add(loss_value(1.0, {}, {"a": False, "b": False}), 1)
    tally.add(loss_value(1.0, {}, {"a": True, "b": False}), 1)
    tally.add(loss_value(1.0, {}, {"a": False, "b": False}), 1)
    assert tally.unseen() == ["b"]


def test_a_tally_goes_on_bit_for_bit_from_the_middle() -> None:
    rng = np.random.default_rng(1)
    batches = [loss_value(v, {"a": v / 3}, {"a": v > 0.5}) for v in rng.random(300)]
    whole = LossTally()
    for value in batches:
        whole.add(value, 3)
    first = LossTally()
    for value in batches[:270]:
        first.add(value, 3)
    second = LossTally()
    second.load_state_dict(first.state_dict())
    for value in batches[270:]:
        second.add(value, 3)
    assert second.means() == whole.means()
    assert second.unseen() == whole.unseen()


def draw() -> list[float]:
    return [random.random(), float(np.random.rand()), float(torch.rand(()))]  # noqa: NPY002


def test_one_seed_sets_every_random_state() -> None:
    seed_everything(3)
    first = draw()
    draw()
    seed_everything(3)
    assert draw() == first
    seed_everything(4)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_random_states_are_restored() -> None:
    seed_everything(5)
    draw()
    states = random_states()
    expected = draw()
    draw()
    restore_random_states(states)
    assert draw() == expected


def test_randomness_is_untouched_by_what_happens_inside() -> None:
    seed_everything(6)
    states = random_states()
    expected = draw()
    restore_random_states(states)
    with untouched_randomness():
        draw()
        torch.manual_seed(1)
    assert draw() == expected


def test_only_a_strictly_better_value_is_an_improvement() -> None:
    monitor = Monitor("val_loss", "min")
    seen = []
    for epoch, value in enumerate([3.0, 3.0, 2.0, None, 2.5], start=1):
        monitor.update({"epoch": epoch, "val_loss": value})
        seen.append(monitor.improved)
    assert seen == [True, False, True, False, False]
    assert (monitor.best, monitor.best_epoch, monitor.waited) == (2.0, 3, 1)


def test_larger_is_better_when_asked_for() -> None:
    monitor = Monitor("val_a_dice", "max")
    for epoch, value in enumerate([0.1, 0.5, 0.3], start=1):
        monitor.update({"epoch": epoch, "val_a_dice": value})
    assert (monitor.best, monitor.best_epoch) == (0.5, 2)


def test_nan_is_never_the_best() -> None:
    monitor = Monitor()
    monitor.update({"epoch": 1, "val_loss": math.nan})
    assert monitor.best is None
    monitor.update({"epoch": 2, "val_loss": 1.0})
    monitor.update({"epoch": 3, "val_loss": math.nan})
    assert (monitor.best, monitor.best_epoch) == (1.0, 2)


def test_the_best_value_is_carried_over_unless_another_is_monitored() -> None:
    monitor = Monitor("val_loss")
    monitor.update({"epoch": 1, "val_loss": 1.0})
    other = Monitor("val_a_dice", "max")
    other.load_state_dict(monitor.state_dict())
    assert other.best is None
    same_value = Monitor("val_loss")
    same_value.load_state_dict(monitor.state_dict())
    assert (same_value.best, same_value.best_epoch) == (1.0, 1)


def test_a_value_that_will_never_be_there_is_refused_with_the_nearest(fake_head) -> None:
    heads = [fake_head("nuclei")]
    check_monitor("val_nuclei_dice", heads, validates=True)
    with pytest.raises(ConfigError, match="'val_nuclei_dice'"):
        check_monitor("val_nuclei_dise", heads, validates=True)
    with pytest.raises(ConfigError, match="train_loss"):
        check_monitor("val_loss", heads, validates=False)
