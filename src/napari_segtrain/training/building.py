"""The parts of an experiment, built from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from napari_segtrain.config import ExperimentConfig, RunError
from napari_segtrain.data.folder import SPLIT_FILE
from napari_segtrain.data.folds import make_folds
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.data.records import Split
from napari_segtrain.data.split import make_split
from napari_segtrain.losses import MultiTaskLoss
from napari_segtrain.network import MultiTaskNetwork, build_network, maybe_compile
from napari_segtrain.runs import RunFolder
from napari_segtrain.targets import TargetDeriver

from .checkpoint import check_same_network
from .data import SegtrainDataModule
from .given import NOTHING, Given
from .module import SegmentationModule
from .monitor import Monitor
from .pretrained import begin_with
from .randomness import seed_everything
from .resolve import ResolvedExperiment, resolve
from .schedules import Journey
from .team import ALONE, Team
from .trial import Check, fitted, go_on

if TYPE_CHECKING:
    from napari_segtrain.data import Dataset

logger = logging.getLogger(__name__)

_SCORES_AN_EPOCH = 10
"""Batches of an epoch that are scored while training; more would cost time and tell little."""


def resolve_again(config: ExperimentConfig, checkpoint: Mapping[str, Any]) -> ResolvedExperiment:
    """Resolve for the data as it was, keep what was chosen automatically, and refuse another network."""
    saved = ResolvedExperiment.from_dict(checkpoint["resolved"])
    wanted = resolve(config, saved.facts)
    check_same_network(saved.plan, wanted.plan, "the checkpoint")
    old = checkpoint["config"]["tr_config"]["optimizer"]["name"]
    new = config.tr_config.optimizer.name
    if old != new:
        raise RunError(
            f"the checkpoint was trained with {old}, whose state {new} cannot go on from: resume with "
            f"tr_config.optimizer {old}, or start a new run"
        )
    return wanted.replace(
        batch_size=config.tr_config.batch_size or saved.batch_size,
        batches_per_epoch=wanted.batches_per_epoch or saved.batches_per_epoch,
        normalisation=saved.normalisation,
        compiled=saved.compiled,
    )


def complete_targets(config: ExperimentConfig, dataset: Dataset) -> ExperimentConfig:
    """Return the experiment with the targets that were found in the data, when it names none itself.

    Raises
    ------
    ConfigError
        When auxiliary tasks do not fit these targets.
    """
    if config.dataset_config.targets:
        return config
    found = {name: target.to_dict() for name, target in dataset.targets.items()}
    return config.with_overrides({"dataset_config.targets": found}, dataset.origin)


def data_of(
    config: ExperimentConfig,
    dataset: Dataset,
    resolved: ResolvedExperiment,
    splits: Split | Sequence[Split],
    split_index: int,
    cache_dir: Path | None,
    team: Team = ALONE,
    check: Check = go_on,
) -> SegtrainDataModule:
    """Fit the normalisation where that is still to be done, and build the loaders; `check` in between."""
    split = splits if isinstance(splits, Split) else splits[split_index]
    if resolved.normalisation is None:
        fitted = Normalisation.fit(config.dataset_config.normalisation, dataset, split)
        resolved = resolved.replace(normalisation=fitted)
        check()
    deriver = TargetDeriver(config, resolved.heads, resolved.facts)
    data = SegtrainDataModule(
        dataset,
        splits,
        config,
        resolved,
        deriver,
        split_index=split_index,
        cache_dir=cache_dir,
        team=team,
    )
    batches = len(data.loader("train"))
    if data.validates:
        check()
        data.loader("val")
    data.resolved = resolved.replace(batches_per_epoch=batches)
    return data


def prepare_data(
    config: ExperimentConfig,
    dataset: Dataset,
    cache_dir: Path | None,
    team: Team = ALONE,
    check: Check = go_on,
) -> SegtrainDataModule:
    """Return the batches of a new training: seeded, resolved for data and machine, split, normalised.

    Parameters
    ----------
    config
        The experiment, which names its targets.
    dataset
        Images and labels.
    cache_dir
        Keeps patch indices for the next time; None for not.
    team
        The processes that share the batches.
    check
        Called between the parts of this work, which may take minutes; what it raises ends it.
    """
    seed_everything(config.tr_setup.seed)
    resolved = fitted(config, resolve(config, dataset), check)
    check()
    splits, index = choose_splits(config, dataset, resolved)
    check()
    return data_of(config, dataset, resolved, splits, index, cache_dir, team, check)


def choose_splits(
    config: ExperimentConfig, dataset: Dataset, resolved: ResolvedExperiment, resumed: RunFolder | None = None
) -> tuple[tuple[Split, ...], int]:
    """Return the split of a run that is resumed, else new ones, and which of them is trained with."""
    if resumed is not None and (resumed.path / SPLIT_FILE).is_file():
        return (resumed.read_as(SPLIT_FILE, Split.from_dict),), 0
    if config.tr_setup.folds is not None:
        return make_folds(dataset, config.tr_setup.folds, config.tr_setup.seed), config.tr_setup.fold
    return (planned_split(config, dataset, resolved),), 0


def planned_split(config: ExperimentConfig, dataset: Dataset, resolved: ResolvedExperiment) -> Split:
    """Return the split that a new run is trained with: one of the folds, where there are folds."""
    setup = config.tr_setup
    if setup.folds is not None:
        return make_folds(dataset, setup.folds, setup.seed)[setup.fold]
    return make_split(dataset, setup.train_split, setup.seed, resolved.patch_size)


def network_of(
    config: ExperimentConfig, resolved: ResolvedExperiment, team: Team = ALONE, *, resumed: bool = False
) -> tuple[MultiTaskNetwork, ResolvedExperiment]:
    """Build the network on its device, compiled where that pays or where it was before.

    It begins with the weights that the experiment names, unless it is `resumed` and gets others.
    """
    # Whatever the data used of the random state, the weights follow from the seed alone.
    torch.manual_seed(config.tr_setup.seed)
    network = build_network(resolved.plan).to(resolved.hardware.device_of(team.local_rank))
    if config.network.weights and not resumed:
        said = begin_with(network, config.network.weights)
        resolved = resolved.replace(messages=(*resolved.messages, *said))
    switch = config.tr_setup.compile
    if resolved.compiled is not None and switch == "auto":
        switch = "on" if resolved.compiled else "off"
    steps = config.tr_config.num_epochs * (resolved.batches_per_epoch or 1)
    compiled = maybe_compile(
        network, resolved.accelerator, batch_size=resolved.batch_size, expected_steps=steps, switch=switch
    )
    return network, resolved.replace(compiled=compiled)


def loss_of(resolved: ResolvedExperiment, team: Team = ALONE) -> MultiTaskLoss:
    """Return the experiment's loss, on the network's device."""
    loss = MultiTaskLoss(resolved.heads, resolved.facts.spacing)
    return loss.to(resolved.hardware.device_of(team.local_rank))


def journey_of(config: ExperimentConfig, resolved: ResolvedExperiment) -> Journey:
    """Return how long the training is, which its learning rate follows."""
    tr = config.tr_config
    steps = resolved.steps_per_epoch or 1
    limit = None if tr.max_time is None else 60.0 * tr.max_time
    return Journey(tr.num_epochs * steps, steps, limit)


def module_of(
    config: ExperimentConfig,
    resolved: ResolvedExperiment,
    network: nn.Module,
    *,
    validates: bool,
    team: Team = ALONE,
    given: Given = NOTHING,
) -> SegmentationModule:
    """Build the module with losses and optimizer, given ones or new ones on the network's device."""
    tr = config.tr_config
    monitor = tr.monitor if validates else tr.monitor.replace("val_", "train_", 1)
    return SegmentationModule(
        network,
        loss_of(resolved, team) if given.loss is None else given.loss,
        resolved.heads,
        tr.optimizer if given.optimization is None else given.optimization,
        tr.scheduler,
        journey_of(config, resolved),
        precision=resolved.precision,
        accumulate=resolved.accumulate,
        gradient_clip=tr.gradient_clip,
        ema_decay=tr.ema_decay,
        score_every=max(1, (resolved.batches_per_epoch or 1) // _SCORES_AN_EPOCH),
        monitor=Monitor(monitor, tr.mode),
        load=resolved.load,
        team=team,
    )


def describe(config: ExperimentConfig, resolved: ResolvedExperiment) -> dict[str, Any]:
    """Return what a checkpoint says of the network apart from its state."""
    return {
        "model_config": resolved.plan.to_dict(),
        "heads": [head.to_dict() for head in resolved.heads],
        "config": config.to_dict(),
        "resolved": resolved.to_dict(),
        "normalisation": None if resolved.normalisation is None else resolved.normalisation.to_dict(),
        "spacing": list(resolved.facts.spacing),
        "unit": resolved.facts.unit,
    }


def restore_rows(run: RunFolder, module: SegmentationModule) -> None:
    """Make `metrics.json` say what the checkpoint says: a crash may have come between the two."""
    try:
        run.read_metrics()
    except RunError as error:
        logger.warning("%s. It is %s now", error, run.set_metrics_aside().name)
    run.metrics.truncate(len(module.rows))
    for row in module.rows[len(run.metrics.rows) :]:
        run.append_metrics(row)
