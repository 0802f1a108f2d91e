"""Separating objects again, with other settings and without predicting: what is looked at comes first."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from napari_segtrain.config import InferenceConfig

from .instances import Labels, separate_instances
from .kept_parts import KeptParts
from .planes import separate_planes
from .tiling import Slices

_WHOLE = 2**22
"""Voxels up to which an image is separated in one piece, in a few seconds; the work can end between two."""
_GLANCE = 2**20
"""Voxels that are looked into for what comes first, in half a second."""
_PIECE = {2: 1024, 3: 96}
_HALOS = (32, 16, 8, 4, 2, 0)


def separate_again(
    parts: KeptParts,
    inference: InferenceConfig,
    write: Callable[[Slices, Labels], None],
    advance: Callable[[float], bool],
    first: Slices | None = None,
    scratch: Path | None = None,
) -> bool:
    """Separate the objects of one target from what was kept of its prediction.

    Parameters
    ----------
    parts
        What was kept.
    inference
        Thresholds, seed distance and smallest size.
    write
        Takes object numbers of a part. What is written of `first` at the beginning is provisional: objects
        that reach beyond it may be cut, and have other numbers, until everything is done.
    advance
        Told the finished share; False ends the work, at the end of a piece.
    first
        What is looked at, on all axes. It comes first where everything would take long.
    scratch
        Folder for temporary stores; None for the system's.

    Returns
    -------
    bool
        Whether it was finished.
    """
    size = parts.size
    lead = len(size) - parts.ndim
    if first is not None and 2 * _voxels(first) <= math.prod(size) > _GLANCE:
        for plane in range(first[0].start, first[0].stop) if lead else (None,):
            if not advance(0.0):
                return False
            where = first if plane is None else (slice(plane, plane + 1), *first[1:])
            write(where, _piece(parts, inference, where))
    block = (*(1,) * lead, *(_PIECE[parts.ndim],) * parts.ndim)
    return separate_planes(
        parts.read, write, size, block, parts.ndim, inference, scratch, advance, _WHOLE, parts.spacing
    )


def _piece(parts: KeptParts, inference: InferenceConfig, where: Slices) -> Labels:
    """Return the objects of a part, seen with as much around it as is quick."""
    size, lead = parts.size, len(parts.size) - parts.ndim
    for halo in _HALOS:
        wide = tuple(
            side if axis < lead else slice(max(side.start - halo, 0), min(side.stop + halo, extent))
            for axis, (side, extent) in enumerate(zip(where, size, strict=True))
        )
        if _voxels(wide) <= _GLANCE:
            break
    evidence = parts.read(wide)
    flat = evidence.flat(lead)
    spacing = None if parts.spacing is None else parts.spacing[lead:]
    labels = separate_instances(flat.foreground, flat.boundary, flat.distance, inference, spacing)
    labels = labels.reshape((1,) * lead + labels.shape)
    return labels[tuple(slice(w.start - v.start, w.stop - v.start) for w, v in zip(where, wide, strict=True))]


def _voxels(where: Slices) -> int:
    return math.prod(side.stop - side.start for side in where)
