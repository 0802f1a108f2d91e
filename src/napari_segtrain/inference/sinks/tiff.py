"""Output as TIFF files, one an output, written in place block by block."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import tifffile

from ..layout import BlockLayout
from ..outputs import Output
from ..tiling import Slices
from .base import Job, default_chunks, failures_explained
from .identity import differences, refusal
from .metadata import ome_tiff_metadata


class TiffSink:
    """Writes ``<folder>/<image>_<output>.tif``, OME-TIFF with the source's spacing, uncompressed.

    Files appear when they are complete; until then they are hidden. They are mapped, not held in memory.
    Where all of them are there and were made the same way, they are left as they are; files that were made
    in another way are refused.

    Parameters
    ----------
    folder
        Made when absent.
    image
        Name of the image, the beginning of the file names.
    overwrite
        Replace files that are there.
    """

    def __init__(self, folder: str | Path, image: str, *, overwrite: bool = False) -> None:
        self.folder = Path(folder)
        self.image = image
        self.title = f"a prediction in {self.folder}"
        self.scratch: Path | None = None
        self._overwrite = overwrite
        self._complete = False
        self._arrays: dict[str, npt.NDArray[Any]] = {}
        self._files: dict[str, Path] = {}

    def path(self, output: str) -> Path:
        """Return the file of one output."""
        return self.folder / f"{self.image}_{output}.tif"

    @property
    def paths(self) -> dict[str, Path]:
        """The file of every output that was opened."""
        return {name: self.path(name) for name in self._files}

    @property
    def complete(self) -> bool:
        """See `Sink.complete`."""
        return self._complete

    def chunks(self, size: tuple[int, ...], ndim: int) -> tuple[int, ...]:
        """See `Sink.chunks`."""
        return default_chunks(size, ndim)

    def open(self, job: Job, outputs: Sequence[Output], block: tuple[int, ...]) -> tuple[int, ...]:
        """See `Sink.open`.

        Raises
        ------
        RunError
            When the folder cannot be written, or files are there that were made in another way.
        """
        if not self._overwrite and self._already_there(job, outputs):
            return block
        with failures_explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self.scratch = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=self.folder))
            try:
                for number, output in enumerate(outputs):
                    self._arrays[output.name] = self._map(self.scratch / f"{number}.tif", output, job)
            except BaseException:
                self.close(completed=False)
                raise
        return block

    def _already_there(self, job: Job, outputs: Sequence[Output]) -> bool:
        """Return whether all files are there; refuse those that were made in another way."""
        files = {output.name: self.path(output.name) for output in outputs if output.form != "part"}
        there = [file for file in files.values() if file.exists()]
        for file in there:
            found = differences(_identity(file), job.identity())
            if found:
                raise refusal(file, found)
        self._complete = len(there) == len(files)
        if self._complete:
            self._files = files
        return self._complete

    def _map(self, file: Path, output: Output, job: Job) -> npt.NDArray[Any]:
        shape = (output.channels, *job.size) if output.channels > 1 else job.size
        if output.form == "part":
            array = np.lib.format.open_memmap(file, mode="w+", dtype=output.dtype, shape=shape)
        else:
            metadata = ome_tiff_metadata(output, job)
            array = tifffile.memmap(file, shape=shape, dtype=output.dtype, ome=True, metadata=metadata)
            self._files[output.name] = file
        _take_space(file)
        return array if output.channels > 1 else array[None]

    def pending(self, layout: BlockLayout) -> npt.NDArray[np.bool_]:
        """All blocks."""
        return np.ones(layout.counts, np.bool_)

    def write(self, where: Slices, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """See `Sink.write`."""
        for name, values in arrays.items():
            self.replace(name, where, values)

    def read(self, name: str, where: Slices) -> npt.NDArray[Any]:
        """See `Sink.read`."""
        return np.array(self._arrays[name][(slice(None), *where)])

    def replace(self, name: str, where: Slices, values: npt.NDArray[Any]) -> None:
        """See `Sink.replace`."""
        self._arrays[name][(slice(None), *where)] = values

    def close(self, completed: bool) -> None:
        """See `Sink.close`."""
        if self.scratch is None:
            return
        with failures_explained(self.folder):
            if completed:
                for name, file in self._files.items():
                    file.replace(self.path(name))
        self._arrays.clear()
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch = None


def _identity(file: Path) -> Any:
    """Return how a file was made, as its description says; None when this program did not write it."""
    try:
        with tifffile.TiffFile(file) as opened:
            text = opened.ome_metadata
        found = ElementTree.fromstring(text or "").find(".//{*}Description")
        said = json.loads((found.text if found is not None else None) or "")
    except (OSError, ValueError, ElementTree.ParseError):  # a TiffFileError is a ValueError
        return None
    return said.get("identity") if isinstance(said, Mapping) else None


def _take_space(file: Path) -> None:
    """Take a file's space on the disk at once: a map that the disk has no room for ends the process.

    Raises
    ------
    OSError
        When there is not enough.
    """
    size = file.stat().st_size
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, size)
    elif shutil.disk_usage(file.parent).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_tiff(path: Path, array: npt.NDArray[Any], spacing: Sequence[float], unit: str) -> None:
    """Write an array `(C, *spatial)` as OME-TIFF, compressed; a single channel without its axis.

    Parameters
    ----------
    path
        The file; its folder is made when absent.
    array
        What to write.
    spacing, unit
        Size of a voxel in array order.

    Raises
    ------
    RunError
        When the folder cannot be written.
    """
    size = array.shape[1:]
    output = Output(path.stem, "numbers", len(array), None)
    job = Job(size, tuple(spacing), unit, (0,) * len(size), len(size), dict, dict)
    plain = array if len(array) > 1 else array[0]
    with failures_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, plain, ome=True, metadata=ome_tiff_metadata(output, job), compression="zlib")
