"""What instances were made of, kept so that they can be separated again with other settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .instances import Evidence
from .tiling import Slices

if TYPE_CHECKING:
    from .outputs import InstanceParts

KEPT_PARTS = "~parts"
"""Group of a prediction's Zarr store in which they lie."""
_KEY = "segtrain"


@dataclass(frozen=True)
class KeptParts:
    """What the network said about the objects of one target, in memory or on the disk.

    Attributes
    ----------
    foreground, boundary, distance
        Arrays `(*spatial)`, see `Evidence`; boundary and distance may be None.
    ndim
        Axes of the network: with 2, the planes of a volume are separate images.
    spacing
        Size of a voxel on all axes; None where nobody noted it.
    """

    foreground: Any
    boundary: Any
    distance: Any
    ndim: int
    spacing: tuple[float, ...] | None = None

    @property
    def size(self) -> tuple[int, ...]:
        """Spatial shape."""
        return tuple(int(extent) for extent in self.foreground.shape)

    @property
    def nbytes(self) -> int:
        """Memory that they take as arrays."""
        return sum(int(part.nbytes) for part in self._parts() if part is not None)

    def read(self, where: Slices) -> Evidence:
        """Return what was said about a part of the image."""
        foreground, *others = (None if part is None else np.asarray(part[where]) for part in self._parts())
        return Evidence(np.asarray(foreground), *others)

    def loaded(self) -> KeptParts:
        """Return the same in memory."""
        foreground, boundary, distance = (
            None if part is None else np.asarray(part[...]) for part in self._parts()
        )
        return KeptParts(foreground, boundary, distance, self.ndim, self.spacing)

    def __deepcopy__(self, memo: Any) -> KeptParts:
        # Nobody writes into it: the copy of a layer shares it.
        return self

    def _parts(self) -> tuple[Any, Any, Any]:
        return self.foreground, self.boundary, self.distance


def note_parts(
    store: Path, targets: Mapping[str, InstanceParts], ndim: int, spacing: Sequence[float] | None = None
) -> None:
    """Write into a store which of its kept parts belong to which target; nothing where none are kept.

    Parameters
    ----------
    store
        The prediction.
    targets
        The parts of each target.
    ndim, spacing
        See `KeptParts`.
    """
    import zarr

    if targets and (store / KEPT_PARTS).is_dir():
        named = {
            name: {"foreground": one.foreground, "boundary": one.boundary, "distance": one.distance}
            for name, one in targets.items()
        }
        zarr.open_group(str(store / KEPT_PARTS), mode="r+").attrs[_KEY] = {
            "ndim": ndim,
            "targets": named,
            "spacing": None if spacing is None else [float(step) for step in spacing],
        }


def kept_parts(store: Path) -> dict[str, KeptParts]:
    """Open what is kept in a store, by target, without reading it; empty where nothing is.

    Raises
    ------
    OSError, ValueError, KeyError
        When it cannot be opened.
    """
    import zarr

    if not (store / KEPT_PARTS).is_dir():
        return {}
    group = zarr.open_group(str(store / KEPT_PARTS), mode="r")
    said: Any = dict(group.attrs).get(_KEY)
    if said is None:
        return {}

    steps = said.get("spacing")
    spacing = None if steps is None else tuple(float(step) for step in steps)

    def part(name: str | None) -> Any:
        return None if name is None else group[f"{name}~part"]

    return {
        target: KeptParts(
            part(names["foreground"]),
            part(names["boundary"]),
            part(names["distance"]),
            int(said["ndim"]),
            spacing,
        )
        for target, names in said["targets"].items()
    }
