import json
import subprocess
import sys
from importlib.metadata import entry_points
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import yaml

from napari_segtrain.cli import main, options
from napari_segtrain.config import ConfigError, ExperimentConfig
from napari_segtrain.runs import RunFolder, load_checkpoint, save_checkpoint


def test_train_evaluate_predict_from_the_run_folder_alone(run, small, disc_folder, tmp_path):
    data, project = disc_folder(count=3), tmp_path / "P"
    split = {part: [{"image": f"im{i}"}] for i, part in enumerate(("train", "val", "test"))}
    (data / "split.json").write_text(json.dumps(split))
    held_out = "--set", "tr_config.evaluate_after=held_out"
    code, out, _ = run("train", "-i", data, "-o", project, "--config-path", small, "--lr", "0.01", *held_out)
    assert code == 0
    folder = project / "runs" / "lr_0.01"
    assert f"completed: {folder}" in out
    assert "Epoch 1/1" in out
    assert [f"Scores on {part} (1 image)  cells  dice 0." in out for part in ("train", "val", "test")] == [
        False,
        True,
        True,
    ]
    assert f"report: {folder / 'report.html'}" in out
    assert out.count(f"Picture {folder / 'plots' / 'segtrain_debug.png'}") == 1
    assert (folder / "plots" / "segtrain_debug.png").is_file()
    assert RunFolder.open(folder).read_config().tr_config.optimizer.lr == 0.01

    (folder / "report.html").unlink()
    moved = data.rename(tmp_path / "moved")
    code, _, err = run("evaluate", folder, "--split", "test")
    assert (code, "Traceback" in err) == (2, False)
    code, out, _ = run("evaluate", folder, "--split", "test", "-i", moved, "--which", "last")
    assert code == 0
    assert json.loads((folder / "evaluation" / "index.json").read_text())["test"]["checkpoint"] == "last.ckpt"
    assert f"report: {folder / 'report.html'}" in out
    assert "last.ckpt, epoch 1" in (folder / "report.html").read_text()
    data = moved.rename(data)
    scores = json.loads((folder / "evaluation" / "test.json").read_text())
    assert set(scores["cells"]) >= {"dice", "iou"}
    assert list(scores["cells"]["images"]) == ["im2"]
    assert "cells" in out
    (folder / "report.html").unlink()
    code, out, _ = run("report", folder)
    assert (code, out.strip()) == (0, str(folder / "report.html"))
    assert (folder / "report.html").is_file()

    code, out, _ = run("predict", folder, "-i", data, "-o", tmp_path / "out")
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"im{i}_cells.tif" for i in range(3)]


@pytest.mark.slow
def test_instances_are_scored_and_written(run, small, disc_folder, tmp_path):
    data = disc_folder(instances=True)
    arguments = ("--config-path", small, "--set", "dataset_config.targets.cells.kind=instances")
    assert run("train", "-i", data, "-o", tmp_path / "P", *arguments, "--run-name", "r")[0] == 0
    folder = tmp_path / "P" / "runs" / "r"
    assert run("evaluate", folder, "--split", "val")[0] == 0
    assert "ap50" in json.loads((folder / "evaluation" / "val.json").read_text())["cells"]
    image = data / "images" / "im0.tif"
    assert run("predict", folder, "-i", image, "-o", tmp_path / "out", "--instances", "--min-size", 0)[0] == 0
    assert tifffile.imread(tmp_path / "out" / "im0_cells.tif").dtype == np.int32


def test_stop_after_exits_with_130_and_resume_finishes(run, small, disc_folder, tmp_path):
    data = disc_folder()
    arguments = ("--config-path", small, "--num-epochs", 2, "--stop-after", 1)
    code, out, _ = run("train", "-i", data, "-o", tmp_path / "P", *arguments)
    assert code == 130
    assert "--resume" in out
    folder = tmp_path / "P" / "runs" / "epochs_2"
    code, _, _ = run("train", "-i", data, "-o", tmp_path / "P", "--resume", folder)
    assert code == 0
    assert len(RunFolder.open(folder).read_metrics()) == 2


