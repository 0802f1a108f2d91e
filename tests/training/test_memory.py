"""What fits into memory, and what is said and offered when something did not."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch

from napari_segtrain.config import ConfigError, DataFacts, TargetFacts
from napari_segtrain.network import Inventory, estimate_memory, is_out_of_memory
from napari_segtrain.runs import FinishReason, FittingSize, RunStarted
from napari_segtrain.training import OutOfMemoryError, experiment, memory, resolve
from napari_segtrain.training.memory import (
    largest_batch,
    out_of_memory_message,
    suggest_fit,
)
from napari_segtrain.training.resolve import plan_network

NO_GPU = Inventory(why_no_gpu="there is none", why_no_mps="there is none")


def facts(ndim: int, edge: int = 64) -> DataFacts:
    return DataFacts(
        ndim=ndim,
        shape=(edge,) * ndim,
        spacing=(1.0,) * ndim,
        targets={"fg": TargetFacts(values=(0, 1), max_value=1.0)},
    )


def test_memory_errors_are_told_from_others() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_a_real_allocation_that_fails_is_recognised() -> None:
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(2**58, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_the_suggestion_fits_and_keeps_the_patch_while_it_can(tiny_config) -> None:
    config, known = tiny_config(3, tr_config__patch_size=[64] * 3), facts(3)
    resolved = resolve(config, known, NO_GPU)
    plan = resolved.plan

    def replan(patch: tuple[int, ...]):
        return plan_network(config, known, resolved.heads, patch)

    roomy = int(estimate_memory(plan, 2) / 0.8) + 1
    assert suggest_fit(plan, 8, roomy, replan) == FittingSize(patch_size=plan.patch_size, batch_size=2)
    tight = int(estimate_memory(plan, 1) / 0.8) - 1
    found = suggest_fit(plan, 8, tight, replan)
    assert found is not None
    assert max(found.patch_size) < 64
    assert estimate_memory(replan(found.patch_size), found.batch_size) <= 0.8 * tight
    assert suggest_fit(plan, 8, 1000, replan) is None


def test_sizes_that_do_not_suit_the_configured_stages_are_passed_over(tiny_config) -> None:
    config, known = tiny_config(3, tr_config__patch_size=[64] * 3), facts(3)
    resolved = resolve(config, known, NO_GPU)
    stages = (1,) * resolved.plan.stages
    config = config.with_overrides({"model_config.blocks_per_stage": stages})

    def replan(patch: tuple[int, ...]):
        return plan_network(config, known, resolved.heads, patch)

    with pytest.raises(ConfigError, match="take a larger patch"):
        replan((8, 8, 8))
    available = estimate_memory(resolved.plan, 1) // 100
    assert suggest_fit(resolved.plan, 1, available, lambda patch: replan((8, 8, 8))) is None


def test_the_message_says_what_would_fit(tiny_config) -> None:
    plan = resolve(tiny_config(3, tr_config__patch_size=[64] * 3), facts(3), NO_GPU).plan
    text = out_of_memory_message(
        plan, 8, torch.device("cpu"), FittingSize(patch_size=(32, 32, 32), batch_size=1)
    )
    assert "64,64,64 in batches of 8" in text
    assert "tr_config.patch_size 32,32,32 with tr_config.batch_size 1" in text
    assert "tr_config.accumulate 8" in text
    assert "base_features" in out_of_memory_message(plan, 1, torch.device("cpu"), None)


def test_the_automatic_batch_is_halved_until_it_fits(tiny_config) -> None:
    plan = resolve(tiny_config(2, tr_config__patch_size=[64, 64]), facts(2), NO_GPU).plan
    assert largest_batch(plan, 8, int(estimate_memory(plan, 4) / 0.8) + 1) == 4
    assert largest_batch(plan, 8, 10) == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 99 bytes"),
    ],
    ids=["gpu", "python", "processor"],
)
def test_running_out_of_memory_says_what_would_fit(make_experiment, error: Exception) -> None:
    made = make_experiment(tr_config__batch_size=8, tr_config__patch_size=[64, 64])

    def greedy(*args: Any) -> Any:
        raise error

    made.experiment.module.network.forward = greedy
    with pytest.raises(OutOfMemoryError) as caught:
        made.fit()
    assert caught.value.reason == FinishReason.OUT_OF_MEMORY
    # A single patch, with features computed again, is the least that was tried.
    assert "patches of 64,64 in batches of 1" in str(caught.value)
    assert made.run.read_config().tr_config.micro_batch == 1
    assert made.run.read_config().tr_config.gradient_checkpointing
    assert caught.value.fitting is not None
    assert caught.value.fitting.batch_size == 1
    assert max(caught.value.fitting.patch_size) < 64


def test_a_run_knows_beforehand_what_would_need_less(make_experiment) -> None:
    made = make_experiment(tr_config__batch_size=8)
    made.fit(stop_after=1)
    [started] = made.of(RunStarted)
    assert started.smaller == FittingSize(patch_size=(16, 16), batch_size=4)


def test_what_failed_is_let_go_of_before_the_memory_is_measured(
    make_experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_experiment(tr_config__batch_size=8)
    held: list[weakref.ref[Any]] = []
    alive: list[bool] = []

    def greedy(*args: Any) -> Any:
        activations = torch.zeros(10)
        held.append(weakref.ref(activations))
        raise MemoryError

    def measured(device: torch.device) -> int:
        alive.append(held[0]() is not None)
        return 2**40

    made.experiment.module.network.forward = greedy
    returned: list[bool] = []
    monkeypatch.setattr(memory, "free_memory", measured)
    monkeypatch.setattr(memory, "keep_no_memory", lambda: returned.append(held[0]() is None))
    with pytest.raises(OutOfMemoryError):
        made.fit()
    assert set(alive) == {False}
    assert set(returned) == {True}, "and given back to the system, where others and the next attempt find it"


def test_a_network_that_does_not_fit_is_explained_before_the_first_step(
    make_experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 GB")

    monkeypatch.setattr(experiment, "network_of", greedy)
    with pytest.raises(OutOfMemoryError, match="batches of 8") as caught:
        make_experiment(tr_config__batch_size=8)
    assert caught.value.fitting is not None


def test_other_errors_are_left_as_they_are(make_experiment) -> None:
    made = make_experiment()

    def broken(*args: Any) -> Any:
        raise RuntimeError("a fault of the program")

    made.experiment.module.network.forward = broken
    with pytest.raises(RuntimeError, match="a fault of the program"):
        made.fit()
