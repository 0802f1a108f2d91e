"""A run that runs out of memory computes less at a time, says so, and goes on with nothing lost."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from napari_segtrain.data.ram import main_memory
from napari_segtrain.network import MultiTaskUNet
from napari_segtrain.runs import LAST, EpochDone, Warned, load_checkpoint
from napari_segtrain.training import trial
from napari_segtrain.training.load import WHOLE, Load


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


def test_a_step_is_tried_where_an_estimate_leaves_it_open(make_experiment, monkeypatch) -> None:
    tried = []
    real = trial.step_memory

    def step_memory(*arguments: Any) -> int:
        tried.append(real(*arguments))
        return tried[-1]

    monkeypatch.setattr(trial, "step_memory", step_memory)
    settings = {"tr_config__batch_size": 8, "tr_config__patch_size": [48, 48]}
    roomy = make_experiment(**settings)
    assert (tried, roomy.experiment.resolved.micro_batch) == ([], None)
    need = roomy.experiment.resolved.memory
    # Whatever was measured, by at most a factor of two it is less than the estimate: a half does not hold it.
    monkeypatch.setattr(trial, "free_memory", lambda device: need // 2)
    tight = make_experiment(**settings)
    assert len(tried) == 1
    assert tight.run.read_config().tr_config.micro_batch in (1, 2, 4)
    assert any("memory that is free" in event.message for event in tight.of(Warned))
    one, other = (made.experiment.module.network.state_dict() for made in (roomy, tight))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_step_that_fails_makes_the_load_the_least(make_experiment, monkeypatch) -> None:
    def step_memory(*arguments: Any) -> int:
        raise MemoryError

    monkeypatch.setattr(trial, "step_memory", step_memory)
    monkeypatch.setattr(trial, "free_memory", lambda device: 1000)
    config = make_experiment(tr_config__batch_size=8).run.read_config().tr_config
    assert (config.micro_batch, config.gradient_checkpointing) == (1, True)
