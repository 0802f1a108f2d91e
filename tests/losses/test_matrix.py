"""Every loss × every output it serves × 2D and 3D × deep supervision: two training steps of a tiny network.

The cases follow from the tables: kinds of targets, types of auxiliary tasks, losses. A new line in one of
them is a new row here.
"""

from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import get_args

import numpy as np
import pytest
import torch

from napari_segtrain.config import DataFacts, ExperimentConfig, LossConfig, NetworkConfig, TargetFacts
from napari_segtrain.config.auxiliary import TASK_TYPES
from napari_segtrain.config.targets import TargetKind
from napari_segtrain.losses import ENCODINGS, LOSSES, MultiTaskLoss, check_heads, loss_names
from napari_segtrain.losses.supervision import coarser
from napari_segtrain.network import build_network, make_plan
from napari_segtrain.targets import TargetDeriver, resolve_heads
from napari_segtrain.targets.auxiliary import TASKS
from napari_segtrain.training.steps import (
    backward_pass,
    calculate_loss,
    forward_pass,
    initialize_optimizer,
    optimizer_step,
    prepare_batch,
    zero_gradients,
)

pytestmark = pytest.mark.slow
SIZE = 16
SETTINGS = {
    "SignedDistanceLoss": {"rho": 4.0, "eikonal": True},
    "clDice": {"iterations": 2},
    "WeightedSmoothL1Loss": {"surface_weight": 1.0},
}
NARROW = {"grad_sigma": 0.5, "tensor_sigma": 0.5}
"""What a task is given, where it has such keys, to know anything in so small a patch."""
MEASURED = {
    "regression": lambda ndim: 1,
    "vectors": lambda ndim: ndim,
    "tensors": lambda ndim: ndim * (ndim + 1) // 2,
}
"""Regression targets by their channels."""


@cache
def experiment(ndim):
    """An experiment with every kind of target and every auxiliary task, and what is known of its data."""
    kinds = [kind for kind in get_args(TargetKind) if kind != "regression"]
    targets = {kind: {"kind": kind} for kind in kinds} | {name: {"kind": "regression"} for name in MEASURED}
    tasks = {
        task: {key: value for key, value in NARROW.items() if key in TASK_TYPES[task].model_fields}
        | {"type": task, "source_target": "instances"}
        for task in TASKS
    }
    config = ExperimentConfig.parse({"dataset_config": {"targets": targets}, "auxiliary_tasks": tasks})
    known = {name: TargetFacts(values=(0, 1, 2), max_value=2) for name in kinds} | {
        name: TargetFacts(integer=False, max_value=3.0, channels=channels(ndim))
        for name, channels in MEASURED.items()
    }
    spacing = (2.0, 1.0, 1.0)[-ndim:]
    return config, DataFacts(ndim=ndim, shape=(SIZE,) * ndim, spacing=spacing, targets=known)


@cache
def heads_of(ndim):
    """Every output by name, all on one decoder."""
    return {head.name: replace(head, decoder="shared") for head in resolve_heads(*experiment(ndim))}


