"""The seven steps: what they do, and the order that they insist on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_segtrain.config import SGD, AdamW, Cosine, TrainingError
from napari_segtrain.training import (
    Batch,
    Journey,
    LossValue,
    Optimization,
    StepOrderError,
    backward_pass,
    calculate_loss,
    forward_pass,
    initialize_optimizer,
    optimizer_step,
    prepare_batch,
    zero_gradients,
)

PLAIN = SGD(lr=0.1, momentum=0.0, weight_decay=0.0)


class Line(nn.Module):
    """One output, a weighted image."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0]))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"a": x * self.weight}


def mean_square(outputs: dict[str, Any], batch: dict[str, Tensor], epoch: int) -> Tensor:
    return ((outputs["a"] - batch["a"]) ** 2).mean()


def batch_of(values: list[float], index: int = 0) -> Batch:
    image = torch.tensor(values)[:, None]
    return prepare_batch({"image": image, "a": torch.zeros_like(image)}, index)


def forwarded(step: Optimization, batch: Batch | None = None) -> LossValue:
    batch = batch if batch is not None else batch_of([1.0, 3.0])
    return calculate_loss(forward_pass(step.network, batch), batch, mean_square)


def test_one_step_by_hand_is_the_closed_form() -> None:
    step = initialize_optimizer(Line(), PLAIN)
    step = zero_gradients(step)
    loss = forwarded(step)
    assert loss.value == pytest.approx(2.0**2 * 5.0)
    gradients = backward_pass(step, loss)
    step, info = optimizer_step(step, gradients, measure=True)
    slope = 2 * 2.0 * 5.0
    assert step.network.weight.item() == pytest.approx(2.0 - 0.1 * slope, abs=1e-6)
    assert (info.step, info.learning_rate) == (1, 0.1)
    assert info.norm_before == info.norm_after == pytest.approx(slope)
    assert step.step == 1


def test_the_learning_rate_of_the_step_is_the_one_that_was_used() -> None:
    step = initialize_optimizer(Line(), PLAIN, Cosine(), Journey(4, 2))
    rates = []
    for _ in range(4):
        step = zero_gradients(step)
        step, info = optimizer_step(step, backward_pass(step, forwarded(step)))
        rates.append(info.learning_rate)
    assert rates == pytest.approx([0.1, 0.1 * (2 + 2**0.5) / 4, 0.05, 0.1 * (2 - 2**0.5) / 4])


def test_a_schedule_needs_the_length_of_the_training() -> None:
    with pytest.raises(TrainingError, match="length of the training"):
        initialize_optimizer(Line(), PLAIN, Cosine())


@pytest.mark.parametrize("clip", [0.0, 0.5, 1e6])
def test_clipping_limits_the_norm_and_tells_both(clip: float) -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    gradients = backward_pass(step, forwarded(step))
    step, info = optimizer_step(step, gradients, gradient_clip=clip, measure=True)
    assert info.norm_before == pytest.approx(20.0)
    expected = 20.0 if clip == 0 else min(20.0, clip)
    assert info.norm_after == pytest.approx(expected)
    assert step.network.weight.item() == pytest.approx(2.0 - 0.1 * expected, abs=1e-5)


def test_the_norm_is_not_computed_unless_it_is_wanted() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    _, info = optimizer_step(step, backward_pass(step, forwarded(step)))
    assert info.norm_before is None
    assert info.norm_after is None


def test_accumulating_equals_one_batch() -> None:
    whole = zero_gradients(initialize_optimizer(Line(), AdamW()))
    whole, _ = optimizer_step(whole, backward_pass(whole, forwarded(whole, batch_of([1.0, 2.0, 3.0, 4.0]))))
    parts = zero_gradients(initialize_optimizer(Line(), AdamW()))
    gradients = None
    for number, values in enumerate([[1.0, 2.0], [3.0, 4.0]]):
        gradients = backward_pass(
            parts, forwarded(parts, batch_of(values)), accumulate=number > 0, divide_by=2
        )
    assert gradients is not None
    assert gradients.micro_batches == 2
    parts, _ = optimizer_step(parts, gradients)
    assert parts.network.weight.item() == pytest.approx(whole.network.weight.item(), abs=1e-7)


def test_a_users_operation_between_two_steps_takes_effect() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    batch = batch_of([1.0, 3.0])
    prediction = forward_pass(step.network, batch)
    doubled = replace(prediction, outputs={"a": prediction.outputs["a"] * 2})
    loss = calculate_loss(doubled, batch, mean_square)
    step, _ = optimizer_step(step, backward_pass(step, loss))
    assert step.network.weight.item() == pytest.approx(2.0 - 0.1 * 4 * 20.0)