def test_a_run_out_of_memory_names_the_flags_to_use(run, small, disc_folder, tmp_path, little_memory):
    little_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    data, project = disc_folder(), tmp_path / "P"
    code, _, err = run("train", "-i", data, "-o", project, "--config-path", small, "--patch-size", "64,64")
    assert code != 0
    assert "Try again with: --patch-size 32,32 --batch-size 1" in err
    assert "Traceback" not in err


def test_plan_tells_the_resolved_network(run, small, disc_folder):
    changes = ["--patch-size", "30,30", "--devices", 3]
    code, out, _ = run("plan", "-i", disc_folder(), "--config-path", small, *changes)
    assert code == 0
    batch = "batch size      2 × 3 processes = 6 patches a step"
    for words in ("patch size      30,30", batch, "cells (1)", "parameters", "GiB", "s a step"):
        assert words in out


def test_check_lists_every_fault_and_exits_with_2(run, disc_folder):
    data = disc_folder()
    code, out, _ = run("check", "-i", data)
    assert code == 0
    assert "Split by train_split and seed:\n  train: 2 images: im" in out
    assert "  validation: 1 image: im" in out
    tifffile.imwrite(data / "labels" / "im0_cells.tif", np.ones((5, 5), np.uint8))
    (data / "images" / "im1.tif").write_bytes(b"II*\0 not really")
    code, out, _ = run("check", "-i", data)
    assert code == 2
    assert out.count("Fault:") >= 2
    assert "Split" not in out
    assert "im0" in out
    assert "im1" in out


def test_doctor_prints_the_flag_that_helps_and_so_does_a_training(run, disc_folder, small, tmp_path):
    config = yaml.safe_load(small.read_text())
    config["tr_config"]["optimizer"] = {"name": "AdamW", "lr": 0.5}
    config["dataset_config"] = {"foreground_oversampling": 0.3}
    small.write_text(yaml.safe_dump(config))
    data = disc_folder()
    code, out, err = run("doctor", "-i", data, "--config-path", small)
    assert (code, err) == (0, "")
    assert "0.001 is usual. Try: --lr 0.001" in out
    assert "Note: a training step, with patches of" in out
    code, out, _ = run("train", "-i", data, "-o", tmp_path / "P", "--config-path", small)
    assert "0.001 is usual. Try: --lr 0.001" in out
    assert "a training step, with patches of" not in out
    config["tr_config"].update(patch_size=[200000, 200000])
    small.write_text(yaml.safe_dump(config))
    code, out, _ = run("doctor", "-i", data, "--config-path", small)
    assert code == 2
    assert "Fault: this machine's memory is not enough" in out
    code, _, err = run("doctor", "--config-path", small)
    assert code == 2
    assert "-i" in err


def test_doctor_says_why_there_is_no_gpu(run):
    code, out, _ = run("doctor")
    assert code == 0
    assert "torch" in out
    assert "CUDA" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], "give the data with -i"),
        (["train", "-i", "nowhere", "-o", "P"], "nowhere"),
        (["train", "-i", "DATA", "-o", "P", "--patch-size", "a,b"], "--patch-size 'a,b'"),
        (["train", "-i", "DATA", "-o", "P", "--device", "gpuu"], "tr_setup.device"),
        (["train", "-i", "DATA", "-o", "P", "--num-epochs", "0"], "tr_config.num_epochs"),
        (["train", "-i", "DATA", "-o", "P", "--loss", "DiceLos"], "DiceLoss"),
        (["train", "-i", "DATA", "-o", "P", "--loss", "cell=DiceLoss"], "Did you mean 'cells'?"),
        (["train", "-i", "DATA", "-o", "P", "--set", "tr_config.ema_decy=1"], "Did you mean 'ema_decay'?"),
        (["train", "-i", "DATA", "-o", "P", "--set", "nothing"], "section.key=value"),
        (["train", "-i", "DATA", "-o", "P", "--config-path", "no.yaml"], "no.yaml"),
        (["train", "-i", "DATA", "-o", "P", "--set", "tr_setup.seed.x=1"], "tr_setup.seed is a value"),
        (
            ["train", "-i", "DATA", "-o", "P", "--format", "tiff"],
            "command line: dataset_config.format: 'tiff'",
        ),
        (["train", "--resume", "P", "--loss", "DiceLoss"], "its own configuration"),
        (
            ["train", "--resume", "P", "--run-name", "x", "--format", "tif"],
            "leave out --run-name and --format",
        ),
        (["train", "--resume", "P/runs/x", "-o", "Q"], "no run of the project Q"),
        (["train", "--resume", "nowhere"], "nowhere"),
        (["predict", "nowhere", "-i", "DATA", "-o", "out"], "nowhere"),
        (["evaluate", "nowhere", "--split", "test"], "nowhere"),
        (["evaluate", "nowhere", "--split", "tset"], "tset"),
    ],
)
def test_a_mistake_is_one_clear_message_and_exit_code_2(
    run, disc_folder, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    data = str(disc_folder())
    code, _, err = run(*[data if a == "DATA" else a for a in arguments])
    assert code == 2
    assert words in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("P/runs/[a-z]*"))


