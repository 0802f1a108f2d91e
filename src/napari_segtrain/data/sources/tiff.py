"""TIFF: plain pages and stacks, ImageJ hyperstacks, OME-TIFF, colour, pyramids; compressed or not."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from ...config import DataError
from .base import Regions
from .cache import fetch_chunks, shared_cache
from .stored import OpenOptions, Stored, check_level, unit_name, usable_step

DECODE_WHOLE = 512 * 2**20
"""Compressed files up to this size, in decoded bytes, are decoded once as a whole."""


def open_tiff(path: Path, options: OpenOptions) -> Stored:
    """Open the first image series of a TIFF file; only its headers are read.

    An uncompressed file is memory-mapped. A compressed one is decoded as a whole on first use and kept
    in the shared cache when it is small, else strip by strip or tile by tile.

    Raises
    ------
    DataError
        When the file is not a TIFF, or its end is missing.
    """
    import tifffile

    complaints: list[str] = []
    try:
        with _complaints(complaints), tifffile.TiffFile(path) as tif:
            if not tif.series:
                raise DataError(f"{path}: the TIFF file holds no image.")
            series = _level(tif.series[0], path, options.level)
            end = _end_of_data(series)
            if end is None or end > path.stat().st_size or _truncated(complaints):
                raise DataError(
                    f"{path}: the TIFF file is truncated, its end is missing. Copy or export it again."
                )
            steps, unit = _spacing(tif)
            return _stored(path, tif, series, steps, unit, options)
    except DataError:
        raise
    except Exception as error:  # damaged headers raise whatever they hit first
        raise DataError(
            f"{path}: not a readable TIFF file ({type(error).__name__}: {error}). Export it again."
        ) from error


def _stored(
    path: Path, tif: Any, series: Any, steps: dict[str, float], unit: str, options: OpenOptions
) -> Stored:
    axes: str | None = series.axes.lower()
    if len(set(series.axes)) != len(series.shape) or ("q" in series.axes.lower() and "s" not in str(axes)):
        axes = None  # written without saying what the axes are
    shape, dtype, chunks = tuple(series.shape), np.dtype(series.dtype), None
    if series.dataoffset is not None:
        stored_type = dtype.newbyteorder(tif.byteorder)
        array = np.memmap(path, dtype=stored_type, mode="r", offset=series.dataoffset, shape=shape)

        def fetch(index: Regions) -> NDArray[Any]:
            return array[index]
    else:
        info = path.stat()
        key = ("tiff", str(path), info.st_mtime_ns, info.st_size, options.level)
        if series.nbytes <= min(DECODE_WHOLE, shared_cache().max_bytes // 2):
            fetch = partial(_fetch_whole, path=path, level=options.level, key=key)
        else:
            segments = _Segments(path, options.level)
            chunks = segments.chunks
            fetch = partial(
                fetch_chunks, key=key, chunks=chunks, shape=shape, dtype=dtype, fetch=segments.fetch
            )
    count = len(tif.series)
    notes = (f"{path}: only the first of {count} images in the file is used.",) if count > 1 else ()
    return Stored(str(path), shape, dtype, fetch, axes, chunks, steps, unit, path=path, notes=notes)


def _fetch_whole(index: Regions, *, path: Path, level: int, key: tuple[Any, ...]) -> NDArray[Any]:
    return shared_cache().get(key, partial(_decode, path, level))[index]


def _decode(path: Path, level: int) -> NDArray[Any]:
    import tifffile

    with _complaints([]), tifffile.TiffFile(path) as tif:
        return np.asarray(_level(tif.series[0], path, level).asarray())


class _Segments:
    """Decodes single strips or tiles of a file that is kept open."""

    def __init__(self, path: Path, level: int) -> None:
        import tifffile
        import zarr

        with _complaints([]):
            self._file = tifffile.TiffFile(path)
            store = _level(self._file.series[0], path, level).aszarr()
            self._array: Any = zarr.open(store, mode="r")
        self.chunks: tuple[int, ...] = tuple(self._array.chunks)
        weakref.finalize(self, self._file.close)

    def fetch(self, index: Regions) -> NDArray[Any]:
        """Return one part of the stored array."""
        return np.asarray(self._array[index])


def _level(series: Any, path: Path, level: int) -> Any:
    check_level(str(path), level, len(series.levels))
    return series.levels[level]


def _end_of_data(series: Any) -> int | None:
    """Return the byte after the last one that voxels are stored in, None when pages are missing."""
    if series.dataoffset is not None:
        return int(series.dataoffset + series.nbytes)
    page = series.pages[len(series.pages) - 1]
    if page is None or getattr(series, "is_multifile", False):
        return 0  # a part of the image that was left out on purpose, or lies in another file
    ends = [a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=False)]
    return max(ends, default=None)


@contextlib.contextmanager
def _complaints(found: list[str]) -> Iterator[None]:
    """Collect what tifffile logs in this thread; it says so when pages are missing, and goes on."""
    thread = threading.get_ident()

    def collect(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        found.append(record.getMessage())
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(collect)
    try:
        yield
    finally:
        logger.removeFilter(collect)


def _truncated(complaints: list[str]) -> bool:
    return any("invalid page offset" in c or "failed to reshape" in c for c in complaints)


def _spacing(tif: Any) -> tuple[dict[str, float], str]:
    """Return the voxel size by axis letter, and its unit, as OME, ImageJ or plain tags say."""
    if tif.is_ome and tif.ome_metadata:
        return _ome_spacing(tif.ome_metadata)
    in_plane = _resolution(tif.pages[0])
    if tif.is_imagej:
        metadata = tif.imagej_metadata or {}
        depth = usable_step(metadata.get("spacing"))
        unit = unit_name(metadata.get("unit"))
        return (in_plane | ({"z": depth} if depth else {})), unit
    resolution_unit = tif.pages[0].tags.get("ResolutionUnit")
    if resolution_unit is not None and int(resolution_unit.value) == 3 and in_plane:
        return {a: s * 1e4 for a, s in in_plane.items()}, "micrometer"  # dots a centimetre
    return {}, "pixel"  # dots an inch are a default of cameras and programs, not a measurement


def _resolution(page: Any) -> dict[str, float]:
    sizes = {}
    for axis, name in (("x", "XResolution"), ("y", "YResolution")):
        tag = page.tags.get(name)
        try:
            above, below = tag.value
            sizes[axis] = usable_step(below / above)
        except (AttributeError, TypeError, ValueError, ZeroDivisionError):
            continue
    return {axis: size for axis, size in sizes.items() if size is not None}


def _ome_spacing(xml: str) -> tuple[dict[str, float], str]:
    try:
        pixels = next(e for e in ElementTree.fromstring(xml).iter() if e.tag.rpartition("}")[2] == "Pixels")
    except (ElementTree.ParseError, StopIteration):
        return {}, "pixel"
    sizes = {a: usable_step(pixels.get(f"PhysicalSize{a.upper()}")) for a in "zyx"}
    steps = {a: s for a, s in sizes.items() if s is not None}
    # Micrometre is what the OME schema says when a size has no unit.
    return steps, unit_name(pixels.get("PhysicalSizeXUnit", "um")) if steps else "pixel"
