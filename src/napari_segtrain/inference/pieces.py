"""A tile that does not fit into memory, in pieces that overlap."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

_SMALLEST = 16
"""Edges of pieces are not made shorter than this many voxels."""


@dataclass(frozen=True)
class Piece:
    """A part of a tile that the network sees, and the part of it that is taken.

    Attributes
    ----------
    seen
        Slices of the tile, (z,) y, x.
    inner
        What of the prediction is taken, slices of the piece.
    place
        Where it belongs, slices of the tile. Those of all pieces fill it, without overlap.
    """

    seen: tuple[slice, ...]
    inner: tuple[slice, ...]
    place: tuple[slice, ...]


def shorter(size: Sequence[int], divisor: Sequence[int]) -> tuple[int, ...] | None:
    """Return the next smaller size of pieces, None when there is none.

    The axis that is longest gets about half as long, with something more for what its pieces overlap.

    Parameters
    ----------
    size
        Size of a tile, or of pieces of it.
    divisor
        What the network's inputs must be divisible by, an axis each.
    """
    halves = []
    for axis, (edge, step) in enumerate(zip(size, divisor, strict=True)):
        half = -(-(edge // 2 + step) // step) * step
        if max(_SMALLEST, 2 * step) <= half < edge:
            halves.append((edge, axis, half))
    if not halves:
        return None
    _, axis, half = max(halves)
    return (*size[:axis], half, *size[axis + 1 :])


def pieces(tile: Sequence[int], size: Sequence[int], divisor: Sequence[int]) -> list[Piece]:
    """Cut a tile into pieces of one size, which overlap by at least `divisor` where they meet.

    Parameters
    ----------
    tile, size
        Of the tile, and of a piece.
    divisor
        See `shorter`.
    """
    axes = [_along(*sizes) for sizes in zip(tile, size, divisor, strict=True)]
    found = []
    for spans in itertools.product(*axes):
        seen = tuple(span for span, _ in spans)
        place = tuple(kept for _, kept in spans)
        inner = tuple(slice(k.start - s.start, k.stop - s.start) for s, k in spans)
        found.append(Piece(seen, inner, place))
    return found


def _along(tile: int, size: int, overlap: int) -> list[tuple[slice, slice]]:
    """Return what is seen and kept of each piece along an axis; they meet in the middle of overlaps."""
    if size >= tile:
        return [(slice(0, tile), slice(0, tile))]
    count = -(-(tile - size) // max(1, size - overlap)) + 1
    starts = [number * (tile - size) // (count - 1) for number in range(count)]
    cuts = [0, *((a + size + b) // 2 for a, b in itertools.pairwise(starts)), tile]
    return [
        (slice(start, start + size), slice(*cut))
        for start, cut in zip(starts, itertools.pairwise(cuts), strict=True)
    ]
