"""Where in its layer's array a region lies that the engine names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .data_spec import TrainedImage
from .geometry import Geometry


@dataclass(frozen=True)
class Place:
    """A box in an image's array, on all its axes."""

    image: TrainedImage
    box: tuple[slice, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Shape of the box."""
        return tuple(side.stop - side.start for side in self.box)

    @property
    def geometry(self) -> Geometry:
        """Where the box lies in the world."""
        return self.image.geometry.crop([side.start for side in self.box])


def place_of(
    images: Mapping[str, TrainedImage], record: str, start: Sequence[int], stop: Sequence[int]
) -> Place | None:
    """Return where a region of a record lies.

    Parameters
    ----------
    images
        The images by id.
    record
        Id of an image, or ``<id>[<index>]`` of one image of a stack.
    start, stop
        Bounds on the spatial axes, or on one more for a stack: the number of the image in it.

    Returns
    -------
    Place or None
        None when the image is none of these.
    """
    found = images.get(record)
    plane: tuple[int, ...] = ()
    if found is None:
        match = re.fullmatch(r"(.*)\[([\d,]+)\]", record)
        if match is None or match.group(1) not in images:
            return None
        found = images[match.group(1)]
        plane = tuple(int(part) for part in match.group(2).split(","))
    bounds = list(zip(start, stop, strict=True))
    stacked = [axis for axis in found.axes.stack if found.shape[axis] != 1]
    if len(bounds) > len(found.axes.spatial):
        sizes = [found.shape[axis] for axis in stacked]
        plane = tuple(int(index) for index in np.unravel_index(bounds.pop(0)[0], sizes))
    box = [slice(0, 1)] * len(found.shape)
    for axis, index in zip(stacked, plane, strict=True):
        box[axis] = slice(index, index + 1)
    for axis, (low, high) in zip(found.axes.spatial, bounds, strict=True):
        box[axis] = slice(low, high)
    return Place(found, tuple(box))
