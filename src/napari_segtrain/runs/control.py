"""What somebody else asks of a job while it works: stop, pause, take new labels, look at a region."""

from __future__ import annotations

import threading
import time

from pydantic import model_validator

from napari_segtrain.config import Config

from .events import Bounds, Emit, Paused, Resumed, ignore
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

    def look_at(self, hint: PreviewHint | None) -> None:
        """Tell the job which block the user looks at now; None for nothing in particular."""
        with self._lock:
            self._hint = hint

    @property
    def hint(self) -> PreviewHint | None:
        """The block that the user looks at, or None."""
        with self._lock:
            return self._hint
