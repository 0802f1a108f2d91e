"""What somebody else asks of a job while it works: stop, pause, take new labels, look here, take a step."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Literal

from pydantic import Field, model_validator

from napari_segtrain.config import Config

from .event_values import Bounds
from .events import Emit, Paused, Resumed, ignore
from .states import FinishReason

_LOOK_EVERY = 0.05
"""Seconds between two looks of a paused job at whether it may go on."""


class Block(Config):
    """A block of voxels of one image: `start` is its first voxel, `stop` one past its last."""

    record: str
    """Id of the image (in napari: of the layer)."""
    start: Bounds
    """One index per spatial axis, in array order (z,) y, x."""
    stop: Bounds

    @model_validator(mode="after")
    def _same_axes(self) -> Block:
        if len(self.start) != len(self.stop):
            raise ValueError(f"start {self.start} and stop {self.stop} have different numbers of axes")
        if any(low < 0 or high <= low for low, high in zip(self.start, self.stop, strict=True)):
            raise ValueError(f"start {self.start} to stop {self.stop} holds no voxel")
        return self


class LabelChange(Block):
    """A block of labels that was painted; its new values are already in the shared array."""

    target: str
    """The target whose labels changed."""


class PreviewHint(Block):
    """The block that the user looks at; previews predict it first."""

    targets: tuple[str, ...] = ()
    """The heads that are shown; all when empty."""


StepAction = Literal[
    "initialize_optimizer",
    "prepare_batch",
    "zero_gradients",
    "forward_pass",
    "calculate_loss",
    "backward_pass",
    "optimizer_step",
    "run_batches",
    "show_activations",
    "what_if",
    "overfit",
    "save",
]
"""What can be asked of a training that is stepped through: the seven steps, and what looks at their state."""


class StepRequest(Config):
    """Something that is asked of a training that is stepped through."""

    action: StepAction
    """What to do."""
    number: int = Field(default=1, ge=1)
    """Batches for ``run_batches``, most steps for ``overfit``."""
    patch: int = Field(default=0, ge=0)
    """Patch of the batch for ``overfit``, from 0."""
    stage: str = ""
    """Stage of the network for ``forward_pass`` and ``show_activations``; empty for none."""
    learning_rate: float = Field(default=0.0, ge=0.0)
    """For ``what_if``."""
    path: str = ""
    """File for ``save``."""


class Control:
    """Requests to a running job, from any thread; the job looks at them between two batches."""

    def __init__(self) -> None:
        # Stop and pause are plain values, not locks or conditions: a signal handler may set them while
        # the thread it interrupts is just looking at them.
        self._stop_reason = ""
        self._paused = False
        self._lock = threading.Condition()
        self._labels: list[LabelChange] = []
        self._hint: PreviewHint | None = None
        self._steps: deque[StepRequest] = deque()
        self._halted = False

    def stop(self, reason: str = FinishReason.STOPPED) -> None:
        """Ask the job to end after the batch it is in, with a checkpoint; also ends a pause.

        Parameters
        ----------
        reason
            A `FinishReason`; the first one given is kept.
        """
        self._stop_reason = self._stop_reason or str(reason)
        self._paused = False

    @property
    def stopped(self) -> bool:
        """Whether the job should end."""
        return bool(self._stop_reason)

    @property
    def stop_reason(self) -> str:
        """The `FinishReason` of the stop; empty while there is none."""
        return self._stop_reason

    def pause(self) -> None:
        """Ask the job to wait after the batch it is in; without effect after a stop."""
        self._paused = not self.stopped

    def resume(self) -> None:
        """Let a paused job go on."""
        self._paused = False

    @property
    def paused(self) -> bool:
        """Whether the job should wait."""
        return self._paused and not self.stopped

    def wait_while_paused(self, emit: Emit = ignore) -> bool:
        """Wait until nobody wants a pause; returns at once when nobody does.

        Parameters
        ----------
        emit
            Told `Paused` before and `Resumed` after a wait.

        Returns
        -------
        bool
            Whether the job should go on; False after a stop.
        """
        waited = False
        while self.paused:
            if not waited:
                emit(Paused())
            waited = True
            time.sleep(_LOOK_EVERY)
        if waited and not self.stopped:
            emit(Resumed())
        return not self.stopped

    def change_labels(self, change: LabelChange) -> None:
        """Tell the job that labels were painted."""
        with self._lock:
            if change not in self._labels:
                self._labels.append(change)
            self._lock.notify_all()

    def wait_for_labels(self, seconds: float) -> bool:
        """Wait until labels were painted, at most so many seconds; return whether there are any."""
        with self._lock:
            return self._lock.wait_for(lambda: bool(self._labels), seconds)

    def take_labels(self) -> list[LabelChange]:
        """Return the blocks painted since the last call, oldest first, without repetitions."""
        with self._lock:
            taken, self._labels = self._labels, []
        return taken

    def ask(self, request: StepRequest) -> None:
        """Ask for something of a training that is stepped through, once what was asked for before is done."""
        self._halted = False
        self._steps.append(request)

    def next_request(self) -> StepRequest | None:
        """Wait for what is asked for next; None after a stop."""
        while not self.stopped:
            if self._steps:
                return self._steps.popleft()
            time.sleep(_LOOK_EVERY)
        return None

    def halt(self) -> None:
        """Ask what was asked for last to end early, also before it has begun: it is answered all the same."""
        self._halted = True

    @property
    def halted(self) -> bool:
        """Whether what was asked for should end early, or the whole job."""
        return self._halted or self.stopped

    def look_at(self, hint: PreviewHint | None) -> None:
        """Tell the job which block the user looks at now; None for nothing in particular."""
        with self._lock:
            self._hint = hint

    @property
    def hint(self) -> PreviewHint | None:
        """The block that the user looks at, or None."""
        with self._lock:
            return self._hint
