"""What the engine does for each command: a table of functions, imported when the engine starts."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module

from napari_segtrain.config import ConfigError, ExperimentConfig
from napari_segtrain.runs.control import Control
from napari_segtrain.runs.events import Emit
from napari_segtrain.workflow.graph.serving import GraphServer

from .protocol import (
    Diagnose,
    LabelNext,
    Predict,
    PreviewAugmentation,
    PreviewSplit,
    PreviewTargets,
    RunGraph,
    StepThrough,
    Train,
)

_GRAPHS = GraphServer()
WORKFLOW = "napari_segtrain.engine.jobs:WORKFLOW_JOBS"
"""The jobs of the program, as `load_jobs` finds them."""

_WARM = (
    "torch",
    "lightning.pytorch",
    "napari_segtrain.data",
    "napari_segtrain.training",
    "napari_segtrain.inference",
    "napari_segtrain.workflow.augmentation_preview",
    "napari_segtrain.workflow.doctor",
    "napari_segtrain.workflow.prediction",
    "napari_segtrain.workflow.run",
    "napari_segtrain.workflow.scoring",
    "napari_segtrain.workflow.split_preview",
    "napari_segtrain.workflow.suggestions",
    "napari_segtrain.workflow.target_preview",
)


@dataclass(frozen=True)
class JobTable:
    """The functions behind the commands, each called as its command is.

    A job takes its command, a function to announce events with, and the requests that may reach it while
    it works. It returns at its end, and raises a `SegtrainError` for what the user can change.
    """

    train: Callable[[Train, Emit, Control], None]
    predict: Callable[[Predict, Emit, Control], None]
    preview_targets: Callable[[PreviewTargets, Emit, Control], None]
    preview_augmentation: Callable[[PreviewAugmentation, Emit, Control], None]
    preview_split: Callable[[PreviewSplit, Emit, Control], None]
    diagnose: Callable[[Diagnose, Emit, Control], None]
    label_next: Callable[[LabelNext, Emit, Control], None]
    step_through: Callable[[StepThrough, Emit, Control], None]
    run_graph: Callable[[RunGraph, Emit, Control], None]
    warm_up: Callable[[], None]
    """Imports what the jobs need; the engine is ready when it returns."""
    usable: Callable[[], bool] = lambda: True
    """Asked after each job whether the process can compute any more; when not, another takes its place."""


def load_jobs(where: str) -> JobTable:
    """Import a table of jobs.

    Parameters
    ----------
    where
        ``"package.module:NAME"``.

    Raises
    ------
    ImportError, AttributeError
        When there is no such module or name.
    TypeError
        When the name is not that of a `JobTable`.
    """
    module, _, name = where.partition(":")
    table = getattr(import_module(module), name)
    if not isinstance(table, JobTable):
        raise TypeError(f"{where} is a {type(table).__name__}, not a JobTable")
    return table


def _warm_up() -> None:
    for module in _WARM:
        import_module(module)
    # Loops that a training needs are compiled once on a machine, and loaded in a moment from then on.
    import_module("napari_segtrain.targets.deriver").warm_up()
    import_module("napari_segtrain.inference.near_seeds").warm_up()
    for ndim in (2, 3):
        import_module("napari_segtrain.data.augmentation").warm_up(ndim)


def _parsed(command: Train | StepThrough) -> ExperimentConfig:
    """Return the experiment of a command.

    Raises
    ------
    ConfigError
        When it cannot be, or not in this one process.
    """
    config = ExperimentConfig.parse(command.config)
    setup = config.tr_setup
    if (setup.devices or 1) * setup.num_nodes > 1 or setup.strategy == "ddp" or "," in setup.device:
        raise ConfigError(
            "tr_setup: several devices train together from the command line only, never from inside napari: "
            "use segtrain train --devices N, or leave devices, num_nodes and strategy at their defaults and "
            "name one device"
        )
    return config


def _train(command: Train, emit: Emit, control: Control) -> None:
    config = _parsed(command)
    workflow = import_module("napari_segtrain.workflow")
    options = {"wait": command.wait, "preview": True, "emit": emit, "control": control}
    try:
        if command.retry and command.resume is not None:
            workflow.retry(command.resume, data=command.data, **options)
            return
        workflow.train(
            config,
            command.data,
            command.project,
            run_name=command.run_name,
            resume=command.resume,
            **options,
        )
    finally:
        _free_memory()


def _predict(command: Predict, emit: Emit, control: Control) -> None:
    workflow = import_module("napari_segtrain.workflow")
    values = {name: getattr(command, name) for name in type(command).model_fields}
    for name in ("command", "job", "model", "data", "output"):
        del values[name]
    try:
        workflow.predict_layer(
            command.model, command.data, command.output, **values, emit=emit, control=control
        )
    finally:
        _free_memory()


def _preview_targets(command: PreviewTargets, emit: Emit, control: Control) -> None:
    workflow = import_module("napari_segtrain.workflow")
    config = ExperimentConfig.parse(command.config)
    preview = workflow.preview_targets(config, command.data, hint=command.hint)
    emit(workflow.share_target_preview(preview, command.output))


def _preview_augmentation(command: PreviewAugmentation, emit: Emit, control: Control) -> None:
    workflow = import_module("napari_segtrain.workflow")
    config = ExperimentConfig.parse(command.config)
    preview = workflow.preview_augmentation(
        config, command.data, number=command.number, seed=command.seed, hint=command.hint
    )
    emit(workflow.share_augmentation_preview(preview, command.output))


def _preview_split(command: PreviewSplit, emit: Emit, control: Control) -> None:
    workflow = import_module("napari_segtrain.workflow")
    emit(workflow.preview_split(ExperimentConfig.parse(command.config), command.data))


def _diagnose(command: Diagnose, emit: Emit, control: Control) -> None:
    workflow = import_module("napari_segtrain.workflow")
    emit(workflow.diagnose(ExperimentConfig.parse(command.config), command.data))


def _label_next(command: LabelNext, emit: Emit, control: Control) -> None:
    workflow = import_module("napari_segtrain.workflow")
    try:
        names = ("number", "targets", "device")
        values = {name: getattr(command, name) for name in names}
        emit(workflow.rank_layers(command.model, command.data, **values, emit=emit, control=control))
    finally:
        _free_memory()


def _step_through(command: StepThrough, emit: Emit, control: Control) -> None:
    config = _parsed(command)
    workflow = import_module("napari_segtrain.workflow")
    try:
        workflow.step_through(config, command.data, command.output, emit=emit, control=control)
    finally:
        _free_memory()


def _run_graph(command: RunGraph, emit: Emit, control: Control) -> None:
    names = ("show", "only", "again", "layers", "data")
    values = {name: getattr(command, name) for name in names}
    try:
        _GRAPHS.run(command.graph, command.output, **values, emit=emit, control=control)
    finally:
        _free_memory()


def _free_memory() -> None:
    # The engine lives on after a job: what the job held on the GPU should be there for others.
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        with suppress(RuntimeError):  # of a GPU that was lost nothing can be freed
            torch.cuda.empty_cache()


def _usable() -> bool:
    # After a fault of a GPU its driver refuses every call of the process, until the process has ended.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


WORKFLOW_JOBS = JobTable(
    train=_train,
    predict=_predict,
    preview_targets=_preview_targets,
    preview_augmentation=_preview_augmentation,
    preview_split=_preview_split,
    diagnose=_diagnose,
    label_next=_label_next,
    step_through=_step_through,
    run_graph=_run_graph,
    warm_up=_warm_up,
    usable=_usable,
)
