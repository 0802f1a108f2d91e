"""What predicted values mean in the labels they are accepted into: a line of text, and a first guess."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from ...config import ConfigError, TargetConfig
from ...targets.kinds import kind_without_facts
from .boxes import Box, volume

NEW_OBJECTS = "new objects"
"""The text that numbers predicted objects after those that are there."""
_MOST_READ = 2**26
"""Voxels of a layer that are looked through for its values, else only what is visible."""
_PAIR = re.compile(r"\s*(-?\d+)\s*(?:→|->|=|:)\s*(-?\d+)\s*")


def parse_values(text: str) -> tuple[dict[int, int] | None, bool]:
    """Return the table that a text such as ``"1 → 2, 0 → 1"`` says, and whether it says new objects.

    An empty text is no table: values are written as they are.

    Raises
    ------
    ConfigError
        When it says neither.
    """
    text = text.strip()
    if text in ("", NEW_OBJECTS):
        return None, text == NEW_OBJECTS
    table = {}
    for part in text.split(","):
        pair = _PAIR.fullmatch(part)
        if pair is None:
            raise ConfigError(
                f"{part.strip()!r} does not say how a value is written; write such as 1 → 2, 0 → 1, or "
                f"{NEW_OBJECTS!r}, or nothing for values as they are"
            )
        table[int(pair[1])] = int(pair[2])
    return table, False


def suggest_values(
    predicted: Collection[int], painted: Collection[int], objects: bool, target: TargetConfig | None
) -> tuple[str, int]:
    """Guess how predicted values are written, and which label means unlabelled.

    Parameters
    ----------
    predicted
        Values of the prediction: 0 and 1 of a mask, painted values of classes, numbers of objects.
    painted
        Values of the labels.
    objects
        Whether the prediction numbers objects.
    target
        What is known of the target. Classes are predicted in the values that were painted, so they are
        written as they are, and so is a mask of objects, for which no table is right. Else its values
        decide what foreground is written as.
    """
    free = 0 if target is None or target.unlabelled is None else target.unlabelled
    kind = None if target is None else kind_without_facts(target)
    if objects and kind != "classes":
        return NEW_OBJECTS, free
    if kind in ("classes", "instances") or not set(predicted) <= {0, 1}:
        return "", free
    others = sorted(set(painted) - {free})
    background: int | None = None
    if target is not None and target.values:
        foreground = target.values[0]
        rest = [value for value in others if value not in target.values]
        background = rest[0] if rest else None
    elif free == 0 and (target is None or target.unlabelled is not None) and len(others) > 1:
        background, foreground = others[0], others[1]
    else:
        foreground = next((value for value in others if value), 1)
        background = 0 if free else None
    return f"1 → {foreground}" + ("" if background is None else f", 0 → {background}"), free


def values_of(array: Any, visible: Box) -> tuple[int, ...]:
    """Return the values in an array; of a huge one those in the part that is visible. Takes a moment."""
    size = tuple(int(n) for n in array.shape)
    whole = tuple(slice(0, n) for n in size)
    where = whole if volume(whole) <= _MOST_READ else visible
    found: set[int] = set()
    for plane in range(where[0].start, where[0].stop):
        found.update(_unique(np.asarray(array[(slice(plane, plane + 1), *where[1:])])))
    return tuple(sorted(found))


def _unique(values: npt.NDArray[Any]) -> list[int]:
    small = values.dtype == np.uint8
    found = np.flatnonzero(np.bincount(values.reshape(-1))) if small else np.unique(values)
    return [int(value) for value in found]
