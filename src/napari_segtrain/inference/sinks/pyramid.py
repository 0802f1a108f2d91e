"""Smaller versions of a written array, for viewers: each half the size of the one before."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..outputs import Output
from ..tiling import Slices
from .base import CHUNK_EDGE, Job

FOLDER = "levels"
"""Group of a store that holds the smaller versions, ``levels/<output>/<number>``."""

Factors = tuple[int, ...]


def level_factors(job: Job) -> list[Factors]:
    """Return how many voxels one of each smaller version stands for along (z,) y, x.

    Halved until the last axes fit into one chunk. An axis with coarser voxels waits until those of the
    others are as coarse, and the axis of a stack of planes is left as it is.
    """
    plane = range(len(job.size) - job.ndim, len(job.size))
    factors = (1,) * len(job.size)
    found = []
    while max(_shrunk(job.size, factors)[axis] for axis in plane) > CHUNK_EDGE[job.ndim]:
        size = _shrunk(job.size, factors)
        steps = {axis: job.spacing[axis] * factors[axis] for axis in plane if size[axis] > 1}
        due = [axis for axis, step in steps.items() if step < 2 * min(steps.values())]
        factors = tuple(2 * f if axis in due else f for axis, f in enumerate(factors))
        found.append(factors)
    return found


def level_path(output: Output, number: int) -> str:
    """Return where a version of an output lies in its store; 0 is the output itself."""
    return f"{FOLDER}/{output.name}/{number}" if number else output.name


def is_averaged(output: Output) -> bool:
    """Return whether smaller versions are means; those of names, and of lines without a sign, are not."""
    return output.form == "numbers"


def level_size(job: Job, factors: Factors) -> tuple[int, ...]:
    """Return the spatial shape of a version."""
    return _shrunk(job.size, factors)


def shrink(larger: Any, smaller: Any, step: Sequence[int], chunk: Sequence[int], *, mean: bool) -> None:
    """Fill one version from the one before, a chunk of it at a time.

    Parameters
    ----------
    larger, smaller
        Zarr arrays ``(*spatial)`` or ``(C, *spatial)``.
    step
        1 or 2 for each spatial axis.
    chunk
        Spatial shape of the chunks of both.
    mean
        Average voxels, as intensities want it; else take the first, as numbers that are names do.
    """
    lead = (slice(None),) * (len(larger.shape) - len(step))
    size, source = smaller.shape[len(lead) :], larger.shape[len(lead) :]
    for where in _boxes((0,) * len(size), size, chunk):
        block = np.empty([*smaller.shape[: len(lead)], *(w.stop - w.start for w in where)], smaller.dtype)
        # Pieces that lie in one chunk of the larger array each.
        pieces = [max(1, c // s) for c, s in zip(chunk, step, strict=True)]
        for piece in _boxes([w.start for w in where], [w.stop for w in where], pieces):
            index = tuple(
                slice(p.start * s, min(p.stop * s, n)) for p, s, n in zip(piece, step, source, strict=True)
            )
            put = tuple(slice(p.start - w.start, p.stop - w.start) for p, w in zip(piece, where, strict=True))
            values: npt.NDArray[Any] = np.asarray(larger[(*lead, *index)])
            block[(*lead, *put)] = _reduced(values, step, mean=mean)
        smaller[(*lead, *where)] = block


def _reduced(values: npt.NDArray[Any], step: Sequence[int], *, mean: bool) -> npt.NDArray[Any]:
    lead = values.ndim - len(step)
    if not mean:
        first: npt.NDArray[Any] = values[(*(slice(None),) * lead, *(slice(None, None, s) for s in step))]
        return first
    odd = [-n % s for n, s in zip(values.shape[lead:], step, strict=True)]
    whole = np.pad(values, [(0, 0)] * lead + [(0, n) for n in odd], mode="edge") if any(odd) else values
    split = [part for n, s in zip(whole.shape[lead:], step, strict=True) for part in (n // s, s)]
    axes = tuple(lead + 1 + 2 * axis for axis in range(len(step)))
    average = whole.reshape(*whole.shape[:lead], *split).mean(axes, dtype=np.float32)
    rounded = np.rint(average) if values.dtype.kind in "iu" else average
    return np.asarray(rounded, values.dtype)


def _shrunk(size: Sequence[int], factors: Factors) -> tuple[int, ...]:
    return tuple(-(-n // f) for n, f in zip(size, factors, strict=True))


def _boxes(start: Sequence[int], stop: Sequence[int], step: Sequence[int]) -> Iterator[Slices]:
    ranges = [range(a, b, s) for a, b, s in zip(start, stop, step, strict=True)]
    for corner in itertools.product(*ranges):
        yield tuple(slice(a, min(a + s, b)) for a, s, b in zip(corner, step, stop, strict=True))
