"""One training from Start to its end: shared arrays, the command, strokes and previews."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from ...config import ExperimentConfig, SegtrainError
from ...engine.protocol import Command, Pause, Resume, Stop, Train
from ...runs import (
    EngineDied,
    Event,
    Finding,
    Finished,
    Paused,
    PreviewReady,
    Progress,
    Refused,
    Resumed,
    RunStarted,
    RunState,
    StatusChanged,
    Waiting,
    check_writable,
)
from ...runs.finding import Severity
from ...runs.scratch import Scratch
from ..forms.notify import say
from ..layers.data_spec import TrainingData
from ..layers.layer_notes import ImageNotes
from .beat import Beat
from .closing_note import ClosingNote
from .engine_session import EngineSession
from .followers import write_copies
from .gaze import Gaze
from .preview import PreviewLayers
from .strokes import StrokeForwarder


class State(StrEnum):
    """Where a training is, as its dock sees it."""

    IDLE = "idle"
    PREPARING = "preparing"
    """Layers are being written into shared files."""
    STARTING = "starting"
    """The engine has the command; its run has not begun."""
    WAITING = "waiting"
    """The engine waits for the end of another run of the project."""
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    """Stop was pressed; the batch under way is still computed and a checkpoint written."""


_FOLLOWING: dict[type[Event], State] = {
    Waiting: State.WAITING,
    RunStarted: State.RUNNING,
    Resumed: State.RUNNING,
    Paused: State.PAUSED,
}


class TrainingSession(QObject):
    """Starts, pauses and stops trainings in the engine, one at a time.

    Every start is followed by exactly one `ended`.

    Parameters
    ----------
    viewer
        The napari viewer.
    engine
        The dock's engine.
    beat
        Says when layers may change.
    parent
        The dock.

    Attributes
    ----------
    run
        Folder of the run that is trained, once it is known; None when none is.
    """

    state_changed = Signal(str)
    said = Signal(str)
    """What is being prepared, in words."""
    noted = Signal(object)
    """A `Finding` about the layers that are trained on."""
    happened = Signal(object)
    """An event of the running job."""
    ended = Signal(bool, str)
    """Whether all went well, and a message for the user."""

    def __init__(self, viewer: Any, engine: EngineSession, beat: Beat, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._beat = beat
        self._viewer = viewer
        self._engine = engine
        self._state = State.IDLE
        self.run: Path | None = None
        self._job: str | None = None
        self._scoring = False
        self._scratch: Scratch | None = None
        self._strokes: StrokeForwarder | None = None
        self._previews: PreviewLayers | None = None
        self._gaze: Gaze | None = None
        self._images: list[ImageNotes] = []
        self._worker: Any = None
        self._note = ClosingNote(viewer)
        engine.event.connect(self._on_event)
        engine.before_close.append(self._pass_on_rest)

    @property
    def state(self) -> State:
        """Where the training is."""
        return self._state

    def start(
        self,
        config: ExperimentConfig,
        data: TrainingData,
        project: Path,
        resume: Path | None = None,
        *,
        retry: bool = False,
        wait: bool = False,
    ) -> None:
        """Train; returns at once.

        Parameters
        ----------
        config
            The experiment.
        data
            The layers to train on.
        project
            Folder that gets the run.
        resume
            Folder of the run to go on with, instead of a new one.
        retry
            Train that run from its begin.
        wait
            Wait for the end of a run that is active in the project.

        Raises
        ------
        RunError
            When the project cannot be written to.
        """
        if self._state is not State.IDLE:
            return
        check_writable(project)
        self._scratch = Scratch.create(project)
        self._strokes = StrokeForwarder(self._viewer, data.mirrors, self._scratch, self._send, self._say)
        self._previews = PreviewLayers(
            self._viewer, config, data.images, self._beat, goes_on=resume is not None and not retry
        )
        self._gaze = Gaze(self._viewer, data.images.values(), self._send, self._beat.give_way)
        painted = {mirror.layer for mirror in data.mirrors}
        images = [image.layer for image in data.images.values() if image.layer not in painted]
        self._images = [ImageNotes(self._viewer, layer, self._say) for layer in images]
        command = Train(
            config=config.to_dict(),
            project=str(project),
            resume=None if resume is None else str(resume),
            retry=retry,
            wait=wait,
        )
        self._job, self.run, self._scoring = command.job, resume, False
        self._go(State.PREPARING)
        worker = write_copies(data.copies, self._scratch)
        worker.yielded.connect(self._on_sharing)
        worker.returned.connect(
            lambda fault: self._on_written(fault, command.replace(data=data.spec, config=command.config))
        )
        self._worker = worker
        worker.start()

    def pause(self) -> None:
        """Let the training wait after the batch it is in, or go on."""
        if self._state is State.RUNNING:
            self._send(Pause())
        elif self._state is State.PAUSED:
            self._send(Resume())

    def stop(self) -> None:
        """End the training after the batch it is in, with a checkpoint."""
        if self._state is State.PREPARING:
            if self._worker is not None:
                self._worker.quit()
            self._end(True, "Stopped before the training began")
        elif self._state in (State.STARTING, State.WAITING, State.RUNNING, State.PAUSED):
            self._send(Stop(job=self._job))
            self._go(State.STOPPING)

    def close(self) -> None:
        """Let go of the viewer; the engine is told to stop by its owner."""
        self._pass_on_rest()
        if self._worker is not None:
            self._worker.quit()
        self._note.show("")
        self._release(keep=self._state not in (State.IDLE, State.PREPARING))

    def _say(self, severity: Severity, sentence: str) -> None:
        """Tell the user, and let the dock keep it in view: a notification is short and soon gone."""
        say(severity, sentence)
        self.noted.emit(Finding(rule="layers", severity=severity, sentence=sentence))

    def _pass_on_rest(self) -> None:
        """Let the engine have what was painted last."""
        if self._strokes is not None:
            with suppress(RuntimeError):  # of a window that is closed, parts may be gone
                self._strokes.finish()

    def _go(self, state: State) -> None:
        if state is not self._state:
            self._state = state
            self._note.show(self._when_closed())
            self.state_changed.emit(str(state))

    def _send(self, command: Command) -> None:
        if self._state in (State.IDLE, State.PREPARING):
            return
        try:
            self._engine.send(command)
        except SegtrainError as error:
            self._end(False, str(error))

    def _on_sharing(self, _: object) -> None:
        # A method, which Qt forgets with this object: a worker may speak once more when its dock is gone.
        self.said.emit("Sharing the layers with the training process")

    def _on_written(self, fault: str | None, command: Train) -> None:
        if self._state is not State.PREPARING or command.job != self._job:
            return
        if fault is not None:
            self._end(False, fault)
            return
        self._go(State.STARTING)
        self._send(command)
        if self._strokes is not None and self._gaze is not None:
            self._strokes.open()
            self._gaze.tell()

    def _on_event(self, event: Event) -> None:
        if event.job is None or event.job != self._job:
            return
        following = _FOLLOWING.get(type(event))
        if self._state is State.WAITING and isinstance(event, StatusChanged):
            following = State.STARTING  # its turn has come
        if isinstance(event, RunStarted):
            self.run = Path(event.path)
        if following is not None and self._state is not State.STOPPING:
            self._go(following)
        if isinstance(event, RunStarted) and self._previews is not None:
            self._previews.foreground, self._previews.kinds = event.foreground, event.kinds
        if isinstance(event, Progress):
            self._scoring = event.scoring
            self._note.show(self._when_closed())
        if isinstance(event, PreviewReady) and self._previews is not None:
            self._previews.take(event)
        if isinstance(event, Refused):
            self._end(False, event.message)
        elif isinstance(event, Finished):
            self.happened.emit(event)
            self._end(event.status is not RunState.FAILED, event.message)
        elif not isinstance(event, EngineDied):
            self.happened.emit(event)

    def _end(self, well: bool, message: str) -> None:
        # A run that can go on has names of its own for the shared files.
        self._release(keep=False)
        self._job = self.run = None
        self._go(State.IDLE)
        self.ended.emit(well, message)

    def _release(self, *, keep: bool) -> None:
        if self._strokes is not None:
            self._strokes.close()
        if self._gaze is not None:
            self._gaze.close()
        for notes in self._images:
            notes.close()
        if self._previews is not None:
            self._previews.finish()
        if self._scratch is not None:
            self._scratch.close() if keep else self._scratch.remove()
        self._images = []
        self._strokes = self._previews = self._gaze = self._scratch = self._worker = None

    def _when_closed(self) -> str:
        """Return what closing napari does to the training, an empty text when there is none."""
        if self._state is State.IDLE:
            return ""
        if self._state not in (State.RUNNING, State.PAUSED, State.STOPPING) or self.run is None:
            return "a training is being prepared. When the window closes it does not begin."
        if self._scoring:
            return (
                f"{self.run.name} is trained and is being evaluated. When the window closes the run stays "
                f"complete, without the scores that are missing: segtrain evaluate {self.run} finds them."
            )
        return (
            f"{self.run.name} is being trained. When the window closes it stops after its batch, with a "
            "checkpoint; Resume in the Train dock goes on with it."
        )
