"""What TensorBoard shows of a run, read back by its own reader."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from napari_segtrain.runs import EpochStarted, Event, RunFolder, TensorBoardFile


def read(run: RunFolder) -> EventAccumulator:
    found = EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def numbers(run: RunFolder, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(run).Scalars(tag)]


def test_curves_have_the_tags_that_are_promised(make_experiment: Callable[..., Any]) -> None:
    made = make_experiment()
    made.fit(tensorboard=True)
    tags = set(read(made.run).Tags()["scalars"])
    assert {
        "training_loss", "epoch_train_loss", "epoch_train_accuracy", "epoch_val_loss", "epoch_val_accuracy",
        "learning_rate", "train_fg_loss", "val_fg_loss", "train_distance_loss", "val_distance_loss",
        "val_fg_dice",
    } <= tags  # fmt: skip
    losses = numbers(made.run, "training_loss")
    assert [step for step, _ in losses] == list(range(6))
    rows = made.run.read_metrics()
    assert sum(value for _, value in losses[:3]) / 3 == pytest.approx(rows[0]["train_loss"], rel=1e-5)
    for tag, key in (("epoch_val_loss", "val_loss"), ("learning_rate", "learning_rate")):
        assert numbers(made.run, tag) == [(n + 1, pytest.approx(row[key])) for n, row in enumerate(rows)]


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_picture_of_an_epoch_is_there_too(make_experiment: Callable[..., Any], ndim: int) -> None:
    made = make_experiment(ndim, tr_config__num_epochs=1)
    made.fit(tensorboard=True)
    [shown] = read(made.run).Images("preview")
    assert shown.step == 1
    [path] = made.run.plots.glob("segtrain_debug.*")
    assert shown.encoded_image_string == path.read_bytes()
    with Image.open(io.BytesIO(shown.encoded_image_string)) as picture:
        assert picture.size == (shown.width, shown.height)


def test_a_resumed_run_has_one_value_a_step_and_those_of_a_whole_one(
    make_experiment: Callable[..., Any], tmp_path: Any
) -> None:
    whole = make_experiment(run=RunFolder.create(tmp_path / "project", "whole"), tr_config__num_epochs=3)
    whole.fit(tensorboard=True)
    part = make_experiment(tr_config__num_epochs=3)

    def stop_in_the_second_epoch(event: Event) -> None:
        if isinstance(event, EpochStarted) and event.epoch == 2:
            part.control.stop()

    object.__setattr__(part.experiment, "emit", stop_in_the_second_epoch)
    part.fit(tensorboard=True)
    assert [step for step, _ in numbers(part.run, "training_loss")] == [0, 1, 2, 3]
    # As if the process had gone on after its checkpoint, and died before the next one.
    lost = TensorBoardFile(part.run.tensorboard)
    lost.add_number("training_loss", 99.0, 5)
    lost.add_number("epoch_val_loss", 99.0, 2)
    lost.flush()
    again = make_experiment(run=part.run, resume=True, tr_config__num_epochs=3)
    again.fit(tensorboard=True)
    assert len(list(part.run.tensorboard.iterdir())) == 3
    for tag in read(whole.run).Tags()["scalars"]:
        assert numbers(part.run, tag) == numbers(whole.run, tag), tag


def test_a_run_that_begins_anew_in_its_folder_forgets_the_first_attempt(
    make_experiment: Callable[..., Any],
) -> None:
    first = make_experiment()
    first.fit(tensorboard=True)
    again = make_experiment(run=first.run, tr_config__num_epochs=1)
    again.fit(tensorboard=True)
    assert [step for step, _ in numbers(again.run, "training_loss")] == [0, 1, 2]
    assert [step for step, _ in numbers(again.run, "epoch_train_loss")] == [1]
