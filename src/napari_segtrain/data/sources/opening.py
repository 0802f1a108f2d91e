"""Opens anything that can be an image, as sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...config import DataError, did_you_mean
from .array import ArraySource
from .axes import match_layout, resolve_layout, stack_positions
from .stored import OpenOptions, Stored, check_level, unit_name
from .table import ARRAY, DASK, MEMMAP, object_format, open_path

KINDS = ("memmap", "zarr", "file")
_HINTS = ("axes", "channel_axis", "spacing", "unit", "level", "name")


def open_source(
    spec: Any,
    *,
    ndim: int | None = None,
    channel_axis: int | None = None,
    level: int = 0,
    spacing: Sequence[float] | None = None,
    labels: bool = False,
    cache: bool = False,
) -> ArraySource:
    """Open one image, lazily: headers and metadata are read, voxels are not.

    Parameters
    ----------
    spec
        A path (zarr, tif, png, jpg, npy), an address of a Zarr store, a numpy, dask or Zarr array, a
        Zarr group with a multiscale image, a list of arrays (levels, finest first), or a JSON-able
        description: ``{"kind": "memmap", "path": …, "shape": …, "dtype": …}``, ``{"kind": "zarr",
        "path": …, "level": …}`` or ``{"kind": "file", "path": …}``, each optionally with ``axes`` (a
        letter an axis), ``channel_axis``, ``spacing``, ``unit`` and ``name``.
    ndim
        2 or 3 spatial axes; None to tell from the array.
    channel_axis
        Position of the channels in the stored array; None to tell from metadata or shape.
    level
        Resolution level, 0 the finest.
    spacing
        Size of a voxel, (z,) y, x; None to take the stored one.
    labels
        Whether it holds labels or masks.
    cache
        Keep decoded chunks in the bounded cache of this process: for random patches of an image that
        does not change. Labels in a Zarr store are read afresh when their file changed. Compressed TIFF
        files and pictures are always kept.

    Returns
    -------
    Source

    Raises
    ------
    DataError
        When the array cannot be opened, or is a stack of several images (see `open_sources`).
    """
    sources = open_sources(
        spec,
        ndim=ndim,
        channel_axis=channel_axis,
        level=level,
        spacing=spacing,
        labels=labels,
        cache=cache,
    )
    if len(sources) > 1:
        raise DataError(
            f"{sources[0].name.rpartition(' [')[0]}: a stack of {len(sources)} images was given where one is "
            "needed. Choose one of them, or open the stack as a volume (dataset_config.ndim 3)."
        )
    return sources[0]


def open_sources(
    spec: Any,
    *,
    ndim: int | None = None,
    channel_axis: int | None = None,
    level: int = 0,
    spacing: Sequence[float] | None = None,
    labels: bool = False,
    cache: bool = False,
    like: Sequence[ArraySource] | None = None,
) -> list[ArraySource]:
    """Open one image, or every image of a stack: planes when `ndim` is 2, time points.

    Parameters
    ----------
    spec, ndim, channel_axis, level, spacing, labels, cache
        As for `open_source`.
    like
        The images that labels lie on. Labels with as many voxels along each axis are read axis by axis
        like them, whatever their own metadata says.

    Returns
    -------
    list of Source
        In the order of the stack; they share one file.

    Raises
    ------
    DataError
        When the array cannot be opened.
    """
    options = OpenOptions(
        ndim, channel_axis, level, tuple(spacing) if spacing is not None else None, labels, cache
    )
    stored, options = _open(spec, options)
    layout = None
    if like:
        layout = match_layout(stored, like[0].shape, like[0].stack)
        if layout is not None:
            options = replace(options, spacing=like[0].spacing)
    if layout is None:
        layout = resolve_layout(stored, options)
    return [ArraySource(stored, layout, place, options) for place in stack_positions(stored, layout)]


def _open(spec: Any, options: OpenOptions) -> tuple[Stored, OpenOptions]:
    if isinstance(spec, str | Path):
        return open_path(spec, options), options
    if isinstance(spec, Mapping):
        return _open_description(dict(spec), options)
    if isinstance(spec, Sequence) and spec and all(hasattr(item, "shape") for item in spec):
        check_level("the list of arrays", options.level, len(spec))
        spec, options = spec[options.level], replace(options, level=0)
    found = object_format(spec)
    if found is None:
        raise DataError(
            f"{type(spec).__name__} is not an image. Give a path, a numpy, dask or Zarr array, or the "
            "description of a layer."
        )
    if found in (ARRAY, DASK):
        check_level(f"array {tuple(spec.shape)}", options.level, 1)
    return found.open(spec, options), options


def _open_description(spec: dict[str, Any], options: OpenOptions) -> tuple[Stored, OpenOptions]:
    kind = str(spec.pop("kind", ""))
    if kind not in KINDS:
        raise DataError(f"the kind {kind!r} of an array description is unknown. {did_you_mean(kind, KINDS)}")
    allowed = {"path", *_HINTS, *(("shape", "dtype", "offset") if kind == "memmap" else ())}
    for key in spec:
        if key not in allowed:
            raise DataError(f"{key!r} is unknown in a {kind} description. {did_you_mean(key, allowed)}")
    if "path" not in spec:
        raise DataError(f"a {kind} description needs the key 'path'.")
    hints = {name: spec.pop(name) for name in _HINTS if spec.get(name) is not None}
    if options.channel_axis is None and "channel_axis" in hints:
        options = replace(options, channel_axis=int(hints["channel_axis"]))
    if options.spacing is None and "spacing" in hints:
        options = replace(options, spacing=tuple(float(s) for s in hints["spacing"]))
    if "level" in hints:
        options = replace(options, level=int(hints["level"]))
    stored = MEMMAP.open(spec, options) if kind == "memmap" else open_path(spec["path"], options)
    changes: dict[str, Any] = {}
    if "axes" in hints:
        changes["axes"] = str(hints["axes"]).lower()
    if "unit" in hints:
        changes["unit"] = unit_name(hints["unit"])
    if "name" in hints:
        changes["name"] = str(hints["name"])
    return replace(stored, **changes), options


def open_stored(spec: Any, *, level: int = 0, labels: bool = False) -> Stored:
    """Return the stored array behind `spec`, before its axes are decided.

    Raises
    ------
    DataError
        When it cannot be opened.
    """
    return _open(spec, OpenOptions(level=level, labels=labels))[0]
