"""One prediction from its button to new layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from ..config import InferenceConfig, SegtrainError
from ..engine.protocol import Predict, Stop
from ..runs import (
    Event,
    Finished,
    PredictDone,
    PredictProgress,
    Refused,
    RunState,
    Warned,
    format_seconds,
)
from ..runs.scratch import Scratch
from .closing_note import ClosingNote
from .colours import heads_of
from .engine_session import EngineSession
from .followers import read_results, write_copies
from .prediction_data import PredictionData
from .results import add_results


class PredictionSession(QObject):
    """Predicts layers in the engine, one at a time.

    Every start is followed by exactly one `ended`.

    Parameters
    ----------
    viewer
        The napari viewer.
    engine
        The dock's engine.
    parent
        The dock.
    """

    progressed = Signal(float, object, str)
    """Finished share, seconds left or None, and what is being done."""
    said = Signal(str)
    warned = Signal(str)
    shown = Signal(object)
    """The layers that were added."""
    ended = Signal(bool, str)
    """Whether all went well, and a message for the user."""

    def __init__(self, viewer: Any, engine: EngineSession, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._engine = engine
        self._data: PredictionData | None = None
        self._command: Predict | None = None
        self._scratch: Scratch | None = None
        self._store: Path | None = None
        self._sent = self._reading = False
        self._worker: Any = None
        self._note = ClosingNote(viewer)
        engine.event.connect(self._on_event)

    @property
    def busy(self) -> bool:
        """Whether a prediction is under way."""
        return self._command is not None

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
        self._scratch = Scratch.create(project)
        self._data, self._store = data, store
        self._sent = self._reading = False
        self._command = Predict(
            model=str(model),
            data={},
            output=str(store or self._scratch.folder / "prediction.zarr"),
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
        self._note.show(_when_closed(store))
        job = self._command.job
        worker = write_copies(data.copies, self._scratch)
        worker.yielded.connect(lambda _: self.said.emit("Sharing the layer with the prediction process"))
        worker.returned.connect(lambda fault: self._on_written(fault, job))
        self._worker = worker
        worker.start()

    def cancel(self) -> None:
        """End the prediction; there is no result."""
        if self._command is None:
            return
        if self._sent and not self._reading:
            self._engine.send(Stop(job=self._command.job))
            self.said.emit("Cancelling …")
        else:
            self._worker.quit()
            self._end(True, "Cancelled")

    def close(self) -> None:
        """Let go of everything; the engine is told to stop by its owner."""
        if self._worker is not None:
            self._worker.quit()
        self._release()

    def _on_written(self, fault: str | None, job: str) -> None:
        if self._command is None or self._command.job != job or self._data is None:
            return
        if fault is not None:
            self._end(False, fault)
            return
        try:
            self._engine.send(self._command.replace(data=self._data.spec))
        except SegtrainError as error:
            self._end(False, str(error))
            return
        self._sent = True
        self.said.emit("Loading the network …")

    def _on_event(self, event: Event) -> None:
        if self._command is None or event.job != self._command.job:
            return
        if isinstance(event, PredictProgress):
            self.progressed.emit(event.fraction, event.seconds_left, "Predicting …")
        elif isinstance(event, Warned):
            self.warned.emit(event.message)
        elif isinstance(event, PredictDone):
            self._read(event)
        elif isinstance(event, Refused):
            self._end(False, event.message)
        elif isinstance(event, Finished) and not self._reading:
            cancelled = event.status is RunState.INTERRUPTED
            self._end(event.status is not RunState.FAILED, "Cancelled" if cancelled else event.message)

    def _read(self, event: PredictDone) -> None:
        self._reading = True
        job = event.job
        worker = read_results(event, lazy=self._store is not None)
        worker.returned.connect(lambda found: self._show(event, found, job))
        self._worker = worker
        worker.start()

    def _show(self, event: PredictDone, found: Any, job: str | None) -> None:
        command, data = self._command, self._data
        if command is None or data is None or command.job != job:
            return
        if isinstance(found, str):
            self._end(False, found)
            return
        arrays, parts = found
        as_numbers = (command.inference or {}).get("output") == "uint8"
        layers = add_results(
            self._viewer,
            event,
            data,
            arrays,
            as_numbers=as_numbers,
            heads=heads_of(command.model),
            parts=parts,
        )
        self.shown.emit(layers)
        names = ", ".join(layer.name for layer in layers) if len(layers) < 3 else f"{len(layers)} new layers"
        self._end(True, f"Predicted in {format_seconds(event.seconds)}: {names}")

    def _end(self, well: bool, message: str) -> None:
        self._release()
        self.ended.emit(well, message)

    def _release(self) -> None:
        self._note.show("")
        if self._scratch is not None:
            self._scratch.remove()
        self._scratch = self._data = self._command = self._worker = None


def _when_closed(store: Path | None) -> str:
    """Return what closing napari does to a prediction."""
    if store is None:
        return "a prediction is under way. When the window closes it is lost."
    return (
        f"a prediction into {store} is under way. When the window closes it stops; Go on in the Predict dock "
        "finishes it."
    )
