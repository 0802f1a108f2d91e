"""A run that was stopped and resumed is, bit for bit, the run that was not."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import tifffile
import torch

from napari_segtrain.config import ExperimentConfig, RunError
from napari_segtrain.data import open_dataset
from napari_segtrain.data.augmentation import IntensityChange
from napari_segtrain.runs import (
    BEST,
    LAST,
    Control,
    EpochStarted,
    FinishReason,
    RunFolder,
    RunState,
    load_checkpoint,
)
from napari_segtrain.training import Experiment, FitResult

HARD = {
    "model_config__dropout": 0.2,
    "model_config__norm": "batch",
    "tr_config__ema_decay": 0.9,
    "tr_config__num_epochs": 3,
    "tr_config__early_stopping": 5,
    "tr_config__monitor": "val_fg_dice",
    "tr_config__mode": "max",
}


class StopAt(Control):
    """Asks to stop when it was looked at a number of times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def paused(self) -> bool:
        self.looks -= 1
        if self.looks == 0:
            self.stop()
        return super().paused


@pytest.fixture
def folder(tmp_path: Path, layers: Callable[..., dict[str, Any]]) -> Callable[[int], Path]:
    def make(ndim: int) -> Path:
        root = tmp_path / f"data{ndim}"
        for item in layers(ndim)["layers"]:
            for part, name, array in (
                ("images", item["id"], item["image"]),
                ("labels", f"{item['id']}_fg", item["labels"]["fg"]),
            ):
                (root / part).mkdir(parents=True, exist_ok=True)
                tifffile.imwrite(root / part / f"{name}.tif", array)
        return root

    return make


def start(
    config: ExperimentConfig, data: Path, name: str, control: Control | None = None, **kwargs: Any
) -> tuple[RunFolder, FitResult]:
    dataset = open_dataset(data, config.dataset_config)
    run = RunFolder.create(data.parent / "project", name)
    experiment = Experiment.prepare(config, dataset, run, control=control)
    return run, experiment.fit(tensorboard=False, **kwargs)


def go_on(run: RunFolder, data: Path, config: ExperimentConfig | None = None, **kwargs: Any) -> FitResult:
    config = config if config is not None else run.read_config()
    dataset = open_dataset(data, config.dataset_config)
    return Experiment.prepare(config, dataset, run, resume=True).fit(tensorboard=False, **kwargs)


def assert_same(a: Any, b: Any, where: str = "") -> None:
    """Compare what checkpoints hold, bit for bit."""
    assert type(a) is type(b), where
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for number, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{where}[{number}]")
    else:
        assert a == b, where


def assert_same_run(a: RunFolder, b: RunFolder) -> None:
    assert a.read_metrics() == b.read_metrics()
    for name in (LAST, BEST):
        first, second = (load_checkpoint(run.checkpoints / name) for run in (a, b))
        for key in ("model", "optimizer", "scheduler", "epoch", "batch", "step", "ema_updates", "monitor"):
            assert_same(first[key], second[key], key)
        for key in ("rows", "histories", "random_states", "normalisation", "model_config"):
            assert_same(first[key], second[key], key)
    assert a.read_info().best == b.read_info().best
    assert a.read_info().epoch == b.read_info().epoch


def command(data: Path, *runs: RunFolder) -> list[str]:
    script = Path(__file__).with_name("resume_script.py")
    return [sys.executable, "-W", "error", str(script), str(data), *(str(run.path) for run in runs)]


@pytest.mark.slow
@pytest.mark.parametrize("ndim", [2, 3])
def test_stopping_and_going_on_in_another_process_changes_nothing(tiny_config, folder, ndim: int) -> None:
    data = folder(ndim)
    whole = {}
    stopped = []
    for workers in (0, 2):
        config = tiny_config(ndim, **HARD, tr_setup__num_workers=workers)
        whole[workers], _ = start(config, data, f"whole{workers}")
        # Once after an epoch, and once in the middle of the second.
        run, result = start(config, data, f"epoch{workers}", stop_after=1)
        assert (result.status, result.reason) == (RunState.INTERRUPTED, FinishReason.STOP_AFTER)
        assert result.epochs == 1
        stopped.append(run)
        looks_an_epoch = 3 + 2 + 1
        run, result = start(config, data, f"middle{workers}", StopAt(looks_an_epoch + 2))
        assert (result.status, result.reason, result.epochs) == (
            RunState.INTERRUPTED,
            FinishReason.STOPPED,
            1,
        )
        assert load_checkpoint(run.checkpoints / LAST)["batch"] == 2
        stopped.append(run)
    subprocess.run(command(data, *stopped), check=True, timeout=300)
    assert whole[0].read_metrics() == whole[2].read_metrics()
    for run in stopped:
        assert_same_run(run, whole[0 if run.name.endswith("0") else 2])


