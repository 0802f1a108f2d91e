"""Errors that are written for the user of the program, not for its developers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SegtrainError(Exception):
    """Something the user gave cannot work; the message says what, what is allowed and what to do.

    The command line prints the message without a traceback and exits with code 2; the docks show it
    as a notification. Anything that is not a `SegtrainError` is a bug and keeps its traceback.
    """


class ConfigError(SegtrainError):
    """The experiment's configuration is not valid."""


class DataError(SegtrainError):
    """Images, labels or masks cannot be used as they are."""


class RunError(SegtrainError):
    """A run folder or checkpoint is missing, damaged, or not in a state that allows the request."""


class TrainingError(SegtrainError):
    """Training had to stop; what was learned up to the last good checkpoint is kept."""


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """Return a sentence that names the nearest allowed value, or all of them.

    Parameters
    ----------
    given
        What the user wrote.
    allowed
        Every valid value.

    Returns
    -------
    str
        ``"Did you mean 'x'? Allowed: …"``, without the question when nothing is near.
    """
    options = sorted(allowed)
    near = difflib.get_close_matches(given.lower(), [o.lower() for o in options], n=1, cutoff=0.4)
    question = ""
    if near:
        question = f"Did you mean {next(o for o in options if o.lower() == near[0])!r}? "
    return f"{question}Allowed: {', '.join(options)}."
