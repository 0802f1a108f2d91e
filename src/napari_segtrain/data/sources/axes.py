"""Decides which axis of a stored array is what, from metadata, options and shape alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...config import DataError
from .stored import OpenOptions, Stored

COLOURS = (3, 4)


@dataclass(frozen=True)
class Layout:
    """The part of each axis of a stored array.

    Attributes
    ----------
    spatial
        Positions of (z,) y, x.
    channel
        Position of the channels, None when there is no such axis.
    channels
        Channels that are used; an alpha channel is stored but not used.
    stack
        Positions of the axes along which separate images lie, slowest first.
    colour
        Whether the channels are the samples of a colour.
    """

    spatial: tuple[int, ...]
    channel: int | None
    channels: int
    stack: tuple[int, ...]
    colour: bool = False


def resolve_layout(stored: Stored, options: OpenOptions) -> Layout:
    """Return what each axis of `stored` is.

    Metadata wins over guesses, `options.channel_axis` over both. Without metadata the last axes are
    (z,) y, x; a last axis of 3 or 4 in 8-bit images is a colour; before them come channels, then time.
    Axes of length 1 that are not needed are dropped.

    Raises
    ------
    DataError
        When the axes do not make images of 2 or 3 dimensions.
    """
    letters = _letters(stored, options)
    sizes = stored.shape
    spatial = [letters.index(a) for a in "zyx" if a in letters]
    depth = letters.find("z")
    flat = options.ndim == 2 or (options.ndim is None and depth >= 0 and sizes[depth] == 1)
    if depth >= 0 and flat:
        spatial.remove(depth)
    if options.ndim == 3 and depth < 0:
        raise DataError(
            f"{stored.name}: a plane of shape {_text(sizes)} was given where a volume is needed. Give "
            "volumes, or set dataset_config.ndim to 2."
        )
    candidates = [i for i, a in enumerate(letters) if a in "cs" and (sizes[i] > 1 or a == "s")]
    if len(candidates) > 1:
        candidates = [i for i in candidates if sizes[i] > 1] or candidates[:1]
    if len(candidates) > 1:
        raise DataError(
            f"{stored.name}: axes {letters} of shape {_text(sizes)} have channels twice (c and s). Save the "
            "image with one channel axis."
        )
    channel = candidates[0] if candidates else None
    colour = channel is not None and letters[channel] == "s"
    stack = [i for i in range(len(sizes)) if i not in spatial and i != channel and sizes[i] != 1]
    channels = 1 if channel is None else sizes[channel]
    if colour and channels in (2, 4) and not options.labels:
        channels -= 1
    return Layout(tuple(spatial), channel, channels, tuple(stack), colour)


def match_layout(stored: Stored, image: tuple[int, ...], stack: tuple[int, ...]) -> Layout | None:
    """Return the layout in which labels lie on their image voxel by voxel, None when they do not.

    Label files often lack the metadata of their image; equal shapes say more than a guess.

    Parameters
    ----------
    stored
        The labels or the mask.
    image
        Spatial shape of the image, (z,) y, x.
    stack
        Number of images along each axis of the image's stack; empty when it is none.
    """
    wanted = [*stack, *image]
    everything = list(range(len(stored.shape)))
    longer = [i for i in everything if stored.shape[i] != 1]
    for kept in (everything, longer):
        for channel in (None, len(stack), len(wanted)):
            if channel is not None and channel >= len(kept):
                continue
            rest = [axis for place, axis in enumerate(kept) if place != channel]
            if [stored.shape[axis] for axis in rest] != wanted:
                continue
            position = None if channel is None else kept[channel]
            channels = 1 if position is None else stored.shape[position]
            long = tuple(axis for axis in rest[: len(stack)] if stored.shape[axis] != 1)
            return Layout(tuple(rest[len(stack) :]), position, channels, long)
    return None


def stack_positions(stored: Stored, layout: Layout) -> list[tuple[int, ...]]:
    """Return the index of every image in a stack, in order; one empty index when there is no stack."""
    return list(itertools.product(*(range(stored.shape[axis]) for axis in layout.stack)))


def resolve_spacing(stored: Stored, layout: Layout, options: OpenOptions) -> tuple[float, ...]:
    """Return the size of a voxel along the spatial axes.

    An axis that the metadata does not size gets the finest size of the others, else 1. For planes of a
    volume, the spacing of the volume may be given.

    Raises
    ------
    DataError
        When `options.spacing` has another number of axes than the image.
    """
    if options.spacing is not None:
        given = tuple(float(s) for s in options.spacing)
        if len(given) == len(layout.spatial) + 1 and _planes(stored, layout):
            given = given[1:]
        if len(given) != len(layout.spatial) or min(given) <= 0:
            raise DataError(
                f"{stored.name}: the spacing {_text(options.spacing)} does not fit an image with "
                f"{len(layout.spatial)} spatial axes. Give {len(layout.spatial)} numbers above 0, in the "
                f"order {'z, y, x' if len(layout.spatial) == 3 else 'y, x'}."
            )
        return given
    names = "zyx"[-len(layout.spatial) :]
    known = [stored.steps[a] for a in names if a in stored.steps]
    default = min(known, default=1.0)
    return tuple(float(stored.steps.get(a, default)) for a in names)


def _planes(stored: Stored, layout: Layout) -> bool:
    """Return whether the image is a plane out of an array with a further axis that is not channels."""
    return len(layout.spatial) == 2 and len(stored.shape) - (layout.channel is not None) > 2


def _letters(stored: Stored, options: OpenOptions) -> str:
    rank = len(stored.shape)
    if rank < 2 or 0 in stored.shape:
        raise DataError(f"{stored.name}: an array of shape {_text(stored.shape)} is not an image.")
    letters = stored.axes
    if letters is not None and (len(letters) != rank or len(set(letters)) != rank):
        raise DataError(
            f"{stored.name}: the metadata names the axes {letters!r}, but the array has {rank} axes. Save "
            "the image again with matching metadata."
        )
    if options.channel_axis is not None and not options.labels:
        return _with_channel(stored, letters, options.channel_axis)
    if letters is None or "y" not in letters or "x" not in letters:
        return _guess(stored, options)
    return _depth_named(letters, stored.shape, options)


def _depth_named(letters: str, sizes: Sequence[int], options: OpenOptions) -> str:
    """Call the one long axis of unknown meaning z.

    Where a volume is asked for, that may be the frames of a film, the channels or, last, colours that come
    before the rows: programs often save the planes of a volume under one of these names.
    """
    if "z" in letters and (sizes[letters.index("z")] > 1 or options.ndim != 3):
        return letters
    long = [i for i, a in enumerate(letters) if sizes[i] > 1]
    unknown = [i for i in long if letters[i] not in "zyxcst"]
    for name in "tcs" if options.ndim == 3 else "":
        unknown = unknown or [
            i for i in long if letters[i] == name and (name != "s" or i < letters.index("y"))
        ]
    if len(unknown) != 1:
        return letters
    free = next(a for a in "uvw" if a not in letters)
    return "".join("z" if i == unknown[0] else a for i, a in enumerate(letters.replace("z", free)))


def _with_channel(stored: Stored, letters: str | None, axis: int) -> str:
    rank = len(stored.shape)
    if not -rank <= axis < rank or rank < 3:
        raise DataError(
            f"{stored.name}: channel axis {axis} was given for an array of shape {_text(stored.shape)}. "
            + (
                "It has no channels: leave the channel axis empty."
                if rank < 3
                else f"Allowed: 0 to {rank - 1}."
            )
        )
    axis %= rank
    if letters is not None and letters[axis] in "cs":
        return letters
    # The metadata was wrong about this axis, so it is not asked about the others.
    others = [i for i in range(rank) if i != axis]
    return "".join("c" if i == axis else "tzyx"[-len(others) :][others.index(i)] for i in range(rank))


def _guess(stored: Stored, options: OpenOptions) -> str:
    shape, rank = stored.shape, len(stored.shape)
    excess = rank - 5
    if excess > 0:
        if math.prod(shape[:excess]) != 1:
            raise DataError(
                f"{stored.name}: an array of shape {_text(shape)} has too many axes. Give images with at "
                "most time, channels, z, y and x."
            )
        return "uvwpqrmn"[:excess] + "tczyx"
    small = shape[-1] in COLOURS and stored.dtype == np.uint8 and min(shape[-3:-1]) > max(COLOURS)
    if rank > 2 and small and not options.labels and not (rank == 3 and options.ndim == 3):
        return "tzyxs"[-rank:]
    return "tcyx" if rank == 4 and options.ndim == 2 else "tczyx"[-rank:]


def _text(numbers: Sequence[float]) -> str:
    return "(" + ", ".join(f"{n:g}" if isinstance(n, float) else str(n) for n in numbers) + ")"
