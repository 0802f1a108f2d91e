"""Labels that are painted while the training runs, on their way to what draws the patches."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from napari_segtrain.config import SegtrainError
from napari_segtrain.runs import Control, Emit, LabelChange, LabelsApplied, Warned

logger = logging.getLogger(__name__)

ApplyLabels = Callable[[LabelChange], bool]
"""Makes later patches use changed labels; returns whether any patch is touched."""

_LOOK_EVERY = 0.2
"""Seconds after which the thread looks whether the training is over."""


@contextmanager
def labels_taken(control: Control, apply: ApplyLabels, emit: Emit) -> Iterator[None]:
    """Pass painted blocks on to the data as they come, also in the middle of a batch, a validation, a pause.

    Parameters
    ----------
    control
        Where they are announced.
    apply
        What takes them, in a thread of its own.
    emit
        Told when they have arrived.
    """
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            if control.wait_for_labels(_LOOK_EVERY):
                _take(control, apply, emit)

    thread = threading.Thread(target=work, name="painted-labels", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _take(control, apply, emit)


def _take(control: Control, apply: ApplyLabels, emit: Emit) -> None:
    for change in control.take_labels():
        try:
            touched = apply(change)
        except SegtrainError as error:
            # A stroke in a layer that is not trained on is no reason to end the training.
            emit(Warned(message=f"painted labels could not be used: {error}"))
        except Exception as error:
            # Nor is one that cannot be read: a layer's store may be anywhere, with faults of its own.
            logger.exception("painted labels could not be used")
            emit(Warned(message=f"painted labels could not be used: {type(error).__name__}: {error}"))
        else:
            if touched:
                block = {"start": change.start, "stop": change.stop}
                emit(LabelsApplied(record=change.record, target=change.target, **block))
