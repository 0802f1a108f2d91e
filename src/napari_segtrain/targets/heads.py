"""The network's outputs: one `Head` for every primary target, instance part and auxiliary task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..config import (
    AuxiliaryTask,
    ConfigError,
    DataFacts,
    DistanceTransformTask,
    ExperimentConfig,
    TargetConfig,
)
from ..config.auxiliary import task_faults
from .auxiliary import task_type
from .head import Head
from .kinds import resolve_targets
from .primary import primary_heads


def resolve_heads(config: ExperimentConfig, facts: DataFacts) -> tuple[Head, ...]:
    """Decide every output of the network from the configuration and the data's facts.

    Parameters
    ----------
    config
        The experiment.
    facts
        What is known of images and labels.

    Returns
    -------
    tuple of Head
        Primary targets in the order of the configuration, an instance target followed by its boundary
        and distance; then the auxiliary tasks.

    Raises
    ------
    ConfigError
        When there is no target, labels and settings contradict each other, or two outputs have one name.
    """
    targets = resolve_targets(config, facts)
    heads: list[Head] = []
    faults: list[str] = []
    for name, target in targets.items():
        try:
            heads += primary_heads(name, target, facts)
        except ConfigError as error:
            faults += error.faults
    for name, task in config.auxiliary_tasks.items():
        found = _task_faults(name, task, targets, facts.ndim)
        faults += found
        if not found:
            heads.append(_task_head(name, task, config, facts))
    faults += _name_clashes(heads)
    if faults:
        raise ConfigError.listing(faults)
    if config.network.decoders == "shared":
        heads = [replace(head, decoder="shared") for head in heads]
    return tuple(heads)


def _task_faults(name: str, task: AuxiliaryTask, targets: Mapping[str, TargetConfig], ndim: int) -> list[str]:
    faults = task_faults({name: task}, targets)
    channels = task_type(task.type).channels(ndim)
    if task.out_channels not in (None, channels):
        faults.append(
            f"auxiliary_tasks.{name}.out_channels: {task.out_channels} was given, but {task.type} has "
            f"{channels} in {ndim}D. Leave it empty"
        )
    return faults


def _task_head(name: str, task: AuxiliaryTask, config: ExperimentConfig, facts: DataFacts) -> Head:
    kind = task_type(task.type)
    scale = 1.0
    if isinstance(task, DistanceTransformTask):
        scale = _distance_scale(task, config, facts)
    return Head(
        name=name,
        target=task.source_target,
        decoder=name,
        encoding=kind.encoding,
        out_channels=kind.channels(facts.ndim),
        activation="none",
        losses=task.losses or (kind.default_loss(scale, facts.spacing),),
        weight=task.loss_weight,
        ds_interpolation=task.ds_interpolation,
        scale=scale,
    )


def _distance_scale(task: DistanceTransformTask, config: ExperimentConfig, facts: DataFacts) -> float:
    """Return half of the farthest distance that is learned: targets then lie between -2 and 2."""
    if task.clip is not None:
        return task.clip / 2.0
    size: Sequence[int] = config.tr_config.patch_size or tuple(min(edge, 128) for edge in facts.shape)
    return min(edge * step for edge, step in zip(size, facts.spacing, strict=True)) / 8.0


def _name_clashes(heads: Sequence[Head]) -> list[str]:
    faults = []
    owners: dict[str, Head] = {}
    for head in heads:
        if head.name in owners:
            faults.append(
                f"the output {head.name!r} belongs to {owners[head.name].decoder!r} and to {head.decoder!r}; "
                "give one of them another name"
            )
        owners[head.name] = head
    return faults
