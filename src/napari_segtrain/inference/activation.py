"""Raw outputs of the network to predictions, written into one array for all heads."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_segtrain.targets import Head
from napari_segtrain.targets.structure import triangle


def stacked_channels(head: Head) -> int:
    """Return how many channels the running sum of a head's predictions has.

    Two lines of opposite sign are the same and would cancel in a sum; their products with themselves,
    the upper triangle of a tensor, do not.
    """
    return triangle(head.out_channels) if head.kind == "line" else head.out_channels


def channel_ranges(heads: Sequence[Head]) -> dict[str, slice]:
    """Return where each head's channels lie when all are stacked in order."""
    ranges, first = {}, 0
    for head in heads:
        ranges[head.name] = slice(first, first + stacked_channels(head))
        first += stacked_channels(head)
    return ranges


def stack_predictions(outputs: Mapping[str, Any], heads: Sequence[Head], out: Tensor) -> None:
    """Turn the raw output of every head into predictions, in one array and without copies.

    Parameters
    ----------
    outputs
        Head name to raw output `(B, out_channels, *spatial)`; of a list (deep supervision) the first.
    heads
        The heads to take, in order.
    out
        Filled: `(B, Σ stacked_channels, *spatial)` float32, the activation times `Head.scale`. Directions
        are made unit vectors, since the loss leaves their length open; of lines the products of their
        components are written, see `stacked_channels`.
    """
    for head, part in zip(heads, channel_ranges(heads).values(), strict=True):
        raw = outputs[head.name]
        raw = raw[0] if isinstance(raw, list | tuple) else raw
        target = out[:, part]
        if head.activation == "sigmoid":
            torch.sigmoid(raw.to(out.dtype), out=target)
        elif head.activation == "softmax":
            torch.softmax(raw.to(out.dtype), dim=1, out=target)
        elif is_direction(head):
            target.copy_(_unit(raw.to(out.dtype)))
        elif head.kind == "line":
            line = _unit(raw.to(out.dtype))
            pairs = itertools.combinations_with_replacement(range(head.out_channels), 2)
            for channel, (a, b) in enumerate(pairs):
                torch.mul(line[:, a], line[:, b], out=target[:, channel])
        else:
            target.copy_(raw)
        if head.scale != 1.0:
            target.mul_(head.scale)


def _unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=1)


def is_direction(head: Head) -> bool:
    """Return whether a head's vectors have unit length by definition."""
    return head.kind == "vector" and head.unit


def renormalise(vectors: npt.NDArray[np.float32]) -> None:
    """Give vectors `(C, *spatial)` unit length in place; averaging over tiles shortens them."""
    length = np.sqrt(np.einsum("c...,c...->...", vectors, vectors))
    np.divide(vectors, length, out=vectors, where=length > np.finfo(np.float32).tiny)


def empty_prediction(heads: Sequence[Head]) -> npt.NDArray[np.float32] | None:
    """Return the channels that stand for an empty tile, `(C,)`, or None when all are zero.

    Zeros everywhere; where channels are classes that exclude each other, certainty of class 0, background.
    """
    channels = np.zeros(sum(map(stacked_channels, heads)), np.float32)
    for head, part in zip(heads, channel_ranges(heads).values(), strict=True):
        if head.activation == "softmax":
            channels[part.start] = 1.0
    return channels if channels.any() else None
