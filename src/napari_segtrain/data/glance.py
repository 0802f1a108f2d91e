"""The labels of a target at a glance: how much of each class, a small picture, and what is odd, in words."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import ConfigError, DataError, DataFacts, DatasetConfig, ExperimentConfig, TargetConfig
from ..config.facts import TargetFacts
from ..targets import label_masks
from ..targets.kinds import background_value, resolve_targets
from .blocks import Box, iter_blocks
from .object_numbers import number_faults

BLOCK_VOXELS = 2**22
"""Voxels that are in memory at a time."""
OBJECT_VOXELS = 2**20
"""Voxels that are searched for broken numbers of objects: those with the most labels."""
MOST_SECONDS = 3.0
"""After this time no further block is begun: blocks are taken in an order that is even at any time."""
UNBALANCED = 100
"""How many times as frequent a class may be as another before that is said."""
PICTURE = (40, 56)
"""Most rows and columns of the picture."""
_MOST_LISTED = 6
_MOST_VALUES = 256
_MOST_FRAMES = 8
_ALWAYS = 8
"""Arrays of which a block is looked at however long it takes."""
_AT_ONCE = 2**19
"""Voxels that are counted in one call, which no other thread can interrupt."""


@dataclass(frozen=True)
class Painted:
    """An array of labels.

    Attributes
    ----------
    labels
        Has ``shape``, ``dtype`` and slicing; is read block by block.
    mask
        An array of the same shape that is 0 where the labels do not count, None where they count everywhere.
    spatial
        Positions of (z,) y, x in the array.
    spacing
        Size of a voxel along these axes.
    """

    labels: Any
    mask: Any = None
    spatial: tuple[int, ...] = (0, 1)
    spacing: tuple[float, ...] = (1.0, 1.0)


@dataclass(frozen=True)
class Glance:
    """What the labels of a target hold.

    Attributes
    ----------
    text
        How much is labelled, and with what.
    warnings
        What is probably not meant, a sentence each.
    picture
        Label values of the plane with the most labels, made smaller, (rows, columns); thin strokes stay.
    """

    text: str
    warnings: tuple[str, ...]
    picture: NDArray[Any]


def look(parts: Sequence[Painted], config: TargetConfig) -> Generator[None, None, Glance]:
    """Look at labels, in bounded memory and time; yields after every block.

    Parameters
    ----------
    parts
        The labels of one target, an array an image.
    config
        What the values mean.

    Raises
    ------
    DataError
        When an array cannot be read.
    """
    total = _Total()
    ends = time.monotonic() + MOST_SECONDS
    # Every array has its turn, and a first block of some is always looked at: what is small is seen whole.
    queues = [_boxes(part.labels) for part in parts]
    for turn in range(max(map(len, queues), default=0)):
        for number, (part, queue) in enumerate(zip(parts, queues, strict=True)):
            always = turn == 0 and number < _ALWAYS
            if turn < len(queue) and (always or time.monotonic() < ends):
                total.add(part, *_read(part, queue[turn]))
                yield
    everything = sum(math.prod(part.labels.shape) for part in parts)
    return _told(total, config, total.voxels / everything if everything else 1.0)


def _boxes(array: Any) -> list[Box]:
    """Return boxes that cover an array, in an order in which the first so many lie all over it."""
    shape = [int(n) for n in array.shape]
    chunks = getattr(array, "chunks", None) or (1,) * (len(shape) - 1) + (shape[-1],)
    sizes = [c if isinstance(c, int) else max(c) for c in chunks]
    boxes = iter_blocks(
        [0] * len(shape), shape, [max(1, min(n, c)) for n, c in zip(shape, sizes, strict=True)], BLOCK_VOXELS
    )
    digits = max(1, (len(boxes) - 1).bit_length())
    order = (int(f"{place:0{digits}b}"[::-1], 2) for place in range(2**digits))
    return [boxes[place] for place in order if place < len(boxes)]


def _read(part: Painted, box: Box) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    try:
        labels = np.asarray(part.labels[box])
        counts = None if part.mask is None else np.asarray(part.mask[box]) != 0
    except Exception as error:
        # The array may be anybody's: of dask, of a store on a network.
        raise DataError(f"its voxels cannot be read ({type(error).__name__}: {error})") from error
    return labels, counts


class _Total:
    """Adds up what blocks hold, and keeps the one with the most labels."""

    def __init__(self) -> None:
        self.voxels = 0
        self.integer = True
        self.measured, self.low, self.high = 0, math.inf, -math.inf
        self.best: tuple[int, Painted, NDArray[Any]] | None = None
        self._counts: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._numbers: dict[int, list[NDArray[Any]]] = {}

    def add(self, part: Painted, labels: NDArray[Any], mask: NDArray[np.bool_] | None) -> None:
        self.voxels += labels.size
        painted = int(np.count_nonzero(labels))
        if self.best is None or painted > self.best[0]:
            self.best = painted, part, labels
        if painted == 0 and mask is None and labels.dtype.kind in "biu":
            # Most of a sparsely painted volume is empty.
            self._note(0.0, 0.0, labels.size)
            self._counts.append((np.zeros(1, np.int64), np.array([labels.size])))
            return
        before = len(self._counts)
        flat = labels.reshape(-1) if mask is None else labels[mask]
        if flat.dtype.kind == "f":
            flat = flat[np.isfinite(flat)]
            self.integer &= bool((flat == np.rint(flat)).all())
        if flat.size:
            self._note(float(flat.min()), float(flat.max()), flat.size)
        if self.integer:
            self._counts += [_frequencies(flat[at : at + _AT_ONCE]) for at in range(0, flat.size, _AT_ONCE)]
        self._numbers.setdefault(id(part), []).extend(values for values, _ in self._counts[before:])

    def objects(self, numbers: NDArray[Any]) -> int:
        """Return how often these numbers are used, once an array."""
        own = (np.unique(np.concatenate(found)) for found in self._numbers.values() if found)
        return sum(int(np.count_nonzero(np.isin(values, numbers))) for values in own)

    def _note(self, low: float, high: float, measured: int) -> None:
        self.measured += measured
        self.low, self.high = min(self.low, low), max(self.high, high)

    def values(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the distinct values, sorted, and how often each is there."""
        if not self._counts:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        values, place = np.unique(np.concatenate([v for v, _ in self._counts]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([n for _, n in self._counts]), len(values))
        return values, counts.astype(np.int64)


def _frequencies(flat: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if flat.dtype.kind in "bui" and flat.size and int(flat.min()) >= 0 and int(flat.max()) < 2**16:
        counts = np.bincount(flat)
        values = np.flatnonzero(counts)
        return values, counts[values]
    values, counts = np.unique(flat, return_counts=True)
    return values.astype(np.int64), counts


def _told(total: _Total, config: TargetConfig, seen: float) -> Glance:
    values, counts = total.values() if total.integer else (np.zeros(0, np.int64), np.zeros(0, np.int64))
    facts = TargetFacts(
        integer=total.integer,
        values=tuple(int(v) for v in values[:_MOST_VALUES]),
        max_value=max(0.0, total.high),
    )
    kind = _kind(config, facts)
    picture = np.zeros((1, 1), np.uint8) if total.best is None else _picture(*total.best[1:])
    part = "" if seen > 0.999 else f"In the {_percent(seen)} looked at: "
    if kind == "regression" or not total.integer:
        return Glance(*_measured(total, part), picture)
    foreground, labelled = label_masks(values, config.replace(kind=kind), facts)
    share = counts / max(1, total.voxels)
    classes = _classes(values, share, foreground, labelled, kind)
    warnings = _amount(classes, _background(config, facts), kind, part)
    listed = [f"{name} {_percent(value)}" for name, value in list(classes.items())[:_MOST_LISTED]]
    if len(classes) > _MOST_LISTED:
        listed.append(f"{len(classes) - _MOST_LISTED} more")
    if kind == "instances" and foreground.any():
        numbers = total.objects(values[foreground])
        listed.append(f"{numbers} object{'s' if numbers != 1 else ''}")
        warnings += _numbers(*total.best[1:], values[foreground]) if total.best is not None else []
    text = f"{part}{_percent(float(share[labelled].sum()))} labelled"
    return Glance(": ".join(filter(None, (text, ", ".join(listed)))), tuple(warnings), picture)


def _kind(config: TargetConfig, facts: TargetFacts) -> str:
    """Return the kind that a training would take the labels for."""
    plain = config.replace(labels=None, mask=None)
    experiment = ExperimentConfig(dataset_config=DatasetConfig(targets={"t": plain}))
    known = DataFacts(ndim=2, shape=(1, 1), spacing=(1.0, 1.0), targets={"t": facts})
    try:
        return str(resolve_targets(experiment, known)["t"].kind)
    except ConfigError:  # one value alone, which is background
        return config.kind or "binary"


def _measured(total: _Total, part: str) -> tuple[str, tuple[str, ...]]:
    if not total.measured:
        return "nothing measured", ("There is no number in it.",)
    share = _percent(total.measured / total.voxels)
    text = f"{part}{share} measured: {total.low:.4g} to {total.high:.4g}"
    constant = (f"Every value is {total.low:.4g}: there is nothing to learn.",)
    return text, constant if total.low == total.high else ()


def _background(config: TargetConfig, facts: TargetFacts) -> int:
    """Return a value that means background, to be told to the user."""
    taken = {config.unlabelled, *(config.values or ())}
    usual = background_value(config, facts)
    return usual if usual not in taken else next(v for v in range(len(taken) + 1) if v not in taken)


def _classes(
    values: NDArray[Any], share: NDArray[Any], foreground: NDArray[Any], labelled: NDArray[Any], kind: str
) -> dict[str, float]:
    """Return the share of each class that is there, by its name."""
    named = {"background": float(share[labelled & ~foreground].sum())}
    if kind == "classes":
        named |= {f"value {values[i]}": float(share[i]) for i in np.flatnonzero(foreground)}
    else:
        named["objects" if kind == "instances" else "foreground"] = float(share[foreground].sum())
    return {name: value for name, value in named.items() if value > 0}


def _amount(there: dict[str, float], background: int, kind: str, part: str) -> list[str]:
    """Say what is empty or out of balance."""
    if not there:
        return [f"{part}Nothing is labelled. Paint on the layer, or check the unlabelled value."]
    if set(there) == {"background"}:
        return [f"{part}Background only. Paint what shall be found with another value than {background}."]
    if "background" not in there and len(there) == 1 and kind != "instances":
        return [f"{part}No background. Paint some with the value {background}, to tell the rest from it."]
    most, least = max(there, key=lambda n: there[n]), min(there, key=lambda n: there[n])
    times = there[most] / there[least]
    if times < UNBALANCED:
        return []
    return [
        f"{part}Unbalanced: {times:.0f} × as much {most} as {least}. Label more, or tick Balance classes."
    ]


def _numbers(part: Painted, block: NDArray[Any], numbers: NDArray[Any]) -> list[str]:
    """Look for broken numbers in a part of a block, a frame at a time."""
    rows = (1,) * (block.ndim - 1) + block.shape[-1:]
    pieces = [block[box] for box in iter_blocks([0] * block.ndim, block.shape, rows, OBJECT_VOXELS)]
    piece = max(pieces, key=np.count_nonzero)
    frames = np.moveaxis(piece, part.spatial, range(-len(part.spatial), 0))
    frames = frames.reshape((-1, *frames.shape[-len(part.spatial) :]))
    found: list[str] = []
    for frame in frames[:_MOST_FRAMES]:
        found += number_faults(np.where(np.isin(frame, numbers), frame, 0), part.spacing)
    return list(dict.fromkeys(found))[:2]


def _picture(part: Painted, block: NDArray[Any]) -> NDArray[Any]:
    """Return the plane with the most labels, small; every small pixel is the largest value in it."""
    planes = np.moveaxis(block, part.spatial[-2:], (-2, -1))
    planes = planes.reshape((-1, *planes.shape[-2:]))
    plane = planes[int(np.argmax(np.count_nonzero(planes, axis=(1, 2))))]
    step = max(1, *(-(-size // most) for size, most in zip(plane.shape, PICTURE, strict=True)))
    for axis in (0, 1):
        plane = np.maximum.reduceat(plane, np.arange(0, plane.shape[axis], step), axis=axis)
    return np.ascontiguousarray(plane)


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.01:
        return "< 0.01 %"
    return f"{percent:.0f} %" if percent >= 10 or percent == 0 else f"{percent:.2g} %"
