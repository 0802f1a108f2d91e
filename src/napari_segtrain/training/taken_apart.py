"""An experiment, taken apart: what the seven steps work with, as a training would have it, without a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import torch

from napari_segtrain.config import ExperimentConfig, ExperimentLike, as_experiment
from napari_segtrain.data import Dataset, PatchLoader, open_dataset
from napari_segtrain.losses import MultiTaskLoss
from napari_segtrain.network import MultiTaskNetwork
from napari_segtrain.network.hardware import Number
from napari_segtrain.runs import checkpoint_path, save_checkpoint
from napari_segtrain.targets import Head

from .building import complete_targets, describe, journey_of, loss_of, network_of, prepare_data
from .deviations import deviations
from .fit import device_explained
from .randomness import seed_everything
from .resolve import ResolvedExperiment, settle
from .schedules import Journey
from .steps import initialize_optimizer
from .values import Batch, Optimization


@dataclass(frozen=True, eq=False)
class Parts:
    """What an experiment consists of; made by `take_apart`.

    Attributes
    ----------
    config
        The experiment, with what was chosen automatically written out.
    resolved
        What it means for the data and this machine; its `messages` say what the user should know.
    network
        On its device, with the weights that a training begins with.
    loss
        The weighted sum of all losses of all outputs.
    loader
        The training batches: `set_epoch` chooses the epoch, counted from 0.
    journey
        How long the training is, for the learning rate.
    deviations
        Why the weights that the steps give are not those of the training, a sentence a reason; mostly none.
    """

    config: ExperimentConfig
    resolved: ResolvedExperiment
    network: MultiTaskNetwork
    loss: MultiTaskLoss
    loader: PatchLoader
    journey: Journey
    deviations: tuple[str, ...] = ()

    @property
    def heads(self) -> tuple[Head, ...]:
        """The outputs of the network."""
        return self.resolved.heads

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def precision(self) -> Number:
        """Number format of the network's arithmetic."""
        return self.resolved.precision

    @property
    def epochs(self) -> int:
        """Epochs of the training."""
        return self.config.tr_config.num_epochs

    @property
    def gradient_clip(self) -> float:
        """Largest norm of the gradient; 0 for no limit."""
        return self.config.tr_config.gradient_clip

    def initialize_optimizer(self) -> Optimization:
        """Take step 1 as the experiment says: its optimizer, schedule and number format."""
        tr = self.config.tr_config
        return initialize_optimizer(self.network, tr.optimizer, tr.scheduler, self.journey, self.precision)

    def group(self, batch_index: int) -> tuple[int, int]:
        """Return where a batch is among those that share a step of the optimizer, and how many these are.

        The last ones of an epoch are fewer where `accumulate` does not divide its length.
        """
        position = batch_index % self.resolved.accumulate
        return position, min(self.resolved.accumulate, len(self.loader) - batch_index + position)

    def divide(self, batch: Batch) -> list[tuple[Batch, float]]:
        """Return what is in the network at a time: parts of a batch, each with the `divide_by` of its loss.

        It is the whole batch unless ``tr_config.micro_batch``, or what fits into memory, says less.
        """
        return self.resolved.load.shares(batch, self.group(batch.index)[1])

    def save(self, path: str | Path, epoch: int = 0) -> Path:
        """Write the network as it is now: `predict` predicts with the file, and a training can begin with it.

        Parameters
        ----------
        path
            File to write; ``.ckpt`` is added unless it has the name of a checkpoint.
        epoch
            Epochs that were learned, as a note.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        RunError
            When it cannot be written; an older file is kept as it was.
        """
        path = checkpoint_path(path)
        written = {"epoch": epoch, "timestamp": datetime.now(UTC).isoformat(timespec="seconds")}
        weights = {"model": dict(self.network.state_dict())}
        save_checkpoint(path, describe(self.config, self.resolved) | weights | written)
        return path

    def close(self) -> None:
        """Stop the loader's threads."""
        self.loader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def take_apart(config: ExperimentLike, data: str | Path | Mapping[str, Any] | Dataset) -> Parts:
    """Return network, loss and batches of an experiment, ready for the seven steps; nothing is written.

    They are those of a training: the same split, patches, order and weights to begin with. Whoever takes the
    steps that `train` takes gets the same weights, bit for bit, unless the training does what single steps
    cannot: `Parts.deviations` says so, and the first of the messages. `Parts.group` says which batches share
    a step, `Parts.divide` which part of one is computed at a time.

    Parameters
    ----------
    config
        The experiment: as such, as a dictionary of its sections, or as the path of its YAML file. Without
        targets, those that are found in the data are trained.
    data
        Where images and labels are: a folder, layers, or a data set that is open.

    Raises
    ------
    ConfigError, DataError
        When configuration or data cannot work.

    Examples
    --------
    >>> from napari_segtrain.training.steps import *
    >>> config = {
    ...     "tr_config": {"patch_size": [16, 32, 32], "steps_per_epoch": 2},
    ...     "model_config": {"base_features": 8},
    ... }
    >>> parts = take_apart(config, "data")
    >>> step = zero_gradients(parts.initialize_optimizer())
    >>> batch = prepare_batch(parts.loader, 0, parts.device)
    >>> loss = calculate_loss(forward_pass(step.network, batch, parts.precision), batch, parts.loss)
    >>> step, info = optimizer_step(step, backward_pass(step, loss))
    >>> info.step, loss.value > 0
    (1, True)
    """
    config = as_experiment(config)
    dataset = data if isinstance(data, Dataset) else open_dataset(data, config.dataset_config)
    config = complete_targets(config, dataset)
    batches = prepare_data(config, dataset, None)
    with device_explained(config, batches.resolved):
        network, resolved = network_of(config, batches.resolved)
        loss = loss_of(resolved)
    network.checkpointing = resolved.load.recompute
    batches.device = lambda: next(network.parameters()).device
    apart = deviations(config, resolved)
    resolved = resolved.replace(
        messages=(*apart, *resolved.messages), devices=resolved.devices[:1], num_nodes=1
    )
    parts = Parts(
        settle(config, resolved),
        resolved,
        network.train(),
        loss,
        batches.loader("train"),
        journey_of(config, resolved),
        apart,
    )
    # What a network draws while it trains begins where that of a training begins.
    seed_everything(config.tr_setup.seed)
    return parts
