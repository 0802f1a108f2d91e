"""Writes one and the same image into every kind of storage that can be opened."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Writer = Callable[[Path, np.ndarray], tuple[Any, dict[str, Any]]]
_names = itertools.count()


def _path(folder: Path, ending: str) -> Path:
    return folder / f"image_{next(_names)}{ending}"


def write_numpy(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    return image, {"channel_axis": 0}


def write_fortran(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    return np.asfortranarray(np.moveaxis(image, 0, -1)), {"channel_axis": -1}


def write_big_endian(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    return image.astype(image.dtype.newbyteorder(">")), {"channel_axis": 0}


def write_npy(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    path = _path(folder, ".npy")
    np.save(path, image)
    return path, {"channel_axis": 0}


def write_memmap(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    path = _path(folder, ".raw")
    path.write_bytes(b"head" + image.tobytes())
    spec = {"kind": "memmap", "path": str(path), "shape": list(image.shape), "dtype": image.dtype.str}
    return spec | {"offset": 4, "channel_axis": 0}, {}


def _write_zarr(
    folder: Path, image: np.ndarray, name: str = ".zarr", **options: Any
) -> tuple[Path, dict[str, Any]]:
    import zarr

    path = _path(folder, name)
    chunks = tuple(min(4, n) for n in image.shape)
    array = zarr.create_array(str(path), shape=image.shape, chunks=chunks, dtype=image.dtype, **options)
    array[...] = image
    return path, {"channel_axis": 0}


def write_zarr2(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    return _write_zarr(folder, image, zarr_format=2)


def write_zarr3(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    path, options = _write_zarr(folder, image)
    return {"kind": "zarr", "path": str(path), "level": 0}, options


def write_sharded(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    return _write_zarr(folder, image, shards=tuple(8 if n > 4 else min(4, n) for n in image.shape))


def write_zarr_object(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    import zarr

    path, options = _write_zarr(folder, image)
    return zarr.open(str(path), mode="r"), options


def write_zarr_cached(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    path, options = _write_zarr(folder, image)
    return path, options | {"cache": True}


def _write_ome(folder: Path, image: np.ndarray, version: str) -> tuple[Any, dict[str, Any]]:
    import zarr

    path = _path(folder, ".ome.zarr")
    group = zarr.open_group(str(path), mode="w", zarr_format=2 if version == "0.4" else 3)
    space = "zyx"[-(image.ndim - 1) :]
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in space]
    levels = [image, image[(slice(None), *(slice(None, None, 2),) * (image.ndim - 1))]]
    datasets = []
    for number, level in enumerate(levels):
        data = np.ascontiguousarray(level[None])
        group.create_array(str(number), data=data, chunks=tuple(min(5, n) for n in data.shape))
        sizes = [s * 2.0**number for s in (2.0, 0.5, 0.25)[-len(space) :]]
        datasets.append(
            {
                "path": str(number),
                "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, *sizes]}],
            }
        )
    multiscales = [{"version": version, "axes": axes, "datasets": datasets}]
    if version == "0.4":
        group.attrs["multiscales"] = multiscales
    else:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    return path, {}


def write_ome4(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    return _write_ome(folder, image, "0.4")


def write_ome5(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    return _write_ome(folder, image, "0.5")


def _write_tiff(
    folder: Path, image: np.ndarray, ending: str = ".tif", **options: Any
) -> tuple[Any, dict[str, Any]]:
    import tifffile

    path = _path(folder, ending)
    data = image[0] if image.shape[0] == 1 else np.moveaxis(image, 0, -3)  # channels before y, x
    axes = "zyx"[-(image.ndim - 1) :].upper()
    axes = axes if image.shape[0] == 1 else axes[:-2] + "C" + axes[-2:]
    tifffile.imwrite(path, data, photometric="minisblack", metadata={"axes": axes}, **options)
    return path, {"ndim": image.ndim - 1}


def write_tiff(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    return _write_tiff(folder, image)


def write_tiff_big_endian(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    return _write_tiff(folder, image, byteorder=">")


def write_tiff_deflate(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    return _write_tiff(
        folder, image, compression="zlib", predictor=image.dtype.kind in "iu" and image.itemsize < 8
    )


def write_tiff_tiled(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    return _write_tiff(folder, image, compression="zlib", tile=(16, 16))


def write_ome_tiff(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    _only(image, "bool", "uint8", "uint16", "int16", "int32", "float32", "float64")
    return _write_tiff(folder, image, ".ome.tif")


def _only(image: np.ndarray, *dtypes: str) -> None:
    if image.dtype.name not in dtypes:
        pytest.skip(f"this kind of TIFF stores no {image.dtype}")


def write_imagej(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    _only(image, "uint8", "uint16", "float32")
    return _write_tiff(folder, image, imagej=True)


def write_dask(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    array = pytest.importorskip("dask.array").from_array(image, chunks=5)
    return array, {"channel_axis": 0}


def write_dask_cached(folder: Path, image: np.ndarray) -> tuple[Any, dict[str, Any]]:
    return write_dask(folder, image)[0], {"channel_axis": 0, "cache": True}


WRITERS: dict[str, Writer] = {
    name.removeprefix("write_"): value for name, value in list(globals().items()) if name.startswith("write_")
}


@pytest.fixture(params=WRITERS)
def writer(request: pytest.FixtureRequest) -> Writer:
    """Write `(C, *spatial)` and return what opens it, with the options that it needs."""
    return WRITERS[request.param]


@pytest.fixture
def writers() -> dict[str, Writer]:
    """All ways to write, by name."""
    return WRITERS
