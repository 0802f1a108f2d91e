import json
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
import torch
import zarr

from napari_segtrain import workflow
from napari_segtrain.config import ConfigError, DataError, RunError
from napari_segtrain.data import open_source
from napari_segtrain.inference import PredictionCancelledError, TileGrid
from napari_segtrain.inference.layout import BlockLayout
from napari_segtrain.runs import Control, Finished, PredictDone, PredictProgress, Warned


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
    settings = stored.attrs["segtrain"]["settings"]
    assert settings["checkpoint"]["path"] == str((run / "checkpoints" / "best.ckpt").absolute())
    assert settings["checkpoint"]["run"] == run.name and len(settings["checkpoint"]["weights"]) == 64
    assert settings["targets"] == ["cells", "normals"] and settings["image"] == str(tmp_path / "in.zarr")
    assert settings["inference_config"]["overlap"] == 0.25 and settings["tile_size"] == [16, 16]
    assert "torch" in settings["versions"] and settings["date"].endswith("+00:00")


def test_scaled_numbers_are_restored_from_what_is_stored_with_them(trained, tmp_path):
    run, data = trained
    image = tifffile.imread(data / "images" / "a.tif")
    exact = workflow.predict(run, image, output="probabilities")
    scaled = {"output": "uint8"}
    workflow.predict_files(run, data / "images", tmp_path / "a.zarr", overrides=scaled)
    files = workflow.predict_files(run, data / "images", tmp_path / "files", overrides=scaled).paths
    stored = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    for name, path in zip(("cells", "normals"), files, strict=True):
        with tifffile.TiffFile(path) as file:
            text = file.ome_metadata
            description = ElementTree.fromstring(text).find(".//{*}Description").text
        for numbers, how in (
            (stored[name][:], stored[name].attrs),
            (tifffile.imread(path), json.loads(description)),
        ):
            assert numbers.dtype == np.uint8
            restored = how["offset"] + how["scale"] * numbers.astype(np.float64)
            np.testing.assert_allclose(restored, exact[name], atol=how["scale"] * 0.51)
        assert json.loads(description)["settings"]["checkpoint"]["run"] == run.name


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
    scaled = []
    spec = {"kind": "file", "path": str(data / "images" / "a.tif")}
    workflow.predict_layer(run, spec, tmp_path / "b.zarr", inference={"output": "uint8"}, emit=scaled.append)
    done = next(e for e in scaled if isinstance(e, PredictDone))
    assert done.limits == {"cells": (0.0, 1.0), "normals": (-1.0, 1.0)}
    assert done.settings["checkpoint"]["run"] == run.name and done.settings["date"]
    control = Control()
    control.stop()
    events = []
    spec = {"kind": "file", "path": str(data / "images" / "a.tif")}
    workflow.predict_layer(run, spec, tmp_path / "p.zarr", emit=events.append, control=control)
    assert events[-1].status == "interrupted"


