"""What a checkpoint says about the network it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError
from torch import nn

from napari_segtrain.config import (
    DataFacts,
    DatasetConfig,
    ExperimentConfig,
    InferenceConfig,
    RunError,
    SegtrainError,
)
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.network import NetworkPlan, build_network
from napari_segtrain.runs import find_checkpoint, load_checkpoint
from napari_segtrain.targets import Head, class_values, resolve_targets
from napari_segtrain.targets.kinds import facts_of

_REQUIRED = ("model", "model_config", "heads", "normalisation", "config")


@dataclass(frozen=True)
class Trained:
    """A trained network with all that predicting needs.

    Attributes
    ----------
    network
        With its weights.
    plan, heads, normalisation
        What the network is, what it outputs, and how images are brought to the range it knows.
    inference
        Settings of the run.
    dataset
        How the run read its data: channel axis, resolution level, targets.
    spacing, unit
        Size of a voxel in the training data; None when not known.
    values
        Label value of every class, by target.
    source
        Where the weights come from, for the settings kept beside an output.
    config
        The run's experiment; None without a checkpoint.
    """

    network: nn.Module
    plan: NetworkPlan
    heads: tuple[Head, ...]
    normalisation: Normalisation
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    spacing: tuple[float, ...] | None = None
    unit: str = "pixel"
    values: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    source: Mapping[str, Any] = field(default_factory=dict)
    config: ExperimentConfig | None = None


def load_trained(run_or_file: str | Path, which: Literal["best", "last"] | None = None) -> Trained:
    """Rebuild a network from a checkpoint.

    ``model`` holds the weights to predict with: the averaged ones where the training kept an average.

    Parameters
    ----------
    run_or_file
        A checkpoint file, a run folder, or a project with one run.
    which
        Which checkpoint of a run; None is what the run is configured to predict with.

    Raises
    ------
    RunError
        When there is no checkpoint, it is damaged, or it does not describe its own network.
    """
    path = find_checkpoint(run_or_file, which or "best")
    trained = _rebuild(path)
    if which is None and trained.inference.checkpoint == "last":
        return _rebuild(find_checkpoint(run_or_file, "last"))
    return trained


def _rebuild(path: Path) -> Trained:
    checkpoint = load_checkpoint(path, required=_REQUIRED)
    try:
        plan = NetworkPlan.model_validate(checkpoint["model_config"])
        heads = tuple(Head.from_dict(values) for values in checkpoint["heads"])
        normalisation = Normalisation.model_validate(checkpoint["normalisation"])
        config = ExperimentConfig.parse(checkpoint["config"], str(path))
        known = (checkpoint.get("resolved") or {}).get("facts")
        facts = DataFacts.model_validate(known) if known else None
        network = build_network(plan)
        network.load_state_dict(checkpoint["model"])
    except (ValidationError, SegtrainError, KeyError, TypeError, RuntimeError) as error:
        raise RunError(
            f"{path}: does not fit this version of the program ({error}); predict with the version that "
            "trained it, or train again"
        ) from error
    spacing = checkpoint.get("spacing")
    return Trained(
        network,
        plan,
        heads,
        normalisation,
        inference=config.inference_config,
        dataset=config.dataset_config,
        spacing=tuple(float(s) for s in spacing) if spacing else None,
        unit=str(checkpoint.get("unit") or "pixel"),
        values=label_values(config, facts, heads),
        source={
            "path": str(path.absolute()),
            "run": path.parent.parent.name if path.parent.name == "checkpoints" else None,
            "epoch": checkpoint.get("epoch"),
            "timestamp": str(checkpoint.get("timestamp", "")),
        },
        config=config,
    )


def label_values(
    config: ExperimentConfig, facts: DataFacts | None, heads: Sequence[Head]
) -> dict[str, tuple[int, ...]]:
    """Return the label value of every class, background first, of each target that has classes."""
    targets = resolve_targets(config, facts) if facts is not None else dict(config.dataset_config.targets)
    values = {}
    for head in heads:
        target = targets.get(head.target)
        if head.encoding != "classes" or target is None or target.kind == "binary":
            continue
        known = facts_of(head.target, target, facts) if facts is not None else None
        found = class_values(head.target, target, known)
        if len(found) == head.out_channels:
            values[head.name] = found
    return values
