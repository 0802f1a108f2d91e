"""One ranking of regions from its button to points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from ..config import SegtrainError
from ..engine.protocol import LabelNext, Stop
from ..runs import Event, Finished, PredictProgress, Refused, RegionsRanked, RunState, Warned
from ..runs.scratch import Scratch
from .data_spec import TrainedImage, TrainingData
from .engine_session import EngineSession
from .followers import write_copies
from .label_points import show_regions


class LabelSession(QObject):
    """Has the engine rank the regions of an image and shows them, one ranking at a time.

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
    ended = Signal(bool, str)
    """Whether all went well, and a message for the user."""

    def __init__(self, viewer: Any, engine: EngineSession, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer, self._engine = viewer, engine
        self._command: LabelNext | None = None
        self._data: TrainingData | None = None
        self._labels: Any = None
        self._scratch: Scratch | None = None
        self._worker: Any = None
        self._sent = False
        self._result: str | None = None
        engine.event.connect(self._on_event)

    @property
    def busy(self) -> bool:
        """Whether a ranking is under way."""
        return self._command is not None

    def start(
        self,
        model: Path,
        data: TrainingData,
        labels: Any,
        targets: Sequence[str],
        number: int,
        device: str,
        project: Path,
    ) -> None:
        """Rank the regions of an image; returns at once.

        Parameters
        ----------
        model
            Run folder, also of a run in training, or checkpoint.
        data
            The image and its labels.
        labels
            The layer to paint in, None where there is none.
        targets
            Targets that count.
        number
            How many regions at most.
        device
            Where to compute.
        project
            Folder that may hold shared files meanwhile.

        Raises
        ------
        RunError
            When the project cannot be written to.
        """
        if self.busy:
            return
        self._scratch = Scratch.create(project)
        self._data, self._labels, self._sent, self._result = data, labels, False, None
        self._command = LabelNext(
            model=str(model), data={}, targets=tuple(targets), number=number, device=device
        )
        job = self._command.job
        worker = write_copies(data.copies, self._scratch)
        worker.returned.connect(lambda fault: self._on_written(fault, job))
        self._worker = worker
        self.said.emit("Sharing the layers with the process that ranks")
        worker.start()

    def cancel(self) -> None:
        """End the ranking; the points stay as they are."""
        if self._command is None:
            return
        if self._sent:
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
        if self._command is None or self._data is None or event.job != self._command.job:
            return
        if isinstance(event, PredictProgress):
            self.progressed.emit(event.fraction, event.seconds_left, "Looking for doubt …")
        elif isinstance(event, Warned):
            self.warned.emit(event.message)
        elif isinstance(event, RegionsRanked):
            [image] = self._data.images.values()
            self._result = self._show(event, image)
        elif isinstance(event, Refused):
            self._end(False, event.message)
        elif isinstance(event, Finished):
            cancelled = event.status is RunState.INTERRUPTED and self._result is None
            message = "Cancelled" if cancelled else event.message or self._result or ""
            self._end(event.status is not RunState.FAILED, message)

    def _show(self, event: RegionsRanked, image: TrainedImage) -> str:
        layer = show_regions(self._viewer, image, self._labels, event.regions)
        if layer is None:
            return _sentence(event.words)
        since = "" if event.epoch is None else f", as the network of epoch {event.epoch} sees it"
        found = f"{len(event.regions)} regions are in the layer {layer.name!r}, best first{since}"
        return ". ".join(filter(None, (found, _sentence(event.words))))

    def _end(self, well: bool, message: str) -> None:
        self._release()
        self.ended.emit(well, message)

    def _release(self) -> None:
        if self._scratch is not None:
            self._scratch.remove()
        self._scratch = self._data = self._command = self._worker = self._labels = None


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
