"""A training that is stepped through: what is legal, what can be seen, and that it is the full training."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_segtrain.config import ExperimentConfig, TrainingError
from napari_segtrain.data import open_dataset
from napari_segtrain.runs import Control, Event, PredictProgress, RunFolder, StepRequest, StepTaken
from napari_segtrain.runs.scratch import Scratch, open_memmap
from napari_segtrain.training import Experiment
from napari_segtrain.training.steps import Parts, take_apart
from napari_segtrain.workflow import StepSession, step_through
from napari_segtrain.workflow.stepping.session import STEPS

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
            assert answer.words == f"{expected} must come before {other}"
            assert answer.next == stepped.session.next
        stepped.ask(expected)
    assert not same(before, stepped.weights())


def test_what_can_be_asked_follows_from_what_is_there(make: Any) -> None:
    stepped = make()
    looks = {"run_batches", "show_activations", "what_if", "overfit"}
    wanted = {
        "initialize_optimizer": set(),
        "prepare_batch": {"run_batches"},
        "zero_gradients": {"run_batches", "overfit"},
        "forward_pass": {"run_batches", "overfit"},
        "calculate_loss": {"run_batches", "overfit", "show_activations"},
        "backward_pass": {"run_batches", "overfit", "show_activations"},
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
    assert "could not learn this patch by heart" in short.words and "in 1 steps" in short.words
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
    assert answer.words == "2 batches done; next is batch 3 of epoch 1"
    assert stepped.session.next[0] == "prepare_batch"
    stepped.halt_after = 10**9
    assert stepped.ask("run_batches").words == "1 batch done; next is batch 1 of epoch 2"


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
