"""What goes wrong while something is done is one clear message too, and nothing is lost."""

import json
import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import zarr

from napari_segtrain.cli import main
from napari_segtrain.network import MultiTaskUNet
from napari_segtrain.runs import RunFolder, RunState


def trained(run, small, data, project, *options):
    assert (
        run("train", "-i", data, "-o", project, "--config-path", small, "--run-name", "r", *options)[0] == 0
    )
    return project / "runs" / "r"


def test_what_is_worth_knowing_is_said_and_training_goes_on(run, small, disc_folder, tmp_path):
    data = disc_folder(shape=(20, 24))
    tifffile.imwrite(data / "labels" / "im9_cells.tif", np.ones((20, 24), np.uint8))
    for command in (["train", "-o", tmp_path / "P"], ["plan"], ["check"]):
        code, out, _ = run(*command, "-i", data, "--config-path", small)
        assert code == 0
        assert "smaller than the patch size 32,32, and padded to it: im0, im1, im2" in out
        assert "im9_cells.tif belongs to no image" in out
    events = (tmp_path / "P" / "runs" / "base" / "events.jsonl").read_text()
    assert "2 notes on the data" in events


def test_a_loss_that_sees_no_voxel_is_said_once_everywhere(run, small, disc_folder, tmp_path):
    data = disc_folder(count=3)
    for number, value in enumerate((0, 0, 1)):
        painted = np.full((64, 72), value, np.uint8)
        painted[:9, :9] *= 2
        tifffile.imwrite(data / "labels" / f"im{number}_other.tif", painted)
    (data / "split.json").write_text(json.dumps({"train": ["im0", "im1"], "val": ["im2"]}))
    settings = [
        "--set",
        "dataset_config.targets={cells: {kind: binary}, other: {kind: binary, unlabelled: 0}}",
    ]
    code, out, err = run(
        "train", "-i", data, "-o", tmp_path / "P", "--config-path", small, "--num-epochs", 3, *settings
    )
    assert code == 0, err
    sentence = (
        "other (BCEDiceLoss) learned nothing in epoch 1: no voxel was valid for the loss. "
        "Probably 'other' has only unlabelled voxels in the training patches"
    )
    folder = next((tmp_path / "P" / "runs").glob("[a-z]*"))
    places = [
        out,
        *((folder / name).read_text() for name in ("summary.txt", "events.jsonl", "logs/training.log")),
    ]
    assert [place.count(sentence) for place in places] == [1, 1, 1, 1]
    assert sum(sentence in warning for warning in RunFolder.open(folder).read_info().warnings) == 1
    assert not any("cells (" in place for place in places)


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "gpu", "mps"])
def test_a_gpu_that_is_not_there_is_replaced_and_named(
    run, small, disc_folder, tmp_path, monkeypatch, device
):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    data, sentence = disc_folder(count=2), f"Note: {device} was asked for, but "
    for command in (["plan"], ["train", "-o", tmp_path / "P"]):
        code, out, _ = run(*command, "-i", data, "--config-path", small, "--device", device)
        assert code == 0
        assert sentence in out
        assert "the processor computes instead" in out
    folder = tmp_path / "P" / "runs" / "base"
    for command in (
        ["predict", "-i", data / "images" / "im0.tif", "-o", tmp_path / "out"],
        ["evaluate", "--split", "val"],
    ):
        code, out, _ = run(command[0], folder, *command[1:], "--device", device)
        assert code == 0
        assert sentence in out


def test_brackets_in_paths_are_no_style(run, small, disc_folder, tmp_path):
    data = disc_folder(count=2, name="[bold]mit ünï [/x]", shape=(20, 24))
    folder = trained(run, small, data, tmp_path / "[red]数")
    assert folder.is_dir()
    code, out, _ = run("predict", folder, "-i", data, "-o", tmp_path / "[out] ü")
    assert code == 0
    assert str(tmp_path / "[out] ü" / "im0_cells.tif") in out
    code, out, _ = run("preview-targets", "-i", data, "-o", tmp_path / "[targets]")
    assert (code, str(tmp_path / "[targets]") in out) == (0, True)
    assert run("check", "-i", data)[0] == 0


