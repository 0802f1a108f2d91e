"""What a training is made of besides data and network, and the training itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from napari_segtrain.config import CancelledError, SegtrainError, TrainingError
from napari_segtrain.data import content_hash
from napari_segtrain.inference import load_trained
from napari_segtrain.runs import Event, Finished, RunFolder, RunStarted, RunState, find_checkpoint
from napari_segtrain.training import (
    Given,
    Optimization,
    initialize_optimizer,
    journey_of,
    loss_of,
)
from napari_segtrain.workflow.run import train_given

from ..context import STOPPED, Context, Values
from ..json_file import write_graph
from ..parameters import LossParameters, OptimizerParameters, TrainerParameters
from .models import describe, described
from .setting import setting_of

GRAPH_FILE = "workflow.json"
_KEY_FILE = "workflow_key.json"
_EXPERIMENT = ("config.yaml", "data_hashes.json")


def loss_function(config: LossParameters, inputs: Values, context: Context) -> dict[str, Any]:
    """Make the loss of the experiment."""
    return {"loss_fn": loss_of(setting_of(context, "a loss compares the targets of data").resolved)}


def optimizer(config: OptimizerParameters, inputs: Values, context: Context) -> dict[str, Any]:
    """Make what changes the weights of the network, and its learning rate over the training."""
    setting = setting_of(context, "a learning rate follows the length of a training")
    resolved = setting.resolved
    made = initialize_optimizer(
        inputs["model"],
        config.optimizer,
        config.scheduler,
        journey_of(setting.config, resolved),
        resolved.precision,
    )
    return {"optimizer": made}


def trainer(config: TrainerParameters, inputs: Values, context: Context) -> Values:
    """Train what is connected, to a finished run."""
    model: nn.Module = inputs["model"]
    changes: Optimization = inputs["optimizer"]
    if changes.network is not model:
        raise TrainingError(
            "the optimizer changes the weights of another network: connect the same network's model to both"
        )
    setting = setting_of(context, "a trainer needs data")
    given = Given(setting.batches, described(model)[1], model, inputs["loss_fn"], changes)
    emit = _Told(context)
    try:
        result = train_given(
            given,
            setting.reviewed,
            setting.opened,
            config.project,
            emit=emit,
            control=context.control,
        )
    finally:
        setting.batches.forget_training()
    if result.status is RunState.INTERRUPTED and context.control.stopped:
        raise CancelledError(f"{STOPPED}; {result.message}")
    _write_key(RunFolder(result.path), context)  # less of a batch at a time, where memory ran out, is noted
    return _Outputs(result.path)


class _Told:
    """Passes on what a run tells but its end, which is not that of the graph; the run gets the graph."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __call__(self, event: Event) -> None:
        if isinstance(event, Finished):
            return
        if isinstance(event, RunStarted):
            run = RunFolder(Path(event.path))
            write_graph(run.path / GRAPH_FILE, self._context.graph)
            _write_key(run, self._context)
        self._context.emit(event)


def _write_key(run: RunFolder, context: Context) -> None:
    if context.key:
        said = {"node": context.node.name, "key": context.key, "experiment": _digest(run)}
        run.write_json(_KEY_FILE, said)


def _digest(run: RunFolder) -> str:
    """Return a text that changes when a run goes on with another experiment, or with other data."""
    files = (run.path / name for name in _EXPERIMENT)
    return ":".join(content_hash(file) or "" for file in files)


def trainer_before(config: TrainerParameters, context: Context, found: Values | None) -> Values | None:
    """Return what a trainer gave when it ran with the same key before, from its run folder; often None.

    What this process knows of it does not count: runs are deleted, and go on.
    """
    runs = Path(config.project) / "runs"
    for file in sorted(runs.glob(f"*/{_KEY_FILE}")) if runs.is_dir() else ():
        try:
            run = RunFolder.open(file.parent)
            said = run.read_as(_KEY_FILE, dict)
            same = (said.get("key"), said.get("experiment")) == (context.key, _digest(run))
            if same and run.state is RunState.COMPLETED:
                find_checkpoint(run.path, run.read_config().inference_config.checkpoint)
                return _Outputs(run.path)
        except SegtrainError:
            continue  # somebody deletes it, or has changed it
    return None


class _Outputs(Mapping[str, Any]):
    """What a trainer gives, from its run folder; the network is read when somebody takes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        rows = [dict(row) for row in RunFolder.open(path).read_metrics()]
        self._metrics = {"run": str(path), "epochs": rows}
        self._model: nn.Module | None = None

    def __getitem__(self, port: str) -> Any:
        if port == "metrics":
            return self._metrics
        if port != "model":
            raise KeyError(port)
        if self._model is None:
            self._model = describe(load_trained(self._path))
        return self._model

    def __iter__(self) -> Iterator[str]:
        return iter(("model", "metrics"))

    def __len__(self) -> int:
        return 2
