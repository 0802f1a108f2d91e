"""A Lightning trainer that is silent, writes where the run says, and calls our callbacks."""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.network.hardware import Hardware, resolve_hardware
from napari_segtrain.runs import Control, Emit, FinishReason, RunFolder, ignore

from .callbacks import (
    Announcer,
    CheckpointCallback,
    ControlCallback,
    DebugPictures,
    Doctor,
    EarlyStop,
    Ending,
    LabelStates,
    NanGuard,
    Preview,
    PreviewCallback,
    RowWriter,
    StopAfter,
    TensorBoardCallback,
    TimeLimit,
    UnseenHeads,
    WorstPatches,
)
from .callbacks.checkpoints import RunCheckpointIO
from .label_history import LabelHistory
from .resolve import ResolvedExperiment
from .schedules import Stopwatch
from .team import ALONE, Team

_LOUD = ("lightning.pytorch", "lightning.fabric")


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notes on hardware and its advertisements from the terminal; warnings stay."""
    loggers = [logging.getLogger(name) for name in _LOUD]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 looks at its loaders in a way that torch 2.13 will drop; nothing to be done here.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def build_callbacks(
    run: RunFolder,
    config: ExperimentConfig,
    *,
    emit: Emit = ignore,
    control: Control | None = None,
    preview: Preview | None = None,
    history: LabelHistory | None = None,
    resolved: ResolvedExperiment | None = None,
    stopwatch: Stopwatch | None = None,
    stop_after: int | None = None,
    ending: Ending | None = None,
    tensorboard: bool = True,
    leads: bool = True,
) -> list[pl.Callback]:
    """Return the callbacks of a training, in the order in which they have to act.

    Of an epoch's end: its losses are judged, its checkpoints are written, then its row (a process that is
    killed in between leaves no row that no checkpoint knows), then followers hear of it; then limits and
    requests decide whether there is a next one. Of several processes, only the one that `leads` writes and
    reports; what all have to decide together is in all of them.
    """
    tr = config.tr_config
    control = control if control is not None else Control()
    ending = ending if ending is not None else Ending()
    checkpoints = CheckpointCallback(run, config.tr_setup.model_name, tr.keep_checkpoints, emit)
    rows, announcer = RowWriter(run, emit), Announcer(emit, tr.num_epochs)
    callbacks: list[pl.Callback] = [NanGuard(), checkpoints, rows, announcer]
    curves = TensorBoardCallback(run.tensorboard) if tensorboard and leads else None
    if curves is not None:
        callbacks.append(curves)
    if resolved is not None and leads:
        callbacks.append(UnseenHeads(resolved.heads, emit, label_only=tr.loss_on_label_only))
        callbacks.append(Doctor(config, resolved.heads, emit))
        callbacks.append(WorstPatches(run, resolved.heads, emit))
    if tr.debug_pictures and resolved is not None and leads:
        name, spacing = config.tr_setup.model_name, resolved.facts.spacing
        pictures = DebugPictures(run, name, tr.debug_pictures, resolved.heads, spacing, emit)
        if curves is not None:
            pictures.followers.append(curves.show)
        callbacks.append(pictures)
    if history is not None and leads:
        callbacks.append(LabelStates(history, control, emit))
    if preview is not None:
        callbacks.append(PreviewCallback(preview, emit))
    if tr.max_time is not None:
        callbacks.append(TimeLimit(ending))
    if tr.early_stopping:
        callbacks.append(EarlyStop(tr.early_stopping, ending))
    if stop_after is not None:
        callbacks.append(StopAfter(stop_after, ending))
    clock = stopwatch if stopwatch is not None else Stopwatch()
    callbacks.append(ControlCallback(control, checkpoints.save, clock, emit))
    return callbacks


def build_trainer(
    run_dir: RunFolder | str | Path,
    config: ExperimentConfig,
    *,
    hardware: Hardware | None = None,
    team: Team = ALONE,
    callbacks: Sequence[pl.Callback] | None = None,
    epochs_done: int = 0,
    validates: bool = True,
) -> pl.Trainer:
    """Return the trainer of a run.

    It prints nothing, computes in the number format and accumulates as the `SegmentationModule` says,
    and writes checkpoints in the format of the runs.

    Parameters
    ----------
    run_dir
        A run folder.
    config
        The experiment.
    hardware
        Where to compute; by default what ``tr_setup`` means here.
    team
        The processes that train together, this one among them, when they are connected already. Without
        it Lightning itself starts the processes of several devices; a module of your own then trains there,
        while a `SegmentationModule`, whose batches have to be shared out, refuses.
    callbacks
        By default those of `build_callbacks`.
    epochs_done
        Completed epochs of a run that is resumed.
    validates
        Whether there is anything to validate on.
    """
    run = run_dir if isinstance(run_dir, RunFolder) else RunFolder.open(run_dir)
    setup = config.tr_setup
    if hardware is None:
        hardware = resolve_hardware(
            setup.device, count=setup.devices, num_nodes=setup.num_nodes, strategy=setup.strategy
        )
    plugins: list[Any] = [RunCheckpointIO()]
    if not team.alone:
        plugins.append(TeamEnvironment(team))
    with quiet_lightning():
        trainer = pl.Trainer(
            accelerator=hardware.accelerator,
            devices=list(hardware.devices) if hardware.accelerator == "cuda" else len(hardware.devices),
            num_nodes=hardware.num_nodes,
            strategy=hardware.strategy,
            # Statistics of a batch are those of its patches in all processes; on the processor torch cannot.
            sync_batchnorm=hardware.strategy == "ddp" and hardware.accelerator == "cuda",
            precision="32-true",  # the steps themselves choose the number format
            max_epochs=config.tr_config.num_epochs,
            check_val_every_n_epoch=config.tr_config.val_every,
            limit_val_batches=1.0 if validates else 0,
            num_sanity_val_steps=0,  # a validation before the first step would change nothing but the time
            callbacks=list(callbacks) if callbacks is not None else build_callbacks(run, config),
            plugins=plugins,
            default_root_dir=str(run.path),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            detect_anomaly=False,
        )
    # A resumed run goes on counting where it was; `processed` is what the loop compares with max_epochs.
    progress: Any = trainer.fit_loop.epoch_progress.current
    progress.processed = progress.completed = epochs_done
    return trainer


class TeamEnvironment(ClusterEnvironment):
    """Tells Lightning of processes that are started and connected already."""

    def __init__(self, team: Team) -> None:
        super().__init__()
        self._team = team

    @property
    def creates_processes_externally(self) -> bool:
        """Whether Lightning has to start none."""
        return True

    @property
    def main_address(self) -> str:
        """Not asked for: the processes are connected."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """Not asked for: the processes are connected."""
        return 0

    @staticmethod
    def detect() -> bool:
        """Return False: it is never guessed from the environment."""
        return False

    def world_size(self) -> int:
        """Return the number of processes."""
        return self._team.size

    def set_world_size(self, size: int) -> None:
        """Keep what is known."""

    def global_rank(self) -> int:
        """Return the number of this process."""
        return self._team.rank

    def set_global_rank(self, rank: int) -> None:
        """Keep what is known."""

    def local_rank(self) -> int:
        """Return the number of this process on its machine."""
        return self._team.local_rank

    def node_rank(self) -> int:
        """Return the number of the machine."""
        return self._team.node_rank


class _OwnSignals(pl.Callback):
    """Takes the signals back from Lightning, which would end the loop without a checkpoint."""

    def __init__(self, handlers: dict[int, Any]) -> None:
        self.handlers = handlers

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set our handlers again, after Lightning has set its own."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)


@contextmanager
def stop_on_signals(control: Control) -> Iterator[list[pl.Callback]]:
    """Turn Ctrl-C and SIGTERM into a request to stop, with a checkpoint; a second Ctrl-C ends at once.

    Signals that the program around already handles in its own way are left to it, and so are all when
    this is not the main thread, which alone may set handlers.

    Yields
    ------
    list of Callback
        To be given to the trainer.
    """
    if threading.current_thread() is not threading.main_thread():
        yield []
        return

    def ask(number: int, frame: Any) -> None:
        if control.stopped and number == signal.SIGINT:
            raise KeyboardInterrupt
        control.stop(FinishReason.STOPPED)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    plain = (signal.default_int_handler, signal.SIG_DFL)
    ours: dict[int, Any] = {
        number: ask if handler in plain else handler for number, handler in before.items()
    }
    for number, handler in ours.items():
        signal.signal(number, handler)
    try:
        yield [_OwnSignals(ours)]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
