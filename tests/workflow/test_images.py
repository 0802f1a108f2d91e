"""Images are predicted as the training read its own, from the run alone."""

import numpy as np
import pytest
import tifffile
import zarr

from napari_segtrain import workflow
from napari_segtrain.config import ConfigError, DataError
from napari_segtrain.runs import PredictProgress, Warned, find_run, predictions_of

SMALL = {
    "tr_config.num_epochs": 1,
    "tr_config.steps_per_epoch": 1,
    "tr_config.patch_size": [16, 16],
    "model_config.blocks_per_stage": [1, 1],
    "model_config.max_poolings": 1,
}


@pytest.fixture
def train(tiny_experiment, tmp_path):
    """Return a function that trains on a data folder for one step and returns the run."""

    def start(data, **overrides):
        return workflow.train(tiny_experiment(**SMALL, **overrides), data, tmp_path / "P").path

    return start


def rewrite(folder, write):
    """Store every image and label of a folder in another way."""
    for kind in ("images", "labels"):
        for path in sorted((folder / kind).iterdir()):
            array = tifffile.imread(path)
            path.unlink()
            write(path, array, kind == "images")
    return folder


def pyramid(path, array, image=True):
    """Write two levels as OME-Zarr, a voxel of the finest 0.5 µm."""
    group = zarr.open_group(str(path.with_suffix(".zarr")), mode="w", zarr_format=2)
    datasets = []
    for level in range(2):
        group.create_array(str(level), data=np.ascontiguousarray(array[:: 2**level, :: 2**level]))
        scale = [{"type": "scale", "scale": [0.5 * 2**level] * 2}]
        datasets.append({"path": str(level), "coordinateTransformations": scale})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]