EVERY_FLAG = {
    "--format": "tif",
    "--batch-size": 3,
    "--patch-size": "24,32",
    "--loss": "[SoftDiceLoss, BCEWithLogitsLoss]",
    "--train-split": 0.5,
    "--loss-on-label-only": None,
    "--lr": 0,
    "--num-epochs": 1,
    "--steps-per-epoch": 2,
    "--max-time": 5,
    "--seed": 7,
    "--model-name": "mine",
    "--run-name": "every",
    "--device": "cpu",
    "--num-workers": 0,
}


def check_every_flag(folder):
    config = RunFolder.open(folder).read_config()
    setup, training, data = config.tr_setup, config.tr_config, config.dataset_config
    assert (data.format, training.batch_size, training.patch_size) == ("tif", 3, (24, 32))
    names = [loss.name for loss in data.targets["cells"].losses]
    assert names == ["SoftDiceLoss", "BCEWithLogitsLoss"]
    assert (setup.train_split, training.loss_on_label_only, training.optimizer.lr) == (0.5, True, 0.0)
    assert (training.num_epochs, training.steps_per_epoch, training.max_time) == (1, 2, 5.0)
    assert (setup.seed, setup.model_name, setup.run_name) == (7, "mine", "every")
    assert (setup.device, setup.num_workers) == ("cpu", 0)
    assert (folder / "checkpoints" / "mine_1.pth").is_file()
    split = json.loads((folder / "split.json").read_text())
    assert (len(split["train"]), len(split["val"])) == (2, 2)


def flags(values):
    return [str(part) for flag, value in values.items() for part in (flag, value) if part is not None]


def test_every_flag_of_train_reaches_the_run(run, small, disc_folder, tmp_path):
    code, out, err = run(
        "train", "-i", disc_folder(count=4), "-o", tmp_path / "P", "--config-path", small, *flags(EVERY_FLAG)
    )
    assert code == 0, out + err
    check_every_flag(tmp_path / "P" / "runs" / "every")