# ------------------------------------------------------------------------------------- the order


def test_a_step_before_backward_is_refused() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    loss = forwarded(step)
    with pytest.raises(StepOrderError, match="backward_pass must come before optimizer_step"):
        optimizer_step(step, loss)  # type: ignore[arg-type]


def test_the_same_gradients_are_used_once() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    gradients = backward_pass(step, forwarded(step))
    after, _ = optimizer_step(step, gradients)
    for state in (step, after):
        with pytest.raises(StepOrderError, match="backward_pass must come before optimizer_step"):
            optimizer_step(state, gradients)


def test_gradients_that_were_zeroed_are_refused() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    gradients = backward_pass(step, forwarded(step))
    step = zero_gradients(step)
    with pytest.raises(StepOrderError, match="zeroed"):
        optimizer_step(step, gradients)


def test_a_loss_of_another_batch_is_refused() -> None:
    step = initialize_optimizer(Line(), PLAIN)
    prediction = forward_pass(step.network, batch_of([1.0], 4))
    with pytest.raises(StepOrderError, match="batch 4, the targets are of batch 5"):
        calculate_loss(prediction, batch_of([1.0], 5), mean_square)


@pytest.mark.parametrize("after_a_step", [False, True])
def test_gradients_that_are_not_zeroed_are_refused(after_a_step: bool) -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    gradients = backward_pass(step, forwarded(step))
    if after_a_step:
        step, _ = optimizer_step(step, gradients)
    with pytest.raises(StepOrderError, match="zero_gradients must come before backward_pass"):
        backward_pass(step, forwarded(step))
    if after_a_step:
        with pytest.raises(StepOrderError, match="already been used for a step"):
            backward_pass(step, forwarded(step), accumulate=True)
    else:
        assert backward_pass(step, forwarded(step), accumulate=True).micro_batches == 2


def test_another_network_than_the_one_forwarded_is_refused() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    other = zero_gradients(initialize_optimizer(Line(), PLAIN))
    with pytest.raises(StepOrderError, match="another network was forwarded"):
        backward_pass(step, forwarded(other))


def test_gradients_of_another_network_are_refused() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    other = zero_gradients(initialize_optimizer(Line(), PLAIN))
    gradients = backward_pass(other, forwarded(other))
    with pytest.raises(StepOrderError):
        optimizer_step(step, gradients)


def test_a_loss_has_one_backward_pass() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    loss = forwarded(step)
    backward_pass(step, loss)
    with pytest.raises(StepOrderError, match="had it"):
        backward_pass(step, loss, accumulate=True)


# ------------------------------------------------------------------------------------- batches


class Three:
    def __len__(self) -> int:
        return 3

    def batch(self, index: int) -> dict[str, Tensor]:
        return {"image": torch.full((1, 1), float(index))}


@pytest.mark.parametrize("index", [-1, 3, 100])
def test_a_batch_index_out_of_range_names_the_valid_range(index: int) -> None:
    with pytest.raises(TrainingError, match="batches 0 to 2"):
        prepare_batch(Three(), index)


def test_a_batch_is_taken_by_its_number() -> None:
    batch = prepare_batch(Three(), 2)
    assert float(batch.image) == 2.0
    assert (batch.index, batch.size) == (2, 1)


# ------------------------------------------------------------------------------- number formats


def test_bf16_computes_in_bf16_and_loses_in_float32() -> None:
    seen: list[torch.dtype] = []

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> dict[str, Any]:
            y = self.layer(x)
            seen.append(y.dtype)
            return {"a": y, "b": [y, y]}

    outputs = forward_pass(Layer(), Batch({"image": torch.randn(2, 4)}), "bf16").outputs
    assert seen == [torch.bfloat16]
    assert outputs["a"].dtype == torch.float32
    assert [o.dtype for o in outputs["b"]] == [torch.float32] * 2


def test_the_loss_of_fp16_is_scaled_and_the_step_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    step = replace(step, scaler=scaler)
    gradients = backward_pass(step, forwarded(step))
    assert float(step.network.weight.grad) == pytest.approx(64 * 20.0)
    step, info = optimizer_step(step, gradients, gradient_clip=5.0)
    assert info.norm_before == pytest.approx(20.0)
    assert step.network.weight.item() == pytest.approx(2.0 - 0.1 * 5.0, rel=1e-5)


def test_any_callable_can_run_the_backward_pass() -> None:
    calls: list[float] = []

    def backward(total: Tensor) -> None:
        calls.append(float(total.detach()))
        total.backward()

    run: Callable[[Tensor], None] = backward
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    backward_pass(step, forwarded(step), backward=run, divide_by=4)
    assert calls == [pytest.approx(5.0)]
