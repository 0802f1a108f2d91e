"""Stepping through an experiment by hand, from end to end."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from napari_segtrain.config import TrainingError
from napari_segtrain.network.hardware import Inventory
from napari_segtrain.runs import BatchDone, Warned, load_checkpoint
from napari_segtrain.training import steps
from napari_segtrain.training.deviations import deviations
from napari_segtrain.training.steps import (
    StepInfo,
    backward_pass,
    calculate_loss,
    define_model,
    forward_pass,
    initialize_optimizer,
    optimizer_step,
    prepare_batch,
    take_apart,
    zero_gradients,
)
from napari_segtrain.training.tally import LossTally
from napari_segtrain.training.values import mean_of


def test_every_name_that_is_offered_is_there() -> None:
    for name in steps.__all__:
        assert getattr(steps, name).__doc__, name


def test_the_model_that_is_defined_by_hand_has_the_first_weights(layers: Any, tiny_config: Any) -> None:
    parts = take_apart(tiny_config(), layers())
    torch.manual_seed(parts.config.tr_setup.seed)
    same(define_model(parts.network.plan).state_dict(), parts.network.state_dict())


@pytest.mark.parametrize(
    ("accumulate", "at_a_time", "changes"),
    [
        (1, None, {}),
        (2, None, {}),
        (2, 1, {}),
        (4, None, {"tr_config__steps_per_epoch": None}),  # the last step of an epoch has fewer batches
        (1, None, {"ndim": 3}),
    ],
)
def test_stepping_through_all_epochs_is_the_full_training(
    make_experiment: Any,
    layers: Any,
    tiny_config: Any,
    accumulate: int,
    at_a_time: int | None,
    changes: dict[str, Any],
) -> None:
    """Bit for bit: weights, optimizer, history."""
    ndim = changes.get("ndim", 2)
    changes = {**changes, "tr_config__accumulate": accumulate, "tr_config__gradient_clip": 0.5}
    changes |= {"model_config__dropout": 0.1, "tr_config__micro_batch": at_a_time}
    whole = make_experiment(**changes)
    whole.fit()
    parts = take_apart(tiny_config(**changes), layers(ndim, 3))
    assert (parts.group(len(parts.loader) - 1)[1] < accumulate) is (accumulate == 4), "the case is there"
    step, losses, rows, infos = parts.initialize_optimizer(), [], [], []
    for epoch in range(parts.epochs):
        parts.loader.set_epoch(epoch)
        tally = LossTally()
        for index in range(len(parts.loader)):
            position, group = parts.group(index)
            batch = prepare_batch(parts.loader, index, parts.device)
            step = step if position else zero_gradients(step)
            judged = []
            for number, (part, share) in enumerate(parts.divide(batch)):
                loss = calculate_loss(forward_pass(step.network, part), part, parts.loss, epoch)
                more = position > 0 or number > 0
                gradients = backward_pass(step, loss, accumulate=more, divide_by=share)
                tally.add(loss, part.size)
                judged.append(loss)
            assert len(judged) == (1 if at_a_time is None else batch.size // at_a_time)
            if position == group - 1:
                step, info = optimizer_step(step, gradients, gradient_clip=parts.gradient_clip)
                infos.append(info)
            losses.append(mean_of(judged).value)
        rows.append(tally.means())
    module = whole.experiment.module
    for name, value in module.network.state_dict().items():
        assert torch.equal(step.network.state_dict()[name], value), name
    same(step.optimizer.state_dict(), module.optimization.optimizer.state_dict())
    assert step.step == module.optimization.step == len(infos)
    recorded = whole.run.read_metrics()
    assert [row["loss"] for row in rows] == [row["train_loss"] for row in recorded]
    assert [row["fg"] for row in rows] == [row["train_fg_loss"] for row in recorded]
    assert infos[-1].learning_rate == recorded[-1]["learning_rate"]
    assert losses[: len(whole.of(BatchDone)[:1])] == [event.loss for event in whole.of(BatchDone)[:1]]
    saved = load_checkpoint(whole.run.checkpoints / "last.ckpt")["model"]
    assert all(torch.equal(step.network.state_dict()[name], value) for name, value in saved.items())


def same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            same(a, b)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def one_step(parts: Any, batches: list[Any]) -> tuple[nn.Module, StepInfo]:
    step = zero_gradients(parts.initialize_optimizer())
    gradients = None
    for batch in batches:
        loss = calculate_loss(forward_pass(step.network, batch), batch, lambda o, b, e: (o["fg"] ** 2).mean())
        gradients = backward_pass(step, loss, accumulate=gradients is not None, divide_by=len(batches))
    step, info = optimizer_step(step, gradients)
    return step.network, info


def test_a_network_learns_the_same_from_small_batches_that_are_added_up(
    layers: Any, tiny_config: Any
) -> None:
    """Without statistics over a batch; the normalisation of the networks is over each patch."""
    found = []
    for pieces in (1, 4):
        parts = take_apart(tiny_config(tr_config__batch_size=4), layers())
        whole = prepare_batch(parts.loader)
        split = {name: tensor.chunk(pieces) for name, tensor in whole.tensors.items()}
        parted = [{name: chunks[n] for name, chunks in split.items()} for n in range(pieces)]
        found.append(one_step(parts, [prepare_batch(part, n) for n, part in enumerate(parted)]))
    (a, first), (b, second) = found
    assert first.norm_before == pytest.approx(second.norm_before, rel=1e-4)
    pairs = [
        (one.grad, other.grad)
        for one, other in zip(a.parameters(), b.parameters(), strict=True)
        if one.grad is not None
    ]
    assert len(pairs) > 10
    apart = [one - other for one, other in pairs]
    assert torch.linalg.vector_norm(torch.stack([d.norm() for d in apart])) < 1e-4 * first.norm_before


def test_clipping_leaves_the_norm_that_was_allowed(layers: Any, tiny_config: Any) -> None:
    parts = take_apart(tiny_config(), layers())
    step = zero_gradients(parts.initialize_optimizer())
    batch = prepare_batch(parts.loader)
    loss = calculate_loss(forward_pass(step.network, batch), batch, parts.loss)
    gradients = backward_pass(step, loss)
    _, info = optimizer_step(step, gradients, gradient_clip=1e-3)
    applied = [p.grad for p in step.network.parameters() if p.grad is not None]
    norm = float(torch.linalg.vector_norm(torch.stack([g.norm() for g in applied])))
    assert norm <= 1e-3 * (1 + 1e-6)
    assert info.norm_before is not None and info.norm_before > 1e-3
    assert info.norm_after == 1e-3


def test_a_batch_that_is_not_there_names_those_that_are(layers: Any, tiny_config: Any) -> None:
    parts = take_apart(tiny_config(), layers())
    message = "batch_index 3 is out of range: this epoch has batches 0 to 2"
    with pytest.raises(TrainingError, match=message):
        prepare_batch(parts.loader, 3)


def test_the_last_batch_of_a_grid_is_short(make_experiment: Any) -> None:
    loader = make_experiment(tr_config__val_steps=None, tr_config__batch_size=4).experiment.data.loader("val")
    sizes = [prepare_batch(loader, index).size for index in range(len(loader))]
    assert sum(sizes) == loader.samples
    assert sizes[:-1] == [4] * (len(sizes) - 1)
    assert sizes[-1] == loader.samples % 4 > 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"tr_config__ema_decay": 0.9}, "predicts with averaged weights (tr_config.ema_decay 0.9)"),
        ({"tr_config__max_time": 2.5}, "ends after 2.5 minutes (tr_config.max_time)"),
        ({"tr_config__early_stopping": 3}, "ends when 3 validations in a row are no better"),
        ({"tr_setup__devices": 2}, "has 2 processes that learn together, from 4 patches a step (tr_setup)"),
    ],
)
def test_what_a_training_does_and_steps_do_not_is_said_first(
    layers: Any, tiny_config: Any, changes: dict[str, Any], sentence: str
) -> None:
    parts = take_apart(tiny_config(**changes), layers())
    assert parts.resolved.messages[:1] == parts.deviations
    assert sentence in parts.deviations[0]
    assert parts.resolved.where == "cpu", "steps are taken in one process"


def test_what_steps_do_as_a_training_does_is_not_a_deviation(layers: Any, tiny_config: Any) -> None:
    parts = take_apart(tiny_config(tr_config__micro_batch=1), layers())
    assert parts.deviations == ()
    compiled = parts.resolved.replace(compiled=True)
    first, second = deviations(parts.config, compiled, whole=True)
    assert "compiled code (tr_setup.compile)" in first
    assert "the whole batch of 2 patches, where the training computes 1 at a time" in second


def test_an_operation_between_two_steps_changes_what_is_learned(layers: Any, tiny_config: Any) -> None:
    found = []
    for factor in (1.0, 0.0):
        parts = take_apart(tiny_config(), layers())
        before = [p.detach().clone() for p in parts.network.parameters()]
        step = zero_gradients(initialize_optimizer(parts.network))
        batch = prepare_batch(parts.loader)
        loss = calculate_loss(forward_pass(step.network, batch), batch, parts.loss)
        gradients = backward_pass(step, loss)
        for parameter in parts.network.encoder.parameters():
            parameter.grad *= factor
        step, _ = optimizer_step(step, gradients)
        changed = [not torch.equal(a, b) for a, b in zip(before, parts.network.parameters(), strict=True)]
        found.append(sum(changed))
    assert found[0] > found[1] > 0


def test_without_the_gpu_that_was_asked_for_the_processor_trains_and_says_so(
    make_experiment: Any, layers: Any, tiny_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = Inventory(gpus=0, mps=False, why_no_gpu="nobody built one in", why_no_mps="it is no Mac")
    monkeypatch.setattr(Inventory, "of_this_machine", lambda: none)
    wanted = "cuda was asked for, but nobody built one in; the processor computes instead"
    changes = {"tr_setup__device": "cuda", "tr_config__num_epochs": 1}
    made = make_experiment(**changes)
    made.fit()
    assert wanted in [event.message for event in made.of(Warned)]
    parts = take_apart(tiny_config(**changes), layers())
    assert wanted in parts.resolved.messages
    assert (parts.device.type, parts.precision) == ("cpu", "fp32")
    plain = make_experiment(tr_config__num_epochs=1)
    plain.fit()
    trained = plain.experiment.module.network.state_dict()
    same(made.experiment.module.network.state_dict(), trained)
