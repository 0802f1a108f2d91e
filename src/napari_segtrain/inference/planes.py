"""Instances of a volume, or of a stack of planes that are images of their own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from napari_segtrain.config import InferenceConfig

from .instances import Evidence, Labels, separate_instances
from .stitching import WHOLE_VOXELS, separate_blocks
from .tiling import Slices

Read = Callable[[Slices], Evidence]
Write = Callable[[Slices, Labels], None]


def separate_planes(
    read: Read,
    write: Write,
    size: tuple[int, ...],
    block: tuple[int, ...],
    ndim: int,
    inference: InferenceConfig,
    scratch: Path | None,
    advance: Callable[[float], bool],
    whole: int | None = None,
    spacing: Sequence[float] | None = None,
) -> bool:
    """Separate the objects of one target.

    Parameters
    ----------
    read
        Returns the predictions of a part, on all axes.
    write
        Takes object numbers of a part, on all axes.
    size, block
        Shape of everything, and of the pieces in which large outputs are worked on.
    ndim
        Axes of the network. The planes of a stack are separate images: no object lies in two of them, and
        numbers go on from one plane to the next.
    inference
        Thresholds, seed distance and smallest size.
    scratch
        Folder for temporary stores of large outputs; None for the system's.
    advance
        Told the finished share; False ends the work.
    whole
        Voxels up to which an image is worked on in one piece; None for `WHOLE_VOXELS`.
    spacing
        Size of a voxel, on all axes; None where all its edges are alike.

    Returns
    -------
    bool
        Whether it was finished.
    """
    lead = len(size) - ndim
    inside, piece = size[lead:], block[lead:]
    edges = None if spacing is None else tuple(spacing[lead:])
    planes = list(itertools.product(*(range(extent) for extent in size[:lead])))
    largest, highest = WHOLE_VOXELS if whole is None else whole, 0
    for done, plane in enumerate(planes):

        def on(share: float, done: int = done) -> bool:
            return advance((done + share) / len(planes))

        one = _Plane(read, write, tuple(slice(place, place + 1) for place in plane), highest)
        if math.prod(inside) <= largest:
            if not on(0.0):
                return False
            everything = tuple(slice(0, extent) for extent in inside)
            evidence = one.read(everything)
            parts = evidence.foreground, evidence.boundary, evidence.distance
            labels = separate_instances(*parts, inference, edges)
            one.write(everything, labels)
        else:
            with TemporaryDirectory(prefix="instances-", dir=scratch) as folder:
                where = Path(folder)
                if not separate_blocks(one.read, one.write, inside, piece, inference, where, on, edges):
                    return False
        highest = one.highest
    return True


class _Plane:
    """A plane of a stack, or the volume itself."""

    def __init__(self, read: Read, write: Write, place: Slices, offset: int) -> None:
        self._read, self._write, self._place = read, write, place
        self._offset = self.highest = offset

    def read(self, where: Slices) -> Evidence:
        return self._read((*self._place, *where)).flat(len(self._place))

    def write(self, where: Slices, labels: Labels) -> None:
        numbered = np.where(labels > 0, labels + self._offset, 0).astype(np.int32)
        self.highest = max(self.highest, int(numbered.max(initial=0)))
        self._write((*self._place, *where), numbered.reshape((1,) * len(self._place) + labels.shape))
