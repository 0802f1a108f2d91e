"""A run that runs out of memory computes less at a time, says so, and goes on with nothing lost."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from napari_segtrain.config import DataFacts, TargetFacts
from napari_segtrain.data import ram
from napari_segtrain.data.ram import batches_ahead, main_memory
from napari_segtrain.network import Inventory, MultiTaskUNet
from napari_segtrain.runs import LAST, EpochDone, Warned, load_checkpoint
from napari_segtrain.training import resolve, trial
from napari_segtrain.training.ladder import rungs
from napari_segtrain.training.load import WHOLE, Load
from napari_segtrain.training.metrics import MaskedError


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch):
    """Return a function that lets networks run out of memory in a backward pass of more than so many patches,
    unless features are computed again.

    Other gradients are there by then: what was added before the error must not count twice.
    """

    real = MultiTaskUNet.forward

    def limit(patches: int, first: int = 0) -> None:
        calls = [0]

        def forward(self: MultiTaskUNet, x: torch.Tensor) -> dict[str, Any]:
            outputs = real(self, x)
            if x.is_meta:  # an estimate computes nothing
                return outputs
            if self.training:
                calls[0] += 1
            if not (self.training and len(x) > patches and calls[0] > first and not self.checkpointing):
                return outputs

            def fail(gradient: torch.Tensor) -> None:
                hook.remove()
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

            hook = next(self.encoder.parameters()).register_hook(fail)
            return outputs

        monkeypatch.setattr(MultiTaskUNet, "forward", forward)

    return limit


def weights(run: Any) -> dict[str, torch.Tensor]:
    return load_checkpoint(run.checkpoints / LAST)["model"]


def test_halves_come_first_then_features_are_computed_again() -> None:
    loads = [WHOLE]
    while (lighter := loads[-1].lighter(5, can_recompute=True)) is not None:
        loads.append(lighter)
    assert loads == [WHOLE, Load(2), Load(1), Load(1, True)]
    assert Load(1).lighter(5, can_recompute=False) is None


def test_a_run_goes_on_with_parts_of_the_batch(make_experiment, room) -> None:
    settings = {"tr_config__batch_size": 4, "tr_config__accumulate": 2}
    whole = make_experiment(**settings)
    whole.fit()
    # The second batch of the first step: gradients of the first one are there already.
    room(2, first=1)
    made = make_experiment(**settings)
    result = made.fit()
    assert result.epochs == 2
    assert [event.epoch for event in made.of(EpochDone)] == [1, 2]
    [said] = [event.message for event in made.of(Warned) if "memory" in event.message]
    assert "batches of 4 are computed 2 patches at a time" in said
    config = made.run.read_config().tr_config
    assert (config.batch_size, config.micro_batch, config.gradient_checkpointing) == (4, 2, False)
    assert made.run.read_info().batch == "4 × 2 accumulated = 8 patches a step, 2 at a time"
    steps = [load_checkpoint(each.run.checkpoints / LAST)["step"] for each in (whole, made)]
    assert steps[0] == steps[1]


def test_features_are_computed_again_where_one_patch_does_not_fit(make_experiment, room) -> None:
    room(0)
    made = make_experiment(tr_config__batch_size=1)
    assert made.fit().epochs == 2
    [said] = [event.message for event in made.of(Warned) if "memory" in event.message]
    assert "one patch at a time, features computed again" in said
    assert made.run.read_config().tr_config.gradient_checkpointing


def test_from_the_change_on_a_resumed_run_is_the_same_bit_for_bit(make_experiment, room) -> None:
    settings = {"tr_config__batch_size": 4, "tr_config__num_epochs": 3, "model_config__dropout": 0.2}
    room(2, first=1)
    straight = make_experiment(**settings)
    straight.fit()
    room(2, first=1)
    made = make_experiment(**settings)
    made.fit(stop_after=2)
    recorded = made.run.read_config().tr_config.micro_batch
    again = make_experiment(run=made.run, resume=True, tr_config__micro_batch=recorded, **settings)
    again.fit()
    assert not [event for event in again.of(Warned) if "memory" in event.message]
    expected, found = weights(straight.run), weights(made.run)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_parts_add_up_to_the_step_of_the_whole_batch(make_experiment) -> None:
    # Losses that are means over voxels are the same in parts where every patch is labelled alike.
    losses = {"dataset_config__targets": {"fg": {"kind": "binary", "losses": ["BCEWithLogitsLoss"]}}}
    settings = {**losses, "auxiliary_tasks": {}, "tr_config__batch_size": 3, "tr_config__num_epochs": 1}
    runs = [make_experiment(**settings), make_experiment(**settings, tr_config__micro_batch=2)]
    rows = [made.fit().rows[0] for made in runs]
    for name in ("train_loss", "val_loss", "val_fg_dice"):
        assert rows[1][name] == pytest.approx(rows[0][name], rel=1e-4), name
    one, other = (weights(made.run) for made in runs)
    for name in one:
        assert torch.allclose(one[name].float(), other[name].float(), rtol=1e-2, atol=1e-4), name


def test_memory_of_a_control_group_counts(tmp_path) -> None:
    machine = main_memory(tmp_path / "none", tmp_path)
    proc, root = tmp_path / "cgroup", tmp_path / "fs"
    inner = root / "docker" / "abc"
    inner.mkdir(parents=True)
    proc.write_text("0::/docker/abc\n")
    for folder, most in ((root / "docker", "1000"), (inner, "max")):
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text("700\n")
        (folder / "memory.stat").write_text("anon 400\ninactive_file 300\n")
    assert machine.total > 2**20
    found = main_memory(proc, root)
    assert (found.total, found.free) == (1000, 600)
    old = root / "memory" / "job"
    old.mkdir(parents=True)
    proc.write_text("4:cpu:/job\n5:memory:/job\n")
    (old / "memory.limit_in_bytes").write_text("500\n")
    (old / "memory.usage_in_bytes").write_text("450\n")
    assert main_memory(proc, root).free == 50


def trials(monkeypatch: pytest.MonkeyPatch, fits: Any, free: int) -> list[Any]:
    """Let so many bytes be free, and a step fit where `fits` says so; return what is tried."""
    tried: list[Any] = []

    def step_memory(config: Any, resolved: Any) -> int:
        tried.append(resolved)
        if not fits(resolved):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return int(0.7 * free)

    monkeypatch.setattr(trial, "step_memory", step_memory)
    monkeypatch.setattr(trial, "free_memory", lambda device: free)
    return tried


def test_a_step_is_tried_where_an_estimate_leaves_it_open(make_experiment, monkeypatch) -> None:
    tried = []
    real = trial.step_memory

    def step_memory(*arguments: Any) -> int:
        tried.append(real(*arguments))
        return tried[-1]

    monkeypatch.setattr(trial, "step_memory", step_memory)
    settings = {"tr_config__batch_size": 8, "tr_config__patch_size": [48, 48], "model_config__norm": "batch"}
    roomy = make_experiment(**settings)
    assert (tried, roomy.experiment.resolved.micro_batch) == ([], None)
    need = roomy.experiment.resolved.memory
    # Whatever was measured, by at most a factor of two it is less than the estimate: a half does not hold it.
    monkeypatch.setattr(trial, "free_memory", lambda device: need // 2)
    tight = make_experiment(**settings)
    assert tried
    assert tight.run.read_config().tr_config.batch_size == 8, "chosen by hand"
    assert tight.run.read_config().tr_config.micro_batch in (1, 2, 4)
    assert any("memory that is free" in event.message for event in tight.of(Warned))
    one, other = (made.experiment.module.network.state_dict() for made in (roomy, tight))
    assert all(torch.equal(one[name], other[name]) for name in one), "weights and statistics are untouched"
    states = [made.experiment.module.pending_random_states for made in (roomy, tight)]
    assert torch.equal(states[0]["torch"], states[1]["torch"])


def test_what_was_left_open_is_fitted_and_a_resumed_run_keeps_it_bit_for_bit(
    make_experiment, monkeypatch
) -> None:
    tried = trials(monkeypatch, lambda r: max(r.patch_size) < 40, 2**40)
    open_ = {"tr_config__patch_size": None, "tr_config__batch_size": None}
    small = {"model_config__dropout": 0.2, "model_config__max_poolings": 2, "auxiliary_tasks": {}}
    settings = {**open_, **small, "tr_config__num_epochs": 2, "tr_config__steps_per_epoch": 1}
    monkeypatch.setattr(trial, "_CLEAR", 0.0)
    straight = make_experiment(**settings)
    first, chosen = tried[0], straight.run.read_config()
    assert (max(first.patch_size), first.batch_size) == (48, 1), "a system that is full would end the program"
    assert any(r.gradient_checkpointing and r.patch_size == first.patch_size for r in tried)
    assert (max(chosen.tr_config.patch_size), chosen.tr_config.batch_size) == (36, 8)
    assert (chosen.tr_setup.precision, chosen.tr_config.micro_batch) == ("fp32", None)
    [said] = [event.message for event in straight.of(Warned) if "memory that is free" in event.message]
    assert "patches of 36,36 instead of 48,48" in said
    straight.fit()
    made = make_experiment(**settings)
    made.fit(stop_after=1)
    # There is room again: what the run began with stays.
    roomy = trials(monkeypatch, lambda r: True, 2**40)
    config = made.run.read_config().tr_config
    kept = {"tr_config__patch_size": list(config.patch_size), "tr_config__batch_size": config.batch_size}
    again = make_experiment(run=made.run, resume=True, **{**settings, **kept})
    again.fit()
    assert not roomy
    expected, found = weights(straight.run), weights(made.run)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_on_a_gpu_16_bits_come_before_smaller_patches_and_nothing_chosen_changes(
    tiny_config, monkeypatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (6, 1))
    gpu = Inventory(gpus=1)
    config = tiny_config(tr_config__patch_size=None, tr_setup__device="cuda", tr_setup__precision="fp32")
    known = DataFacts(
        ndim=2, shape=(64, 64), spacing=(1.0, 1.0), targets={"fg": TargetFacts(values=(0, 1), max_value=1.0)}
    )
    planned = resolve(config, known, gpu)
    assert {rung.precision for rung in rungs(config, planned)} == {"fp32"}, "chosen by hand"
    assert {rung.batch_size for rung in rungs(config, planned)} == {2}, "chosen by hand"
    open_ = config.with_overrides({"tr_setup.precision": "auto"})
    found = [(max(r.patch_size), str(r.load), r.precision) for r in rungs(open_, planned)]
    again = "one patch at a time, features computed again in the backward pass"
    assert found[:5] == [
        (64, "whole batches", "fp32"),
        (64, "one patch at a time", "fp32"),
        (64, again, "fp32"),
        (64, again, "fp16"),
        (48, "whole batches", "fp32"),
    ]
    by_itself = config.with_overrides({"tr_config.batch_size": None, "tr_config.patch_size": (64, 64)})
    sizes = [(r.batch_size, str(r.load)) for r in rungs(by_itself, planned.replace(batch_size=4))]
    assert sizes[:4] == [(4, "whole batches"), (2, "whole batches"), (1, "whole batches"), (1, again)]


def test_a_step_that_fails_makes_the_load_the_least(make_experiment, monkeypatch) -> None:
    trials(monkeypatch, lambda r: False, 1000)
    config = make_experiment(tr_config__batch_size=8).run.read_config().tr_config
    assert (config.micro_batch, config.gradient_checkpointing) == (1, True)
    assert config.patch_size == (16, 16), "chosen by hand"


@pytest.mark.parametrize(("name", "after"), [("AdamW", 0), ("AdamW", 2), ("SGD", 0), ("NAdam", 40)])
def test_memory_that_runs_out_in_the_optimizer_costs_no_step(
    make_experiment, monkeypatch, name, after
) -> None:
    settings = {"tr_config__optimizer": {"name": name, "lr": 0.01}, "tr_config__gradient_clip": 0.1}
    settings |= {"tr_config__num_epochs": 1, "auxiliary_tasks": {}}
    whole = make_experiment(**settings)
    whole.fit()
    made = make_experiment(**settings)
    kind = type(made.experiment.module.optimization.optimizer)
    real, calls = kind._init_group, [0]

    def greedy(self: Any, *arguments: Any, **named: Any) -> Any:
        """Fail when some tensors have their moments already, and others do not."""
        found = real(self, *arguments, **named)
        calls[0] += 1
        if calls[0] == after + 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return found

    monkeypatch.setattr(kind, "_init_group", greedy)
    made.fit()
    said = [event.message for event in made.of(Warned) if "memory" in event.message]
    assert len(said) == 1
    assert "one tensor after another" in said[0]
    expected, found = weights(whole.run), weights(made.run)
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def test_scores_are_the_same_patch_by_patch(make_experiment, monkeypatch) -> None:
    settings = {"tr_config__batch_size": 4, "tr_config__num_epochs": 1}
    expected = make_experiment(**settings).fit().rows
    real = MaskedError.update

    def greedy(self: Any, outputs: Any, batch: Any) -> None:
        if len(batch["image"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        real(self, outputs, batch)

    monkeypatch.setattr(MaskedError, "update", greedy)
    found = make_experiment(**settings).fit().rows
    assert found[0] == pytest.approx(expected[0], rel=1e-5)


def test_batches_are_prepared_ahead_as_memory_allows(make_experiment, monkeypatch) -> None:
    assert batches_ahead(4, 100, 2**40) == 9
    assert batches_ahead(4, 100, 1600) == 4
    assert batches_ahead(4, 100, 10) == 1
    expected = make_experiment(tr_setup__num_workers=2, tr_config__num_epochs=1).fit().rows
    # A container whose limit leaves next to nothing.
    monkeypatch.setattr(ram, "_groups", lambda *folders: iter([(2**30, 2**30 - 1000)]))
    monkeypatch.setattr(trial, "free_memory", lambda device: 2**40)
    made = make_experiment(tr_setup__num_workers=2, tr_config__num_epochs=1)
    assert made.experiment.data.loader("train")._ahead == 1
    assert made.fit().rows == expected
