"""An experiment, prepared in one fixed order and then run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import lightning.pytorch as pl
import torch

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data.records import PARTS, Split
from napari_segtrain.runs import (
    LAST,
    Control,
    Emit,
    RunFolder,
    RunStarted,
    Warned,
    ignore,
    load_checkpoint,
)
from napari_segtrain.targets import resolve_targets

from .building import (
    choose_splits,
    data_of,
    describe,
    module_of,
    network_of,
    prepare_data,
    resolve_again,
    restore_rows,
)
from .callbacks import Ending, Preview
from .checkpoint import restore_training_state
from .data import SegtrainDataModule
from .fit import FitResult, device_explained, result_of, run_loop, smaller_size
from .given import NOTHING, Given
from .load import Load
from .memory import backed_off_message, free_memory
from .module import SegmentationModule
from .painted import labels_taken
from .randomness import random_states, seed_everything
from .resolve import ResolvedExperiment, resolve, settle
from .team import ALONE, Team, check_processes
from .trainer import build_callbacks, build_trainer
from .trial import fitted

if TYPE_CHECKING:
    from napari_segtrain.data import Dataset

NEEDED = ("model", "model_config", "resolved", "rows")
"""What a checkpoint must hold to go on from it."""


@dataclass(frozen=True)
class Experiment:
    """Everything that a training needs, ready to go; made by `prepare`.

    Attributes
    ----------
    config
        What was asked for, with what was chosen automatically written out.
    resolved
        What it means for this data and this machine.
    run
        Where the results go.
    module
        Network, losses, optimizer and scores.
    data
        The batches.
    emit
        Where events go.
    control
        Requests to stop, to pause, to take painted labels.
    team
        The processes that train it together.
    resumed_from
        The checkpoint that it goes on from; None for a new run.
    """

    config: ExperimentConfig
    resolved: ResolvedExperiment
    run: RunFolder
    module: SegmentationModule
    data: SegtrainDataModule
    emit: Emit
    control: Control
    team: Team = ALONE
    resumed_from: Path | None = None

    @classmethod
    def prepare(
        cls,
        config: ExperimentConfig,
        dataset: Dataset,
        run: RunFolder,
        emit: Emit = ignore,
        control: Control | None = None,
        *,
        resume: bool | Path = False,
        splits: Split | Sequence[Split] | None = None,
        split_index: int = 0,
        team: Team = ALONE,
        given: Given = NOTHING,
    ) -> Self:
        """Build everything in its order: seed, data, loaders, network, optimizer, losses, resume.

        Parameters
        ----------
        config
            The experiment.
        dataset
            Images and labels.
        run
            Its configuration, split and normalisation are written here.
        emit
            Where events go.
        control
            Requests; by default nobody asks for anything.
        resume
            True goes on from the run's last checkpoint, a path from that one.
        splits, split_index
            One split or several, and which of them; by default the run's own, else a new one.
        team
            The processes that train it together, of which this one leads; the others `join` it.
        given
            Parts that are made already, for a new run.

        Raises
        ------
        SegtrainError
            When configuration, data or checkpoint cannot work as they are.
        """
        checkpoint = where = None
        if resume:
            where = resume if isinstance(resume, Path) else run.checkpoints / LAST
            checkpoint = load_checkpoint(where, required=NEEDED)
        seed_everything(config.tr_setup.seed)
        data = given.data
        if data is None:
            data = _batches(config, dataset, run, checkpoint, splits, split_index, team)
        data.config = config
        with device_explained(config, data.resolved):
            if given.network is not None and given.resolved is not None:
                network, resolved = given.network, given.resolved
            else:
                network, resolved = network_of(config, data.resolved, resumed=checkpoint is not None)
            module = module_of(config, resolved, network, validates=data.validates, team=team, given=given)
        config = settle(config, resolved)
        module.description = describe(config, resolved)
        data.position = lambda: (module.epochs_done, module.batches_done)
        # Of several processes each has its own, which the trainer gives to the network.
        data.device = lambda: next(network.parameters()).device
        if checkpoint is not None:
            restore_training_state(module, checkpoint)
            data.load_state_dict(checkpoint.get(type(data).__qualname__, {}))
            restore_rows(run, module)
        else:
            # How much is drawn up to the first batch differs: by imports, by indices found in a cache.
            seed_everything(config.tr_setup.seed)
            module.pending_random_states = random_states()
        control = control if control is not None else Control()
        experiment = cls(config, resolved, run, module, data, emit, control, team, where)
        experiment._write(data, dataset)
        return experiment

    def shared(self) -> dict[str, Any]:
        """Return what the other processes need to `join`, as plain values and a checkpoint."""
        source = self.resumed_from
        return {
            "config": self.config.to_dict(),
            "resolved": self.resolved.to_dict(),
            "split": self.data.split.to_dict(),
            "run": str(self.run.path),
            "checkpoint": None if source is None else load_checkpoint(source, required=NEEDED),
        }

    @classmethod
    def join(cls, shared: Mapping[str, Any], dataset: Dataset, team: Team) -> Self:
        """Build the same in another process than the one that leads; nothing is written or reported.

        Parameters
        ----------
        shared
            What the leader's `shared` returned.
        dataset
            The same images and labels.
        team
            The processes, of which this one does not lead.
        """
        config = ExperimentConfig.parse(shared["config"])
        resolved = ResolvedExperiment.from_dict(shared["resolved"])
        run = RunFolder(Path(shared["run"]))
        seed_everything(config.tr_setup.seed)
        # The leader has indexed the patches already.
        cache = run.project / "cache"
        splits = Split.from_dict(shared["split"])
        data = data_of(config, dataset, resolved, splits, 0, cache if cache.is_dir() else None, team)
        with device_explained(config, resolved):
            resumed = shared["checkpoint"] is not None
            network, resolved = network_of(config, resolved, team, resumed=resumed)
            module = module_of(config, resolved, network, validates=data.validates, team=team)
        data.position = lambda: (module.epochs_done, module.batches_done)
        data.device = lambda: next(network.parameters()).device
        # The weights began the same everywhere; what is random in the network from here on is not the same.
        seed_everything(team.own_seed(config.tr_setup.seed))
        if shared["checkpoint"] is not None:
            restore_training_state(module, shared["checkpoint"])
            data.load_state_dict(shared["checkpoint"].get(type(data).__qualname__, {}))
        return cls(config, resolved, run, module, data, ignore, Control(), team)

    def _write(self, data: SegtrainDataModule, dataset: Dataset) -> None:
        """Write what the run starts from, and say what the user should know."""
        self.run.write_config(self.config)
        self.run.write_json("resolved.json", self.resolved.to_dict())
        self.run.write_json("split.json", data.split.to_dict())
        sizes = {part: data.loader(part).all_samples for part in ("train", "val") if data.split.part(part)}
        named = {part: {region.record for region in data.split.part(part)} for part in PARTS}
        self.run.update_info(
            num_epochs=self.config.tr_config.num_epochs,
            device=self.resolved.where,
            batch=self.resolved.batch_in_words,
            parameters=self.resolved.parameters,
            split=sizes,
            images={part: len(records) for part, records in named.items() if records},
        )
        messages = list(self.resolved.messages)
        setup = self.config.tr_setup
        if dataset.split_file is not None and setup.train_split != type(setup)().train_split:
            messages.append("the training share is not used: the split.json of the data decides")
        if not data.validates:
            messages.append(
                "there is nothing to validate on, so the training loss decides which checkpoint is best; "
                "label a second place, or add a split.json"
            )
        for message in messages:
            self.emit(Warned(message=message))

    def fit(
        self,
        control: Control | None = None,
        *,
        preview: Preview | None = None,
        stop_after: int | None = None,
        tensorboard: bool = True,
    ) -> FitResult:
        """Train until all epochs are done, a limit is reached, or somebody asks to stop.

        Parameters
        ----------
        control
            Requests; by default those of `prepare`.
        preview
            Called now and then to show what the network predicts.
        stop_after
            End after the epoch with this number, as if it had been stopped.
        tensorboard
            Write curves for TensorBoard.

        Returns
        -------
        FitResult
            How it ended; the status in the run's files is left to the caller.

        Raises
        ------
        SegtrainError
            When the loss is no longer a number, memory runs out, or data cannot be read; checkpoints
            that were written stay. The attribute `reason`, where there is one, is a `FinishReason`.
        """
        control = control if control is not None else self.control
        ending = Ending()
        callbacks = build_callbacks(
            self.run,
            self.config,
            emit=self.emit,
            control=control,
            preview=preview,
            history=self.data.follow_labels(self.run) if self.team.leads else None,
            resolved=self.resolved,
            stopwatch=self.module.journey.stopwatch,
            stop_after=stop_after,
            ending=ending,
            tensorboard=tensorboard,
            leads=self.team.leads,
        )
        if self.team.leads:
            self._announce()
        self.module.network.train()
        self.module.lightened = self._note_load
        self.module.told = lambda sentence: self.emit(Warned(message=sentence))
        try:
            with (
                device_explained(self.config, self.resolved, lambda: self.module.load),
                labels_taken(control, self.data.labels_changed, self.emit),
            ):
                reason = run_loop(self._trainer(callbacks), self.module, self.data, control, ending)
        finally:
            self.data.close()
        return result_of(self.run, self.module, reason)

    def _note_load(self, load: Load) -> None:
        """Write down and say how the run computes from here on, so that it goes on so when it is resumed."""
        resolved = self.resolved.under(load)
        config = settle(self.config, resolved)
        self.module.description = describe(config, resolved)
        if not self.team.leads:
            return
        self.run.write_config(config)
        self.run.write_json("resolved.json", resolved.to_dict())
        self.run.update_info(batch=resolved.batch_in_words)
        self.emit(
            Warned(message=backed_off_message(load, torch.device(resolved.device), resolved.batch_size))
        )

    def _trainer(self, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
        check_processes(self.resolved.hardware.processes, self.team)
        return build_trainer(
            self.run,
            self.config,
            hardware=self.resolved.hardware,
            team=self.team,
            callbacks=callbacks,
            epochs_done=self.module.epochs_done,
            validates=self.data.validates,
        )

    def _announce(self) -> None:
        resolved = self.resolved
        # A GPU without room is an error that can be explained; a system without room kills the process.
        killable = resolved.accelerator == "cpu"
        targets = resolve_targets(self.config, resolved.facts)
        kinds = {name: target.kind for name, target in targets.items() if target.kind is not None}
        room = free_memory(torch.device("cpu"))
        self.emit(
            RunStarted(
                run_id=self.run.read_info().id,
                name=self.run.name,
                path=str(self.run.path),
                num_epochs=self.config.tr_config.num_epochs,
                first_epoch=self.module.epochs_done + 1,
                steps_per_epoch=resolved.steps_per_epoch,
                device=resolved.where,
                batch=resolved.batch_in_words,
                parameters=resolved.parameters,
                heads=tuple(head.name for head in resolved.heads),
                foreground=tuple(head.name for head in resolved.heads if head.encoding == "binary"),
                kinds=kinds,
                smaller=smaller_size(self.config, resolved, room) if killable else None,
            )
        )


def _batches(
    config: ExperimentConfig,
    dataset: Dataset,
    run: RunFolder,
    checkpoint: Mapping[str, Any] | None,
    splits: Split | Sequence[Split] | None,
    split_index: int,
    team: Team,
) -> SegtrainDataModule:
    """Return the batches of a training, a new one or one that goes on from a checkpoint."""
    cache = run.project / "cache"
    if checkpoint is None and splits is None:
        return prepare_data(config, dataset, cache, team)
    if checkpoint is None:
        resolved = fitted(config, resolve(config, dataset))
    else:
        resolved = resolve_again(config, checkpoint)
    if splits is None:
        splits, split_index = choose_splits(config, dataset, resolved, run)
    return data_of(config, dataset, resolved, splits, split_index, cache, team)
