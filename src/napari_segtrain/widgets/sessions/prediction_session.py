"""One prediction from its button to new layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from ...config import InferenceConfig
from ...engine.protocol import Predict
from ...runs import (
    Event,
    Finished,
    PredictDone,
    RunState,
    format_seconds,
)
from ...runs.scratch import Scratch
from ..layers.prediction_data import PredictionData
from ..layers.results import add_results
from .engine_job import EngineJob
from .engine_session import EngineSession
from .followers import read_results


class PredictionSession(EngineJob):
    """Predicts layers in the engine, one at a time."""

    shown = Signal(object)
    """The layers that were added."""

    _starting = "Loading the network …"
    _doing = "Predicting …"

    def __init__(self, viewer: Any, engine: EngineSession, parent: QObject | None = None) -> None:
        super().__init__(viewer, engine, parent)
        self._store: Path | None = None

    def start(
        self,
        model: Path,
        data: PredictionData,
        inference: InferenceConfig,
        device: str,
        project: Path,
        store: Path | None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Predict; returns at once.

        Parameters
        ----------
        model
            Run folder or checkpoint.
        data
            The layer.
        inference
            How to predict.
        device
            Where to compute.
        project
            Folder that may hold shared files meanwhile.
        store
            Zarr store to write to and open lazily; None for layers in memory.
        overwrite
            Replace a prediction that is in the store.

        Raises
        ------
        RunError
            When the project cannot be written to.
        """
        if self.busy:
            return
        scratch = Scratch.create(project)
        self._store = store
        command = Predict(
            model=str(model),
            data={},
            output=str(store or scratch.folder / "prediction.zarr"),
            targets=inference.targets or (),
            start=data.start,
            stop=data.stop,
            spacing=data.spacing,
            inference=inference.to_dict(),
            instances=inference.instances,
            device=device,
            overwrite=overwrite,
            keep_parts=inference.instances,
        )
        worker = self._prepare(command, data, scratch)
        worker.yielded.connect(self._on_sharing)
        worker.start()

    def _on_sharing(self, _: object) -> None:
        # A method, which Qt forgets with this object: a worker may speak once more when its dock is gone.
        self.said.emit("Sharing the layer with the prediction process")

    def _on_news(self, event: Event) -> None:
        if isinstance(event, PredictDone):
            worker = read_results(event, self._command.model, lazy=self._store is not None)
            self._read(worker, lambda found: self._show(event, *found))
        elif isinstance(event, Finished) and not self._reading:
            cancelled = event.status is RunState.INTERRUPTED
            self._end(event.status is not RunState.FAILED, "Cancelled" if cancelled else event.message)

    def _show(self, event: PredictDone, arrays: Any, parts: Any, heads: Any) -> None:
        as_numbers = (self._command.inference or {}).get("output") == "uint8"
        layers = add_results(
            self._viewer,
            event,
            self._data,
            arrays,
            as_numbers=as_numbers,
            heads=heads,
            parts=parts,
        )
        self.shown.emit(layers)
        names = ", ".join(layer.name for layer in layers) if len(layers) < 3 else f"{len(layers)} new layers"
        self._end(True, f"Predicted in {format_seconds(event.seconds)}: {names}")

    def _when_closed(self) -> str:
        if self._store is None:
            return "a prediction is under way. When the window closes it is lost."
        return (
            f"a prediction into {self._store} is under way. When the window closes it stops; Go on in the "
            "Predict dock finishes it."
        )
