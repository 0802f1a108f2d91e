"""Every layout of a data folder: opened, checked, and handed over as a batch, voxel by voxel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data import (
    Normalisation,
    PatchLoader,
    Region,
    Split,
    check_dataset,
    gather_facts,
    open_folder,
)

SHAPE = (12, 20, 24)
Write = Callable[[Path, np.ndarray], dict[str, Any]]


def zarr_array(version: int, **options: Any) -> Write:
    def write(path: Path, array: np.ndarray) -> dict[str, Any]:
        import zarr

        shape, chunks = array.shape, (4,) * array.ndim
        made = zarr.create_array(
            f"{path}.zarr", shape=shape, dtype=array.dtype, chunks=chunks, zarr_format=version, **options
        )
        made[...] = array
        return {"channel_axis": 0} if array.ndim == 4 else {}

    return write


def ome_zarr(version: str) -> Write:
    """Write the array as level 1 below a level 0 of twice its size."""

    def write(path: Path, array: np.ndarray) -> dict[str, Any]:
        import zarr

        group = zarr.open_group(f"{path}.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
        channels = array.ndim - 3
        finer = np.kron(array, np.ones((1,) * channels + (2, 2, 2), array.dtype))
        axes = [{"name": "c", "type": "channel"}] * channels
        axes += [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"]
        levels = []
        for number, (level, voxel) in enumerate(((finer, (2, 1, 1)), (array, (4, 2, 2)))):
            group.create_array(str(number), data=level)
            scale = [{"type": "scale", "scale": [1.0] * channels + list(voxel)}]
            levels.append({"path": str(number), "coordinateTransformations": scale})
        multiscales = [{"version": version, "axes": axes, "datasets": levels}]
        group.attrs.update(
            {"multiscales": multiscales} if version == "0.4" else {"ome": {"multiscales": multiscales}}
        )
        return {"level": 1}

    return write


def tiff(axes: str, **options: Any) -> Write:
    def write(path: Path, array: np.ndarray) -> dict[str, Any]:
        import tifffile

        plain = axes if array.ndim == len(axes) else axes.replace("C", "").replace("S", "")
        order = [("CZYX" if "Z" in axes else "CYX")[-array.ndim :].index(a.replace("S", "C")) for a in plain]
        colour = {"photometric": "rgb"} if "S" in plain else {"photometric": "minisblack"}
        ending = ".ome.tif" if options.get("ome") else ".tif"
        tifffile.imwrite(
            f"{path}{ending}", array.transpose(order), metadata={"axes": plain}, **colour, **options
        )
        return {}

    return write


def picture(path: Path, array: np.ndarray) -> dict[str, Any]:
    from PIL import Image

    Image.fromarray(np.moveaxis(array, 0, -1) if array.ndim == 3 else array).save(f"{path}.png")
    return {}


# What is written, its type, its channels (0: no such axis) and the number of its spatial axes.
LAYOUTS: dict[str, tuple[Write, type, int, int]] = {
    "Zarr 2": (zarr_array(2), np.uint16, 0, 3),
    "Zarr 3": (zarr_array(3), np.float32, 0, 3),
    "Zarr 3 with channels": (zarr_array(3), np.uint8, 2, 3),
    "Zarr 3, sharded": (zarr_array(3, shards=(8, 8, 8)), np.int16, 0, 3),
    "OME-Zarr 0.4, level 1": (ome_zarr("0.4"), np.uint8, 0, 3),
    "OME-Zarr 0.5 with channels, level 1": (ome_zarr("0.5"), np.uint16, 2, 3),
    "TIFF stack": (tiff("ZYX"), np.uint8, 0, 3),
    "ImageJ hyperstack": (tiff("ZCYX", imagej=True), np.uint16, 2, 3),
    "OME-TIFF with channels": (tiff("CZYX", ome=True), np.float32, 3, 3),
    "OME-TIFF plane": (tiff("CYX", ome=True), np.uint16, 2, 2),
    "RGB TIFF": (tiff("YXS"), np.uint8, 3, 2),
    "RGB PNG": (picture, np.uint8, 3, 2),
}


def raw(labels: Any, masks: Any, spacing: Any) -> dict[str, Any]:
    return {name: values[None] for name, values in labels.items()} | {
        f"{name}_mask": mask[None] for name, mask in masks.items()
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_becomes_a_batch(tmp_path: Path, name: str) -> None:
    write, dtype, channels, ndim = LAYOUTS[name]
    shape = SHAPE[-ndim:]
    rng = np.random.default_rng(0)
    image = rng.integers(0, 99, (channels, *shape) if channels else shape).astype(dtype)
    labels = rng.integers(0, 3, shape).astype(np.uint8)
    mask = (rng.random(shape) < 0.5).astype(np.uint8)
    for folder in ("images", "labels", "masks"):
        (tmp_path / folder).mkdir()
    options = write(tmp_path / "images" / "day_1", image)
    write(tmp_path / "labels" / "day_1_cell_wall", labels)
    write(tmp_path / "masks" / "day_1", mask)
    targets = {"cell_wall": {"kind": "classes"}, "twos": {"labels": "cell_wall", "values": [2]}}
    config = ExperimentConfig.parse({"dataset_config": {"targets": targets, **options}})
    dataset = open_folder(tmp_path, config.dataset_config)
    assert str(check_dataset(dataset, config)) == "no faults"
    facts = gather_facts(dataset, config)
    assert (facts.ndim, facts.shape, facts.in_channels) == (ndim, shape, channels or 1)
    assert facts.spacing == ((4, 2, 2) if "OME-Zarr" in name else (1,) * ndim)
    split = Split(val=(Region("day_1", (0,) * ndim, shape),))
    count = channels or 1
    unchanged = Normalisation(shift=(0.0,) * count, scale=(1.0,) * count)
    loader = PatchLoader(dataset, split, "val", config, shape, unchanged, raw, 1, facts=facts)
    (batch,) = loader
    np.testing.assert_array_equal(batch["image"][0], image.reshape(-1, *shape).astype(np.float32))
    for target in targets:
        np.testing.assert_array_equal(batch[target][0, 0], labels)
        np.testing.assert_array_equal(batch[f"{target}_mask"][0, 0], mask == 1)
