"""From the button to layers: what a network would be taught in the visible region, before any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from ..config import ExperimentConfig, SegtrainError
from ..engine.protocol import PreviewTargets
from ..runs import Event, Finished, Refused, RunState, TargetsReady
from ..runs.scratch import Scratch
from .data_spec import TrainingData
from .engine_session import EngineSession
from .followers import read_targets, write_copies
from .gaze import looked_at
from .placing import Place, place_of
from .target_layers import show


class TargetSession(QObject):
    """Has the engine derive targets and shows them, one region at a time.

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

    said = Signal(str)
    changed = Signal()
    """`busy` is another."""
    ended = Signal(bool, str)
    """Whether all went well, and a message for the user."""

    def __init__(self, viewer: Any, engine: EngineSession, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._engine = engine
        self._command: PreviewTargets | None = None
        self._data: TrainingData | None = None
        self._scratch: Scratch | None = None
        self._worker: Any = None
        self._reading = False
        engine.event.connect(self._on_event)

    @property
    def busy(self) -> bool:
        """Whether targets are being derived."""
        return self._command is not None

    def start(self, config: ExperimentConfig, data: TrainingData, project: Path) -> None:
        """Derive what is visible of the first visible image; returns at once.

        Parameters
        ----------
        config
            The experiment.
        data
            The layers.
        project
            Folder that may hold shared files meanwhile.

        Raises
        ------
        RunError
            When the project cannot be written to.
        """
        if self.busy:
            return
        images = list(data.images.values())
        image = next((image for image in images if image.layer.visible), images[0])
        self._scratch = Scratch.create(project)
        self._data, self._reading = data, False
        self._command = PreviewTargets(
            config=config.to_dict(),
            data={},
            output=str(self._scratch.folder / "targets"),
            hint=looked_at(self._viewer, image),
        )
        job = self._command.job
        worker = write_copies(data.copies, self._scratch)
        worker.returned.connect(lambda fault: self._on_written(fault, job))
        self._worker = worker
        self.changed.emit()
        self.said.emit("Deriving the targets of what is visible …")
        worker.start()

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

    def _on_event(self, event: Event) -> None:
        if self._command is None or event.job != self._command.job or self._data is None:
            return
        if isinstance(event, TargetsReady):
            place = place_of(self._data.images, event.record, event.start, event.stop)
            if place is not None:
                self._read(event, place)
        elif isinstance(event, Refused):
            self._end(False, event.message)
        elif isinstance(event, Finished) and not self._reading:
            self._end(event.status is not RunState.FAILED, event.message)

    def _read(self, event: TargetsReady, place: Place) -> None:
        self._reading = True
        job = event.job
        worker = read_targets(event, place)
        worker.returned.connect(lambda found: self._show(found, place, job))
        self._worker = worker
        worker.start()

    def _show(self, found: Any, place: Place, job: str | None) -> None:
        if self._command is None or self._command.job != job or self._data is None:
            return
        if isinstance(found, str):
            self._end(False, found)
            return
        show(self._viewer, found, place, several=len(self._data.images) > 1)
        size = " × ".join(map(str, place.size))
        self._end(True, f"Targets of {size} voxels: {', '.join(layer.head.name for layer in found)}")

    def _end(self, well: bool, message: str) -> None:
        self._release()
        self.changed.emit()
        self.ended.emit(well, message)

    def _release(self) -> None:
        if self._scratch is not None:
            self._scratch.remove()
        self._scratch = self._data = self._command = self._worker = None
