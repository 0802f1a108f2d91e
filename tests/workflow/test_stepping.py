"""A training that is stepped through: what is legal, what can be seen, and that it is the full training."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from napari_segtrain.config import ExperimentConfig, TrainingError
from napari_segtrain.data import open_dataset
from napari_segtrain.inference import load_trained
from napari_segtrain.runs import (
    Control,
    DeviceLostError,
    Event,
    PredictProgress,
    RunFolder,
    StepRequest,
    StepTaken,
)
from napari_segtrain.runs.scratch import Scratch, open_memmap
from napari_segtrain.training import Experiment
from napari_segtrain.training.callbacks.nan_guard import NanGuard, NonFiniteLossError, is_too_many
from napari_segtrain.training.steps import Parts, take_apart
from napari_segtrain.workflow import StepSession, predict, step_through
from napari_segtrain.workflow.stepping import session
from napari_segtrain.workflow.stepping.pictures import _limits
from napari_segtrain.workflow.stepping.wording import STEPS

CONFIG = {
    "tr_setup": {"num_workers": 0, "device": "cpu", "compile": "off"},
    "tr_config": {
        "patch_size": [16, 16],
        "batch_size": 2,
        "num_epochs": 2,
        "steps_per_epoch": 3,
        "val_steps": 1,
        "gradient_clip": 0.5,
        "accumulate": 2,
        "evaluate_after": "none",
    },
    "model_config": {"base_features": 4, "max_features": 8, "dropout": 0.1},
    "dataset_config": {"targets": {"fg": {"kind": "binary"}, "kinds": {"kind": "classes"}}},
    "auxiliary_tasks": {"normals": {"type": "surface_normals", "source_target": "fg"}},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    labels = np.zeros((48, 48), np.uint8)
    labels[8:20, 8:40], labels[28:44, 20:36] = 1, 2
    image = (labels * 60 + rng.normal(60, 10, labels.shape)).clip(0, 255).astype(np.uint8)
    painted = {"fg": (labels > 0).astype(np.uint8), "kinds": labels}
    return {"layers": [{"id": f"image{n}", "image": image, "labels": painted} for n in range(3)]}


class Stepped:
    """A session with what came of it."""

    def __init__(self, data: dict[str, Any], folder: Path, **changes: Any) -> None:
        config = ExperimentConfig.parse(CONFIG).with_overrides(
            {key.replace("__", "."): value for key, value in changes.items()}
        )
        self.events: list[Event] = []
        self.halt_after = 10**9
        self.parts: Parts = take_apart(config, data)
        self.session = StepSession(self.parts, Scratch(folder), self.events.append, self._halted)

    def _halted(self) -> bool:
        return len(self.events) >= self.halt_after

    def ask(self, action: Any, **values: Any) -> StepTaken:
        answer = self.session.answer(StepRequest(action=action, **values))
        assert not answer.refused, answer.words
        return answer

    def until(self, action: str) -> None:
        while self.session.next[0] != action:
            self.ask(self.session.next[0])

    def weights(self) -> list[torch.Tensor]:
        return [p.detach().clone() for p in self.parts.network.parameters()]


@pytest.fixture
def make(data: dict[str, Any], tmp_path: Path) -> Any:
    return lambda **changes: Stepped(data, tmp_path / "steps", **changes)


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_buttons_and_runs_of_batches_are_the_full_training(make: Any, data: Any, tmp_path: Path) -> None:
    """Bit for bit, with everything asked in between that only looks."""
    stepped = make()
    stepped.ask("initialize_optimizer")
    stepped.until("optimizer_step")
    stepped.ask("what_if", learning_rate=0.5)
    stepped.ask("overfit", number=2)
    stepped.ask("show_activations", stage="encoder 1")
    stepped.ask("optimizer_step")
    stepped.until("calculate_loss")
    end = stepped.ask("run_batches", number=10)
    assert (stepped.session._epoch, stepped.session._index) == (2, 0)
    assert (end.epoch, end.batch, end.step) == (1, 5, 6)
    told = [event for event in stepped.events if isinstance(event, StepTaken)]
    config, run = ExperimentConfig.parse(CONFIG), RunFolder.create(tmp_path / "project", "whole")
    whole = Experiment.prepare(config, open_dataset(data, config.dataset_config), run)
    whole.fit(tensorboard=False)
    own = stepped.parts.network.state_dict()
    assert all(torch.equal(own[name], value) for name, value in whole.module.network.state_dict().items())
    state = stepped.session._optimization.optimizer.state_dict()
    trained = whole.module.optimization.optimizer.state_dict()
    torch.testing.assert_close(state, trained, rtol=0, atol=0)
    assert [(event.epoch, event.batch) for event in told] == [(n // 6, n % 6) for n in range(2, 12)]
    assert all(event.loss is not None and event.norm is not None for event in told)


def test_what_a_training_computes_in_parts_is_stepped_through_in_parts(
    make: Any, data: Any, tmp_path: Path
) -> None:
    """Bit for bit too, dropout and the norms of parts included, and every part can be looked at."""
    changes = {"tr_config.batch_size": 3, "tr_config.micro_batch": 2, "tr_config.num_epochs": 1}
    stepped = make(**{key.replace(".", "__"): value for key, value in changes.items()})
    stepped.ask("initialize_optimizer")
    assert "2 of them are in the network at a time" in stepped.ask("prepare_batch").words
    stepped.ask("zero_gradients")
    seen = []
    for number in (1, 2):
        forward = stepped.ask("forward_pass", stage="encoder 1")
        seen += [[len(open_memmap(p.array)) for p in forward.pictures if not p.channels]]
        features = next(p for p in forward.pictures if p.group == "activations")
        assert open_memmap(features.array).shape[1] == (2, 3)[number - 1]
        assert f"part {number} of 2 of the batch" in forward.words
        assert f"part {number} of 2" in stepped.ask("calculate_loss").words
        backward = stepped.ask("backward_pass")
        [gradient] = backward.pictures
        known = open_memmap(gradient.array).reshape(3, -1).any(axis=1)
        assert known.tolist() == [True, True, number == 2]
    assert seen == [[2, 2], [3, 3]], "what is predicted already of each patch"
    stepped.until("optimizer_step")
    now = stepped.ask("what_if", learning_rate=0.0).words
    assert f"from {stepped.session._loss.value:.4g} to {stepped.session._loss.value:.4g};" in now
    stepped.ask("optimizer_step")
    stepped.ask("run_batches", number=4)
    assert (stepped.session._epoch, stepped.session._index) == (1, 0)
    run = RunFolder.create(tmp_path / "project", "whole")
    config = ExperimentConfig.parse(CONFIG).with_overrides(changes)
    whole = Experiment.prepare(config, open_dataset(data, config.dataset_config), run)
    whole.fit(tensorboard=False)
    own = stepped.parts.network.state_dict()
    assert all(torch.equal(own[name], value) for name, value in whole.module.network.state_dict().items())


def test_only_the_next_step_is_legal_and_the_others_are_refused(make: Any) -> None:
    stepped = make(tr_config__accumulate=1)
    before = stepped.weights()
    for expected in (*STEPS, *STEPS[1:]):
        assert stepped.session.next[0] == expected
        for other in set(STEPS) - {expected}:
            answer = stepped.session.answer(StepRequest(action=other))
            assert answer.refused
            taken = f"{other} was taken already; next is {expected}"
            before_it = STEPS.index(other) < STEPS.index(expected)
            assert answer.words == (taken if before_it else f"{expected} must come before {other}")
            assert answer.next == stepped.session.next
        stepped.ask(expected)
    assert not same(before, stepped.weights())


def test_gradients_that_are_added_up_are_not_forgotten(make: Any) -> None:
    stepped = make()
    stepped.ask("initialize_optimizer")
    stepped.until("backward_pass")
    stepped.ask("backward_pass")
    for expected in (STEPS[1], *STEPS[3:]):
        assert stepped.session.next[0] == expected
        answer = stepped.session.answer(StepRequest(action="zero_gradients"))
        assert answer.refused
        assert answer.words.startswith(
            "the gradients of this batch are added to those of the batches before it"
        )
        assert answer.words.endswith(f"zero_gradients would forget these; next is {expected}")
        stepped.ask(expected)


def test_a_look_that_is_not_legal_names_the_step_that_it_needs(make: Any) -> None:
    stepped = make()
    said = {
        "run_batches": "initialize_optimizer must come before run_batches",
        "overfit": "prepare_batch must come before overfit",
        "show_activations": "forward_pass must come before show_activations",
        "what_if": "backward_pass must come before what_if",
    }
    for action, words in said.items():
        assert stepped.session.answer(StepRequest(action=action)).words == words
    stepped.ask("initialize_optimizer")
    stepped.ask("run_batches", number=1)
    answer = stepped.session.answer(StepRequest(action="show_activations", stage="encoder 1"))
    assert answer.refused and answer.words == said["show_activations"], "nothing was kept in a run of batches"


def test_what_can_be_asked_follows_from_what_is_there(make: Any) -> None:
    stepped = make()
    looks = {"run_batches", "show_activations", "what_if", "overfit", "save"}
    wanted = {
        "initialize_optimizer": {"save"},
        "prepare_batch": {"save", "run_batches"},
        "zero_gradients": {"save", "run_batches", "overfit"},
        "forward_pass": {"save", "run_batches", "overfit"},
        "calculate_loss": {"save", "run_batches", "overfit", "show_activations"},
        "backward_pass": {"save", "run_batches", "overfit", "show_activations"},
    }
    for step, legal in wanted.items():
        assert set(stepped.session.next[1:]) == legal, step
        stepped.ask(step)
    assert stepped.session.next[0] == "prepare_batch", "two batches are added up"
    stepped.until("optimizer_step")
    assert set(stepped.session.next[1:]) == looks


def test_pictures_have_the_shape_of_what_they_show(make: Any) -> None:
    stepped = make(tr_config__accumulate=1)
    stepped.ask("initialize_optimizer")
    answers = dict.fromkeys(STEPS[1:6])
    for step in answers:
        answers[step] = stepped.ask(step, stage="encoder 2")
    shown = {p.name: p for answer in answers.values() for p in answer.pictures if p.group != "prediction"}
    predicted = {p.name: p for p in answers["forward_pass"].pictures if p.group == "prediction"}
    assert [answer.action for answer in answers.values() if answer.pictures] == [
        "prepare_batch", "forward_pass", "backward_pass",
    ]  # fmt: skip
    batch = stepped.session._batch
    np.testing.assert_array_equal(open_memmap(shown["image"].array), batch.image.detach()[:, 0])
    assert shown["kinds (target)"].kind == shown["fg (target)"].kind == predicted["kinds"].kind == "labels"
    assert open_memmap(predicted["fg"].array).shape == (2, 16, 16)
    assert 0 < open_memmap(predicted["fg"].array).mean() < 1
    assert open_memmap(predicted["normals"].array).shape == (2, 2, 16, 16)
    assert predicted["normals"].channels and predicted["normals"].limits == (-1.0, 1.0)
    features = shown["encoder 2"]
    assert (features.factors, open_memmap(features.array).shape) == ((2.0, 2.0), (8, 2, 8, 8))
    gradient = open_memmap(shown["loss by image"].array)
    np.testing.assert_array_equal(gradient, batch.image.grad[:, 0])
    assert gradient.any()
    answer = stepped.ask("show_activations", stage=answers["forward_pass"].stages[-1])
    assert [p.group for p in answer.pictures] == ["activations"]
    places = answers["prepare_batch"].patches
    assert len(places) == 2 and {place.record for place in places} <= {"image0", "image1", "image2"}
    assert all(b - a == 16 for place in places for a, b in zip(place.start, place.stop, strict=True))


def test_a_network_that_is_ruined_can_still_be_looked_at(make: Any) -> None:
    stepped = make(tr_config__accumulate=1)
    stepped.ask("initialize_optimizer")
    next(stepped.parts.network.parameters()).data.fill_(torch.nan)
    answers = [stepped.ask(step, stage="encoder 1") for step in STEPS[1:6]]
    assert answers[3].words.startswith("The loss is no number (fg nan, kinds nan, normals nan): a step would")
    assert answers[3].loss is None
    assert len(answers[2].pictures) == 4
    for answer in answers:
        assert Event.from_json(answer.to_json()) == answer, "what was told arrives"
    patch = stepped.session.answer(StepRequest(action="overfit"))
    assert patch.refused and patch.words.startswith("the loss of this patch is no number, before any step: ")


def test_a_run_of_batches_ends_before_it_ruins_the_weights(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each further one: what can be done about it is said, and nothing is learned from it."""
    stepped = make(tr_config__accumulate=1)
    stepped.ask("initialize_optimizer")

    def ruin() -> bool:
        if sum(isinstance(event, StepTaken) for event in stepped.events) == 2:
            next(stepped.parts.network.parameters()).data.fill_(torch.nan)
        return False

    monkeypatch.setattr(stepped.session, "_halted", ruin)
    why = "The loss is no number (fg nan, kinds nan, normals nan): a step would ruin the weights. End, lower"
    for number in (2, 0):
        answer = stepped.ask("run_batches", number=5)
        assert answer.words.startswith(f"{number} batches done. {why}")
        assert (answer.step, answer.batch, answer.next[0]) == (2, 2, "backward_pass")
    assert {picture.group for picture in answer.pictures} == {"batch", "prediction"}
    weights = list(stepped.parts.network.parameters())[1:]
    assert all(bool(torch.isfinite(p).all()) for p in weights)


