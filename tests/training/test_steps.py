"""The seven steps: what they do, and the order that they insist on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_segtrain.config import SGD, AdamW, ConfigError, Cosine, TrainingError
from napari_segtrain.losses import LOSSES
from napari_segtrain.training import (
    Batch,
    Journey,
    LossValue,
    NamedLoss,
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
    step, info = optimizer_step(step, gradients)
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
    step, info = optimizer_step(step, gradients, gradient_clip=clip)
    assert info.norm_before == pytest.approx(20.0)
    expected = 20.0 if clip == 0 else min(20.0, clip)
    assert info.norm_after == pytest.approx(expected)
    assert step.network.weight.item() == pytest.approx(2.0 - 0.1 * expected, abs=1e-5)


def test_the_norm_is_not_computed_where_it_is_not_wanted() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    _, info = optimizer_step(step, backward_pass(step, forwarded(step)), measure=False)
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


def without_backward() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    optimizer_step(step, forwarded(step))  # type: ignore[arg-type]


def gradients_used_twice() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    gradients = backward_pass(step, forwarded(step))
    after, _ = optimizer_step(step, gradients)
    optimizer_step(after, gradients)


def gradients_used_twice_in_the_state_before() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    gradients = backward_pass(step, forwarded(step))
    optimizer_step(step, gradients)
    optimizer_step(step, gradients)


def gradients_that_were_zeroed() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    gradients = backward_pass(step, forwarded(step))
    optimizer_step(zero_gradients(step), gradients)


def gradients_that_others_were_added_to() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    first = backward_pass(step, forwarded(step))
    backward_pass(step, forwarded(step), accumulate=True)
    optimizer_step(step, first)


def loss_of_another_batch() -> None:
    step = initialize_optimizer(Line(), PLAIN)
    calculate_loss(forward_pass(step.network, batch_of([1.0], 4)), batch_of([1.0], 5), mean_square)


def gradients_not_zeroed() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    backward_pass(step, forwarded(step))
    backward_pass(step, forwarded(step))


def gradients_not_zeroed_after_a_step(accumulate: bool = False) -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    step, _ = optimizer_step(step, backward_pass(step, forwarded(step)))
    backward_pass(step, forwarded(step), accumulate=accumulate)


def gradients_added_to_used_ones() -> None:
    gradients_not_zeroed_after_a_step(accumulate=True)


def loss_of_another_network() -> None:
    step, other = (zero_gradients(initialize_optimizer(Line(), PLAIN)) for _ in range(2))
    backward_pass(step, forwarded(other))


def gradients_of_another_network() -> None:
    step, other = (zero_gradients(initialize_optimizer(Line(), PLAIN)) for _ in range(2))
    optimizer_step(step, backward_pass(other, forwarded(other)))


def other_network_under_the_same_optimizer() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    gradients = backward_pass(step, forwarded(step))
    optimizer_step(replace(step, network=Line()), gradients)


def loss_used_twice() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    loss = forwarded(step)
    backward_pass(step, loss)
    backward_pass(step, loss, accumulate=True)


def loss_used_again_after_zeroing() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    loss = forwarded(step)
    backward_pass(step, loss)
    backward_pass(step, forwarded(step), accumulate=True)
    backward_pass(zero_gradients(step), loss)


def prediction_used_twice() -> None:
    step, batch = zero_gradients(initialize_optimizer(Line(), PLAIN)), batch_of([1.0])
    prediction = forward_pass(step.network, batch)
    for _ in range(2):
        backward_pass(step, calculate_loss(prediction, batch, mean_square), accumulate=True)


def prediction_of_weights_before_a_step() -> None:
    step, batch = zero_gradients(initialize_optimizer(Line(), PLAIN)), batch_of([1.0])
    prediction = forward_pass(step.network, batch)
    after, _ = optimizer_step(step, backward_pass(step, forwarded(step)))
    backward_pass(zero_gradients(after), calculate_loss(prediction, batch, mean_square))


def batch_that_was_prepared_again() -> None:
    step = initialize_optimizer(Line(), PLAIN)
    calculate_loss(forward_pass(step.network, batch_of([1.0])), batch_of([1.0]), mean_square)


NOT_THERE = (
    "backward_pass must come before optimizer_step: these gradients are not in the network (they were used "
    "for a step, zeroed, or replaced by later ones)"
)
USED = (
    "zero_gradients must come before backward_pass: the gradients that are there have already been used for "
    "a step"
)
ONCE = "each loss has one backward_pass, and this one had it: run forward_pass and calculate_loss again"
ORDER = {
    without_backward: NOT_THERE,
    gradients_used_twice: NOT_THERE,
    gradients_used_twice_in_the_state_before: NOT_THERE,
    gradients_that_were_zeroed: NOT_THERE,
    gradients_that_others_were_added_to: NOT_THERE,
    gradients_of_another_network: NOT_THERE,
    loss_of_another_batch: (
        "calculate_loss must get the batch that forward_pass was given: this prediction is of batch 4, the "
        "targets are of batch 5; run forward_pass on it first"
    ),
    gradients_not_zeroed: (
        "zero_gradients must come before backward_pass: the gradients of an earlier batch are still there; "
        "set accumulate=True to add to them"
    ),
    gradients_not_zeroed_after_a_step: USED,
    gradients_added_to_used_ones: USED,
    loss_of_another_network: (
        "backward_pass must get a loss of the network that the optimizer trains: another network was "
        "forwarded; run forward_pass with the optimizer's network"
    ),
    other_network_under_the_same_optimizer: (
        "optimizer_step must get gradients of the network that the optimizer trains"
    ),
    loss_used_twice: ONCE,
    loss_used_again_after_zeroing: ONCE,
    prediction_used_twice: (
        "each prediction has one backward_pass, and this one had it: run forward_pass again, or add the "
        "losses up before"
    ),
    prediction_of_weights_before_a_step: (
        "forward_pass must come after optimizer_step: the weights changed since this prediction; run "
        "forward_pass and calculate_loss again"
    ),
    batch_that_was_prepared_again: (
        "calculate_loss must get the batch that forward_pass was given: this is another preparation of batch "
        "0; give forward_pass and calculate_loss the same value"
    ),
}


@pytest.mark.parametrize(
    ("disorder", "message"), ORDER.items(), ids=lambda case: getattr(case, "__name__", "")
)
def test_every_rule_of_the_order_is_named(disorder: Callable[[], None], message: str) -> None:
    with pytest.raises(StepOrderError) as refused:
        disorder()
    assert str(refused.value) == message


def test_gradients_may_be_added_up_when_that_is_said() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    backward_pass(step, forwarded(step))
    assert backward_pass(step, forwarded(step), accumulate=True).micro_batches == 2


def test_a_refused_step_changes_nothing() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    gradients = backward_pass(step, forwarded(step))
    before = step.network.weight.grad.clone()
    with pytest.raises(StepOrderError):
        backward_pass(step, forwarded(step))
    assert torch.equal(step.network.weight.grad, before)
    after, _ = optimizer_step(step, gradients)
    assert (step.step, after.step) == (0, 1)


def test_the_values_that_flow_are_frozen() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    batch = batch_of([1.0])
    prediction = forward_pass(step.network, batch)
    loss = calculate_loss(prediction, batch, mean_square)
    gradients = backward_pass(step, loss)
    after, info = optimizer_step(step, gradients)
    for value in (step, batch, prediction, loss, gradients, after, info):
        for name in vars(value):
            with pytest.raises(FrozenInstanceError):
                setattr(value, name, None)


# ------------------------------------------------------------------------------------- the loss


def test_a_loss_can_be_named() -> None:
    step = initialize_optimizer(Line(), PLAIN)
    batch = batch_of([1.0, 3.0])  # predicted as 2 and 6, wanted is 0
    for name, value in {"mse": 20.0, "mae": 4.0, "huber": 3.5, "L1Loss": 4.0}.items():
        loss = calculate_loss(forward_pass(step.network, batch), batch, name)
        assert loss.value == pytest.approx(value), name


@pytest.mark.parametrize("name", LOSSES)
def test_every_named_loss_gives_a_gradient_for_what_it_compares(name: str) -> None:
    spec, fields = LOSSES[name], torch.Generator().manual_seed(0)
    channels = max(2, spec.channels(2)[0]) if spec.channels(2)[1] > 1 else 1
    size = (2, channels, 8, 8)
    target = torch.rand(size, generator=fields) - (0.5 if spec.activations == {"none"} else 0.0)
    if not spec.compares & {"masks", "values", "fractions", "directions", "unsigned directions", "distances",
                            "inner directions", "tensors"}:  # fmt: skip
        target = torch.randint(channels, (2, 1, 8, 8), generator=fields)
    output = torch.rand(size, generator=fields).requires_grad_()
    value = NamedLoss(name)({"a": output}, {"a": target, "a_mask": torch.ones(2, 1, 8, 8).bool()}, 0)
    value.backward()
    assert torch.isfinite(value)
    assert output.grad is not None and torch.isfinite(output.grad).all() and (output.grad != 0).any()


def test_a_loss_that_cannot_be_is_refused_in_words() -> None:
    step, batch = initialize_optimizer(Line(), PLAIN), batch_of([1.0])
    prediction = forward_pass(step.network, batch)
    with pytest.raises(ConfigError, match=r"loss 'hubr' is unknown\. .*huber"):
        calculate_loss(prediction, batch, "hubr")
    with pytest.raises(TrainingError, match=r"one number, and has the shape \(1, 1\): return its mean"):
        calculate_loss(prediction, batch, lambda outputs, batch, epoch: outputs["a"])
    classes = prepare_batch({"image": batch.image, "a": torch.zeros(1, 1, dtype=torch.int64)})
    with pytest.raises(TrainingError, match="MSELoss compares numbers, and the target 'a' has class numbers"):
        calculate_loss(forward_pass(step.network, classes), classes, "mse")
    nothing = prepare_batch({"image": batch.image})
    with pytest.raises(TrainingError, match=r"no target for the output 'a'; it has \['image'\]"):
        calculate_loss(forward_pass(step.network, nothing), nothing, "mse")


A_LOSS = (
    "a loss is the name of one, or a function of outputs, targets (tensors by name, both) and epoch that "
    "returns one tensor"
)
OF_TWO = f"compares two tensors: call it in a function of yours; {A_LOSS}"
NO_LOSS: dict[str, tuple[Any, str]] = {
    "a number": (lambda outputs, batch, epoch: outputs["a"].sum().item(), f"returned a float: {A_LOSS}"),
    "nothing": (lambda outputs, batch, epoch: None, f"the loss returned a NoneType: {A_LOSS}"),
    "of two": (lambda outputs, batch: None, f"<lambda> does not take what a loss is given: {A_LOSS}"),
    "torch's module": (nn.MSELoss(), f"MSELoss {OF_TWO}"),
    "torch's function": (nn.functional.mse_loss, f"mse_loss {OF_TWO}"),
    "detached": (
        lambda outputs, batch, epoch: outputs["a"].detach().mean(),
        "the loss has no gradient: it was detached, made of plain numbers, or computed without a graph",
    ),
    "of nothing that learns": (
        lambda outputs, batch, epoch: nn.Parameter(torch.ones(())) * 2,
        "no weight of the network has a gradient: the loss does not follow from what the network said",
    ),
}


@pytest.mark.parametrize("name", NO_LOSS)
def test_what_is_no_loss_is_refused_and_told_what_one_is(name: str) -> None:
    function, message = NO_LOSS[name]
    step, batch = zero_gradients(initialize_optimizer(Line(), PLAIN)), batch_of([1.0])
    with pytest.raises(TrainingError) as refused:
        backward_pass(step, calculate_loss(forward_pass(step.network, batch), batch, function))
    assert message in str(refused.value)


def test_an_error_inside_a_users_loss_stays_what_it_is() -> None:
    step, batch = initialize_optimizer(Line(), PLAIN), batch_of([1.0])
    with pytest.raises(TypeError, match="unsupported operand"):
        calculate_loss(
            forward_pass(step.network, batch), batch, lambda outputs, batch, epoch: outputs + batch
        )


def test_a_step_without_gradients_is_refused_in_words() -> None:
    step = zero_gradients(initialize_optimizer(Line(), PLAIN))
    gradients = backward_pass(step, forwarded(step))
    step.network.weight.grad = None
    with pytest.raises(TrainingError, match="no weight of the network has a gradient"):
        optimizer_step(step, gradients)


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


def test_an_epoch_without_batches_says_so() -> None:
    empty = type("Empty", (Three,), {"__len__": lambda self: 0})()
    with pytest.raises(TrainingError, match="batch_index 0 is out of range: this epoch has no batches"):
        prepare_batch(empty, 0)


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
