"""Predictions that lie on the disk, as layers in the place that is stored with them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ...config import DataError
from ...inference.kept_parts import KeptParts
from ...runs import PredictDone
from .colours import heads_of
from .covered import leave_unfinished
from .geometry import Geometry
from .results import add_results, open_lazily, parts_of

_MOST_NAMED = 3
"""Files that are named when they are gone."""


@dataclass(frozen=True)
class StoredResult:
    """The outputs of one image, or of a part of one.

    Attributes
    ----------
    name
        Name of the file or store.
    geometry
        Where it lies.
    event
        What was predicted, as it was announced then.
    arrays
        The outputs by name; lazy where they are stored in chunks.
    parts
        What separated objects are made of, where it was kept.
    unfinished
        The store, where it is not finished.
    """

    name: str
    geometry: Geometry
    event: PredictDone
    arrays: dict[str, Any]
    parts: Mapping[str, KeptParts] = field(default_factory=dict)
    unfinished: Path | None = None


@dataclass(frozen=True)
class Found:
    """What there was to open.

    Attributes
    ----------
    results
        What was read.
    gone
        What is no longer where it was written.
    """

    results: tuple[StoredResult, ...] = ()
    gone: tuple[Path, ...] = ()

    @property
    def loss(self) -> str:
        """Return a sentence about what is gone, an empty text when nothing is."""
        if not self.gone:
            return ""
        names = ", ".join(map(str, self.gone[:_MOST_NAMED])) + (" …" if len(self.gone) > _MOST_NAMED else "")
        return f"no longer where they were written, moved or deleted: {names}"


def read_found(paths: Sequence[Path]) -> Found:
    """Read the predictions that are still there.

    Raises
    ------
    DataError
        When none is, or one of them cannot be read.
    """
    there = {path: path.exists() for path in paths}
    found = Found(gone=tuple(path for path in paths if not there[path]))
    if not any(there.values()):
        raise DataError(f"Predictions are {found.loss}. Drop them into the viewer from where they are now")
    return Found(tuple(read_stored([path for path in paths if there[path]])), found.gone)


def read_stored(paths: Sequence[Path]) -> list[StoredResult]:
    """Read predictions; takes as long as the disk does.

    Raises
    ------
    DataError
        When one of them is not a prediction, or cannot be read; it is named.
    """
    return [_read_store(path) if path.suffix == ".zarr" else _read_file(path) for path in paths]


def add_stored(viewer: Any, results: Sequence[StoredResult], run: Path) -> list[Any]:
    """Add a layer for every output; returns the layers.

    Parameters
    ----------
    viewer
        The napari viewer.
    results
        What was read.
    run
        The run folder, which says what its outputs are.
    """
    heads = heads_of(run)
    added = []
    for result in results:
        scaled = result.event.settings.get("inference_config", {}).get("output") == "uint8"
        layers = add_results(
            viewer,
            result.event,
            result,
            result.arrays,
            as_numbers=scaled,
            heads=heads,
            parts=result.parts,
        )
        if result.unfinished is not None:
            leave_unfinished(layers, result.unfinished)
        added += layers
    return added


def _read_store(path: Path) -> StoredResult:
    import zarr

    try:
        group = zarr.open_group(str(path), mode="r")
        said: Any = dict(group.attrs)["segtrain"]
        arrays = {name: dict(array.attrs) for name, array in group.arrays()}
        outputs = {
            name: {
                "kind": "zarr",
                "path": str(path / name),
                "channel_axis": 0 if own["axes"][0] == "c" else None,
            }
            for name, own in arrays.items()
        }
        limits = {name: tuple(own["limits"]) for name, own in arrays.items() if "limits" in own}
        event = PredictDone(outputs=outputs, seconds=0.0, settings=said["settings"], limits=limits)
        geometry = Geometry.placed(said["spacing"], said["origin"], said["unit"])
        unfinished = None if said.get("complete", True) else path
        parts = parts_of(event, lazy=True)
        return StoredResult(path.stem, geometry, event, open_lazily(event), parts, unfinished)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: cannot be shown ({error!s:.200}); it is not a prediction of this program, or damaged"
        ) from error


def _read_file(path: Path) -> StoredResult:
    from ...data.sources import full_region, open_source

    source = open_source(path)
    array, said = source.read(full_region(source.shape)), _description(path)
    several = source.channels > 1
    # A file holds a single output, whose name is the end of the file's: only the whole says which image.
    image, _, output = path.stem.rpartition("_")
    name = output if image else path.stem
    limits = {name: tuple(said["limits"])} if "limits" in said else {}
    spec = {"kind": "file", "path": str(path), "channel_axis": 0 if several else None}
    event = PredictDone(outputs={name: spec}, seconds=0.0, settings=said.get("settings", {}), limits=limits)
    geometry = Geometry.placed(source.spacing, (0,) * len(source.shape), source.unit)
    return StoredResult(image or path.stem, geometry, event, {name: array if several else array[0]})


def _description(path: Path) -> dict[str, Any]:
    """Return what a TIFF file says of how it was made; nothing where another program wrote it."""
    import tifffile

    with suppress(OSError, ValueError, ElementTree.ParseError), tifffile.TiffFile(path) as opened:
        found = ElementTree.fromstring(opened.ome_metadata or "").find(".//{*}Description")
        said = json.loads((found.text if found is not None else None) or "")
        return dict(said) if isinstance(said, dict) else {}
    return {}