@pytest.mark.parametrize("axis", [0, -1])
def test_the_channel_axis_is_the_runs(disc_folder, train, tmp_path, axis):
    def two_channels(path, array, image):
        tifffile.imwrite(path, np.stack([array, array // 2], axis).astype(np.float32) if image else array)

    data = rewrite(disc_folder(count=2), two_channels)
    run = train(data, **{"dataset_config.channel_axis": axis})
    written = workflow.predict_files(run, data, tmp_path / "out")
    assert predictions_of(find_run(run)) == written.paths, "the run remembers where they are"
    assert [tifffile.imread(path).shape for path in written.paths] == [(64, 72)] * 2
    first = sorted((data / "images").iterdir())[0]
    np.testing.assert_array_equal(
        workflow.predict(run, first)["cells"], workflow.predict(run, tifffile.imread(first))["cells"]
    )
    tifffile.imwrite(tmp_path / "other.tif", np.moveaxis(tifffile.imread(first), axis, 0 if axis else -1))
    with pytest.raises(DataError, match="channel_axis"):
        workflow.predict_files(run, tmp_path / "other.tif", tmp_path / "out")
    reading = {"channel_axis": 0 if axis else -1}
    (again,) = workflow.predict_files(run, tmp_path / "other.tif", tmp_path / "out", reading=reading).paths
    np.testing.assert_array_equal(tifffile.imread(again), tifffile.imread(written.paths[0]))
    with pytest.raises(ConfigError, match="Did you mean 'channel_axis'"):
        workflow.predict_files(run, first, tmp_path / "out", reading={"chanel_axis": 0})


def test_the_resolution_level_is_the_runs(disc_folder, train, tmp_path):
    data = rewrite(disc_folder(count=2), pyramid)
    run = train(data, **{"dataset_config.level": 1})
    store = data / "images" / "im0.zarr"
    workflow.predict_files(run, store, tmp_path / "coarse.zarr")
    found = zarr.open_group(str(tmp_path / "coarse.zarr"), mode="r")["cells"]
    assert found.shape == (32, 36)
    assert found.attrs["spacing"] == [1.0, 1.0]
    workflow.predict_files(run, store, tmp_path / "fine.zarr", reading={"level": 0})
    assert zarr.open_group(str(tmp_path / "fine.zarr"), mode="r")["cells"].shape == (64, 72)
    with pytest.raises(DataError, match="level 5"):
        workflow.predict_files(run, store, tmp_path / "none.zarr", reading={"level": 5})
    tifffile.imwrite(tmp_path / "flat.tif", np.arange(40 * 44, dtype=np.uint16).reshape(40, 44))
    events = []
    (flat,) = workflow.predict_files(run, tmp_path / "flat.tif", tmp_path, emit=events.append).paths
    assert tifffile.imread(flat).shape == (40, 44)
    assert any("no resolution level 1" in e.message for e in events if isinstance(e, Warned))


def test_a_folder_gives_tiffs_and_a_store_a_store_however_many_there_are(disc_folder, train, tmp_path):
    data = rewrite(disc_folder(count=2), pyramid)
    run = train(data)
    for count in (2, 1):
        out = tmp_path / f"out{count}"
        written = workflow.predict_files(run, data, out)
        assert [path.name for path in written.paths] == [f"im{i}_cells.tif" for i in range(2)][-count:]
        if count == 2:
            with pytest.raises(ConfigError, match=r"takes one image, and .* holds 2"):
                workflow.predict_files(run, data, tmp_path / "both.zarr")
            (data / "images" / "im0.zarr").rename(tmp_path / "im0.zarr")
    array = workflow.predict_files(run, tmp_path / "im0.zarr" / "0", tmp_path / "no_ending").paths
    assert array == (tmp_path / "no_ending",)
    assert zarr.open_group(str(array[0]), mode="r")["cells"].shape == (64, 72)
    tifffile.imwrite(tmp_path / "plain.ome.tif", np.arange(40 * 44, dtype=np.uint16).reshape(40, 44))
    assert workflow.predict_files(run, tmp_path / "plain.ome.tif", tmp_path / "named.zarr").paths == (
        tmp_path / "named.zarr",
    )
    (tiff,) = workflow.predict_files(run, tmp_path / "plain.ome.tif", tmp_path / "t").paths
    assert tiff.name == "plain_cells.tif"


def test_layers_that_napari_saved_train_and_only_the_images_are_predicted(disc_folder, train, tmp_path):
    data = disc_folder(count=3)
    saved = tmp_path / "saved"
    saved.mkdir()
    for path in (*(data / "images").iterdir(), *(data / "labels").iterdir()):
        path.rename(saved / path.name)
    tifffile.imwrite(saved / "im0_mask.tif", np.ones((64, 72), np.uint8))
    run = train(saved, **{"dataset_config.format": "napari", "dataset_config.targets": {}})
    events = []
    for _ in range(2):  # the second time, what the first one wrote lies beside the images
        written = workflow.predict_files(run, saved, saved / "out", emit=events.append)
        assert [path.name for path in written.paths] == [f"im{i}_cells.tif" for i in range(3)]
        for path in written.paths:
            path.replace(saved / path.name)
    assert any("im0_mask.tif" in e.message for e in events if isinstance(e, Warned))
    progress = [e for e in events if isinstance(e, PredictProgress)]
    assert progress[-1].fraction == 1.0
    assert any(e.seconds_left is not None for e in progress), "also of several images"


def test_another_voxel_size_is_said(disc_folder, train):
    def microscope(path, array, image):
        metadata = {"axes": "YX", "unit": "um"}
        tifffile.imwrite(path, array, imagej=True, metadata=metadata, resolution=(2, 2))

    run = train(rewrite(disc_folder(count=2), microscope))
    image = np.arange(40 * 44, dtype=np.uint16).reshape(40, 44)
    workflow.predict(run, image, spacing=(0.5, 0.5))
    with pytest.warns(UserWarning, match="trained on 0.5 × 0.5"):
        workflow.predict(run, image, spacing=(2.0, 2.0))