@pytest.fixture
def small_blocks(monkeypatch):
    """Many blocks in small images, as in predict_script.py."""
    monkeypatch.setattr("napari_segtrain.inference.sinks.base.CHUNK_EDGE", {2: 16, 3: 16})
    monkeypatch.setattr("napari_segtrain.inference.predictor.MEMORY_BUDGET", 0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_killed_prediction_goes_on_at_the_next_block(trained, tmp_path, small_blocks):
    run, _ = trained
    image = np.random.default_rng(1).integers(0, 255, (70, 83), dtype=np.uint8)
    zarr.save_array(str(tmp_path / "in.zarr"), image)
    out, log = tmp_path / "out.zarr", tmp_path / "log"
    script = [sys.executable, str(Path(__file__).with_name("predict_script.py")), str(log)]
    command = [str(run), "-i", str(tmp_path / "in.zarr"), "-o", str(out), "--device", "cpu"]
    killed = subprocess.run([*script, "40", *command], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    unfinished = tmp_path / ".out.zarr.unfinished"
    lines = (unfinished / "blocks.jsonl").read_text().splitlines(keepends=True)
    done = {tuple(map(tuple, json.loads(line))) for line in lines if line.endswith("]]\n")}
    layout = BlockLayout(TileGrid(image.shape, (16, 16), (0.5, 0.5)), (16, 16))
    finished = np.array([tuple((p.start, p.stop) for p in layout.core(i)) in done for i in layout])
    assert 3 < len(done) == finished.sum() < len(layout)
    assert list(unfinished.glob("parked-*")), "it was killed with sums waiting on disk"
    (out / "normals" / "c" / "0.half.partial").write_bytes(b"half a chunk")
    # A block may be written and not yet noted: that one is written again.
    chunks = [
        out / "normals" / "c" / "0" / str(y.start // 16) / str(x.start // 16)
        for y, x in map(layout.core, layout)
    ]
    before = {
        file: file.stat().st_mtime_ns
        for file, noted in zip(chunks, finished, strict=True)
        if noted and file.exists()
    }
    assert before
    events = []
    # What was begun with other settings, or another network, is refused and stays as it is.
    with pytest.raises(RunError, match=r"made in another way \(overlap 0.5, now 0.25\).*--overwrite"):
        workflow.predict_files(run, tmp_path / "in.zarr", out, overrides={"overlap": 0.25})
    # Another process goes on, and computes the tiles of what is missing and no other.
    log.unlink()
    went_on = subprocess.run([*script, "0", *command], capture_output=True, text=True)
    assert went_on.returncode == 0, went_on.stderr
    assert f"{len(done)} of {len(layout)} blocks are finished" in " ".join(went_on.stdout.split())
    due = layout.count_tiles(~finished.reshape(layout.counts))
    assert len(log.read_text().splitlines()) == due < len(layout.grid)
    assert all(file.stat().st_mtime_ns == then for file, then in before.items()), (
        "a finished block was written"
    )
    assert not unfinished.exists() and not list(out.rglob("*.partial"))
    workflow.predict_files(run, tmp_path / "in.zarr", tmp_path / "whole.zarr", device="cpu")
    there, whole = (zarr.open_group(str(tmp_path / name), mode="r") for name in ("out.zarr", "whole.zarr"))
    for name in ("cells", "normals"):
        np.testing.assert_array_equal(there[name][:], whole[name][:])
    # Finished: left as it is, unless it is to be replaced.
    workflow.predict_files(run, tmp_path / "in.zarr", out, device="cpu", emit=events.append)
    assert [e.message for e in events if isinstance(e, Warned)][-1].startswith(f"{out} is complete already")
    assert not any(isinstance(e, PredictProgress) for e in events)
    date = there.attrs["segtrain"]["settings"]["date"]
    overrides = {"overlap": 0.25}
    workflow.predict_files(run, tmp_path / "in.zarr", out, overrides=overrides, overwrite=True)
    settings = zarr.open_group(str(out), mode="r").attrs["segtrain"]["settings"]
    assert settings["inference_config"]["overlap"] == 0.25 and settings["date"] >= date


def test_files_are_not_overwritten_unasked_and_a_folder_goes_on_at_the_next_image(trained, tmp_path):
    run, data = trained
    images = tmp_path / "images"
    images.mkdir()
    for name in "ab":
        tifffile.imwrite(
            images / f"{name}.tif", tifffile.imread(data / "images" / "a.tif")[:: 1 if name == "a" else -1]
        )
    out = tmp_path / "out"
    control = Control()

    def stop_in_the_second(event):
        if isinstance(event, PredictProgress) and event.record == "a" and event.fraction >= 0.5:
            control.stop()

    first = workflow.predict_files(run, images, out, emit=stop_in_the_second, control=control)
    assert first.cancelled and [p.name for p in first.paths] == ["a_cells.tif", "a_normals.tif"]
    before = {path: path.stat().st_mtime_ns for path in first.paths}
    second = workflow.predict_files(run, images, out)
    assert [p.name for p in second.paths] == [f"{i}_{t}.tif" for i in "ab" for t in ("cells", "normals")]
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    with pytest.raises(RunError, match=r"a_cells.tif: holds .*overlap 0.5, now 0.25.*--overwrite"):
        workflow.predict_files(run, images, out, overrides={"overlap": 0.25})
    (out / "b_cells.tif").write_bytes(b"mine")
    with pytest.raises(RunError, match=r"b_cells.tif: .*another version of this program"):
        workflow.predict_files(run, images, out)
    workflow.predict_files(run, images, out, overwrite=True)
    assert tifffile.imread(out / "b_cells.tif").shape == (48, 56)