@pytest.mark.parametrize("blocked", ["P", "P/runs", "P/deeper"])
def test_an_output_folder_that_cannot_be_written(run, small, disc_folder, tmp_path, blocked):
    block = tmp_path / ("P" if blocked == "P/deeper" else blocked)
    block.parent.mkdir(exist_ok=True)
    block.write_text("a file in the place of a folder")
    project = tmp_path / (blocked if blocked == "P/deeper" else "P")
    code, _, err = run("train", "-i", disc_folder(count=2), "-o", project, "--config-path", small)
    assert (code, "Traceback" in err) == (2, False)
    assert f"{project}: cannot be written to (" in err
    assert "choose a project folder that you may write to" in err


def test_a_disk_without_room_for_the_checkpoints(run, small, disc_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100 * 2**20))
    arguments = ["train", "-i", disc_folder(count=2), "-o", tmp_path / "P", "--config-path", small]
    code, _, err = run(*arguments, "--num-epochs", 20, "--set", "model_config.base_features=128")
    assert code == 2
    assert "only 100 MiB are free on this disk, and this run may need" in err
    assert "tr_config.keep_checkpoints" in err
    assert not list(tmp_path.glob("P/runs/[a-z]*"))
    assert run(*arguments)[0] == 0


def full_disk(*_, **__):
    raise OSError(28, os.strerror(28))


def test_a_disk_that_fills_while_training(run, small, disc_folder, tmp_path, monkeypatch):
    save = __import__("torch").save

    def save_once(value, file, *rest, **options):
        if value["epoch"] > 1:
            full_disk()
        return save(value, file, *rest, **options)

    monkeypatch.setattr("torch.save", save_once)
    data = disc_folder(count=2)
    code, out, err = run("train", "-i", data, "-o", tmp_path / "P", "--config-path", small, "--num-epochs", 3)
    assert (code, "Traceback" in out + err) == (2, False)
    assert (
        "last.ckpt: the checkpoint cannot be written (No space left on device); an older one is kept" in err
    )
    folder = next((tmp_path / "P" / "runs").glob("[a-z]*"))
    assert RunFolder.open(folder).state is RunState.FAILED
    monkeypatch.undo()
    assert run("train", "--resume", folder)[0] == 0


def test_a_disk_that_is_full_for_a_while_costs_a_checkpoint_and_no_training(
    run, small, disc_folder, tmp_path, monkeypatch
):
    """Nothing can be written at the end of the second epoch; the best is what is on the disk."""
    from napari_segtrain.runs import load_checkpoint

    save, seen = __import__("torch").save, []

    def save_some(value, file, *rest, **options):
        if value["epoch"] == 2:
            seen.append(next((tmp_path / "P" / "runs").glob("[a-z]*/checkpoints/last.ckpt")))
            assert load_checkpoint(seen[0])["epoch"] == 1
            full_disk()
        return save(value, file, *rest, **options)

    monkeypatch.setattr("torch.save", save_some)
    arguments = ["train", "-i", disc_folder(count=2), "-o", tmp_path / "P", "--config-path", small]
    code, out, err = run(*arguments, "--num-epochs", 3)
    assert code == 0
    assert "No space left on device" in out + err
    assert "The training goes on, and the next epoch tries again" in out + err
    made = RunFolder.open(seen[0].parents[1])
    info = made.read_info()
    assert (info.status, info.epoch, len(made.read_metrics())) == (RunState.COMPLETED, 3, 3)
    assert any("No space left" in warning for warning in info.warnings)
    assert load_checkpoint(made.checkpoints / "last.ckpt")["epoch"] == 3
    assert load_checkpoint(made.checkpoints / "best.ckpt")["epoch"] == info.best.epoch


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    run, small, disc_folder, tmp_path, monkeypatch
):
    from dataclasses import replace

    from napari_segtrain.losses import MultiTaskLoss

    honest, calls = MultiTaskLoss.forward, []

    def forward(self, *args, **kwargs):
        result = honest(self, *args, **kwargs)
        calls.append(1)
        return result if len(calls) < 4 else replace(result, total=result.total * float("nan"))

    monkeypatch.setattr(MultiTaskLoss, "forward", forward)
    data = disc_folder(count=2)
    code, _, err = run("train", "-i", data, "-o", tmp_path / "P", "--config-path", small, "--num-epochs", 9)
    assert (code, "Traceback" in err) == (2, False)
    assert "the loss became nan in epoch" in err
    assert "the last good checkpoint is kept. Try a lower learning rate (tr_config.optimizer.lr" in err
    folder = next((tmp_path / "P" / "runs").glob("[a-z]*"))
    info = RunFolder.open(folder).read_info()
    assert (info.status, info.finish_reason) == (RunState.FAILED, "nan_loss")
    assert run("predict", folder, "-i", data / "images" / "im0.tif", "-o", tmp_path / "out")[0] == 0


