"""Zarr arrays of version 2 and 3, sharded or not, and OME-Zarr images of version 0.4 and 0.5."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ...config import DataError
from .base import Regions
from .cache import fetch_chunks
from .stored import OpenOptions, Stored, check_level, unit_name, usable_step
from .zarr_chunks import chunk_files

_keys = itertools.count()


def open_path(path: Path | str, options: OpenOptions) -> Stored:
    """Open a store or an array in it by its path or address.

    Raises
    ------
    DataError
        When there is no readable array or image at `path`.
    """
    import zarr

    try:
        node = zarr.open(str(path), mode="r")
    except Exception as error:  # stores and metadata raise types of their own
        raise DataError(
            f"{path}: not a readable Zarr array or image ({type(error).__name__}: {error}). Check the path, "
            "or export the image again."
        ) from error
    return open_node(node, options, name=str(path))


def open_node(node: Any, options: OpenOptions, name: str | None = None) -> Stored:
    """Open a `zarr.Array`, or a `zarr.Group` that holds a multiscale image or a single array."""
    title = name or str(getattr(node, "store_path", "") or "Zarr array").removeprefix("file://")
    if hasattr(node, "shape"):
        check_level(title, options.level, 1)
        return _stored(node, title, options, None, {}, "pixel")
    multiscale = _multiscale(node)
    if multiscale is None:
        return _plain_group(node, title, options)
    datasets = multiscale["datasets"]
    check_level(title, options.level, len(datasets))
    dataset = datasets[options.level]
    array = _member(node, str(dataset["path"]), title)
    axes, units = _axes(multiscale, len(array.shape))
    scale = _scale(dataset, len(array.shape), _scale(multiscale, len(array.shape)))
    steps = {a: s for a, s in zip(axes, scale, strict=False) if (usable_step(s) is not None)}
    unit = next((units[a] for a in "xyz" if units.get(a)), "pixel")
    return _stored(array, f"{title}/{dataset['path']}", options, axes, steps, unit)


def _multiscale(group: Any) -> Mapping[str, Any] | None:
    attributes = dict(group.attrs)
    found = attributes.get("ome", attributes)
    found = found.get("multiscales") if isinstance(found, Mapping) else None
    first = found[0] if isinstance(found, list) and found else None
    return first if isinstance(first, Mapping) and first.get("datasets") else None


def _plain_group(group: Any, title: str, options: OpenOptions) -> Stored:
    """Open a group without image metadata: by numbered levels, or when it holds only one member."""
    names = sorted(group.keys())
    if names and all(n.isdigit() for n in names) and str(options.level) in names:
        finest = replace(options, level=0)
        return open_node(group[str(options.level)], finest, f"{title}/{options.level}")
    if len(names) == 1:
        return open_node(group[names[0]], options, f"{title}/{names[0]}")
    raise DataError(
        f"{title}: a Zarr group without image metadata, with {', '.join(names) or 'nothing'} in it. Give the "
        "path of one array, such as " + f"{title}/{names[0] if names else '0'}."
    )


def _member(group: Any, path: str, title: str) -> Any:
    try:
        return group[path]
    except KeyError as error:
        raise DataError(
            f"{title}: the array {path!r} that its metadata names is missing. Export it again."
        ) from error


def _axes(multiscale: Mapping[str, Any], rank: int) -> tuple[str, dict[str, str]]:
    """Return a letter an axis, and the unit of each; OME-Zarr before 0.4 lists names only."""
    listed = multiscale.get("axes") or list("tczyx"[-rank:])
    items = [{"name": a} if isinstance(a, str) else dict(a) for a in listed]
    kinds = {"channel": "c", "time": "t"}
    letters = [kinds.get(str(i.get("type")), str(i.get("name", "?"))[:1].lower()) for i in items]
    space = [k for k, i in enumerate(items) if i.get("type") == "space"]
    if 2 <= len(space) <= 3 and {letters[k] for k in space} != set("zyx"[-len(space) :]):
        for k, letter in zip(space, "zyx"[-len(space) :], strict=True):
            letters[k] = letter
    units = {a: unit_name(i["unit"]) for a, i in zip(letters, items, strict=True) if i.get("unit")}
    return "".join(letters), units


def _scale(owner: Mapping[str, Any], rank: int, factor: list[float] | None = None) -> list[float]:
    scale = list(factor) if factor is not None else [1.0] * rank
    for transform in owner.get("coordinateTransformations") or []:
        values = transform.get("scale") if transform.get("type") == "scale" else None
        if isinstance(values, list) and len(values) == rank:
            scale = [a * (usable_step(b) or 1.0) for a, b in zip(scale, values, strict=True)]
    return scale


def _stored(
    array: Any,
    name: str,
    options: OpenOptions,
    axes: str | None,
    steps: Mapping[str, float],
    unit: str,
) -> Stored:
    shape, chunks = tuple(array.shape), tuple(array.chunks)
    if axes is None:
        axes = _named_dimensions(array)

    folder = _folder(array)
    decoding = chunk_files(array, folder)
    fetch: Callable[[Regions], Any]
    fetch = array.get_basic_selection if decoding is None else decoding.read  # as indexing, without guesses
    # A painted stroke must be seen: labels are kept only where it shows that a chunk was written again.
    stamp = partial(_stamp, array, folder) if options.labels and folder is not None else None
    if options.cache and (stamp is not None or not options.labels):
        fetch = partial(
            fetch_chunks,
            key=("zarr", next(_keys)),
            chunks=chunks,
            shape=shape,
            dtype=array.dtype,
            fetch=fetch,
            stamp=stamp,
        )
    written = partial(_written_boxes, array)
    return Stored(
        name, shape, array.dtype, fetch, axes, chunks, steps, unit, written, decoding is None, folder
    )


def _stamp(array: Any, folder: Path, cell: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return what identifies one version of the file that holds a chunk; None while there is no file."""
    outer = getattr(array, "shards", None) or array.chunks
    key = array.metadata.encode_chunk_key(
        tuple(i * c // o for i, c, o in zip(cell, array.chunks, outer, strict=True))
    )
    try:
        info = os.stat(os.path.join(folder, key))  # noqa: PTH116, PTH118 - once a chunk: Path is slower
    except OSError:
        return None
    return info.st_ino, info.st_mtime_ns, info.st_size


def _folder(array: Any) -> Path | None:
    root = getattr(array.store, "root", None)
    return root / array.path if isinstance(root, Path) else None


def _named_dimensions(array: Any) -> str | None:
    """Return the axes that Zarr 3 names its dimensions by, when they are letters of an image."""
    names = getattr(array.metadata, "dimension_names", None)
    if not names or not all(isinstance(n, str) and n[:1].lower() in "tczyx" for n in names):
        return None
    letters = "".join(n[0].lower() for n in names)
    return letters if len(set(letters)) == len(letters) else None


def _written_boxes(array: Any) -> list[Regions] | None:
    """Return the boxes of the chunks, or shards, that a local store holds a file for."""
    folder = _folder(array)
    if array.fill_value not in (0, None) or folder is None:
        return None
    grid = tuple(getattr(array, "shards", None) or array.chunks)
    boxes = []
    for file in _files(folder):
        parts = file.replace("/", ".").split(".")
        cell = parts[1:] if parts[0] == "c" else parts
        if len(cell) == len(grid) and all(p.isdecimal() for p in cell):
            corner = [int(p) * g for p, g in zip(cell, grid, strict=True)]
            stops = [min(a + g, n) for a, g, n in zip(corner, grid, array.shape, strict=True)]
            boxes.append(tuple(slice(a, b) for a, b in zip(corner, stops, strict=True)))
    return boxes


def _files(folder: Path) -> Iterator[str]:
    """Yield every file below a folder, relative to it; text, because there can be very many."""
    top = len(str(folder)) + 1
    for parent, _, names in os.walk(folder):
        inside = parent[top:].replace(os.sep, "/")
        yield from (f"{inside}/{name}" if inside else name for name in names)
