"""Why a training ended before its time."""

from __future__ import annotations

from napari_segtrain.config import TrainingError
from napari_segtrain.runs import FinishReason, FittingSize


class NonFiniteLossError(TrainingError):
    """The loss was no longer a number."""

    reason = FinishReason.NAN_LOSS


class OutOfMemoryError(TrainingError):
    """The memory of the device ran out.

    Attributes
    ----------
    fitting
        A smaller patch and batch size that should fit; None when there is none.
    """

    reason = FinishReason.OUT_OF_MEMORY

    def __init__(self, message: str, fitting: FittingSize | None = None) -> None:
        super().__init__(message)
        self.fitting = fitting


class StopRequested(Exception):  # noqa: N818 - not an error: somebody asked for it
    """Ends the loop from within a callback, after everything was saved."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the training was asked to end ({reason})")
        self.reason = reason
