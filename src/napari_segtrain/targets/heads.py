"""The network's outputs: one `Head` for every primary target, instance part and auxiliary task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..config import (
    AuxiliaryTask,
    ConfigError,
    DataFacts,
    ExperimentConfig,
)
from ..config.auxiliary import task_faults
from .auxiliary import task_type
from .head import Head
from .kinds import resolve_targets
from .primary import primary_heads


def resolve_heads(
    config: ExperimentConfig, facts: DataFacts, noted: list[str] | None = None
) -> tuple[Head, ...]:
    """Decide every output of the network from the configuration and the data's facts.

    Parameters
    ----------
    config
        The experiment.
    facts
        What is known of images and labels.
    noted
        Gets the faults of single targets and tasks; the outputs of all others are returned. None: faults
        are raised.

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
    faults += task_faults(config.auxiliary_tasks, targets)
    for name, task in config.auxiliary_tasks.items():
        faults += _channel_faults(name, task, facts.ndim)
        if name not in targets:
            heads.append(_task_head(name, task, config, facts))
    faults += _name_clashes(heads)
    if faults and noted is None:
        raise ConfigError.listing(faults)
    if noted is not None:
        noted += faults
    if config.network.decoders == "shared":
        heads = [replace(head, decoder="shared") for head in heads]
    return tuple(heads)


def _channel_faults(name: str, task: AuxiliaryTask, ndim: int) -> list[str]:
    channels = task_type(task.type).channels(ndim)
    if task.out_channels in (None, channels):
        return []
    return [
        f"auxiliary_tasks.{name}.out_channels: {task.out_channels} was given, but {task.type} has "
        f"{channels} in {ndim}D. Leave it empty"
    ]


def _task_head(name: str, task: AuxiliaryTask, config: ExperimentConfig, facts: DataFacts) -> Head:
    kind = task_type(task.type)
    size: Sequence[int] = config.tr_config.patch_size or tuple(min(edge, 128) for edge in facts.shape)
    quarter = min(edge * step for edge, step in zip(size, facts.spacing, strict=True)) / 4.0
    scale = kind(task.within(quarter)).scale
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
