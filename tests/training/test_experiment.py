"""Whole trainings, tiny and real: every room takes part."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_segtrain.config import ConfigError, DataError
from napari_segtrain.data import Split
from napari_segtrain.network import NetworkPlan, build_network
from napari_segtrain.runs import (
    BatchDone,
    Checkpoint,
    DebugPicture,
    EpochDone,
    EpochStarted,
    FinishReason,
    Progress,
    RunStarted,
    RunState,
    Warned,
    load_checkpoint,
)
from napari_segtrain.targets import Head
from napari_segtrain.training import (
    backward_pass,
    building,
    calculate_loss,
    forward_pass,
    optimizer_step,
    prepare_batch,
    zero_gradients,
)

TASKS = {
    "distance": {"type": "distance_transform", "source_target": "fg"},
    "normals": {"type": "surface_normals", "source_target": "fg"},
}


def weights(module: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in module.network.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_training_writes_everything_a_run_has(make_experiment, ndim: int) -> None:
    made = make_experiment(ndim, auxiliary_tasks=TASKS)
    before = weights(made.experiment.module)
    result = made.fit()
    assert (result.status, result.reason, result.epochs) == (RunState.COMPLETED, FinishReason.ALL_EPOCHS, 2)
    assert not equal(before, weights(made.experiment.module))

    rows = made.run.read_metrics()
    assert [row["epoch"] for row in rows] == [1, 2]
    for name in ("loss", "accuracy", "fg_loss", "fg_dice", "distance_mae", "normals_angle"):
        for row in rows:
            assert math.isfinite(row[f"train_{name}"]), name
            assert math.isfinite(row[f"val_{name}"]), name
    assert [row["learning_rate"] for row in rows] == sorted((r["learning_rate"] for r in rows), reverse=True)
    total = sum(rows[0][f"train_{head}_loss"] for head in ("fg", "distance", "normals"))
    assert rows[0]["train_loss"] == pytest.approx(total, rel=1e-5)

    files = {path.name for path in made.run.checkpoints.iterdir()}
    assert files == {"best.ckpt", "last.ckpt", "segtrain_1.pth", "segtrain_2.pth"}
    best = min(rows, key=lambda row: row["val_loss"])
    assert load_checkpoint(made.run.checkpoints / "best.ckpt")["epoch"] == best["epoch"]
    info = made.run.read_info()
    assert info.epoch == 2
    assert (info.best.epoch, info.best.monitor) == (best["epoch"], "val_loss")
    assert info.split["train"] == 6
    assert made.run.read_config() == made.experiment.config
    assert Split.from_dict(made.run.read_json("split.json")) == made.experiment.data.split


def test_events_tell_the_story_in_order(make_experiment) -> None:
    made = make_experiment()
    made.fit()
    files = Progress | BatchDone | Checkpoint | DebugPicture
    kinds = [type(event) for event in made.events if not isinstance(event, files)]
    assert kinds == [RunStarted, EpochStarted, EpochDone, EpochStarted, EpochDone]
    started = made.of(RunStarted)[0]
    assert (started.num_epochs, started.first_epoch, started.steps_per_epoch) == (2, 1, 3)
    assert started.heads == ("fg", "distance")
    batch = made.of(BatchDone)[0]
    assert (batch.epoch, batch.step) == (1, 1)
    assert {"fg", "distance", "fg/BCEDiceLoss"} <= set(batch.parts)
    assert [event.row for event in made.of(EpochDone)] == made.run.read_metrics()
    fractions = [event.fraction for event in made.of(Progress)]
    assert fractions[-1] == 1.0
    assert made.of(Progress)[-1].seconds_left == 0.0
    kept = {(e.kind, e.epoch) for e in made.of(Checkpoint)}
    assert {("last", 1), ("last", 2), ("numbered", 1), ("numbered", 2), ("best", 1)} <= kept


def test_a_checkpoint_is_safe_complete_and_rebuilds_the_network(make_experiment) -> None:
    made = make_experiment()
    made.fit()
    path = made.run.checkpoints / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    assert {
        "model", "optimizer", "scheduler", "epoch", "model_config", "heads", "config", "normalisation",
        "spacing", "unit", "histories", "random_states", "timestamp", "state_dict", "optimizer_states",
        "lr_schedulers", "loops", "pytorch-lightning_version",
    } <= set(saved)  # fmt: skip
    assert saved["histories"]["train_loss"] == [row["train_loss"] for row in made.run.read_metrics()]
    assert saved["histories"]["val_loss"] == [row["val_loss"] for row in made.run.read_metrics()]
    network = build_network(NetworkPlan.model_validate(saved["model_config"]))
    network.load_state_dict(saved["model"])
    assert [Head.from_dict(head).name for head in saved["heads"]] == ["fg", "distance"]
    # Lightning's copy of the weights shares its storage with ours: weights and two moments, nothing twice.
    size = sum(p.numel() * 4 for p in network.parameters())
    assert path.stat().st_size < 3.6 * size + 150_000


def test_the_same_seed_gives_the_same_run_and_another_another(make_experiment) -> None:
    runs = []
    for seed in (1, 1, 2):
        made = make_experiment(tr_setup__seed=seed, model_config__dropout=0.2)
        made.fit()
        runs.append((weights(made.experiment.module), made.run.read_metrics()))
    assert equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert not equal(runs[0][0], runs[2][0])
    assert runs[0][1] != runs[2][1]


def test_what_the_data_uses_of_the_random_state_does_not_matter(make_experiment, monkeypatch) -> None:
    plain = make_experiment()
    real = building.make_split

    def split(*args: Any) -> Split:
        torch.rand(7)
        return real(*args)

    monkeypatch.setattr(building, "make_split", split)
    assert equal(weights(make_experiment().experiment.module), weights(plain.experiment.module))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_stepping_by_hand_equals_the_full_training(make_experiment, accumulate: int) -> None:
    settings = {
        "tr_config__accumulate": accumulate,
        "tr_config__gradient_clip": 0.5,
        "model_config__dropout": 0.1,
    }
    whole = make_experiment(**settings)
    whole.fit()
    made = make_experiment(**settings)
    module, loader = made.experiment.module, made.experiment.data.loader("train")
    step, losses = module.optimization, []
    module.network.train()
    for epoch in range(2):
        loader.set_epoch(epoch)
        total = 0.0
        for index in range(len(loader)):
            batch = prepare_batch(loader, index)
            if index % accumulate == 0:
                step = zero_gradients(step)
            loss = calculate_loss(forward_pass(module.network, batch), batch, module.loss, epoch)
            gradients = backward_pass(step, loss, accumulate=index % accumulate > 0, divide_by=accumulate)
            if index % accumulate == accumulate - 1:
                step, _ = optimizer_step(step, gradients, gradient_clip=0.5)
            total += loss.value
        losses.append(total / len(loader))
    assert equal(weights(module), weights(whole.experiment.module))
    assert losses == pytest.approx([row["train_loss"] for row in whole.run.read_metrics()], rel=1e-12)
    assert step.step == 6


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_a_training_computes_the_norm_only_to_clip(make_experiment, clip: float) -> None:
    made = make_experiment(tr_config__gradient_clip=clip)
    made.fit()
    assert (made.experiment.module.last_step.norm is not None) == (clip > 0)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_validation_changes_nothing(make_experiment, ema: float) -> None:
    settings = {
        "model_config__norm": "batch",
        "model_config__dropout": 0.2,
        "tr_config__ema_decay": ema,
        "tr_config__monitor": "train_loss",
    }
    with_validation = make_experiment(**settings)
    with_validation.fit()
    without = make_experiment(**settings, tr_config__val_every=100)
    without.fit()
    assert equal(weights(with_validation.experiment.module), weights(without.experiment.module))
    a, b = with_validation.run.read_metrics(), without.run.read_metrics()
    assert "val_loss" in a[0]
    assert "val_loss" not in b[0]
    for name in b[1]:
        assert a[1][name] == b[1][name]
    assert with_validation.experiment.module.network.training


def test_averaged_weights_validate_and_are_what_predicts(make_experiment) -> None:
    made = make_experiment(tr_config__ema_decay=0.9)
    made.fit()
    saved = load_checkpoint(made.run.checkpoints / "last.ckpt")
    own = weights(made.experiment.module)
    assert not equal(saved["model"], own)
    assert equal(saved["model"], made.experiment.module.ema.weights())
    raw = {k.removeprefix("network."): v for k, v in saved["state_dict"].items() if k.startswith("network.")}
    assert equal(raw, own)


def test_without_a_place_to_validate_the_training_loss_decides(make_experiment) -> None:
    made = make_experiment()
    split = made.experiment.data.split
    alone = make_experiment(splits=Split(train=split.train))
    assert any("nothing to validate on" in event.message for event in alone.of(Warned))
    result = alone.fit()
    assert result.best.monitor == "train_loss"
    assert (alone.run.checkpoints / "best.ckpt").is_file()
    assert not any(name.startswith("val_") for name in alone.run.read_metrics()[0])


def test_folds_are_chosen_by_their_index(make_experiment, tmp_path: Path) -> None:
    split = make_experiment().experiment.data.split
    folds = [split, Split(train=split.val, val=split.train[:1])]
    made = make_experiment(splits=folds)
    assert made.experiment.data.split == folds[0]
    data = made.experiment.data
    other = type(data)(
        data._dataset, folds, made.experiment.config, data.resolved, data._deriver, split_index=1
    )
    assert other.split == folds[1]
    with pytest.raises(ConfigError, match="splits 0 to 1"):
        type(data)(data._dataset, folds, made.experiment.config, data.resolved, data._deriver, split_index=2)


def test_folds_of_the_configuration_are_the_splits_of_the_data(make_experiment) -> None:
    folds = {"tr_setup__folds": 3, "tr_setup__fold": 1, "tr_config__num_epochs": 1}
    made = make_experiment(**folds)
    assert len(made.experiment.data.splits) == 3
    assert made.experiment.data.split == made.experiment.data.splits[1]
    made.fit()
    going_on = make_experiment(run=made.run, resume=True, **{**folds, "tr_config__num_epochs": 2})
    assert going_on.experiment.data.split == made.experiment.data.split
    with pytest.raises(ConfigError, match="fold 3 does not exist; there are the folds 0 to 2"):
        make_experiment(**{**folds, "tr_setup__fold": 3})


def test_a_monitored_value_that_never_comes_is_refused_before_training(make_experiment) -> None:
    with pytest.raises(ConfigError, match="val_fg_dice"):
        make_experiment(tr_config__monitor="val_fg_dic")


def test_the_learning_rate_follows_the_schedule(make_experiment) -> None:
    made = make_experiment(
        tr_config__scheduler={"name": "step", "every": 1, "factor": 0.1}, tr_config__num_epochs=3
    )
    made.fit()
    rates = [row["learning_rate"] for row in made.run.read_metrics()]
    assert rates == pytest.approx([1e-3, 1e-4, 1e-5])


def test_an_epoch_whose_batches_do_not_divide_by_the_accumulation_takes_every_batch(make_experiment) -> None:
    made = make_experiment(tr_config__steps_per_epoch=None, tr_config__accumulate=4, tr_config__num_epochs=1)
    batches = len(made.experiment.data.loader("train"))
    assert batches % 4
    made.fit()
    assert made.experiment.module.optimization.step == -(-batches // 4)


def test_a_damaged_image_ends_the_training_with_its_name(make_experiment, layers) -> None:
    data = layers(2)
    image = data["layers"][0]["image"].astype("float32")
    data["layers"][0]["image"] = image
    made = make_experiment(data=data, tr_config__num_epochs=200)
    image[:] = math.nan
    with pytest.raises(DataError, match="image0"):
        made.fit()


def test_numbers_in_the_metrics_file_are_strict_json(make_experiment) -> None:
    made = make_experiment()
    made.fit()
    text = (made.run.path / "metrics.json").read_text()

    def refuse(token: str) -> float:
        raise AssertionError(token)

    assert len(json.loads(text, parse_constant=refuse)) == 2


@pytest.mark.parametrize("kind", ["classes", "instances"])
def test_other_kinds_of_targets_train(make_experiment, layers, kind: str) -> None:
    data = layers(2)
    for number, item in enumerate(data["layers"]):
        labels = item["labels"]["fg"].astype("uint16")
        labels[:, : labels.shape[1] // 2] *= 2
        labels[0, 0] = number + 1
        item["labels"]["fg"] = labels
    made = make_experiment(
        data=data,
        dataset_config__targets={"fg": {"kind": kind}},
        auxiliary_tasks={},
        model_config__deep_supervision=True,
    )
    result = made.fit()
    assert math.isfinite(result.rows[-1]["val_loss"])
    assert "val_fg_dice" in result.rows[-1]


def test_the_first_epoch_does_not_wait_for_a_compiler(make_experiment) -> None:
    """What compiles is the call of the network, as torch.compile has it, and not its forward."""
    made = make_experiment()
    called: list[int] = []
    module = made.experiment.module
    module.network.register_forward_pre_hook(lambda *_: called.append(module.epochs_done))
    made.fit()
    assert set(called) == {1}
