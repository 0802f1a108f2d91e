"""Where finished blocks go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from napari_segtrain.config import RunError
from napari_segtrain.runs.atomic import explain_os_error

from ..layout import BlockLayout
from ..outputs import Output
from ..tiling import Slices

CHUNK_EDGE = {2: 512, 3: 128}
"""Edge of a chunk along the last axes, by the dimension of what is predicted as one piece."""


@dataclass(frozen=True)
class Job:
    """What a sink is told before the first block.

    Attributes
    ----------
    size
        Spatial shape of the output, (z,) y, x.
    spacing, unit
        Of the source; the output has the same.
    origin
        First voxel of the output in the source.
    ndim
        Axes that are predicted as one piece: 2 for planes, also those of a stack, 3 for volumes.
    identity
        Returns all that the values depend on, JSON-able: equal for predictions that give the same values.
        Takes a moment, for it looks at all weights.
    settings
        Returns everything the prediction was made with, JSON-able; kept beside the output.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    unit: str
    origin: tuple[int, ...]
    ndim: int
    identity: Callable[[], Mapping[str, Any]]
    settings: Callable[[], Mapping[str, Any]]


class Sink(Protocol):
    """Takes blocks of every output, `(channels, *block)`, in any order, each once."""

    title: str
    """What messages call the output."""

    scratch: Path | None
    """Folder on disk for what does not fit into memory; None when the output is in memory anyway."""

    @property
    def complete(self) -> bool:
        """Whether what was opened holds the whole prediction already, so that nothing is to be done."""

    def chunks(self, size: tuple[int, ...], ndim: int) -> tuple[int, ...]:
        """Return what blocks must be multiples of, for an output of `size` predicted in `ndim` axes."""

    def open(self, job: Job, outputs: Sequence[Output], block: tuple[int, ...]) -> tuple[int, ...]:
        """Prepare for an output and return the size of blocks: `block`, or that of the work continued."""

    def pending(self, layout: BlockLayout) -> npt.NDArray[np.bool_]:
        """Return which blocks are still to be written, bool of shape `layout.counts`."""

    def write(self, where: Slices, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write one block of every output that is written while predicting, and remember that it is done."""

    def read(self, name: str, where: Slices) -> npt.NDArray[Any]:
        """Return a part of what was written, `(channels, *where)`."""

    def replace(self, name: str, where: Slices, values: npt.NDArray[Any]) -> None:
        """Write a part of one output, `(channels, *where)`, that is made after predicting."""

    def close(self, completed: bool) -> None:
        """Finish: publish what is complete, or keep what a later attempt can go on with."""


def default_chunks(size: tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """Return chunks of 512² for planes and 128³ for volumes, 1 along the axis of a stack."""
    edge = CHUNK_EDGE[ndim]
    stack = len(size) - ndim
    return tuple(1 if axis < stack else min(edge, extent) for axis, extent in enumerate(size))


@contextmanager
def failures_explained(path: Path) -> Iterator[None]:
    """Turn what the operating system says into a message with the output's path.

    Raises
    ------
    RunError
        When writing fails.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({explain_os_error(error)}); free some space on this disk, or choose "
            "an output that you may write to"
        ) from error
