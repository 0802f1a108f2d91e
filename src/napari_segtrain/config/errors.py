"""Errors that are written for the user of the program, not for its developers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Self

MOST_LISTED = 20
"""Of more faults the first are listed and the others counted: a message has to fit on a screen."""


class SegtrainError(Exception):
    """Something the user gave cannot work; the message says what, what is allowed and what to do.

    The command line prints the message without a traceback and exits with code 2; the docks show it
    as a notification. Anything that is not a `SegtrainError` is a bug and keeps its traceback.

    Attributes
    ----------
    faults
        The sentences of a message that lists several, else the message alone.
    """

    def __init__(self, message: str, faults: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults) or (message,)

    @classmethod
    def listing(cls, faults: Sequence[str], where: str = "") -> Self:
        """Return one error for all faults; one fault alone is the whole message.

        Parameters
        ----------
        faults
            A sentence each, at least one.
        where
            What they are in, such as a file; it begins the message.
        """
        begin = f"{where}: " if where else ""
        return cls(begin + list_sentences(faults, "faults"), faults)


def list_sentences(sentences: Sequence[str], title: str) -> str:
    """Return a sentence as it is, or several below the line ``"<number> <title>"``, the first ones of many.

    Parameters
    ----------
    sentences
        At least one.
    title
        What they are, in the plural.
    """
    if len(sentences) == 1:
        return sentences[0]
    lines = [f"{len(sentences)} {title}", *(f"- {text}" for text in sentences[:MOST_LISTED])]
    if len(sentences) > MOST_LISTED:
        lines.append(f"- and {len(sentences) - MOST_LISTED} more; segtrain check lists all")
    return "\n".join(lines)


class ConfigError(SegtrainError):
    """The experiment's configuration is not valid."""


class DataError(SegtrainError):
    """Images, labels or masks cannot be used as they are."""


class RunError(SegtrainError):
    """A run folder or checkpoint is missing, damaged, or not in a state that allows the request."""


class CancelledError(SegtrainError):
    """The user ended something whose result was to be returned."""


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


def wrong_axes(key: str, size: Sequence[int], ndim: int, what: str = "the data") -> str | None:
    """Return what is wrong with a size that has not one number for each axis, None when nothing is.

    Parameters
    ----------
    key
        The key it is the value of, such as ``"tr_config.patch_size"``.
    size
        What was given, in array order.
    ndim
        Spatial axes that there are.
    what
        What has them.
    """
    if len(size) == ndim:
        return None
    given = ",".join(map(str, size))
    return (
        f"{key}: {given} has {len(size)} numbers, but {what} is {ndim}D; give {ndim} in array order "
        f"{'z,y,x' if ndim == 3 else 'y,x'}"
    )


def shapes_differ(what: str, given: Sequence[int], image: str, wanted: Sequence[int]) -> str:
    """Return the sentence that labels or a mask do not cover their image.

    Parameters
    ----------
    what
        The labels or the mask, such as ``"labels 'cells'"``.
    given
        Their shape.
    image
        Name of the image.
    wanted
        Its shape.
    """
    return (
        f"image {image!r} has the shape {_text(wanted)}, but its {what} {_text(given)}: labels and masks "
        "must cover their image voxel by voxel. Choose or export others, or check "
        "dataset_config.channel_axis and level."
    )


def _text(shape: Sequence[int]) -> str:
    return "(" + ", ".join(str(int(n)) for n in shape) + ")"