@pytest.mark.slow
def test_the_module_is_the_same_command(small, disc_folder, tmp_path):
    arguments = ["train", "-i", str(disc_folder(count=4)), "-o", str(tmp_path / "P"), "--config-path"]
    command = [sys.executable, "-m", "napari_segtrain", *arguments, str(small), *flags(EVERY_FLAG)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    check_every_flag(tmp_path / "P" / "runs" / "every")
    done = subprocess.run([*command[:3], "train"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "give the data with -i" in done.stderr


def test_the_installed_command_is_main():
    (found,) = [e for e in entry_points(group="console_scripts") if e.name == "segtrain"]
    assert found.load() is main


def test_every_command_has_a_line_that_fits_and_a_help_of_its_own(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run("--help")
    lines = out.split("Commands:")[1].strip().splitlines()
    assert [line.split()[0] for line in lines] == COMMANDS
    assert not [line for line in lines if "..." in line or "…" in line]
    for command in COMMANDS:
        code, out, _ = run(command, "--help")
        assert code == 0
        assert f"Usage: segtrain {command} [OPTIONS]" in out


COMMANDS = [
    "train",
    "predict",
    "evaluate",
    "report",
    "label-next",
    "runs",
    "follow",
    "compare",
    "retry",
    "duplicate",
    "labels",
    "stop",
    "delete",
    "serve",
    "plan",
    "preview-targets",
    "preview-augmentation",
    "check",
    "doctor",
    "demo",
    "workflow",
]


def test_an_epoch_that_does_not_exist_is_no_place_to_stop(run, disc_folder, tmp_path):
    code, _, err = run("train", "-i", disc_folder(), "-o", tmp_path / "P", "--stop-after", 0)
    assert code == 2
    assert "--stop-after" in err
    assert not (tmp_path / "P").exists()


@pytest.fixture
def finished(run, small, disc_folder, tmp_path):
    """A run that the command line made."""
    arguments = ("--config-path", small, "--run-name", "r")
    assert run("train", "-i", disc_folder(count=2), "-o", tmp_path / "P", *arguments)[0] == 0
    return tmp_path / "P" / "runs" / "r"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--overlap", 2),
        ("--output", "labls"),
        ("--checkpoint", "first"),
        ("--blending", "gausian"),
        ("--batch-size", 0),
        ("--tile-size", "0,16"),
        ("--targets", "cell"),
        ("--min-size", -1),
    ],
)
def test_a_setting_of_predict_that_is_not_valid_is_refused(run, finished, tmp_path, option, value):
    arguments = ("-i", tmp_path / "data", "-o", tmp_path / "out", option, value)
    code, _, err = run("predict", finished, *arguments)
    assert code == 2
    assert err.startswith("Error: inference_config")
    assert option.removeprefix("--").replace("-", "_") in err
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_moved_is_scored_and_predicts(run, finished, tmp_path):
    run("evaluate", finished, "--split", "val")
    scores = json.loads((finished / "evaluation" / "val.json").read_text())
    _, data = finished.parents[1].rename(tmp_path / "Q"), (tmp_path / "data").rename(tmp_path / "elsewhere")
    moved = tmp_path / "Q" / "runs" / "r"
    code, _, err = run("evaluate", moved, "--split", "val")
    assert code == 2
    assert str(tmp_path / "data") in err
    for checkpoint in (moved, moved / "checkpoints" / "last.ckpt"):
        code, out, err = run("evaluate", checkpoint, "--split", "val", "-i", data)
        assert code == 0, err
        assert "cells" in out
        assert json.loads((moved / "evaluation" / "val.json").read_text()) == scores
    assert run("predict", moved, "-i", data, "-o", tmp_path / "out", "--checkpoint", "last")[0] == 0
    assert len(list((tmp_path / "out").glob("*_cells.tif"))) == 2
    assert run("train", "--resume", moved, "--num-epochs", 2, "-i", data)[0] == 0
    assert run("evaluate", moved, "--split", "val")[0] == 0, "the run knows now where its data is"


def test_the_checkpoint_that_is_named_is_scored_and_predicts(run, finished, tmp_path):
    last = finished / "checkpoints" / "last.ckpt"
    checkpoint = load_checkpoint(last)
    zero = {name: value * 0 for name, value in checkpoint["model"].items()}
    save_checkpoint(last, {**checkpoint, "model": zero})
    recalls = []
    for arguments in ((finished,), (finished, "--checkpoint", "last"), (last,)):
        assert run("evaluate", *arguments, "--split", "val", "--threshold", 0.45)[0] == 0
        recalls.append(json.loads((finished / "evaluation" / "val.json").read_text())["cells"]["recall"])
    assert recalls[0] < 1.0
    assert recalls[1:] == [1.0, 1.0], "a network of zeros says 0.5 everywhere"
    predicting = ("predict", finished, "-i", tmp_path / "data" / "images", "-o", tmp_path / "out")
    assert run(*predicting)[0] == 0
    code, _, err = run(*predicting, "--checkpoint", "last")
    assert code != 0 and "made in another way (other weights)" in " ".join(err.split())
    code, out, _ = run(*predicting)
    assert code == 0 and "complete already" in " ".join(out.split())
    code, out, err = run(*predicting, "--checkpoint", "last", "--overwrite", "--resample")
    assert code == 0 and "complete already" not in " ".join((out + err).split())


def test_a_share_that_a_split_file_overrules_is_said(run, small, disc_folder, tmp_path):
    data = disc_folder(count=2)
    (data / "split.json").write_text(json.dumps({"train": ["im0"], "val": ["im1"]}))
    arguments = ("train", "-i", data, "-o", tmp_path / "P", "--config-path", small)
    assert "the split.json of the data decides" in run(*arguments, "--train-split", 0.5)[1]
    assert "split.json" not in run(*arguments)[1]


def test_every_train_flag_has_the_schemas_text():
    for dotted in options.TRAIN_KEYS.values():
        assert options.schema_help(dotted).startswith(options.field_at(dotted).description)


def test_flags_override_only_when_given_and_also_with_zero():
    values = dict.fromkeys(options.TRAIN_KEYS) | {"lr": 0.0, "seed": 0, "loss_on_label_only": False}
    assert options.given(options.TRAIN_KEYS, values) == {
        "tr_config.optimizer.lr": 0.0,
        "tr_setup.seed": 0,
        "tr_config.loss_on_label_only": False,
    }


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        ("--lr 0.01 --batch-size 32", "batch_32_lr_0.01"),
        ("--batch-size 32 --lr 0.01", "batch_32_lr_0.01"),
        ("--seed 3 --lr 0.002 --num-epochs 4 --batch-size 8", "batch_8_epochs_4_lr_0.002_seed_3"),
        ("--set tr_config.ema_decay=0.9 --lr 1e-3", "lr_0.001_ema_decay_0.9"),
        ("--set tr_config.optimizer.lr=0.5 --num-epochs 2", "epochs_2_lr_0.5"),
        ("--loss DiceLoss --patch-size 32,32", "loss_DiceLoss_patch_size_32-32"),
        ("--seed 0", "seed_0"),
        ("--device cpu --num-workers 0 --format tif --stop-after 1", "base"),
        ("--lr 0.01 --run-name mine", "mine"),
        ("", "base"),
    ],
)
def test_flags_name_the_run_in_any_order(run, disc_folder, tmp_path, monkeypatch, flags, name):
    named = []

    def take(lock, name, **options):
        named.append(name)
        raise ConfigError("enough")

    def review(config, *_, **__):  # takes its time, and changes no name
        return SimpleNamespace(config=config, checked=lambda: None, disk_space=0)

    monkeypatch.setattr("napari_segtrain.workflow.run.review", review)
    monkeypatch.setattr("napari_segtrain.workflow.run.lock_project", take)
    code, _, err = run("train", "-i", disc_folder(count=2), "-o", tmp_path / "P", *flags.split())
    assert (code, err, named) == (2, "Error: enough\n", [name])


