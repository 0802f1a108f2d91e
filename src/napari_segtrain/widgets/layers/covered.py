"""Which voxels of a layer were predicted, where the others only hold zeros."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...config import DataError
from ...runs.stores import StoreState, store_state
from .boxes import Box
from .results import OURS

COVERED = "covered"
"""Where it stands in what this plugin notes in the metadata of a layer."""
_STORE = "unfinished"


class Covered:
    """A bit for each voxel of an array; those that were never covered take no memory.

    Parameters
    ----------
    shape
        Shape of the array.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(int(size) for size in shape)
        self._bits = np.zeros((*self.shape[:-1], -(-self.shape[-1] // 8)), np.uint8)

    def add(self, box: Box) -> None:
        """Note that a box was predicted; its voxels are written before."""
        *others, last = box
        first, stop = last.start // 8, -(-last.stop // 8)
        row = np.zeros(8 * (stop - first), np.bool_)
        row[last.start - 8 * first : last.stop - 8 * first] = True
        self._bits[(*others, slice(first, stop))] |= np.packbits(row)

    def read(self, box: Box) -> npt.NDArray[np.bool_]:
        """Return which voxels of a box were predicted."""
        *others, last = box
        first, stop = last.start // 8, -(-last.stop // 8)
        flat = np.unpackbits(self._bits[(*others, slice(first, stop))], axis=-1).view(np.bool_)
        return flat[..., last.start - 8 * first : last.stop - 8 * first]


def cover(layer: Any, covered: Covered | None) -> None:
    """Note in a layer's metadata which of its voxels are predicted; with None all of them."""
    layer.metadata[OURS].pop(COVERED, None)
    if covered is not None:
        layer.metadata[OURS][COVERED] = covered


def covered_of(layer: Any) -> Covered | None:
    """Return which voxels of a layer are predicted; None where all are."""
    found = layer.metadata.get(OURS, {}).get(COVERED)
    return found if isinstance(found, Covered) and found.shape == tuple(layer.data.shape) else None


def leave_unfinished(layers: Iterable[Any], store: Path) -> None:
    """Note in layers of a stored prediction that it was not finished when they were made."""
    for layer in layers:
        layer.metadata[OURS][_STORE] = str(store)


def check_finished(ours: Mapping[str, Any]) -> None:
    """Look whether a prediction is finished meanwhile that was not; reads a small file.

    Parameters
    ----------
    ours
        What this plugin notes in the metadata of its layer.

    Raises
    ------
    DataError
        When it is not.
    """
    store = ours.get(_STORE)
    if store is not None and store_state(Path(store)) is StoreState.UNFINISHED:
        raise DataError(
            f"{store} is not finished, and nobody knows which of its voxels were predicted; go on with it in "
            "the Predict dock first"
        )


def part_from(layer: Any) -> None:
    """Let a duplicate keep what is covered now: napari hands it the metadata of the layer it was made of."""
    if covered_of(layer) is not None:
        layer.metadata[OURS] = {**layer.metadata[OURS], COVERED: deepcopy(covered_of(layer))}
