"""What a napari layer is to the engine: the meaning of its axes, and where its voxels can be read.

Layers are looked at on the main thread only. What takes time, copying arrays into shared files, is
left to a `Copies.write` that a worker thread calls; it knows arrays, not layers.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...config import DataError
from ...runs.scratch import Scratch
from .geometry import Geometry
from .layer_kind import layer_kind

_CHANNEL = re.compile(r"c|ch|channels?|wavelengths?|colou?rs?", re.IGNORECASE)
_TIME = re.compile(r"t|times?|frames?", re.IGNORECASE)
_SPARE = "tpqruvw"


@dataclass(frozen=True)
class LayerAxes:
    """What each axis of a layer's array is.

    Attributes
    ----------
    letters
        One an axis of the array: z, y, x, c for channels, s for the samples of a colour; any other letter
        is an axis along which separate images lie.
    ndim
        Number of spatial axes that the network sees: 2 or 3.
    """

    letters: str
    ndim: int

    @property
    def spatial(self) -> tuple[int, ...]:
        """Positions of the spatial axes, (z,) y, x."""
        names = "zyx"[-self.ndim :]
        return tuple(self.letters.index(name) for name in names)

    @property
    def stack(self) -> tuple[int, ...]:
        """Positions of the axes along which separate images lie."""
        return tuple(
            axis for axis, name in enumerate(self.letters) if name not in "cs" and axis not in self.spatial
        )

    @property
    def channel(self) -> int | None:
        """Position of the channels, None when there are none."""
        found = [axis for axis, name in enumerate(self.letters) if name in "cs"]
        return found[0] if found else None


def layer_axes(layer: Any, ndim: int | None = None, channel_axis: int | None = None) -> LayerAxes:
    """Return what the axes of a layer's array are.

    Parameters
    ----------
    layer
        An Image or Labels layer. Its axis labels decide, where it has any of its own.
    ndim
        `dataset_config.ndim`.
    channel_axis
        `dataset_config.channel_axis`; not asked for labels.

    Raises
    ------
    DataError
        When too few axes are left for an image.
    """
    total = layer.ndim
    rgb = bool(getattr(layer, "rgb", False))
    letters: list[str] = [""] * total
    names = Geometry.of(layer).axis_labels or ("",) * total
    channel = _channel_of(layer, channel_axis, names) if not rgb else None
    if channel is not None and channel_axis is None and ndim == 3 and total == 3:
        channel = None  # a volume is asked for: programs save its planes as channels, too
    if channel is not None:
        letters[channel] = "c"
    rest = [axis for axis in range(total) if axis != channel]
    times = [axis for axis in rest if _TIME.fullmatch(names[axis])]
    volume = [axis for axis in rest if axis not in times]
    # One plane is no volume, unless it is asked for.
    shape = layer.data[0].shape if layer.multiscale else layer.data.shape
    wanted = ndim or min(len(volume), max(2, sum(shape[axis] != 1 for axis in volume)), 3)
    if len(rest) < wanted or wanted < 2:
        raise DataError(
            f"layer {layer.name!r} of shape {' × '.join(map(str, shape))} has {len(rest)} spatial axes and "
            f"needs {max(wanted, 2)}; change the dimension or the channel axis"
        )
    for name, axis in zip("zyx"[-min(len(volume), 3) :][::-1], reversed(volume), strict=False):
        letters[axis] = name
    spare = iter(_SPARE)
    letters = [letter or next(spare) for letter in letters]
    if wanted == 3 and "z" not in letters:
        letters[times[-1]] = "z"
    return LayerAxes("".join(letters) + ("s" if rgb else ""), wanted)


def _channel_of(layer: Any, channel_axis: int | None, names: Sequence[str]) -> int | None:
    if channel_axis is not None and layer_kind(layer) != "Labels":
        if not -layer.ndim <= channel_axis < layer.ndim:
            raise DataError(
                f"layer {layer.name!r} has {layer.ndim} axes, so that channel axis {channel_axis} is not one "
                f"of them; choose 0 to {layer.ndim - 1}, or none"
            )
        return channel_axis % int(layer.ndim)
    return next((axis for axis, name in enumerate(names) if _CHANNEL.fullmatch(name)), None)


def level_data(layer: Any, level: int = 0) -> Any:
    """Return the array of a layer, of a multiscale one the array of one level.

    Raises
    ------
    DataError
        When the layer has no such level.
    """
    if not layer.multiscale:
        return layer.data
    if level >= len(layer.data):
        raise DataError(
            f"layer {layer.name!r} has {len(layer.data)} resolution levels; level {level} is not one of them"
        )
    return layer.data[level]


def level_geometry(layer: Any, level: int = 0) -> Geometry:
    """Return where the array of one level lies."""
    geometry = Geometry.of(layer)
    if not layer.multiscale or level == 0:
        return geometry
    finest, chosen = layer.data[0].shape, layer.data[level].shape
    return geometry.coarser([a / b for a, b in zip(finest, chosen, strict=True)][: geometry.ndim])


def store_spec(data: Any) -> dict[str, Any] | None:
    """Return how another process opens an array that lies in a Zarr store or a memory-mapped file.

    Returns
    -------
    dict or None
        A source specification, None when the array cannot be told by a path.
    """
    if isinstance(data, np.memmap):
        return _memmap_spec(data)
    array = _zarr_of(data)
    if array is None:
        return None
    path = _zarr_path(array)
    return None if path is None else {"kind": "zarr", "path": path}


def painted_in_place(data: Any) -> bool:
    """Return whether what is painted on a layer lands where another process can read it."""
    if isinstance(data, np.memmap):
        return data.mode in ("r+", "w+") and _memmap_spec(data) is not None
    zarr = sys.modules.get("zarr")
    return zarr is not None and isinstance(data, zarr.Array) and _zarr_path(data) is not None


def unpaintable(layer: Any) -> str:
    """Say why napari cannot paint on a layer's array; empty when it can."""
    data = layer.data[0] if layer.multiscale else layer.data
    if isinstance(data, np.ndarray):
        return "" if data.flags.writeable else "its array is read-only"
    zarr = sys.modules.get("zarr")
    if zarr is None or not isinstance(data, zarr.Array):
        return ""
    path = _zarr_path(data)
    if data.read_only:
        return f"its store {path or ''} was opened for reading only".replace("  ", " ")
    if path is not None and not os.access(path, os.W_OK):
        return f"{path} may not be written to"
    return ""