@cache
def batch_of(ndim):
    """Two patches with two touching objects each, of which the last quarter is not labelled."""
    config, facts = experiment(ndim)
    derive = TargetDeriver(config, list(heads_of(ndim).values()), facts)
    random = np.random.default_rng(0)
    labelled = np.ones((SIZE,) * ndim, bool)
    labelled[..., -SIZE // 4 :] = False
    samples = []
    for shift in (6.0, 7.5):
        away = sum((axis - shift) ** 2 for axis in np.indices((SIZE,) * ndim))
        labels = (away < 25).astype(np.int64) * (1 + (np.indices((SIZE,) * ndim)[-1] > shift))
        values = dict.fromkeys(config.dataset_config.targets, labels) | {
            name: random.normal(size=(channels(ndim), *labels.shape)) for name, channels in MEASURED.items()
        }
        values["binary"] = (labels > 0).astype(np.int64)
        samples.append(derive(values, dict.fromkeys(values, labelled), facts.spacing))
    tensors = {key: torch.from_numpy(np.stack([sample[key] for sample in samples])) for key in samples[0]}
    return {"image": torch.from_numpy(random.normal(size=(2, 1, *labelled.shape))).float(), **tensors}


@cache
def network_of(ndim, deep_supervision, outputs):
    """A network with one output for each number of channels."""
    torch.manual_seed(0)
    plan = make_plan(
        NetworkConfig(
            base_features=4, blocks_per_stage=(1, 1, 1), max_poolings=2, deep_supervision=deep_supervision
        ),
        ndim=ndim,
        in_channels=1,
        patch_size=(SIZE,) * ndim,
        spacing=experiment(ndim)[1].spacing,
        shape=(SIZE,) * ndim,
        heads=outputs,
    )
    return build_network(plan).train()


CASES = [
    (ndim, name, loss)
    for ndim in (2, 3)
    for name, head in heads_of(ndim).items()
    for loss in loss_names(head.encoding, head.out_channels, ndim, head.activation)
]


def test_the_matrix_has_every_loss_and_every_encoding_that_there_is():
    for ndim in (2, 3):
        assert {loss for n, _, loss in CASES if n == ndim} == set(LOSSES)
        assert {head.encoding for head in heads_of(ndim).values()} <= set(ENCODINGS)


@pytest.mark.parametrize("deep_supervision", [False, True], ids=["single", "deep"])
@pytest.mark.parametrize(("ndim", "name", "loss"), CASES, ids=[f"{n}d-{o}-{loss}" for n, o, loss in CASES])
def test_two_steps_train_every_output_that_a_loss_serves(ndim, name, loss, deep_supervision):
    torch.set_num_threads(1)
    own = heads_of(ndim)[name]
    own = replace(own, losses=(LossConfig(name=loss, kwargs=SETTINGS.get(loss, {})),))
    heads = (own,) if own.name == own.target else (heads_of(ndim)[own.target], own)
    check_heads(heads, ndim)
    criterion = MultiTaskLoss(heads, experiment(ndim)[1].spacing)
    outputs = tuple(replace(head, losses=(), weight=1.0) for head in heads)
    network = deepcopy(network_of(ndim, deep_supervision, outputs))
    optimization = initialize_optimizer(network)
    batch = prepare_batch(batch_of(ndim))
    before = [parameter.detach().clone() for parameter in network.heads.parameters()]
    for _ in range(2):
        optimization = zero_gradients(optimization)
        prediction = forward_pass(network, batch)
        levels = {h.name: as_list(prediction.outputs[h.name]) for h in heads}
        for level in (level for raws in levels.values() for level in raws):
            level.retain_grad()
        value = calculate_loss(prediction, batch, criterion)
        assert torch.isfinite(value.total)
        gradients = backward_pass(optimization, value)
        for head in heads:
            for raw in levels[head.name]:
                check_gradient(head, raw, batch.tensors)
        optimization, _ = optimizer_step(optimization, gradients)
    assert len(levels[name]) == (2 if deep_supervision else 1)
    for old, new in zip(before, network.heads.parameters(), strict=True):
        assert torch.isfinite(new).all()
        assert (old != new).any()


def as_list(output):
    return output if isinstance(output, list) else [output]


def check_gradient(head, raw, batch):
    """Labelled voxels pull at a prediction, unlabelled ones do not."""
    target, mask = batch[head.name], batch[f"{head.name}_mask"]
    _, known = coarser(target, mask, raw.shape[2:], head.ds_interpolation)
    assert known.any(), f"{head.name} is known nowhere in this patch; see NARROW"
    assert not known.all()
    assert torch.isfinite(raw.grad).all()
    assert (raw.grad.flatten() != 0).any(), head.name
    assert (raw.grad[~known.expand_as(raw)] == 0).all()
