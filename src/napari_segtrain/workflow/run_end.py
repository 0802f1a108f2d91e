"""The end of a run, whatever it is: written down, told, and put into words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_segtrain.config import RunError, SegtrainError, TrainingError
from napari_segtrain.runs import Emit, Finished, FinishReason, FittingSize, RunFolder, RunState
from napari_segtrain.training import FitResult

from .after_training import write_report

logger = logging.getLogger(__name__)


class RunFailedError(TrainingError):
    """A run failed after it had begun; its folder says why and keeps what was learned.

    Attributes
    ----------
    path
        The run folder.
    fitting
        What to train with instead when memory ran out; None when it was not that, or nothing fits.
    """

    def __init__(self, message: str, path: Path, fitting: FittingSize | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.fitting = fitting


@contextmanager
def failures_told(run: RunFolder, tell: Emit) -> Iterator[None]:
    """End the run as failed, or interrupted, when the block raises; the exception goes on."""
    try:
        yield
    except SegtrainError as error:
        logger.exception("the run failed")
        reason = str(getattr(error, "reason", FinishReason.ERROR))
        fitting = getattr(error, "fitting", None)
        end_run(run, tell, RunState.FAILED, reason, str(error), fitting=fitting)
        raise RunFailedError(str(error), run.path, fitting) from error
    except KeyboardInterrupt:
        message = f"go on with: segtrain train --resume {run.path}"
        end_run(run, tell, RunState.INTERRUPTED, FinishReason.STOPPED, message)
        raise
    except Exception as error:
        logger.exception("the run failed")
        end_run(run, tell, RunState.FAILED, FinishReason.ERROR, f"{type(error).__name__}: {error}")
        raise


def note_warning(run: RunFolder, warning: str) -> None:
    """Write a warning into the run's summary."""
    try:
        run.add_warning(warning)
    except RunError as error:
        # An announcement never fails; what cannot be written will end the run where it matters.
        logger.error("the warning cannot be written down: %s", error)


def last_words(run: RunFolder, result: FitResult) -> str:
    """Return what to know or do after a training, for the user; often nothing."""
    if result.status is RunState.INTERRUPTED:
        return f"go on with: segtrain train --resume {run.path}"
    if result.reason == FinishReason.MAX_TIME:
        return "the time limit was reached"
    if result.reason == FinishReason.EARLY_STOPPING:
        return "stopped early: the monitored value no longer improved"
    return ""


def end_run(
    run: RunFolder,
    tell: Emit,
    state: RunState,
    reason: str,
    message: str,
    result: FitResult | None = None,
    fitting: FittingSize | None = None,
) -> None:
    """Write down how a run ended, write its report, and tell it."""
    if result is not None:
        final = dict(result.rows[-1]) if result.rows else {}
        run.update_info(epoch=result.epochs, best=result.best, final_metrics=final)
    try:
        tell(run.set_state(state, reason=reason, message=message))
    except RunError as error:
        # On a full disk the failure cannot be written down either; it is the failure that has to be told.
        if state is not RunState.FAILED:
            raise
        logger.error("the end of the run cannot be written down: %s", error)
    write_report(run)
    ended = {"status": state, "reason": reason, "message": message, "path": str(run.path), "fitting": fitting}
    tell(Finished.model_validate(ended))
