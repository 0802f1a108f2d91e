"""One training that is stepped through, from its definition to its end."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from ...config import DataError, ExperimentConfig, SegtrainError
from ...engine.protocol import Halt, StepThrough, TakeStep
from ...runs import Event, Finished, RunState, StepAction, StepRequest, StepTaken
from ...runs.scratch import Scratch
from ..layers import step_layers
from ..layers.data_spec import TrainingData
from .engine_job import EngineJob
from .engine_session import EngineSession
from .followers import read_preview

logger = logging.getLogger(__name__)


class SteppingSession(EngineJob):
    """Has the engine define a network and take steps, and shows what came of each."""

    taken = Signal(object)
    """The `StepTaken` that answers what was asked for, when its layers are there."""
    counted = Signal(object)
    """The `StepTaken` of a batch within ``run_batches``."""

    _starting = "Defining the network …"
    _doing = "Taking steps …"

    def __init__(self, viewer: Any, engine: EngineSession, parent: QObject | None = None) -> None:
        super().__init__(viewer, engine, parent)
        self._asked: str | None = None
        self._steps = self._kept = 0
        self._worker_of_layers: Any = None

    @property
    def waits(self) -> bool:
        """Whether something was asked for and has not been answered."""
        return self._asked is not None

    @property
    def unsaved(self) -> int:
        """Steps that the network has taken and no file has; 0 when nothing would be lost."""
        return self._steps if self._steps > self._kept else 0

    @staticmethod
    def steps_in_words(steps: int) -> str:
        """Return a number of steps, such as ``"1 step"``."""
        return "1 step" if steps == 1 else f"{steps} steps"

    def start(self, config: ExperimentConfig, data: TrainingData, project: Path) -> None:
        """Define a network; returns at once, and `taken` follows.

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
        scratch = Scratch.create(project)
        command = StepThrough(config=config.to_dict(), data={}, output=str(scratch.folder / "steps"))
        self._asked = "define_model"
        self._steps = self._kept = 0
        worker = self._prepare(command, data, scratch)
        self.changed.emit()
        self.said.emit("Sharing the layers with the process that trains")
        worker.start()

    def ask(self, action: StepAction, **values: Any) -> None:
        """Ask for a step, or for what looks at the state; `taken` follows.

        Parameters
        ----------
        action
            What to do.
        **values
            See `StepRequest`.

        Raises
        ------
        RunError
            When the process has ended.
        """
        if not self.busy or self.waits:
            return
        request = StepRequest.model_validate({"action": action, **values})
        self._engine.send(TakeStep(job=self._command.job, request=request))
        self._asked = action

    def halt(self) -> None:
        """Let what was asked for end early; what was learned until then stays."""
        if not self.busy:
            return
        if self._asked == "define_model":
            self.cancel()
            return
        try:
            self._engine.send(Halt(job=self._command.job))
        except SegtrainError as error:
            self.said.emit(str(error))

    def _when_closed(self) -> str:
        if not self.unsaved:
            return ""
        return (
            "a training is being stepped through. When the window closes, its network of "
            f"{self.steps_in_words(self.unsaved)} is gone: Save… in the Step dock keeps it."
        )

    def _on_news(self, event: Event) -> None:
        if isinstance(event, StepTaken):
            self._steps = event.step
            if event.action == "save" and not event.refused:
                self._kept = event.step
            self._note.show(self._when_closed())
            self._on_answer(event)
        elif isinstance(event, Finished):
            failed = event.status is RunState.FAILED
            self._end(not failed, event.message if failed else "Ended; the network is gone, the layers stay")

    def _on_answer(self, event: StepTaken) -> None:
        if event.action == "run_batches" and not event.words:
            self.counted.emit(event)
        elif event.pictures:
            worker = read_preview(step_layers.prepare, event, self._data)
            job = self._command.job
            worker.returned.connect(lambda found: self._on_pictures(found, event, job))
            self._worker_of_layers = worker
            worker.start()
        else:
            self._answer(event)

    def _on_pictures(self, found: Any, event: StepTaken, job: str) -> None:
        if not isalive(self) or self._command is None or self._command.job != job:
            return
        try:
            if isinstance(found, str):
                raise DataError(found)
            step_layers.show(self._viewer, found)
        except Exception as error:
            # Whatever cannot be shown: the dock must not wait for ever, nor the network be lost.
            logger.debug("what came of a step cannot be shown", exc_info=True)
            self.warned.emit(f"What came of the step cannot be shown: {error}")
        self._answer(event)

    def _answer(self, event: StepTaken) -> None:
        self._asked = None
        self.taken.emit(event)

    def _release(self) -> None:
        if self._worker_of_layers is not None:
            self._worker_of_layers.quit()
        self._worker_of_layers = self._asked = None
        super()._release()
