"""What a run writes into its `logs/training.log` beside warnings and errors: its start, epochs and end."""

from __future__ import annotations

import logging
import shlex
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from napari_segtrain.data import Dataset
from napari_segtrain.runs import (
    EpochDone,
    Event,
    Finished,
    RunFolder,
    RunInfo,
    RunStarted,
    RunState,
    Scored,
    StatusChanged,
    Warned,
    split_words,
)

logger = logging.getLogger(__name__)


def log_start(run: RunFolder, dataset: Dataset, resumed: bool) -> None:
    """Write what was started: the run, the command, the machine, the versions and the data.

    Parameters
    ----------
    run
        The run, which is running.
    dataset
        What it trains on.
    resumed
        Whether it goes on from a checkpoint.
    """
    info = run.read_info()
    done = f" after epoch {info.epoch}" if resumed else ""
    logger.info("run %s (%s) %s%s", info.name, info.id, "goes on" if resumed else "starts", done)
    logger.info("command: %s", shlex.join(sys.argv))
    logger.info("machine: %s, process %s", info.host, info.pid)
    logger.info("versions: %s", ", ".join(f"{name} {number}" for name, number in info.versions.items()))
    logger.info("data: %s, %d images", dataset.origin, len(dataset.records))


def log_event(run: RunFolder, event: Event) -> None:
    """Write what an event says, where that belongs into a log."""
    if isinstance(event, RunStarted):
        logger.info(_network(run.read_info(), event))
    elif isinstance(event, EpochDone):
        row = {name: value for name, value in event.row.items() if name != "epoch" and value is not None}
        values = [f"{name} {value:.6g}" for name, value in row.items()]
        logger.info("epoch %d/%d: %s", event.epoch, event.num_epochs, ", ".join(values))
    elif isinstance(event, Scored):
        for name, scores in event.scores.items():
            values = [f"{score} {value:.6g}" for score, value in scores.items() if value is not None]
            logger.info("scores on %s: %s: %s", event.split, name, ", ".join(values))
    elif isinstance(event, Warned):
        logger.warning(event.message)
    elif isinstance(event, StatusChanged):
        logger.info("status: %s", event.status)
    elif isinstance(event, Finished):
        # What made it fail stands above, with its traceback.
        words = "" if event.status is RunState.FAILED or not event.message else f": {event.message}"
        logger.info("end: %s (%s)%s", event.status, event.reason, words)


def _network(info: RunInfo, event: RunStarted) -> str:
    parameters = "an unknown number of" if event.parameters is None else f"{event.parameters:,}"
    return (
        f"device: {event.device}; {parameters} parameters; outputs {', '.join(event.heads)}; "
        f"split: {split_words(info)}; "
        f"epochs {event.first_epoch} to {event.num_epochs} of {event.steps_per_epoch} steps"
    )


@contextmanager
def warnings_to_log() -> Iterator[None]:
    """Send Python's warnings to the log while a run is active, so that `training.log` has them."""
    with warnings.catch_warnings():
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
