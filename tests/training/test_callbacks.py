"""What happens around the steps: stop, pause, previews, limits, painted labels, curves, failures."""

from __future__ import annotations

import itertools
import math
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from napari_segtrain.config import ConfigError, TrainingError
from napari_segtrain.runs import (
    LAST,
    Control,
    EpochDone,
    EpochStarted,
    FinishReason,
    LabelChange,
    LabelsApplied,
    Paused,
    Progress,
    Resumed,
    RunState,
    Warned,
    load_checkpoint,
)
from napari_segtrain.training import NonFiniteLossError, build_trainer
from napari_segtrain.training.callbacks import (
    Budget,
    CheckpointCallback,
    ControlCallback,
    EarlyStop,
    NanGuard,
    PreviewCallback,
    RowWriter,
)
from napari_segtrain.training.callbacks.announce import Pace
from napari_segtrain.training.trainer import stop_on_signals


def spoil(module: Any, at: int) -> None:
    """Make the loss NaN from step `at` on."""
    real, calls = module.loss.forward, [0]

    def forward(*args: Any) -> Any:
        result = real(*args)
        calls[0] += 1
        if calls[0] >= at:
            bad = result.total * math.nan
            return type(result)(bad, {**result.parts, "distance": bad.detach()}, result.valid)
        return result

    module.loss.forward = forward


# ---------------------------------------------------------------------------------- not a number


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_last_good_checkpoint(
    make_experiment,
) -> None:
    made = make_experiment(tr_config__num_epochs=5)
    spoil(made.experiment.module, at=3 + 2 + 2)
    with pytest.raises(NonFiniteLossError) as caught:
        made.fit()
    text = str(caught.value)
    assert "distance became nan in epoch 2, batch 2" in text
    assert "tr_config.optimizer.lr, now 0.000" in text
    assert "tr_config.gradient_clip, now 12" in text
    assert isinstance(caught.value, TrainingError)
    assert caught.value.reason == FinishReason.NAN_LOSS
    saved = load_checkpoint(made.run.checkpoints / LAST)
    assert saved["epoch"] == 1
    assert all(torch.isfinite(value).all() for value in saved["model"].values())
    assert [row["epoch"] for row in made.run.read_metrics()] == [1]


def test_a_validation_loss_that_is_no_number_writes_no_checkpoint(make_experiment) -> None:
    made = make_experiment()
    spoil(made.experiment.module, at=4)
    with pytest.raises(NonFiniteLossError, match=r"distance became nan in epoch 1, validation"):
        made.fit()
    assert list(made.run.checkpoints.iterdir()) == []
    assert made.run.read_metrics() == []


def test_single_overflows_of_fp16_are_left_to_the_scaler(make_experiment) -> None:
    made = make_experiment()
    module = made.experiment.module
    module.precision = "fp16"
    guard = NanGuard()
    module.last_loss = torch.tensor(math.inf)
    for _ in range(20):
        guard.on_train_batch_end(None, module, None, {"image": 1}, 0)
    with pytest.raises(NonFiniteLossError, match="full precision"):
        guard.on_train_batch_end(None, module, None, {"image": 1}, 0)


# -------------------------------------------------------------------------------- stop and pause


def when(true: Callable[[], object], act: Callable[[], object]) -> threading.Thread:
    """Return a started thread that acts as soon as something is true."""

    def wait() -> None:
        while not true():
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_pause_waits_and_goes_on(make_experiment) -> None:
    made = make_experiment()
    made.control.pause()

    def go_on() -> None:
        time.sleep(0.5)
        made.control.resume()

    timer = when(lambda: made.of(Paused), go_on)
    start = time.monotonic()
    result = made.fit()
    wall = time.monotonic() - start
    timer.join()
    assert result.reason == FinishReason.ALL_EPOCHS
    kinds = [type(event) for event in made.events]
    assert kinds.index(Paused) < kinds.index(Resumed)
    # The pause is no time that was spent on training.
    paused = made.of(Resumed)[0].time - made.of(Paused)[0].time
    assert paused > 0.1
    assert result.seconds < wall - 0.9 * paused


def test_stop_from_another_thread_ends_soon_and_saves(make_experiment) -> None:
    made = make_experiment(tr_config__num_epochs=100_000)
    timer = when(made.run.read_metrics, made.control.stop)
    result = made.fit()
    timer.join()
    assert (result.status, result.reason) == (RunState.INTERRUPTED, FinishReason.STOPPED)
    assert load_checkpoint(made.run.checkpoints / LAST)["epoch"] == result.epochs
    assert len(made.run.read_metrics()) == result.epochs


