"""Every format of a data folder trains, is scored and predicts, with its voxel size and its masks."""

import json

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_segtrain import workflow


def write_zarr(version, sharded=False):
    def write(path, array):
        shape, chunks = array.shape, (8,) * array.ndim
        shards = {"shards": (16,) * array.ndim} if sharded else {}
        store = f"{path}.zarr"
        made = zarr.create_array(
            store, shape=shape, dtype=array.dtype, chunks=chunks, zarr_format=version, **shards
        )
        made[...] = array

    return write


def write_ome_zarr(path, array):
    group = zarr.open_group(f"{path}.ome.zarr", mode="w", zarr_format=3)
    group.create_array("0", data=array)
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "zyx"[-array.ndim :]]
    scale = [{"type": "scale", "scale": [2.0, 0.5, 0.5][-array.ndim :]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}


def write_ome_tiff(path, array):
    sizes = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 0.5, "PhysicalSizeX": 0.5}
    tifffile.imwrite(f"{path}.ome.tif", array, metadata={"axes": "ZYX"[-array.ndim :], **sizes})


def write_imagej(path, array):
    metadata = {"axes": "ZYX"[-array.ndim :], "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(f"{path}.tif", array, imagej=True, metadata=metadata, resolution=(2, 2))


def write_png(path, array):
    Image.fromarray(array).save(f"{path}.png")


WRITERS = {
    "Zarr 2": (write_zarr(2), "zarr", False),
    "Zarr 3": (write_zarr(3), "zarr", False),
    "sharded": (write_zarr(3, sharded=True), "zarr", False),
    "OME-Zarr": (write_ome_zarr, "zarr", True),
    "OME-TIFF": (write_ome_tiff, "tif", True),
    "ImageJ": (write_imagej, "tif", True),
    "PNG": (write_png, None, False),
}


# A PNG holds no volume.
CASES = [(name, ndim) for name in WRITERS for ndim in (2, 3) if (name, ndim) != ("PNG", 3)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ndim"), CASES)
def test_a_folder_of_this_format_goes_all_the_way(disc_image, tiny_experiment, tmp_path, name, ndim):
    write, kind, measured = WRITERS[name]
    shape = (20, 32, 36)[-ndim:]
    for folder in ("images", "labels", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
    mask = np.ones(shape, np.uint8)
    mask[:4] = 0
    for number, masked in enumerate(("", "_all")):  # one mask for the image, one for its labels
        image, labels = disc_image(shape, 4, number)
        write(tmp_path / "data" / "images" / f"i{number}", image)
        write(tmp_path / "data" / "labels" / f"i{number}_all", labels.astype(np.uint8))
        write(tmp_path / "data" / "masks" / f"i{number}{masked}", mask)
    config = tiny_experiment(
        ndim,
        **{
            "dataset_config.format": kind,
            "dataset_config.targets": {
                "first": {"labels": "all", "values": [1]},
                "others": {"labels": "all", "values": [2, 3, 4], "kind": "binary"},
            },
            "tr_config.num_epochs": 1,
            "tr_config.patch_size": [16] * ndim,
            "model_config.max_poolings": 1,
            "model_config.blocks_per_stage": [1, 1],
        },
    )
    run = workflow.train(config, tmp_path / "data", tmp_path / "P").path
    facts = json.loads((run / "resolved.json").read_text())["facts"]
    assert facts["spacing"] == ([2.0, 0.5, 0.5][-ndim:] if measured else [1.0] * ndim)
    scores = workflow.evaluate(run, "val").scores
    assert {target: scores[target]["voxels"] for target in scores} == dict.fromkeys(
        ("first", "others"), int(mask.sum())
    )
    written = workflow.predict_files(run, tmp_path / "data", tmp_path / "out").paths
    assert [path.name for path in written] == [f"i{n}_{t}.tif" for n in range(2) for t in ("first", "others")]
    assert tifffile.imread(written[0]).shape == shape