def _memmap_spec(data: np.memmap[Any, Any]) -> dict[str, Any] | None:
    # A view into a map knows the file but not its own place in it; only the map itself is passed on.
    if isinstance(data.base, np.ndarray) or not data.flags.c_contiguous or not data.filename:
        return None
    return {
        "kind": "memmap",
        "path": str(data.filename),
        "shape": list(data.shape),
        "dtype": data.dtype.str,
        "offset": int(data.offset),
    }


def _zarr_of(data: Any) -> Any:
    zarr = sys.modules.get("zarr")
    if zarr is None:
        return None
    if isinstance(data, zarr.Array):
        return data
    graph = getattr(getattr(data, "dask", None), "layers", None)
    if graph is None or len(graph) != 2:
        return None
    # A dask array that is nothing but a Zarr array has one layer that holds it and one that reads it.
    for layer in graph.values():
        held = [value for value in dict(layer).values() if isinstance(value, zarr.Array)]
        if len(dict(layer)) == 1 and held and held[0].shape == data.shape and held[0].dtype == data.dtype:
            return held[0]
    return None


def _zarr_path(array: Any) -> str | None:
    root = getattr(array.store, "root", None) or getattr(array.store, "path", None)
    if root is None:
        return None
    path = Path(str(root)) / array.path
    return str(path) if path.exists() else None


@dataclass(frozen=True)
class Copy:
    """An array that has to be written into a shared file before the engine can read it."""

    name: str
    arrays: tuple[Any, ...]
    spec: dict[str, Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array, channels first where several arrays are its channels."""
        shape = tuple(int(size) for size in self.arrays[0].shape)
        return shape if len(self.arrays) == 1 else (len(self.arrays), *shape)

    def write(self, scratch: Scratch) -> None:
        """Write the array, or the channels one after the other, and complete `spec` in place."""
        parts = tuple(Told(array, str(self.spec.get("name", self.name))) for array in self.arrays)
        array: Any = parts[0] if len(parts) == 1 else _Stacked(parts)
        self.spec.update({k: v for k, v in scratch.add(self.name, array).items() if v is not None})


@dataclass
class Copies:
    """What a worker thread has to write; layers are no part of it."""

    items: list[Copy] = field(default_factory=list)

    def write(self, scratch: Scratch) -> Iterator[str]:
        """Write every array, yielding the name of each before it is written.

        Raises
        ------
        RunError
            When the disk is full or not writable.
        DataError
            When an array cannot be read, or does not hold numbers.
        """
        for item in self.items:
            yield item.name
            item.write(scratch)


class Told:
    """An array that says which layer it is of when it cannot be read."""

    def __init__(self, array: Any, layer: str) -> None:
        self._array, self._layer = array, layer
        self.dtype, self.shape = array.dtype, tuple(array.shape)

    def __getitem__(self, index: Any) -> Any:
        try:
            return np.asarray(self._array[index])
        except Exception as error:
            # The array may be anybody's: of dask, of a store on a network.
            raise DataError(
                f"layer {self._layer!r}: its voxels cannot be read ({type(error).__name__}: {error}). Open "
                "it again, or choose another layer"
            ) from error

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self[...], dtype)


class _Stacked:
    """Arrays of one shape as the channels of one array, sliced along the channels only."""

    def __init__(self, arrays: Sequence[Any]) -> None:
        self._arrays = arrays
        self.dtype = np.result_type(*(array.dtype for array in arrays))
        self.shape = (len(arrays), *arrays[0].shape)

    def __getitem__(self, channels: slice) -> Any:
        return np.stack([np.asarray(array) for array in self._arrays[channels]]).astype(
            self.dtype, copy=False
        )


def array_spec(
    name: str,
    layers: Sequence[Any],
    axes: LayerAxes,
    copies: Copies,
    *,
    level: int = 0,
    shared: bool = False,
) -> dict[str, Any]:
    """Return the source specification of a layer, or of several layers as channels of one image.

    Parameters
    ----------
    name
        Name of the shared file, should one be needed; the specification is complete when `copies` are
        written.
    layers
        One layer, or layers of one shape.
    axes
        What the axes of a layer's array are.
    copies
        Gets what has to be written.
    level
        Resolution level of multiscale layers.
    shared
        Copy the array even where a path could be told: of labels that are painted on, so that strokes
        can be passed on.
    """
    arrays = tuple(level_data(layer, level) for layer in layers)
    letters = axes.letters if len(arrays) == 1 else f"c{axes.letters}"
    known = store_spec(arrays[0]) if len(arrays) == 1 and not shared else None
    # The array is that of one level, so that in it there is no other level to choose.
    spec: dict[str, Any] = {**(known or {}), "axes": letters, "name": layers[0].name, "level": 0}
    channel = letters.find("c")
    if channel >= 0:
        spec["channel_axis"] = channel
    if known is None:
        copies.items.append(Copy(name, arrays, spec))
    return spec