@pytest.mark.parametrize(
    "error",
    [
        lambda: __import__("torch").OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
        MemoryError,
        lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_says_what_would_fit(run, small, disc_folder, tmp_path, monkeypatch, error):
    def forward(*_, **__):
        raise error()

    monkeypatch.setattr("napari_segtrain.losses.MultiTaskLoss.forward", forward)
    data, folder = disc_folder(count=2), tmp_path / "P"
    code, out, err = run("train", "-i", data, "-o", folder, "--config-path", small, "--patch-size", "64,64")
    assert (code, "Traceback" in err) == (2, False)
    assert "batches of 2 are computed one patch at a time from here on" in " ".join(out.split())
    assert "memory is not enough for patches of 64,64 in batches of 1" in err
    assert "This should fit: tr_config.patch_size 32,32 with tr_config.batch_size 1" in err
    assert "Try again with: --patch-size 32,32 --batch-size 1" in err


def test_images_that_cannot_be_predicted_are_listed_before_the_first_is(run, small, disc_folder, tmp_path):
    data = disc_folder()
    folder = trained(run, small, data, tmp_path / "P")
    first, second, third = (data / "images" / f"im{number}.tif" for number in range(3))
    tifffile.imwrite(second, np.stack([tifffile.imread(first)] * 3, -1))
    third.write_bytes(third.read_bytes()[:700])
    code, out, err = run("predict", folder, "-i", data, "-o", tmp_path / "out")
    assert (code, out, "Traceback" in err) == (2, "", False)
    assert err.startswith("Error: 2 faults\n- image ")
    assert "im1.tif has 3 channel(s), but the network was trained on 1" in err
    assert "im2.tif: the TIFF file is truncated" in err
    assert not (tmp_path / "out").exists()


PREDICTIONS = {
    "nowhere -i DATA": "nowhere: there is nothing here; give a run folder, a checkpoint or a project",
    "DATA -i DATA": "holds no run; give a run folder (one with a run.json)",
    "RUN -i nowhere": "nowhere: there is nothing here. Give an image, a folder of images or a Zarr store",
    "RUN -i empty": "no image was found",
    "RUN -i text.txt": "text.txt: an unknown file format",
    "RUN -i nan.tif": "nan.tif holds values that are not numbers (NaN",
    "RUN -i volumes.tif": "has too many axes",
    "RUN -i DATA --overlap 1": "inference_config: overlap: 1.0 is not allowed: input should be less",
    "RUN -i DATA --tile-size 0": "tile_size",
    "RUN -i DATA --tile-size 8,8,8": "inference_config.tile_size: 8,8,8 has 3 numbers, but the network is 2D",
    "RUN -i DATA --targets nope": "inference_config.targets: 'nope' is not an output of this network",
    "RUN -i DATA --output foo": "'foo' is not a valid value. Allowed: labels, probabilities, uint8",
    "RUN -i DATA --device tpu": "'tpu' is not a device. Allowed: auto, cpu, mps, cuda",
    "RUN -i DATA --checkpoint foo": "'foo' is not a valid value. Allowed: best, last",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, settings):
    """Return a run and its data, for tests that change neither."""
    folder = tmp_path_factory.mktemp("finished")
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / "data" / kind).mkdir(parents=True)
    for number in range(2):
        tifffile.imwrite(
            folder / "data" / "images" / f"im{number}.tif", rng.integers(0, 255, (40, 48)).astype(np.uint8)
        )
        tifffile.imwrite(
            folder / "data" / "labels" / f"im{number}_cells.tif",
            rng.integers(0, 2, (40, 48)).astype(np.uint8),
        )
    (folder / "small.yaml").write_text(json.dumps(settings))
    arguments = ["train", "-i", folder / "data", "-o", folder, "--config-path", folder / "small.yaml"]
    with pytest.raises(SystemExit, match="0"):
        main([*map(str, arguments), "--run-name", "r"])
    return folder / "runs" / "r", folder / "data"


@pytest.mark.parametrize(("arguments", "words"), PREDICTIONS.items(), ids=PREDICTIONS)
def test_predictions_that_cannot_work(run, finished, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("text")
    tifffile.imwrite(tmp_path / "nan.tif", np.full((40, 48), np.nan, np.float32))
    tifffile.imwrite(tmp_path / "volumes.tif", np.zeros((2, 3, 4, 2, 8, 9), np.uint8))
    places = dict(zip(("RUN", "DATA"), finished, strict=True))
    code, _, err = run("predict", *(places.get(a, a) for a in arguments.split()), "-o", "out")
    assert (code, "Traceback" in err) == (2, False)
    assert words in err
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize("kind", ["tif", "zarr"])
@pytest.mark.parametrize("place", ["output", "output/deeper"])
def test_a_prediction_that_cannot_be_written(run, finished, tmp_path, kind, place):
    (tmp_path / "output").write_text("a file in the place of a folder")
    source = finished[1] / "images" / "im0.tif"
    if kind == "zarr":
        source = tmp_path / "image.zarr"
        zarr.create_array(str(source), data=tifffile.imread(finished[1] / "images" / "im0.tif"))
    code, _, err = run("predict", finished[0], "-i", source, "-o", tmp_path / place)
    assert (code, "Traceback" in err) == (2, False)
    assert f"{tmp_path / place}: " in err
    assert (tmp_path / "output").read_text() == "a file in the place of a folder"


def test_a_full_disk_while_predicting_leaves_nothing_behind(run, finished, tmp_path, monkeypatch):
    monkeypatch.setattr("os.posix_fallocate", full_disk)
    code, _, err = run(
        "predict", finished[0], "-i", finished[1] / "images" / "im0.tif", "-o", tmp_path / "out"
    )
    assert (code, "Traceback" in err) == (2, False)
    assert f"{tmp_path / 'out'}: cannot be written (No space left on device); free some space" in err
    assert not list((tmp_path / "out").iterdir())


def test_a_tile_larger_than_the_image_is_made_smaller(run, finished, tmp_path):
    huge = ["--tile-size", "200000,200000"]
    assert (
        run("predict", finished[0], "-i", finished[1] / "images" / "im0.tif", "-o", tmp_path / "out", *huge)[
            0
        ]
        == 0
    )


def test_a_tile_that_does_not_fit_into_memory(run, finished, tmp_path, monkeypatch):
    def forward(*_):
        raise MemoryError

    monkeypatch.setattr("napari_segtrain.network.MultiTaskUNet.forward", forward)
    code, _, err = run(
        "predict", finished[0], "-i", finished[1] / "images" / "im0.tif", "-o", tmp_path / "out"
    )
    assert (code, "Traceback" in err) == (2, False)
    assert "a tile of 32,32 does not fit into the memory of cpu: choose a smaller tile" in err
    assert not list((tmp_path / "out").iterdir())


DAMAGE = {
    "truncated checkpoint": (
        "checkpoints/best.ckpt",
        lambda p: p.write_bytes(p.read_bytes()[:700]),
        "is damaged or not a checkpoint",
    ),
    "empty checkpoint": (
        "checkpoints/best.ckpt",
        lambda p: p.write_bytes(b""),
        "is damaged or not a checkpoint",
    ),
    "no checkpoint": ("checkpoints", lambda p: [f.unlink() for f in p.iterdir()], "has no checkpoint yet"),
    "no run.json": ("run.json", lambda p: p.unlink(), "holds no run; give a run folder"),
    "no split": ("split.json", lambda p: p.unlink(), "split.json: cannot be read"),
    "another split": (
        "split.json",
        lambda p: p.write_text('{"train": 3}'),
        "split.json: does not hold what a run",
    ),
    "broken split": ("split.json", lambda p: p.write_text("["), "split.json: is not valid JSON"),
    "resolved": (
        "resolved.json",
        lambda p: p.write_text("{}"),
        "resolved.json: does not hold what a run writes",
    ),
    "no configuration": ("config.yaml", lambda p: p.unlink(), "config.yaml: cannot be read"),
    "data": (
        "data.json",
        lambda p: p.write_text("7"),
        'a data set is a folder, {"layers": […]} or {"folder": …, "layers": […]}, not \'7\'',
    ),
}


@pytest.mark.parametrize(("file", "spoil", "words"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_run_folder(run, finished, tmp_path, file, spoil, words):
    folder = tmp_path / "runs" / "r"
    shutil.copytree(finished[0], folder)
    spoil(folder / file)
    code, _, err = run("evaluate", folder, "--split", "val")
    assert (code, "Traceback" in err) == (2, False)
    assert words in err


def test_resuming_with_what_does_not_fit_leaves_the_run_as_it_is(run, finished, disc_folder, tmp_path):
    folder = tmp_path / "runs" / "r"
    shutil.copytree(finished[0], folder)
    other = disc_folder(count=1, shape=(20, 24))
    for options, words in (
        (["-i", other], "the run was trained on an image 'im0' that reaches to (40, 48)"),
        (["-i", tmp_path / "nowhere"], "nowhere does not exist"),
        (["--patch-size", "64,64,64"], "tr_config.patch_size: 64,64,64 has 3 numbers, but the data is 2D"),
        (["--set", "model_config.base_features=8"], "features"),
        (["--set", "tr_config.optimizer.name=SGD"], "cannot go on from"),
    ):
        code, _, err = run("train", "--resume", folder, "--num-epochs", 3, *options)
        assert (code, "Traceback" in err) == (2, False)
        assert words in err
        assert RunFolder.open(folder).state is RunState.COMPLETED
    assert run("train", "--resume", folder, "--num-epochs", 2)[0] == 0


def test_a_run_without_its_last_checkpoint_does_not_begin_anew(run, finished, tmp_path):
    folder = tmp_path / "runs" / "r"
    shutil.copytree(finished[0], folder)
    shutil.rmtree(folder / "checkpoints")
    code, _, err = run("train", "--resume", folder, "--num-epochs", 3)
    assert (code, "Traceback" in err) == (2, False)
    assert f"{folder}: its last.ckpt is gone, so that it cannot go on; start a new run" in err
    assert RunFolder.open(folder).state is RunState.COMPLETED


def test_data_without_its_labels_cannot_be_scored(run, finished, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(finished[1], data)
    shutil.rmtree(data / "labels")
    code, _, err = run("evaluate", finished[0], "--split", "val", "-i", data)
    assert (code, "Traceback" in err) == (2, False)
    assert "has no labels here; give the data of the run (--input DATA)" in err


@pytest.mark.parametrize("command", ["train", "predict", "evaluate"])
def test_ctrl_c_exits_with_130_and_without_a_traceback(run, finished, tmp_path, monkeypatch, command):
    real = MultiTaskUNet.forward

    def forward(self, x):
        signal.raise_signal(signal.SIGINT)
        return real(self, x)

    monkeypatch.setattr(MultiTaskUNet, "forward", forward)
    folder, data = finished
    arguments = {
        "train": ["-i", data, "-o", tmp_path / "P", "--config-path", folder.parents[1] / "small.yaml"],
        "predict": [folder, "-i", data, "-o", tmp_path / "out"],
        "evaluate": [folder, "--split", "val"],
    }
    code, out, err = run(command, *arguments[command])
    assert (code, "Traceback" in out + err) == (130, False)