def test_patches_that_are_finished_on_a_device_stop_and_go_on_too(tiny_config, folder, monkeypatch) -> None:
    data = folder(3)
    always = dict.fromkeys(("noise", "blur", "gamma"), 1.0)
    changes = {**HARD, "tr_config__num_epochs": 2, "dataset_config__augmentation": always}
    by_threads, _ = start(tiny_config(3, **changes), data, "threads")
    # The way of a GPU, taken on the device that is there.
    resolving = import_module("napari_segtrain.training.resolve")
    monkeypatch.setattr(resolving, "_augment_on_gpu", lambda *_: (True, ()))
    changed = []
    plain = IntensityChange.on_tensor
    monkeypatch.setattr(
        IntensityChange, "on_tensor", lambda self, image: changed.append(1) or plain(self, image)
    )
    whole, _ = start(tiny_config(3, **changes, tr_setup__num_workers=2), data, "whole")
    run, result = start(tiny_config(3, **changes), data, "middle", StopAt(3 + 2 + 1 + 2))
    assert (result.reason, result.epochs) == (FinishReason.STOPPED, 1)
    go_on(run, data)
    assert_same_run(run, whole)
    losses = [[row["train_loss"] for row in each.read_metrics()] for each in (whole, by_threads)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert len(changed) == 2 * 2 * 3 * 2, "every patch of two runs, epochs and three batches of two"


@pytest.mark.slow
def test_a_run_whose_process_was_killed_goes_on(tiny_config, folder) -> None:
    data = folder(2)
    config = tiny_config(2, **{**HARD, "tr_config__num_epochs": 60})
    whole, _ = start(config, data, "whole")
    run = RunFolder.create(data.parent / "project", "killed")
    run.write_config(config)
    process = subprocess.Popen(command(data, run))
    while len(run.read_metrics()) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert len(run.read_metrics()) < 60
    run = RunFolder.open(run.path)
    go_on(run, data)
    assert_same_run(run, whole)


@pytest.mark.parametrize("looks", [1, 3, 4, 5, 6, 8])
def test_a_stop_at_any_moment_can_be_resumed(tiny_config, folder, looks: int) -> None:
    """Looks 1 to 3 are training batches, 4 and 5 validation batches, 6 the end of the epoch."""
    data = folder(2)
    config = tiny_config(2, **HARD, tr_config__accumulate=1)
    whole, _ = start(config, data, "whole")
    run, result = start(config, data, "stopped", StopAt(looks))
    assert result.reason == FinishReason.STOPPED
    assert result.epochs == (0 if looks < 6 else 1)
    assert go_on(run, data).reason == FinishReason.ALL_EPOCHS
    assert_same_run(run, whole)


def test_a_stop_waits_for_the_step_while_batches_are_accumulated(tiny_config, folder) -> None:
    data = folder(2)
    config = tiny_config(2, **HARD, tr_config__accumulate=2)
    whole, _ = start(config, data, "whole")
    run, _ = start(config, data, "stopped", StopAt(2))
    assert load_checkpoint(run.checkpoints / LAST)["batch"] == 4
    go_on(run, data)
    assert_same_run(run, whole)


def test_a_stop_before_the_start_trains_nothing(make_experiment) -> None:
    made = make_experiment()
    made.control.stop(FinishReason.PARENT_GONE)
    result = made.fit()
    assert (result.status, result.reason, result.epochs) == (
        RunState.INTERRUPTED,
        FinishReason.PARENT_GONE,
        0,
    )
    assert made.of(EpochStarted) == []


def test_more_epochs_extend_a_run(tiny_config, folder) -> None:
    data = folder(2)
    constant = {"tr_config__scheduler": {"name": "constant"}}
    whole, _ = start(tiny_config(2, **{**HARD, **constant}), data, "whole")
    run, _ = start(tiny_config(2, **{**HARD, **constant, "tr_config__num_epochs": 2}), data, "short")
    result = go_on(run, data, tiny_config(2, **{**HARD, **constant}))
    assert result.epochs == 3
    assert_same_run(run, whole)


def test_a_resumed_run_can_be_given_a_lower_learning_rate(tiny_config, folder) -> None:
    data = folder(2)
    run, _ = start(tiny_config(2), data, "run", stop_after=1)
    go_on(run, data, tiny_config(2, tr_config__optimizer={"name": "AdamW", "lr": 1e-5}))
    assert run.read_metrics()[1]["learning_rate"] < 1e-5
    assert run.read_metrics()[0]["learning_rate"] > 1e-4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_config__base_features": 8}, r"features was \[4, 8, 8\] and is now \[8, 8, 8\]"),
        ({"auxiliary_tasks": {}}, r"distance \(1\)"),
        ({"tr_config__optimizer": {"name": "SGD"}}, "AdamW"),
    ],
)
def test_another_network_or_optimizer_is_refused_in_words(
    tiny_config, folder, changes: dict, words: str
) -> None:
    data = folder(2)
    run, _ = start(tiny_config(2), data, "run", stop_after=1)
    with pytest.raises(RunError, match=words):
        go_on(run, data, tiny_config(2, **changes))