def test_in_16_bits_single_losses_may_overflow(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the full training: the step is left out, and the next one is taken."""
    stepped = make(tr_config__accumulate=1, auxiliary_tasks={})
    parts = replace(stepped.parts, resolved=stepped.parts.resolved.replace(precision="fp16"))
    stepped.session._parts = parts
    judge, before = parts.loss.forward, stepped.weights()
    monkeypatch.setattr(parts.loss, "forward", lambda *given: overflown(judge(*given)))
    stepped.ask("initialize_optimizer")
    stepped.until("calculate_loss")
    words = stepped.ask("calculate_loss").words
    assert words.endswith("too large for 16 bits. The weights will stay as they are")
    assert stepped.ask("run_batches", number=2).words.startswith("2 batches done")
    assert same(before, stepped.weights())
    monkeypatch.setattr(parts.loss, "forward", judge)
    assert stepped.ask("run_batches", number=1).loss is not None
    assert not same(before, stepped.weights())


@pytest.mark.parametrize("bad_part", [0, 1])
def test_losses_that_are_no_number_count_by_batches_as_in_the_training(
    make: Any, monkeypatch: pytest.MonkeyPatch, bad_part: int
) -> None:
    """Whichever part of a batch has one; a batch without it lets the count begin anew."""
    stepped = make(
        tr_config__accumulate=1, tr_config__micro_batch=1, tr_config__num_epochs=20, auxiliary_tasks={}
    )
    resolved = stepped.parts.resolved.replace(precision="fp16")
    stepped.session._parts = parts = replace(stepped.parts, resolved=resolved)
    judge, judged = parts.loss.forward, []

    def forward(*given: Any) -> Any:
        judged.append(judge(*given))
        batch, part = divmod(len(judged) - 1, 2)
        return overflown(judged[-1]) if part == bad_part and batch != 1 else judged[-1]

    monkeypatch.setattr(parts.loss, "forward", forward)
    module = SimpleNamespace(precision="fp16", last_parts={}, epochs_done=0, gradient_clip=0.0)
    module.optimization = SimpleNamespace(learning_rate=0.1)
    guard, trained = NanGuard(), 0
    with pytest.raises(NonFiniteLossError):
        for trained in range(60):
            module.last_loss = torch.tensor(1.0 if trained == 1 else torch.inf)
            guard.on_train_batch_end(None, module, None, {"image": 1}, trained)
    stepped.ask("initialize_optimizer")
    answer = stepped.ask("run_batches", number=60)
    assert answer.words.startswith(f"{trained} batches done. The loss is no number (")
    assert "a step would ruin the weights" in answer.words
    assert answer.next[0] == "backward_pass"


def test_a_run_of_batches_joins_nothing_that_is_only_looked_at(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device has the outputs of a batch once; what is shown of them at the end is all of its patches."""
    stepped = make(tr_config__micro_batch=1)
    stepped.ask("initialize_optimizer")
    real, joined = torch.cat, []

    def spy(tensors: Any, dim: int = 0, **options: Any) -> Any:
        joined.extend([dim] if dim == 0 else [])
        return real(tensors, dim, **options)

    monkeypatch.setattr(torch, "cat", spy)
    shown = stepped.ask("run_batches", number=2).pictures
    assert joined == []
    assert {len(open_memmap(p.array)) for p in shown if p.group == "prediction" and not p.channels} == {2}


def overflown(result: Any) -> Any:
    return replace(result, total=result.total * torch.inf)


def infinite(result: Any) -> Any:
    """Return a loss that is no number, with gradients that are."""
    return replace(result, total=result.total + torch.inf)


def test_many_losses_in_a_row_that_are_no_number_end_a_training() -> None:
    assert [is_too_many(bad, "fp32") for bad in (0, 1)] == [False, True]
    assert [is_too_many(bad, "fp16") for bad in (1, 20, 21)] == [False, False, True]


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_the_end_of_the_full_training_is_said(make: Any, decay: float) -> None:
    stepped = make(
        tr_config__num_epochs=1, tr_config__accumulate=1, tr_config__ema_decay=decay, auxiliary_tasks={}
    )
    defined = stepped.session.defined().words
    assert ("tr_config.ema_decay 0.9" in defined) is (decay > 0)
    stepped.ask("initialize_optimizer")
    stepped.ask("run_batches", number=2)
    same = "" if decay else ": these are the weights of the full training"
    end = f"The only epoch is done{same}; the learning rate stays at its end"
    if decay:
        stepped.until("optimizer_step")
        assert stepped.ask("optimizer_step").words.endswith(f". {end}")
    else:
        answer = stepped.ask("run_batches", number=10)
        assert answer.words.startswith("1 batch done, the last one with the loss ")
        assert answer.words.endswith(f"; next is batch 1 of epoch 2. {end}")
    past = ". This is past the end of the full training: the learning rate stays at its end"
    assert stepped.ask("run_batches", number=2).words.endswith(f"; next is batch 3 of epoch 2{past}")
    stepped.until("optimizer_step")
    assert stepped.ask("optimizer_step").words.endswith(past)


@pytest.mark.parametrize("strays", ["no", "before a draw", "refused", "first of two", "ruined"])
def test_what_the_training_does_not_do_is_not_called_its_weights(
    make: Any, monkeypatch: pytest.MonkeyPatch, strays: str
) -> None:
    """Dropout is drawn anew for a step that failed, and a training ends with a loss that is no number."""
    stepped = make(tr_config__num_epochs=1, auxiliary_tasks={})
    stepped.ask("initialize_optimizer")

    def fail(*_: Any, **__: Any) -> None:
        raise TrainingError("out of memory")

    with monkeypatch.context() as patch:
        if strays == "before a draw":
            patch.setattr(session, "prepare_batch", fail)
            assert stepped.session.answer(StepRequest(action="run_batches")).refused
        elif strays == "refused":
            stepped.until("backward_pass")
            patch.setattr(session, "backward_pass", fail)
            assert stepped.session.answer(StepRequest(action="backward_pass")).refused
        elif strays == "first of two":
            stepped.ask("run_batches", number=1)
            patch.setattr(session, "prepare_batch", fail)
            assert stepped.session.answer(StepRequest(action="run_batches")).refused
        elif strays == "ruined":
            judge = stepped.parts.loss.forward
            patch.setattr(stepped.parts.loss, "forward", lambda *given: infinite(judge(*given)))
            stepped.until("backward_pass")
            assert "a step would ruin the weights" in stepped.session._trouble
            stepped.ask("backward_pass")
    said = stepped.ask("run_batches", number=10).words
    assert "The only epoch is done" in said
    assert ("these are the weights of the full training" in said) is (strays in ("no", "before a draw"))


def test_a_lost_gpu_ends_the_session(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stepped = make()
    stepped.ask("initialize_optimizer")
    stepped.until("forward_pass")

    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(stepped.parts.network, "forward", fail)
    with pytest.raises(DeviceLostError) as lost:
        stepped.session.answer(StepRequest(action="forward_pass"))
    assert "unspecified launch failure). The network is gone" in str(lost.value)
    assert "define the model anew" in str(lost.value) and "resume" not in str(lost.value)


def test_of_a_wide_stage_the_first_features_are_shown(make: Any) -> None:
    stepped = make(model_config__base_features=40, model_config__max_features=40, auxiliary_tasks={})
    stepped.ask("initialize_optimizer")
    stepped.until("forward_pass")
    shown = [p for p in stepped.ask("forward_pass", stage="encoder 1").pictures if p.group == "activations"]
    assert open_memmap(shown[0].array).shape == (32, 2, 16, 16)
    words = "encoder 1 has 40 features of 16 × 16 voxels, of which the first 32 are shown"
    assert stepped.ask("show_activations", stage="encoder 1").words == words
    assert all(kept.device.type == "cpu" for kept in stepped.session._features.values())


def test_limits_of_much_are_those_of_a_sample() -> None:
    values = np.random.default_rng(0).normal(size=(2, 1000, 1000)).astype(np.float32)
    values[..., ::2] += 10  # a sample must not be of every second column only
    limits = _limits(values, 1, 99)
    np.testing.assert_allclose(limits, np.percentile(values, (1, 99)), atol=0.1)


def test_a_volume_is_stepped_through(data: Any, tmp_path: Path) -> None:
    volumes = [{**layer, "image": np.stack([layer["image"]] * 16)} for layer in data["layers"][:2]]
    volumes = [
        {**one, "labels": {"fg": np.stack([one["labels"]["fg"]] * 16)}, "spacing": (2.0, 1.0, 1.0)}
        for one in volumes
    ]
    stepped = Stepped(
        {"layers": volumes}, tmp_path / "steps",
        tr_config__patch_size=[8, 16, 16], tr_config__accumulate=1, auxiliary_tasks={},
        dataset_config__targets={"fg": {"kind": "binary"}},
    )  # fmt: skip
    stepped.ask("initialize_optimizer")
    batch = stepped.ask("prepare_batch")
    assert "patches of 8 × 16 × 16 voxels" in batch.words and batch.spacing == (2.0, 1.0, 1.0)
    stepped.until("forward_pass")
    shown = stepped.ask("forward_pass", stage=batch.stages[1]).pictures
    stepped.until("backward_pass")
    shown += stepped.ask("backward_pass").pictures
    sizes = {picture.group: open_memmap(picture.array).shape for picture in shown}
    assert sizes["prediction"] == sizes["gradient"] == (2, 8, 16, 16)
    coarse = [n * f for n, f in zip(sizes["activations"][2:], shown[1].factors, strict=True)]
    assert coarse == [8, 16, 16] and shown[1].factors != (1.0, 1.0, 1.0)
    assert stepped.ask("optimizer_step").step == 1


def test_another_learning_rate_is_tried_on_a_copy(make: Any) -> None:
    stepped = make(tr_config__accumulate=1)
    stepped.ask("initialize_optimizer")
    stepped.until("optimizer_step")
    before, gradients = stepped.weights(), [p.grad.clone() for p in stepped.parts.network.parameters()]
    none = stepped.ask("what_if", learning_rate=0.0)
    far = stepped.ask("what_if", learning_rate=100.0)
    assert same(before, stepped.weights())
    assert same(gradients, [p.grad for p in stepped.parts.network.parameters()])
    now = f"{stepped.session._loss.value:.4g}"
    assert f"from {now} to {now};" in none.words, "with the same dropout the loss is the same"
    assert "the rate of the coming step" in far.words and none.words != far.words
    assert float(far.words.split(" to ")[1].split(";")[0]) > 10 * float(now)


def test_one_patch_is_learned_by_heart_or_not_and_that_is_said(make: Any) -> None:
    stepped = make(tr_config__optimizer__lr=0.02, model_config__dropout=0.0, auxiliary_tasks={})
    stepped.ask("initialize_optimizer")
    stepped.ask("prepare_batch")
    before = stepped.weights()
    learned = stepped.ask("overfit", number=400)
    assert "can learn this patch by heart" in learned.words
    fractions = [event.fraction for event in stepped.events if isinstance(event, PredictProgress)]
    assert fractions == sorted(fractions) and 0 < fractions[-1] <= 1
    short = stepped.ask("overfit", number=1, patch=1)
    assert "could not learn this patch by heart" in short.words and "in 1 step;" in short.words
    stepped.halt_after = len(stepped.events) + 3
    assert stepped.ask("overfit", number=400).words.startswith("Stopped: ")
    assert same(before, stepped.weights())
    answer = stepped.session.answer(StepRequest(action="overfit", patch=2))
    assert answer.refused and answer.words == "patch 2 is out of range: this batch has patches 0 to 1"


def test_a_run_of_batches_can_be_halted_and_goes_on(make: Any) -> None:
    stepped = make(tr_config__accumulate=1)
    stepped.ask("initialize_optimizer")
    stepped.halt_after = 4  # two batches tell two events each
    answer = stepped.ask("run_batches", number=6)
    loss = f"{stepped.session._loss.value:.4g}"
    assert answer.words == f"2 batches done, the last one with the loss {loss}; next is batch 3 of epoch 1"
    assert stepped.session.next[0] == "prepare_batch"
    stepped.halt_after = 10**9
    assert stepped.ask("run_batches").words.endswith("; next is batch 1 of epoch 2")


def test_a_step_that_fails_begins_its_batches_again(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stepped = make()
    stepped.ask("initialize_optimizer")
    stepped.until("backward_pass")
    stepped.ask("backward_pass")
    stepped.until("calculate_loss")
    good = stepped.parts.loss.forward

    def fail(*_: Any) -> None:
        raise TrainingError("the loss is broken")

    monkeypatch.setattr(stepped.parts.loss, "forward", fail)
    answer = stepped.session.answer(StepRequest(action="calculate_loss"))
    assert answer.refused and answer.words == "the loss is broken"
    assert answer.next[0] == "prepare_batch"
    monkeypatch.setattr(stepped.parts.loss, "forward", good)
    assert stepped.ask("prepare_batch").batch == 0
    assert stepped.ask("run_batches", number=2).step == 1


def test_what_was_learned_can_be_saved_predict_and_begin_a_training(
    make: Any, data: Any, tmp_path: Path
) -> None:
    stepped = make()
    refused = stepped.session.answer(StepRequest(action="save"))
    assert refused.refused and refused.words == "saving needs a file: give its path"
    stepped.ask("initialize_optimizer")
    stepped.ask("run_batches", number=2)
    stepped.until("backward_pass")  # in the middle of a batch, which goes on
    before = stepped.session.next
    file = tmp_path / "network.ckpt"
    answer = stepped.ask("save", path=str(tmp_path / "network"))
    assert answer.words.startswith(f"Saved the network after 1 step as {file}: ") and answer.next == before
    trained = load_trained(file)
    assert same(stepped.weights(), list(trained.network.parameters()))
    image = data["layers"][0]["image"]
    found = predict(file, image, device="cpu")
    assert {name: values.shape[-2:] for name, values in found.items()} == dict.fromkeys(
        ("fg", "kinds", "normals"), image.shape
    )
    other = take_apart(stepped.parts.config.with_overrides({"model_config.weights": str(file)}), data)
    assert same(stepped.weights(), list(other.network.parameters()))
    refused = stepped.session.answer(StepRequest(action="save", path=str(tmp_path / "none" / "a.ckpt")))
    assert refused.refused and "a.ckpt: the checkpoint cannot be written" in refused.words
    assert refused.next == before


def test_requests_are_answered_until_a_stop(data: dict[str, Any], tmp_path: Path) -> None:
    control, events, defined = Control(), [], threading.Event()

    def emit(event: Event) -> None:
        events.append(event)
        defined.set()

    def work() -> None:
        step_through(ExperimentConfig.parse(CONFIG), data, tmp_path / "o", emit=emit, control=control)

    control.ask(StepRequest(action="initialize_optimizer"))
    control.ask(StepRequest(action="optimizer_step"))
    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive() and len(events) < 3:
        defined.wait(0.01)
    control.stop()
    thread.join()
    assert [event.action for event in events] == ["define_model", *STEPS[:1], "optimizer_step"]
    assert [event.refused for event in events] == [False, False, True]
    assert "which learns fg, kinds, normals" in events[0].words


def test_a_fault_of_the_experiment_is_said_before_anything_is_built(tmp_path: Path) -> None:
    from napari_segtrain.config import DataError

    data = {"layers": [{"id": "a", "image": np.zeros((32, 32)), "labels": {"fg": np.zeros((32, 32), int)}}]}
    config = ExperimentConfig.parse({"dataset_config": {"targets": {"fg": {"unlabelled": 0}}}})
    with pytest.raises(DataError):
        step_through(config, data, tmp_path / "o")
