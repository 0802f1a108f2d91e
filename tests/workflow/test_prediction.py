import json

import numpy as np
import pytest
import tifffile
import zarr

from napari_segtrain import workflow
from napari_segtrain.config import ConfigError, DataError
from napari_segtrain.data import open_source
from napari_segtrain.inference import PredictionCancelledError
from napari_segtrain.runs import Control, Finished, PredictDone, PredictProgress


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run of a binary target and its normals, and its data folder."""
    from napari_segtrain.config import ExperimentConfig

    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (48, 56), dtype=np.uint8)
    for kind, name, array in (("images", "a", image), ("labels", "a_cells", (image > 128).astype(np.uint8))):
        (folder / "data" / kind).mkdir(parents=True)
        tifffile.imwrite(folder / "data" / kind / f"{name}.tif", array)
    config = ExperimentConfig.parse(
        {
            "tr_setup": {"device": "cpu", "num_workers": 0},
            "tr_config": {"patch_size": [16, 16], "num_epochs": 1, "steps_per_epoch": 1, "batch_size": 1},
            "model_config": {"base_features": 4, "blocks_per_stage": [1, 1], "max_poolings": 1},
            "dataset_config": {"targets": {"cells": {"kind": "binary"}}},
            "auxiliary_tasks": {"normals": {"type": "surface_normals", "source_target": "cells"}},
        }
    )
    return workflow.train(config, folder / "data", folder / "P").path, folder / "data"


def test_an_array_is_predicted_by_name(trained):
    run, _ = trained
    image = np.random.default_rng(1).integers(0, 255, (40, 33), dtype=np.uint8)
    result = workflow.predict(run, image)
    assert {name: (a.shape, a.dtype.kind) for name, a in result.items()} == {
        "cells": ((40, 33), "u"),
        "normals": ((2, 40, 33), "f"),
    }
    soft = workflow.predict(run, image, output="probabilities", targets=("cells",))
    assert list(soft) == ["cells"]
    np.testing.assert_array_equal(soft["cells"] > 0.5, result["cells"] == 1)


def test_a_checkpoint_alone_predicts_the_same(trained, tmp_path):
    run, _ = trained
    image = np.zeros((16, 20), np.uint8)
    image[4:9] = 200
    copied = tmp_path / "elsewhere.ckpt"
    copied.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    here, there = workflow.predict(run, image), workflow.predict(copied, image)
    for name in here:
        np.testing.assert_array_equal(here[name], there[name])


def test_settings_that_do_not_exist_are_named(trained):
    run, _ = trained
    with pytest.raises(ConfigError, match=r"overlp: unknown key. Did you mean 'overlap'"):
        workflow.predict(run, np.zeros((16, 16)), overlp=0.1)
    for wrong in ({"overlap": 2}, {"output": "labls"}, {"checkpoint": "first"}, {"min_size": -1}):
        with pytest.raises(ConfigError, match=f"^inference_config: {next(iter(wrong))}: "):
            workflow.predict(run, np.zeros((16, 16)), **wrong)
    with pytest.raises(ConfigError, match="cells"):
        workflow.predict(run, np.zeros((16, 16)), targets=("cell",))
    with pytest.raises(DataError, match="stack of 5"):
        workflow.predict(run, np.zeros((5, 16, 16, 2, 2)))


def test_a_prediction_can_be_cancelled(trained):
    run, _ = trained
    image = np.random.default_rng(1).integers(0, 255, (40, 33), dtype=np.uint8)
    with pytest.raises(PredictionCancelledError):
        workflow.predict(run, image, cancel=lambda: True)


@pytest.mark.parametrize("give", ["images", "data", "file"])
def test_folders_and_files_become_tiffs(trained, tmp_path, give):
    run, data = trained
    source = {"images": data / "images", "data": data, "file": data / "images" / "a.tif"}[give]
    events = []
    written = workflow.predict_files(run, source, tmp_path / "out", emit=events.append)
    assert [p.name for p in written.paths] == ["a_cells.tif", "a_normals.tif"]
    whole = workflow.predict(run, tifffile.imread(data / "images" / "a.tif"))
    np.testing.assert_array_equal(tifffile.imread(written.paths[0]), whole["cells"])
    assert max(e.fraction for e in events if isinstance(e, PredictProgress)) == 1.0


def test_a_zarr_store_becomes_a_zarr_store(trained, tmp_path):
    run, _ = trained
    image = np.random.default_rng(1).integers(0, 255, (40, 33), dtype=np.uint8)
    zarr.save_array(str(tmp_path / "in.zarr"), image)
    workflow.predict_files(run, tmp_path / "in.zarr", tmp_path / "out.zarr", overrides={"overlap": 0.25})
    stored = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")
    np.testing.assert_array_equal(stored["cells"][:], workflow.predict(run, image, overlap=0.25)["cells"])
    assert stored["normals"].shape == (2, 40, 33)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "nothing", "there is nothing here"),
        (lambda p: (p / "empty").mkdir() or p / "empty", "no image was found"),
    ],
)
def test_an_input_without_images_is_named(trained, tmp_path, make, words):
    with pytest.raises(DataError, match=words):
        workflow.predict_files(trained[0], make(tmp_path), tmp_path / "out")


def test_a_block_of_a_layer_is_predicted_and_announced(trained, tmp_path):
    run, data = trained
    spec = {"kind": "file", "path": str(data / "images" / "a.tif")}
    events = []
    workflow.predict_layer(
        run, spec, tmp_path / "p.zarr", targets=("cells",), start=(8, 4), stop=(40, 50), emit=events.append
    )
    done = next(e for e in events if isinstance(e, PredictDone))
    assert isinstance(events[-1], Finished)
    assert list(done.outputs) == ["cells"]
    block = open_source(json.loads(json.dumps(done.outputs["cells"]))).read((slice(0, 32), slice(0, 46)))
    whole = workflow.predict(run, tifffile.imread(data / "images" / "a.tif"))["cells"]
    np.testing.assert_array_equal(block[0], whole[8:40, 4:50])


def test_a_stopped_layer_is_announced_as_interrupted(trained, tmp_path):
    run, data = trained
    control = Control()
    control.stop()
    events = []
    spec = {"kind": "file", "path": str(data / "images" / "a.tif")}
    workflow.predict_layer(run, spec, tmp_path / "p.zarr", emit=events.append, control=control)
    assert events[-1].status == "interrupted"