def test_a_run_without_a_checkpoint_cannot_be_resumed(tiny_config, folder) -> None:
    data = folder(2)
    run = RunFolder.create(data.parent / "project", "empty")
    config = tiny_config(2)
    with pytest.raises(RunError, match="no such checkpoint"):
        go_on(run, data, config)


def test_rows_of_an_epoch_without_its_checkpoint_are_dropped(tiny_config, folder) -> None:
    data = folder(2)
    config = tiny_config(2, **HARD)
    whole, _ = start(config, data, "whole")
    run, _ = start(config, data, "crashed", stop_after=2)
    first = run.checkpoints / "segtrain_1.pth"
    (run.checkpoints / LAST).write_bytes(first.read_bytes())
    assert len(run.read_metrics()) == 2
    run = RunFolder.open(run.path)
    dataset = open_dataset(data, config.dataset_config)
    experiment = Experiment.prepare(config, dataset, run, resume=True)
    assert run.read_metrics() == whole.read_metrics()[:1]
    experiment.fit(tensorboard=False)
    assert run.read_metrics() == whole.read_metrics()


def test_the_best_epoch_and_the_patience_are_carried_over(tiny_config, folder) -> None:
    data = folder(2)
    config = tiny_config(
        2,
        tr_config__num_epochs=20,
        tr_config__early_stopping=3,
        tr_config__optimizer={"name": "SGD", "lr": 0.0, "weight_decay": 0.0},
    )
    run, _ = start(config, data, "still", stop_after=2)
    result = go_on(run, data)
    assert (result.reason, result.epochs) == (FinishReason.EARLY_STOPPING, 4)
    assert result.best.epoch == 1
    assert load_checkpoint(run.checkpoints / BEST)["epoch"] == 1


def test_averaging_can_begin_when_a_run_is_resumed(tiny_config, folder) -> None:
    data = folder(2)
    run, _ = start(tiny_config(2), data, "run", stop_after=1)
    before = load_checkpoint(run.checkpoints / LAST)["model"]
    config = tiny_config(2, tr_config__ema_decay=0.5)
    dataset = open_dataset(data, config.dataset_config)
    module = Experiment.prepare(config, dataset, run, resume=True).module
    assert_same(dict(module.ema.weights()), before)


def test_lightning_itself_can_go_on_from_our_checkpoint(tiny_config, folder) -> None:
    from napari_segtrain.training.trainer import build_trainer, quiet_lightning

    data = folder(2)
    config = tiny_config(2, **HARD)
    whole, _ = start(config, data, "whole")
    run, _ = start(config, data, "half", stop_after=1)
    dataset = open_dataset(data, config.dataset_config)
    split = load_checkpoint(run.checkpoints / LAST)
    assert split["epoch"] == 1
    experiment = Experiment.prepare(config, dataset, RunFolder.create(data.parent / "project", "other"))
    trainer = build_trainer(experiment.run, config, callbacks=[])
    with quiet_lightning():
        trainer.fit(
            experiment.module,
            datamodule=experiment.data,
            ckpt_path=str(run.checkpoints / LAST),
            weights_only=True,
        )
    final = load_checkpoint(whole.checkpoints / LAST)
    assert_same(dict(experiment.module.ema.weights()), final["model"])
    assert [row["train_loss"] for row in experiment.module.rows] == final["histories"]["train_loss"]
