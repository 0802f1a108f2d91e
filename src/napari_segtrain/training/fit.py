"""The loop of an experiment, from its start to an end that is always named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data.heap import memory_kept
from napari_segtrain.network import NetworkPlan, is_out_of_memory, lost_device
from napari_segtrain.network.hardware import SAVED
from napari_segtrain.runs import (
    BEST,
    LAST,
    Best,
    Control,
    DeviceLostError,
    FinishReason,
    FittingSize,
    RunFolder,
    RunState,
)

from .callbacks import Ending
from .errors import OutOfMemoryError, StopRequested
from .ladder import rungs
from .load import Load
from .memory import out_of_memory_message, reclaim_memory, suggest_fit, total_memory
from .module import Row, SegmentationModule
from .resolve import ResolvedExperiment, plan_network
from .trainer import quiet_lightning, stop_on_signals

_INTERRUPTED = frozenset({FinishReason.STOP_AFTER, FinishReason.STOPPED, FinishReason.PARENT_GONE})


@dataclass(frozen=True)
class FitResult:
    """How a training ended.

    Attributes
    ----------
    status
        Completed, or interrupted and resumable.
    reason
        A `FinishReason`.
    epochs
        Completed epochs, over all processes of the run.
    rows
        Losses and scores of each epoch.
    best
        The epoch with the best monitored value; None when there is none yet.
    best_checkpoint, last_checkpoint
        The files, None where there is none yet.
    seconds
        Time spent on training, pauses left out, over all processes of the run.
    """

    status: RunState
    reason: str
    epochs: int
    rows: tuple[Row, ...]
    best: Best | None
    best_checkpoint: Path | None
    last_checkpoint: Path | None
    seconds: float


def run_loop(
    trainer: pl.Trainer,
    module: SegmentationModule,
    data: pl.LightningDataModule,
    control: Control,
    ending: Ending,
) -> str:
    """Run a trainer to its end and return the `FinishReason`.

    Raises
    ------
    SegtrainError
        When the training fails in a way that the user can change.
    """
    (stopped,) = module.team.agree(control.stopped)
    if stopped:
        return control.stop_reason or FinishReason.STOPPED
    with quiet_lightning(), memory_kept(), stop_on_signals(control) as signals:
        trainer.callbacks.extend(signals)  # type: ignore[attr-defined]
        module.journey.stopwatch.start()
        try:
            trainer.fit(module, datamodule=data)
        except StopRequested as stop:
            return stop.reason
        except SystemExit:
            # Lightning turns a second Ctrl-C into an exit without a word.
            raise KeyboardInterrupt from None
        finally:
            module.journey.stopwatch.pause()
            module.leave_evaluation()
    return ending.reason


@contextmanager
def device_explained(
    config: ExperimentConfig,
    resolved: ResolvedExperiment,
    load: Callable[[], Load] | None = None,
    advice: str = SAVED,
) -> Iterator[None]:
    """Raise `OutOfMemoryError`, with a size that should fit, or `DeviceLostError` for what says so inside.

    Parameters
    ----------
    config, resolved
        The experiment.
    load
        Asked how the batch that failed was computed; by default as `resolved` says.
    advice
        A sentence on how to go on when the device is lost.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if lost := lost_device(error, advice):
            raise DeviceLostError(lost) from error
        if not is_out_of_memory(error):
            raise
        device = torch.device(resolved.device)
        failed = resolved if load is None else resolved.under(load())
        fitting = smaller_size(config, failed, reclaim_memory(error, device))
        message = out_of_memory_message(resolved.plan, failed.at_a_time, device, fitting)
        raise OutOfMemoryError(message, fitting) from error


def smaller_size(
    config: ExperimentConfig, resolved: ResolvedExperiment, available: int
) -> FittingSize | None:
    """Return the nearest smaller patch and batch size that should fit into so many bytes, or None."""

    def replan(patch: tuple[int, ...]) -> NetworkPlan:
        return plan_network(config, resolved.facts, resolved.heads, patch)

    return suggest_fit(resolved.plan, resolved.at_a_time, available, replan)


def refuse_too_large(config: ExperimentConfig, resolved: ResolvedExperiment) -> None:
    """Refuse a step that needs more memory than the machine has, before the system ends the program for it.

    Raises
    ------
    OutOfMemoryError
        When even the least that the estimate may stand for is more than the device has in all, in whatever
        way the step is computed.
    """
    total = total_memory(torch.device(resolved.device))
    if all(_least(rung) > total for rung in rungs(config, resolved)):
        with device_explained(config, resolved):
            raise MemoryError


def _least(resolved: ResolvedExperiment) -> float:
    # What autograd keeps is at least half of the estimate, and half of that in 16 bits.
    return resolved.memory / (2 if resolved.precision == "fp32" else 4)


def result_of(run: RunFolder, module: SegmentationModule, reason: str) -> FitResult:
    """Say how the training ended."""
    monitor = module.monitor
    best = None
    if monitor.best is not None:
        best = Best(epoch=monitor.best_epoch, monitor=monitor.name, value=monitor.best)
    files: dict[str, Any] = {name: run.checkpoints / name for name in (BEST, LAST)}
    files = {name: path if path.is_file() else None for name, path in files.items()}
    return FitResult(
        status=RunState.INTERRUPTED if reason in _INTERRUPTED else RunState.COMPLETED,
        reason=str(reason),
        epochs=module.epochs_done,
        rows=tuple(module.rows),
        best=best,
        best_checkpoint=files[BEST],
        last_checkpoint=files[LAST],
        seconds=module.journey.stopwatch.seconds,
    )