BOTH = {"dataset_config.targets.x.losses": ["A", "B"], "dataset_config.targets.y.losses": ["A", "B"]}


@pytest.mark.parametrize(
    "written", [["A,B"], ["[A, B]"], ["['A', \"B\"]"], ["A", "B"], [" A , B ,"]], ids=lambda w: " ".join(w)
)
def test_losses_are_a_list_or_given_one_by_one(written):
    assert options.losses(written, ["x", "y"]) == BOTH


def test_a_named_target_or_task_has_its_own_losses():
    x, y = "dataset_config.targets.x.losses", "dataset_config.targets.y.losses"
    assert options.losses(["y=A"], ["x", "y"]) == {y: ["A"]}
    for written in (["A", "y=[B,C]"], ["y=B", "A", "y=C"]):
        assert options.losses(written, ["x", "y"]) == {x: ["A"], y: ["B", "C"]}
    found = options.losses(["A", "d=L1Loss"], ["x"], ["d"])
    assert found == {x: ["A"], "auxiliary_tasks.d.losses": ["L1Loss"]}
    for wrong in ("x=", "", "[]"):
        with pytest.raises(ConfigError, match="names no loss"):
            options.losses([wrong], ["x"])


def test_any_key_can_be_set():
    given = options.assignments(["tr_config.ema_decay=0.9", "model_config.features=[8, 16]"])
    config = ExperimentConfig().with_overrides(given)
    assert config.tr_config.ema_decay == 0.9
    assert config.network.features == (8, 16)
