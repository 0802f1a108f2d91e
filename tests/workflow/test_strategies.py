"""Standard, mixed and distributed prediction agree; a run predicts and is scored from wherever it lies."""

import json
import shutil

import distributed
import numpy as np
import pytest
import tifffile
import zarr

from napari_segtrain import workflow
from napari_segtrain.cli import main
from napari_segtrain.config import ConfigError, RunError
from napari_segtrain.runs import Control, PredictProgress, Warned


@pytest.fixture(scope="module")
def cluster():
    """Return the address of a scheduler with one worker, which is a thread of this process."""
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(processes=False, **options) as local:
        yield local.scheduler_address


def squares(shape, seed):
    """Return a noisy image of bright squares, and where they are."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    for y, x in rng.integers(0, np.array(shape) - 16, (shape[0] * shape[1] // 700, 2)):
        labels[y : y + 16, x : x + 16] = 1
    return (60 + 120 * labels + rng.normal(0, 12, shape)).astype(np.uint8), labels


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a run that knows squares from ground, and its data."""
    folder = tmp_path_factory.mktemp("trained")
    for kind in ("images", "labels"):
        (folder / "data" / kind).mkdir(parents=True)
    for number in range(3):
        image, labels = squares((64, 72), number)
        tifffile.imwrite(folder / "data" / "images" / f"im{number}.tif", image)
        tifffile.imwrite(folder / "data" / "labels" / f"im{number}_cells.tif", labels)
    config = {
        "tr_setup": {"device": "cpu", "num_workers": 0},
        "tr_config": {
            "patch_size": [32, 32],
            "batch_size": 2,
            "num_epochs": 1,
            "steps_per_epoch": 20,
            "val_steps": 1,
            "optimizer": {"name": "AdamW", "lr": 0.01},
            "evaluate_after": "none",
        },
        "model_config": {"base_features": 4, "blocks_per_stage": [1, 1], "max_poolings": 1},
    }
    return workflow.train(config, folder / "data", folder / "project").path, folder / "data"


@pytest.fixture
def image(tmp_path):
    """Return the store of an image of 5 × 6 blocks of one chunk."""
    path = tmp_path / "in.zarr"
    zarr.save_array(str(path), squares((150, 170), 7)[0])
    return path


@pytest.fixture
def small_blocks(monkeypatch):
    """Cut outputs into many chunks and blocks."""
    from napari_segtrain.inference import predictor
    from napari_segtrain.inference.sinks import base

    monkeypatch.setitem(base.CHUNK_EDGE, 2, 32)
    monkeypatch.setattr(predictor, "MEMORY_BUDGET", 1)


def labels(store):
    return zarr.open_group(str(store), mode="r")["cells"][:]


def test_mixed_precision_gives_the_labels_of_full_precision(trained, image, tmp_path):
    run, _ = trained
    for strategy in ("standard", "mixed"):
        workflow.predict_files(run, image, tmp_path / f"{strategy}.zarr", overrides={"strategy": strategy})
    standard, mixed = (labels(tmp_path / f"{name}.zarr") for name in ("standard", "mixed"))
    assert 0.05 < standard.mean() < 0.95
    assert (standard == mixed).mean() > 0.98
    soft = {
        strategy: workflow.predict(run, image, output="probabilities", strategy=strategy)["cells"]
        for strategy in ("standard", "mixed")
    }
    assert 0 < np.abs(soft["standard"] - soft["mixed"]).max() < 0.1


def test_workers_write_what_one_process_writes_and_go_on_after_a_stop(
    trained, image, tmp_path, cluster, small_blocks
):
    run, _ = trained
    workflow.predict_files(run, image, tmp_path / "alone.zarr", overrides={"strategy": "standard"})
    out, control, events = tmp_path / "out.zarr", Control(), []

    def stop_soon(event):
        if isinstance(event, PredictProgress):
            control.stop()

    stopped = workflow.predict_files(run, image, out, scheduler=cluster, emit=stop_soon, control=control)
    assert stopped.cancelled
    noted = (tmp_path / ".out.zarr.unfinished" / "blocks.jsonl").read_text().splitlines()
    assert len(noted) == 4, "one share of the eight that a worker gets"
    assert len({tuple(map(tuple, json.loads(line))) for line in noted}) == len(noted)
    ended = workflow.predict_files(run, image, out, scheduler=cluster, emit=events.append)
    said = [event.message for event in events if isinstance(event, Warned)]
    assert any(f"{len(noted)} of 30 blocks are finished" in message for message in said)
    assert ended.paths == (out,)
    np.testing.assert_array_equal(labels(out), labels(tmp_path / "alone.zarr"))
    assert not (tmp_path / ".out.zarr.unfinished").exists()
    progress = [event.fraction for event in events if isinstance(event, PredictProgress)]
    assert progress == sorted(progress) and progress[-1] == 1.0


@pytest.mark.parametrize(
    ("output", "options", "error", "words"),
    [
        ("folder", {"overrides": {"strategy": "distributed"}}, ConfigError, "ends in .zarr"),
        ("o.zarr", {"workers": 1, "scheduler": "tcp://x:1"}, ConfigError, "give one"),
        ("o.zarr", {"scheduler": "nonsense://nowhere"}, RunError, "no scheduler answers there"),
    ],
)
def test_what_cannot_be_distributed_is_refused(trained, tmp_path, output, options, error, words):
    run, data = trained
    with pytest.raises(error, match=words):
        workflow.predict_files(run, data / "images" / "im0.tif", tmp_path / output, **options)


def test_a_layer_is_not_distributed(trained, image, tmp_path):
    with pytest.raises(ConfigError, match="from the command line"):
        workflow.predict_layer(
            trained[0], str(image), tmp_path / "o.zarr", inference={"strategy": "distributed"}
        )


def test_a_run_predicts_and_is_scored_from_its_folder_alone(trained, tmp_path, capsys):
    run, data = trained
    moved, images = tmp_path / "elsewhere" / "my run", tmp_path / "elsewhere" / "data"
    expected = workflow.evaluate(run, "val").scores["cells"]["dice"]
    shutil.copytree(run, moved)
    shutil.copytree(data, images)
    # Nothing may be found where it was.
    hidden = data.parent.rename(data.parent.with_name(f"{data.parent.name}-hidden"))
    try:
        for command in (
            ["predict", moved, "-i", images / "images", "-o", tmp_path / "out", "--checkpoint", "last"],
            ["evaluate", moved, "--split", "val", "-i", images],
        ):
            with pytest.raises(SystemExit) as stop:
                main([str(word) for word in command])
            assert not stop.value.code, capsys.readouterr()
        again = workflow.evaluate(moved, "val", data=images).scores["cells"]["dice"]
    finally:
        hidden.rename(data.parent)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"im{n}_cells.tif" for n in range(3)}
    assert again == pytest.approx(expected)
