"""What follows from configuration, facts and machine; and what fits into memory."""

from __future__ import annotations

import json

import pytest
import torch

from napari_segtrain.config import ConfigError, DataFacts, TargetFacts
from napari_segtrain.network import Inventory
from napari_segtrain.training import ResolvedExperiment, resolve
from napari_segtrain.training.resolve import settle

NO_GPU = Inventory(why_no_gpu="there is none", why_no_mps="there is none")
GPU = Inventory(gpus=1)


def facts(ndim: int, edge: int = 64) -> DataFacts:
    return DataFacts(
        ndim=ndim,
        shape=(edge,) * ndim,
        spacing=(1.0,) * ndim,
        targets={"fg": TargetFacts(values=(0, 1), max_value=1.0)},
    )


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_resolved_experiment_survives_json(tiny_config, ndim: int) -> None:
    resolved = resolve(tiny_config(ndim), facts(ndim), NO_GPU)
    assert ResolvedExperiment.from_dict(json.loads(json.dumps(resolved.to_dict()))) == resolved


def test_resolving_is_pure(tiny_config) -> None:
    state = torch.get_rng_state()
    first = resolve(tiny_config(2), facts(2), NO_GPU)
    assert torch.equal(torch.get_rng_state(), state)
    assert resolve(tiny_config(2), facts(2), NO_GPU) == first


@pytest.mark.parametrize(
    ("ndim", "patch", "expected"),
    [(2, [128, 128], 8), (2, [256, 256], 4), (3, [32, 32, 32], 2), (3, [64, 64, 64], 1)],
)
def test_the_automatic_batch_of_a_processor(tiny_config, ndim: int, patch: list[int], expected: int) -> None:
    config = tiny_config(ndim, tr_config__batch_size=None, tr_config__patch_size=patch)
    assert resolve(config, facts(ndim, 256), NO_GPU).batch_size == expected


def test_settings_that_are_given_are_kept(tiny_config) -> None:
    config = tiny_config(
        2,
        tr_config__batch_size=5,
        tr_config__accumulate=3,
        tr_setup__num_workers=2,
        tr_config__steps_per_epoch=7,
    )
    resolved = resolve(config, facts(2), NO_GPU)
    assert (resolved.batch_size, resolved.accumulate, resolved.num_workers) == (5, 3, 2)
    assert (resolved.steps_per_epoch, resolved.batches_per_epoch) == (7, 21)
    assert resolved.effective_batch == 15
    assert resolved.batch_in_words == "5 × 3 accumulated = 15 patches a step"
    assert resolved.device == "cpu"
    assert resolved.parameters > 0


def test_the_effective_batch_counts_the_devices_of_all_nodes(tiny_config) -> None:
    config = tiny_config(2, tr_setup__devices=2, tr_setup__num_nodes=3)
    resolved = resolve(config, facts(2), NO_GPU)
    assert resolved.effective_batch == 12
    assert resolved.batch_in_words == "2 × 6 processes = 12 patches a step"
    assert ResolvedExperiment.from_dict(resolved.to_dict()).effective_batch == 12
    on_gpus = resolved.replace(accelerator="cuda", num_nodes=1)
    assert on_gpus.batch_in_words == "2 × 2 devices = 4 patches a step"
    assert on_gpus.where == "cuda:0, cuda:1"


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_settled_experiment_resolves_to_the_same(tiny_config, ndim: int) -> None:
    config = tiny_config(
        ndim,
        tr_config__batch_size=None,
        tr_config__patch_size=[30] * ndim,
        auxiliary_tasks={"d": {"type": "distance_transform", "source_target": "fg"}},
    )
    resolved = resolve(config, facts(ndim), NO_GPU).replace(compiled=False)
    settled = settle(config, resolved)
    again = resolve(settled, facts(ndim), NO_GPU).replace(compiled=False)
    assert again == resolved.replace(messages=())
    assert settle(settled, again) == settled
    assert settled.tr_config.patch_size == resolved.patch_size != (30,) * ndim
    assert (settled.dataset_config.ndim, settled.tr_setup.compile) == (ndim, "off")


def test_an_absent_gpu_and_a_rounded_patch_are_said(tiny_config) -> None:
    config = tiny_config(2, tr_setup__device="cuda", tr_config__patch_size=[30, 33])
    resolved = resolve(config, facts(2), NO_GPU)
    assert resolved.accelerator == "cpu"
    assert any("cuda was asked for, but there is none" in m for m in resolved.messages)
    assert any("30,33 is rounded up" in m for m in resolved.messages)
    assert all(size % d == 0 for size, d in zip(resolved.patch_size, resolved.plan.divisor, strict=True))


@pytest.mark.parametrize(
    ("device", "ndim", "there", "expected", "said"),
    [
        ("auto", 3, GPU, True, None),
        ("gpu", 3, GPU, True, None),
        ("cpu", 3, GPU, False, None),
        ("auto", 2, GPU, False, None),
        ("gpu", 2, GPU, False, "2D patches are augmented by the processor"),
        ("auto", 3, NO_GPU, False, None),
        (
            "gpu",
            3,
            NO_GPU,
            False,
            "without an NVIDIA GPU to train on, patches are augmented by the processor",
        ),
        ("gpu", 3, Inventory(mps=True), False, "without an NVIDIA GPU"),
    ],
)
def test_where_patches_are_changed(tiny_config, monkeypatch, device, ndim, there, expected, said) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    config = tiny_config(ndim, tr_setup__device="auto", dataset_config__augmentation={"device": device})
    resolved = resolve(config, facts(ndim), there)
    assert resolved.augment_on_gpu is expected
    assert ResolvedExperiment.from_dict(json.loads(json.dumps(resolved.to_dict()))) == resolved
    about = [message for message in resolved.messages if "augmentation.device" in message]
    assert len(about) == (said is not None)
    assert all(said in message for message in about)
    off = config.with_overrides({"dataset_config.augmentation.enabled": False})
    assert resolve(off, facts(ndim), there).messages == ()


def test_a_loss_that_begins_after_the_end_is_said_and_an_output_without_another_refused(tiny_config) -> None:
    late = {"name": "SoftDiceLoss", "start_epoch": 2}
    both = tiny_config(2, dataset_config__targets={"fg": {"kind": "binary", "losses": ["FocalLoss", late]}})
    assert resolve(both, facts(2), NO_GPU).messages == (
        "SoftDiceLoss of fg counts from epoch 2 on, but training has 2 epochs: it will never count. "
        "Train longer, or set its start_epoch lower",
    )
    longer = both.with_overrides({"tr_config.num_epochs": 3})
    assert resolve(longer, facts(2), NO_GPU).messages == ()
    alone = tiny_config(2, dataset_config__targets={"fg": {"kind": "binary", "losses": [late]}})
    with pytest.raises(ConfigError, match="the losses of fg count from epoch 2 on, training has 2 epochs"):
        resolve(alone, facts(2), NO_GPU)


def test_a_patch_of_another_dimension_is_refused(tiny_config) -> None:
    with pytest.raises(ConfigError, match="2D"):
        resolve(tiny_config(2, tr_config__patch_size=[16, 16, 16]), facts(2), NO_GPU)
