"""Arrays in files that two processes map: how layers and previews pass between viewer and engine."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from napari_segtrain.config import DataError, RunError

from .atomic import explain_os_error, write_text
from .process import ProcessId

_SHARED = ".scratch"
"""Folder of a project for arrays that are not of a run, or not yet."""
_OWNER = "owner.json"
_SLAB = 2**24
"""Bytes written at once."""

Spec = dict[str, Any]
"""``{"kind": "memmap", "path": …, "shape": …, "dtype": …, "channel_axis": …}``, plain values for JSON."""


class Scratch:
    """A folder of arrays without headers, each a file that every process on the machine may map.

    Parameters
    ----------
    folder
        The folder; it is made when absent. A run's own is `RunFolder.scratch`; `create` makes one that
        is not of a run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{folder}: cannot be made ({explain_os_error(error)})") from error
        self._maps: dict[str, np.memmap[Any, Any]] = {}
        self._specs: dict[str, Spec] = {}

    @classmethod
    def create(cls, project: str | Path) -> Self:
        """Make a new folder for shared arrays in ``<project>/.scratch``; see `tidy`.

        Raises
        ------
        RunError
            When the folder cannot be made.
        """
        scratch = cls(Path(project) / _SHARED / uuid.uuid4().hex[:12])
        write_text(scratch.folder / _OWNER, ProcessId.here().model_dump_json())
        return scratch

    def tidy(self) -> None:
        """Delete the folders beside this one whose process is dead; that can take long.

        Nothing is deleted beside a folder that `create` has not made, such as a run's.
        """
        if self.folder.parent.name != _SHARED:
            return
        with suppress(OSError):  # others tidy up too
            for other in self.folder.parent.iterdir():
                if other != self.folder and _is_abandoned(other):
                    shutil.rmtree(other, ignore_errors=True)

    def add(self, name: str, array: npt.NDArray[Any], channel_axis: int | None = None) -> Spec:
        """Write an array to a file and return its specification.

        The data are written, not mapped and filled: a full disk is an error here, and not a crash of
        the process at some later access.

        Parameters
        ----------
        name
            Name of the file, without ending; an array of this name is replaced.
        array
            Numbers or booleans, ``(*spatial)`` or with a channel axis; also an array of dask or zarr. It is
            read slab by slab along its first axis.
        channel_axis
            Index of the channel axis, or None.

        Returns
        -------
        dict
            The source specification of the array.

        Raises
        ------
        RunError
            When the disk is full or the folder not writable.
        DataError
            When the array holds objects or text instead of numbers.
        """
        spec = self._spec(name, array.shape, array.dtype, channel_axis)
        rows = max(1, _SLAB // max(1, int(np.prod(array.shape[1:])) * array.dtype.itemsize))
        self._forget(name)
        try:
            with Path(spec["path"]).open("wb") as file:
                for first in range(0, array.shape[0], rows):
                    file.write(np.ascontiguousarray(array[first : first + rows], dtype=spec["dtype"]).data)
        except OSError as error:
            raise self._full(spec["path"], error) from error
        self._specs[name] = spec
        return dict(spec)

    def reserve(
        self, name: str, shape: Sequence[int], dtype: npt.DTypeLike, channel_axis: int | None = None
    ) -> Spec:
        """Make an array of zeros whose space on the disk is taken at once; arguments and errors as `add`."""
        shape = tuple(int(size) for size in shape)
        zeros = np.broadcast_to(np.zeros((), dtype), shape)
        return self.add(name, zeros, channel_axis)

    def write_block(self, name: str, start: Sequence[int], data: npt.NDArray[Any]) -> None:
        """Write a block into an array; processes that have it mapped see it at once.

        Parameters
        ----------
        name
            Name that the array was added under.
        start
            First index of the block, on every axis of the array.
        data
            New values, ``(*block)``, with as many axes as the array.

        Raises
        ------
        DataError
            When the block does not fit into the array.
        """
        array = self.array(name)
        inside = len(start) == array.ndim == data.ndim and all(
            first >= 0 and first + size <= length
            for first, size, length in zip(start, data.shape, array.shape, strict=True)
        )
        if not inside:
            raise DataError(
                f"a block of shape {data.shape} at {tuple(start)} does not lie in {name!r}, which has the "
                f"shape {array.shape}; was the layer changed in shape? Add it again"
            )
        array[tuple(slice(first, first + size) for first, size in zip(start, data.shape, strict=True))] = data

    def array(self, name: str) -> np.memmap[Any, Any]:
        """Return an array, mapped for reading and writing.

        Raises
        ------
        RunError
            When no array of this name was added, or its file is gone.
        """
        if name not in self._maps:
            if name not in self._specs:
                raise RunError(f"{self.folder}: holds no array {name!r}; it has {sorted(self._specs)}")
            self._maps[name] = open_memmap(self._specs[name], writable=True)
        return self._maps[name]

    def close(self) -> None:
        """Let go of all maps; the files stay for others."""
        self._maps.clear()

    def remove(self) -> None:
        """Delete the folder; a process that has an array mapped keeps it until it lets go."""
        self.close()
        self._specs.clear()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spec(self, name: str, shape: Sequence[int], dtype: npt.DTypeLike, axis: int | None) -> Spec:
        dtype = np.dtype(dtype)
        if dtype.kind not in "biufc":
            raise DataError(f"{name}: data of type {dtype} cannot be shared; numbers and booleans can")
        if 0 in shape:
            raise DataError(f"{name}: an array of shape {tuple(shape)} holds nothing; choose another layer")
        if Path(name).name != name or name.startswith("."):
            raise ValueError(f"{name!r} is not usable as the name of a file")
        return {
            "kind": "memmap",
            "path": str(self._file(name)),
            "shape": [int(size) for size in shape],
            "dtype": dtype.str,
            "channel_axis": axis,
        }

    def _forget(self, name: str) -> None:
        # The old file is unlinked, not truncated: somebody who still maps it would crash at its next read.
        self._maps.pop(name, None)
        self._specs.pop(name, None)
        with suppress(OSError):
            self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.raw"

    def _full(self, path: str, error: OSError) -> RunError:
        with suppress(OSError):
            Path(path).unlink(missing_ok=True)
        return RunError(
            f"{path}: cannot be written ({explain_os_error(error)}); free some space on this disk or choose "
            "another project folder"
        )


def is_shared(path: str | Path, project: str | Path | None = None) -> bool:
    """Return whether a file lies in a folder that `Scratch.create` made in a project, or in any."""
    folder = Path(path).resolve().parent.parent
    return folder.name == _SHARED if project is None else folder == (Path(project) / _SHARED).resolve()


def open_memmap(spec: Spec, *, writable: bool = False) -> np.memmap[Any, Any]:
    """Map the array of a specification.

    Parameters
    ----------
    spec
        As `Scratch.add` returns it.
    writable
        Whether the array may be written to.

    Raises
    ------
    RunError
        When the file is missing or has another size than the specification says.
    """
    path, dtype, shape = Path(spec["path"]), np.dtype(spec["dtype"]), tuple(spec["shape"])
    needed = int(np.prod(shape)) * dtype.itemsize
    try:
        size = path.stat().st_size
        if size == needed:
            return np.memmap(path, dtype=dtype, mode="r+" if writable else "r", shape=shape)
    except OSError as error:
        raise RunError(f"{path}: the shared array cannot be opened ({explain_os_error(error)})") from error
    raise RunError(f"{path}: has {size} bytes where an array of shape {shape} and type {dtype} has {needed}")


def _is_abandoned(folder: Path) -> bool:
    try:
        owner = ProcessId.model_validate_json((folder / _OWNER).read_bytes())
    except (OSError, ValidationError):
        return False
    return owner.is_alive() is False
