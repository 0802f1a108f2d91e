"""What a run keeps of painted layers while it can go on, beside the layers that are open now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...config import RunError
from ...runs import RunFolder
from ...runs.scratch import open_memmap
from .axes import Told, level_geometry
from .boxes import whole
from .edits import was_painted
from .kept_labels import kept_note, stand_ins
from .layer_kind import layer_kind
from .shared_copy import slabs

_NAMED = 3
"""Layers that are named in one sentence."""


@dataclass(frozen=True)
class OpenLayer:
    """An open layer that may be the one that a run was trained on.

    Attributes
    ----------
    layer
        The layer; looked at on the main thread only.
    array
        What it holds, of the resolution level that the run has.
    level
        That level.
    painted
        Whether it was painted on in this viewer: then it is as its user wants it.
    """

    layer: Any
    array: Any
    level: int
    painted: bool


@dataclass(frozen=True)
class KeptCopy:
    """What a run keeps of one layer.

    Attributes
    ----------
    name
        Name of the layer.
    spec
        Where the copy is.
    candidates
        Open layers that may be the layer: that of its name first, then one opened from the run.
    """

    name: str
    spec: Mapping[str, Any]
    candidates: tuple[OpenLayer, ...]


@dataclass(frozen=True)
class Differing:
    """An open layer that holds other values than the run has kept.

    Attributes
    ----------
    kept
        What the run has kept.
    voxels
        In how many voxels the first of its candidates differs.
    """

    kept: KeptCopy
    voxels: int

    @property
    def sentence(self) -> str:
        """Say so."""
        voxels = f"{self.voxels} voxel" + "s" * (self.voxels != 1)
        name = self.kept.candidates[0].layer.name
        return f"the layer {name!r} holds other labels than the run has kept of it ({voxels} differ)"


def in_words(differing: Sequence[Differing]) -> str:
    """Say which layers hold other labels than a run has kept."""
    more = f"; so do {len(differing) - _NAMED} more" if len(differing) > _NAMED else ""
    return "; ".join(one.sentence for one in differing[:_NAMED]) + more


@dataclass(frozen=True)
class Compared:
    """What came of comparing.

    Attributes
    ----------
    chosen
        Layers that a run can go on with, by the name of its layer.
    differing
        Those of which somebody has to say which labels count.
    """

    chosen: dict[str, Any]
    differing: tuple[Differing, ...]


def kept_copies(stored: Any, layers: Sequence[Any], run: RunFolder) -> list[KeptCopy]:
    """Return what a run keeps of those of its painted layers that are open; nothing is read.

    Parameters
    ----------
    stored
        Where the run's data is, as `read_data` returns it.
    layers
        Layers of the viewer.
    run
        The run.
    """
    entries = stored.get("layers", ()) if isinstance(stored, Mapping) else ()
    named, others = {layer.name: layer for layer in layers}, stand_ins(layers, run.path)
    scratch = run.scratch.resolve()
    found: dict[str, KeptCopy] = {}
    for entry in entries:
        for kind in ("labels", "masks"):
            for spec in entry[kind].values():
                if spec.get("kind") != "memmap" or not Path(spec["path"]).resolve().is_relative_to(scratch):
                    continue  # it lies where it was painted
                name = spec["name"]
                open_ones = [by[name] for by in (named, others) if name in by]
                candidates = tuple(_candidates(dict.fromkeys(open_ones), spec["shape"]))
                if candidates:
                    found.setdefault(name, KeptCopy(name, spec, candidates))
    return list(found.values())


def _candidates(layers: Iterable[Any], shape: Sequence[int]) -> Iterable[OpenLayer]:
    for layer in layers:
        for level, array in enumerate(layer.data if layer.multiscale else (layer.data,)):
            if _long(array.shape) == _long(shape):
                yield OpenLayer(layer, array, level, was_painted(layer))
                break


def _long(shape: Sequence[int]) -> list[int]:
    return [int(n) for n in shape if n != 1]


def compare_copies(copies: Sequence[KeptCopy]) -> Compared:
    """Find the layers that are as the run has kept them, or that were painted on since; on any thread.

    Raises
    ------
    DataError
        When the voxels of a layer cannot be read.
    """
    chosen: dict[str, Any] = {}
    differing: list[Differing] = []
    for copy in copies:
        counts = []
        for candidate in copy.candidates:
            counts.append(0 if candidate.painted else _count(copy, candidate))
            if not counts[-1]:
                chosen[copy.name] = candidate.layer
                break
        else:
            differing.append(Differing(copy, counts[0]))
    return Compared(chosen, tuple(differing))


def _count(copy: KeptCopy, candidate: OpenLayer) -> int:
    """Return in how many voxels a layer differs from the copy; 0 where that can no longer be read."""
    array = Told(candidate.array, candidate.layer.name)
    try:
        kept = open_memmap(dict(copy.spec)).reshape(array.shape)
    except RunError:
        return 0
    count = 0
    for place in slabs(whole(array.shape)):
        values = array[place]
        before = kept[place]
        # What is no number is not equal to itself.
        count += int(np.count_nonzero((values != before) & ((values == values) | (before == before))))
    return count


def read_copies(differing: Sequence[Differing]) -> list[NDArray[Any]]:
    """Read what a run has kept into memory, on any thread; raises `RunError` when it cannot be read."""
    read = []
    for one in differing:
        values = np.array(open_memmap(dict(one.kept.spec))).reshape(one.kept.candidates[0].array.shape)
        read.append(values.astype(np.uint8) if values.dtype.kind == "b" else values)
    return read


def add_copies(
    viewer: Any, differing: Sequence[Differing], values: Sequence[NDArray[Any]], run: RunFolder
) -> dict[str, Any]:
    """Add what a run has kept as new layers, and hide those that hold other values.

    Parameters
    ----------
    viewer
        The napari viewer.
    differing, values
        Which layers, and what `read_copies` read of each.
    run
        The run.

    Returns
    -------
    dict
        The new layers by the names that the run knows.
    """
    added: dict[str, Any] = {}
    for one, array in zip(differing, values, strict=True):
        old = one.kept.candidates[0]
        name = one.kept.name
        options = {
            **level_geometry(old.layer, old.level).kwargs(),
            "name": f"{name} · {run.name}",
            "metadata": kept_note(run.path, name),
        }
        if layer_kind(old.layer) == "Labels":
            viewer.add_labels(array, **options)
        else:
            viewer.add_image(array, **options)
        old.layer.visible = False
        added[name] = list(viewer.layers)[-1]
    return added