def test_stop_during_a_pause_ends(make_experiment) -> None:
    made = make_experiment()
    made.control.pause()
    timer = when(lambda: made.of(Paused), made.control.stop)
    assert made.fit().reason == FinishReason.STOPPED
    timer.join()
    assert made.of(Resumed) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_ask_to_stop_with_a_checkpoint(make_experiment, number: signal.Signals) -> None:
    made = make_experiment(tr_config__num_epochs=100_000)
    before = signal.getsignal(number)
    timer = when(made.run.read_metrics, lambda: os.kill(os.getpid(), number))
    result = made.fit()
    timer.join()
    assert (result.status, result.reason) == (RunState.INTERRUPTED, FinishReason.STOPPED)
    assert (made.run.checkpoints / LAST).is_file()
    assert signal.getsignal(number) is before


def test_a_second_interrupt_ends_at_once() -> None:
    control = Control()
    with stop_on_signals(control):
        os.kill(os.getpid(), signal.SIGINT)
        assert control.stopped
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)


def test_handlers_of_the_program_around_are_left_to_it() -> None:
    calls: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    try:
        control = Control()
        with stop_on_signals(control):
            os.kill(os.getpid(), signal.SIGTERM)
        assert calls == [signal.SIGTERM]
        assert not control.stopped
    finally:
        signal.signal(signal.SIGTERM, before)


# --------------------------------------------------------------------------------------- preview


def test_previews_see_the_predicting_weights_and_change_nothing(make_experiment) -> None:
    settings = {"model_config__dropout": 0.2, "tr_config__ema_decay": 0.5}
    plain = make_experiment(**settings)
    plain.fit()
    made = make_experiment(**settings)
    seen: list[tuple[int, int, bool, bool]] = []

    def preview(module: Any, epoch: int, step: int) -> None:
        torch.rand(10)
        average = module.ema.weights()
        same = all(torch.equal(v, average[k]) for k, v in module.network.state_dict().items())
        outputs = module.predict(torch.zeros(1, 1, 16, 16))
        assert {name: tuple(o.shape) for name, o in outputs.items()} == {
            "fg": (1, 1, 16, 16),
            "distance": (1, 1, 16, 16),
        }
        assert not torch.is_grad_enabled()
        seen.append((epoch, step, module.network.training, same))

    made.fit(preview=preview)
    assert seen[0] == (0, 1, False, True)
    assert seen[-1] == (2, 6, False, True)
    assert made.run.read_metrics() == plain.run.read_metrics()


def test_a_preview_that_fails_is_reported_and_given_up(make_experiment) -> None:
    made = make_experiment(tr_config__num_epochs=10)
    calls: list[int] = []

    def preview(module: Any, epoch: int, step: int) -> None:
        calls.append(step)
        raise ValueError("no such layer")

    made.fit(preview=preview)
    assert 1 <= len(calls) <= 3
    assert "no such layer" in made.of(Warned)[0].message


