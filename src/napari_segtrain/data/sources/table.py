"""The formats that can be opened: one lazy table, with what each needs and how to get it."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...config import DataError, did_you_mean
from .stored import OpenOptions, Stored

ZARR_FILES = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True)
class Format:
    """One way to store an array; its module is imported when the first of its kind is opened.

    Attributes
    ----------
    name
        As messages call it.
    opener
        Module in this package and function in it, ``"module:function"``.
    suffixes
        Lower-case endings of file names.
    requires
        Modules that must be importable.
    install
        What installs them.
    """

    name: str
    opener: str
    suffixes: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    install: str = ""

    def is_incompatible(self) -> Literal[False] | str:
        """Return why this format cannot be opened here, False when it can."""
        missing = [m for m in self.requires if importlib.util.find_spec(m) is None]
        if not missing:
            return False
        return f"{self.name} needs the package {', '.join(missing)}: {self.install}"

    def open(self, spec: Any, options: OpenOptions) -> Stored:
        """Open `spec`; reads no voxels.

        Raises
        ------
        DataError
            When a package is missing, or `spec` is not readable.
        """
        reason = self.is_incompatible()
        if reason:
            raise DataError(reason)
        module, _, function = self.opener.partition(":")
        opener: Callable[[Any, OpenOptions], Stored] = getattr(
            importlib.import_module(f".{module}", __package__), function
        )
        return opener(spec, options)


ZARR = Format("Zarr", "zarr_array:open_path", (".zarr",), ("zarr",), 'pip install "zarr>=3"')
ZARR_NODE = Format("Zarr", "zarr_array:open_node", (), ("zarr",), 'pip install "zarr>=3"')
TIFF = Format(
    "TIFF",
    "tiff:open_tiff",
    (".tif", ".tiff", ".btf", ".tf8"),
    ("tifffile", "imagecodecs"),
    "pip install tifffile imagecodecs",
)
PICTURE = Format(
    "PNG and JPEG",
    "picture:open_picture",
    (".png", ".jpg", ".jpeg", ".bmp"),
    ("PIL",),
    "pip install pillow",
)
NPY = Format("NumPy file", "memory:open_npy", (".npy",))
MEMMAP = Format("memory map", "memory:open_memmap")
ARRAY = Format("array", "memory:open_array")
DASK = Format("dask array", "dask_array:open_dask", (), ("dask",), 'pip install "dask[array]"')

FILE_FORMATS: tuple[Format, ...] = (ZARR, TIFF, PICTURE, NPY)
FORMATS: tuple[Format, ...] = (*FILE_FORMATS, MEMMAP, ARRAY, DASK)


def file_format(path: Path) -> Format | None:
    """Return the format of a file or folder by its name, None when it has none of the known ones."""
    if path.suffix.lower() != ".zarr" and path.is_dir():
        return ZARR if any((path / name).exists() for name in ZARR_FILES) else None
    return next((f for f in FILE_FORMATS if path.suffix.lower() in f.suffixes), None)


def is_store(path: Path) -> bool:
    """Return whether a path is a Zarr store, or an array or group inside of one."""
    return path.is_dir() and file_format(path) is ZARR


def object_format(spec: Any) -> Format | None:
    """Return the format of an array object by its kind, without importing the library it is from."""
    kind = type(spec).__module__.partition(".")[0]
    if kind == "zarr":
        return ZARR_NODE
    if kind == "dask" or (hasattr(spec, "compute") and hasattr(spec, "chunks")):
        return DASK
    sliceable = all(hasattr(spec, a) for a in ("shape", "dtype", "__getitem__"))
    return ARRAY if isinstance(spec, np.ndarray) or sliceable else None


def stem(path: Path) -> str:
    """Return a file's name without its ending; of ``cells.ome.tif`` it is ``cells``."""
    name = path.name[: -len(path.suffix)] if path.suffix else path.name
    return name[:-4] if name.lower().endswith(".ome") else name


def open_path(spec: str | Path, options: OpenOptions) -> Stored:
    """Open a file, a Zarr store, an array inside of one, or the address of one.

    Raises
    ------
    DataError
        When nothing is there, or it is in no known format.
    """
    if isinstance(spec, str) and "://" in spec:
        return ZARR.open(spec, options)
    path = Path(spec).expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist. Check the path.")
    found = file_format(path)
    if found is None:
        endings = [ending for f in FILE_FORMATS for ending in f.suffixes]
        raise DataError(
            f"{path}: {'a folder that is no Zarr store' if path.is_dir() else 'an unknown file format'}. "
            + (f"Files end in {', '.join(endings)}." if path.is_dir() else did_you_mean(path.suffix, endings))
        )
    return found.open(path, options)
