"""What events are made of."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from napari_segtrain.config import Config


def _finite(value: Any) -> Any:
    if value is None or isinstance(value, str | int):
        return value
    number = float(value)  # also a scalar of NumPy or torch
    return number if math.isfinite(number) else None


Number = Annotated[int | float | None, BeforeValidator(_finite)]
"""A number; NaN and infinity, which a diverging network gives, become None."""

Bounds = tuple[int, ...]
"""One corner of a block of voxels, an index per spatial axis in array order (z,) y, x."""


class FittingSize(Config):
    """A patch and batch size that should fit into the memory there is."""

    patch_size: tuple[int, ...]
    """Edges of a patch in voxels, (z,) y, x."""
    batch_size: int
    """Patches in a batch."""


class DoubtfulRegion(Config):
    """A region whose labels would teach a network much."""

    record: str
    """Id of the image."""
    target: str
    """The target that is doubted most there."""
    start: Bounds
    """First voxel of the region, in the image."""
    stop: Bounds
    """One past its last voxel."""
    score: float
    """Mean doubt of its voxels, 0 … 1; those that have labels count as 0."""
    reason: str
    """Why: unsure, outputs (that disagree) or mirrors (mirrored answers differ)."""


class PatchPlace(Config):
    """Where a patch lies in an image."""

    record: str
    """Id of the image."""
    start: Bounds
    """First voxel of the patch; negative where the image is smaller than it."""
    stop: Bounds
    """One past its last voxel."""


class StepPicture(Config):
    """Something about the patches of a batch that can be looked at."""

    group: Literal["batch", "prediction", "activations", "gradient"]
    """What it belongs to; a new picture of a group takes the place of the older ones."""
    name: str
    """What it is, such as the output; unique in its group."""
    kind: Literal["image", "labels"]
    """Whether its numbers are measured or name classes."""
    array: dict[str, Any]
    """Source specification of the array ``(B, *spatial)``, or ``(C, B, *spatial)``."""
    channels: bool = False
    """Whether the first axis is channels."""
    factors: tuple[float, ...]
    """Voxels of the patch along each axis that became one."""
    colours: Literal["gray", "magma", "PiYG"] = "gray"
    """Colours of an image; those of PiYG have 0 in their middle."""
    limits: tuple[float, float] | None = None
    """Numbers with the darkest and the brightest colour."""