class Clock:
    """Goes on only when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_previews_leave_the_training_its_share_of_any_stretch_of_time() -> None:
    clock, times = Clock(), random.Random(0)
    took: list[tuple[float, float]] = []

    def preview(module: Any, epoch: int, step: int) -> None:
        start = clock.now
        clock.now += times.choice((0.01, 0.3, 4.0))
        took.append((start, clock.now))

    budget = Budget(now=clock)
    callback = PreviewCallback(preview, lambda event: None, budget)
    assert budget.kept == 1.0
    for number in range(3000):
        callback.on_train_batch_end(None, MagicMock(), None, ["batch"], number)  # type: ignore[arg-type]
        clock.now += times.choice((0.05, 0.5, 2.0))
    assert len(took) > 50, "and they come as often as that allows"
    for first in range(len(took)):
        spent = 0.0
        for (start, end), (following, _) in pairwise(took[first:]):
            spent += end - start
            assert spent <= 0.1001 * (following - took[first][0])
    assert 0.85 <= 0.9 <= budget.kept < 0.97


def test_a_quick_preview_waits_for_its_interval() -> None:
    clock = Clock()
    budget = Budget(now=clock)
    with budget.spend():
        clock.now += 0.001
    clock.now += 0.2
    assert not budget.due
    clock.now += 0.1
    assert budget.due


# ---------------------------------------------------------------------------------------- limits


def test_early_stopping_waits_for_its_patience(make_experiment) -> None:
    made = make_experiment(
        tr_config__num_epochs=20,
        tr_config__early_stopping=2,
        tr_config__optimizer={"name": "SGD", "lr": 0.0, "weight_decay": 0.0},
    )
    result = made.fit()
    assert (result.status, result.reason) == (RunState.COMPLETED, FinishReason.EARLY_STOPPING)
    assert result.epochs == 3
    assert result.best.epoch == 1
    assert load_checkpoint(made.run.checkpoints / "best.ckpt")["epoch"] == 1


def test_a_time_limit_cuts_the_epoch_short_validates_and_completes(make_experiment) -> None:
    made = make_experiment(
        tr_config__num_epochs=100_000,
        tr_config__steps_per_epoch=100_000,
        tr_config__max_time=1.5 / 60,
        tr_config__val_every=7,
    )
    # Each look at the clock takes five milliseconds, on a busy machine too.
    looks = itertools.count()
    made.experiment.module.journey.stopwatch._now = lambda: 0.005 * next(looks)
    result = made.fit()
    assert (result.status, result.reason, result.epochs) == (RunState.COMPLETED, FinishReason.MAX_TIME, 1)
    row = made.run.read_metrics()[0]
    assert "val_loss" in row
    assert row["learning_rate"] < 2e-4
    assert (made.run.checkpoints / "best.ckpt").is_file()
    assert all(event.seconds_left <= 1.5 for event in made.of(Progress))


def test_stop_after_counts_all_epochs_of_the_run(make_experiment) -> None:
    made = make_experiment(tr_config__num_epochs=4)
    assert made.fit(stop_after=1).epochs == 1
    again = make_experiment(run=made.run, resume=True, tr_config__num_epochs=4)
    assert again.fit(stop_after=3).epochs == 3
    assert [event.epoch for event in again.of(EpochStarted)] == [2, 3]


def test_only_the_newest_numbered_checkpoints_are_kept(make_experiment) -> None:
    made = make_experiment(
        tr_config__num_epochs=4, tr_config__keep_checkpoints=2, tr_setup__model_name="cells"
    )
    made.fit()
    assert {p.name for p in made.run.checkpoints.glob("*.pth")} == {"cells_3.pth", "cells_4.pth"}


def test_checkpoints_are_copied_where_files_cannot_have_two_names(
    make_experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", refuse)
    made = make_experiment()
    made.fit()
    assert load_checkpoint(made.run.checkpoints / "segtrain_1.pth")["epoch"] == 1
    assert {p.name for p in made.run.checkpoints.iterdir()} == {
        "best.ckpt",
        "last.ckpt",
        "segtrain_1.pth",
        "segtrain_2.pth",
    }


# ----------------------------------------------------------------------------------------- labels


def test_painted_labels_reach_the_data_and_are_confirmed(make_experiment) -> None:
    made = make_experiment()
    record = made.experiment.data.split.train[0].record
    made.control.change_labels(LabelChange(record=record, target="fg", start=(0, 0), stop=(8, 8)))
    made.control.change_labels(LabelChange(record="nobody", target="fg", start=(0, 0), stop=(8, 8)))
    result = made.fit()
    assert result.reason == FinishReason.ALL_EPOCHS
    applied = made.of(LabelsApplied)
    assert [(event.record, event.start, event.stop) for event in applied] == [(record, (0, 0), (8, 8))]
    assert any("nobody" in event.message for event in made.of(Warned))


def test_labels_are_taken_up_during_a_pause_and_preferred_after_a_resume(make_experiment) -> None:
    made = make_experiment(tr_config__num_epochs=3)
    region = made.experiment.data.split.train[0]
    stop = tuple(n + 8 for n in region.start)

    change = LabelChange(record=region.record, target="fg", start=region.start, stop=stop)
    made.control.pause()
    timers = [
        when(lambda: made.of(Paused), lambda: made.control.change_labels(change)),
        when(lambda: made.of(LabelsApplied), made.control.resume),
    ]
    made.fit(stop_after=2)
    for timer in timers:
        timer.join()
    recent = made.experiment.data.loader("train").index.view.recent
    assert len(recent) == 1
    again = make_experiment(run=made.run, resume=True, tr_config__num_epochs=3)
    [restored] = again.experiment.data.loader("train").index.view.recent
    assert (restored.cells, restored.until) == (recent[0].cells, recent[0].until)
    assert restored.flats.tolist() == recent[0].flats.tolist()


@pytest.mark.parametrize("label_only", [False, True])
def test_a_head_without_a_valid_voxel_is_warned_of_once(make_experiment, layers, label_only: bool) -> None:
    data = layers(2)
    for item in data["layers"]:
        item["labels"]["other"] = item["labels"]["fg"] * 0
        item["labels"]["other"][0, 0] = 1
        item["labels"]["other"][0, 1] = 2
    targets = {"fg": {"kind": "binary"}, "other": {"kind": "binary", "unlabelled": 0}}
    made = make_experiment(
        data=data,
        dataset_config__targets=targets,
        dataset_config__foreground_oversampling=0.0,
        auxiliary_tasks={"far": {"type": "surface_normals", "source_target": "fg"}},
        tr_config__steps_per_epoch=1,
        tr_config__batch_size=1,
        tr_config__loss_on_label_only=label_only,
    )
    loss = made.experiment.module.loss
    real = loss.forward

    def blind(outputs: Any, batch: Any, epoch: int) -> Any:
        blinded = ["other_mask"] if epoch == 0 else ["other_mask", "far_mask"]
        return real(outputs, {**batch, **{name: torch.zeros_like(batch[name]) for name in blinded}}, epoch)

    loss.forward = blind
    made.fit()
    training, validation, later, judged = [
        e.message for e in made.of(Warned) if "no voxel was valid" in e.message
    ]
    assert training.startswith("other (BCEDiceLoss) learned nothing in epoch 1: ")
    why = (
        "no foreground in the training patches"
        if label_only
        else "only unlabelled voxels in the training patches"
    )
    assert f"Probably 'other' has {why}" in training
    assert "dataset_config.targets.other" in training
    assert validation.startswith("other (BCEDiceLoss) could not be judged in epoch 1: ")
    assert "tr_setup.train_split" in validation
    assert later.startswith("far (CosineSimilarityLoss) learned nothing in epoch 2: ")
    assert "what is derived from 'fg' is not defined" in later
    assert judged.startswith("far (CosineSimilarityLoss) could not be judged in epoch 2: ")


# -------------------------------------------------------------------------------------- the rest


def test_a_failing_validation_puts_the_trained_weights_back(make_experiment) -> None:
    made = make_experiment(tr_config__ema_decay=0.9)
    module = made.experiment.module

    def broken(*args: Any) -> Any:
        raise RuntimeError("a fault of the program")

    module.validation_step = broken
    with pytest.raises(RuntimeError):
        made.fit()
    assert not module.ema._swapped


def test_a_trainer_of_a_run_has_the_callbacks_of_a_run(make_experiment) -> None:
    made = make_experiment()
    config = made.experiment.config.with_overrides({"tr_config.early_stopping": 3, "tr_config.val_every": 2})
    trainer = build_trainer(made.run.path, config)
    kinds = [type(callback) for callback in trainer.callbacks]
    assert {RowWriter, CheckpointCallback, EarlyStop, ControlCallback} <= set(kinds)
    assert kinds.index(CheckpointCallback) < kinds.index(RowWriter) < kinds.index(ControlCallback)
    assert trainer.max_epochs == 2
    assert trainer.check_val_every_n_epoch == 2
    assert Path(trainer.default_root_dir) == made.run.path
    off = build_trainer(made.run, made.experiment.config)
    assert not any(isinstance(callback, EarlyStop) for callback in off.callbacks)


def test_batches_that_are_not_shared_out_are_not_trained_on_by_several_processes(make_experiment) -> None:
    made = make_experiment(tr_setup__devices=2)
    with pytest.raises(ConfigError, match="2 processes are asked for, but the batches are made for 1"):
        made.fit()


def test_the_pace_forgets_the_first_batch_and_follows_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    pace = Pace()
    pace.mark()
    assert pace.seconds(10, 0) is None
    now[0] += 60.0
    pace.tick()
    assert pace.seconds(10, 0) == pytest.approx(600)
    for _ in range(3):
        now[0] += 2.0
        pace.tick()
    pace.validation = 5.0
    assert pace.seconds(10, 2) == pytest.approx(30)
    now[0] += 100.0
    pace.mark()
    now[0] += 4.0
    pace.tick()
    assert pace.seconds(1, 0) == pytest.approx(2.2)


def test_nothing_is_printed(make_experiment, capfd: pytest.CaptureFixture[str]) -> None:
    made = make_experiment()
    made.fit(tensorboard=True)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_validation_every_other_epoch_has_rows_with_and_without(make_experiment) -> None:
    made = make_experiment(tr_config__num_epochs=4, tr_config__val_every=2)
    made.fit()
    assert ["val_loss" in event.row for event in made.of(EpochDone)] == [False, True, False, True]
    assert made.run.read_info().best.epoch in (2, 4)


def test_time_spent_is_measured_without_preparation(make_experiment) -> None:
    made = make_experiment(tr_config__max_time=60.0)
    assert made.experiment.module.journey.stopwatch.seconds == 0
    start = time.monotonic()
    assert 0 < made.fit().seconds <= time.monotonic() - start
