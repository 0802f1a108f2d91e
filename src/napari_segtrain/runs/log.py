"""`logs/training.log`: what the program and its libraries said while a run was active."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .folder import RunFolder


class _LogFile(logging.FileHandler):
    """A log that loses lines on a full disk, instead of ending what it tells of."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Pass over what the system refuses to write; anything else is a bug and shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        """Close the file, whether its last lines can be written or not."""
        with suppress(OSError):
            super().close()


@contextmanager
def log_to(run: RunFolder) -> Iterator[None]:
    """Append the log, with warnings and tracebacks, to the run's ``logs/training.log``.

    Parameters
    ----------
    run
        The run that is active inside the block.
    """
    handler = _LogFile(run.log_path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("napari_segtrain", "lightning.pytorch", "py.warnings")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        if logger.getEffectiveLevel() > logging.INFO:
            logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()
