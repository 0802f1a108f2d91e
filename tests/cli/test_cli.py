import json

import numpy as np
import pytest
import tifffile
import yaml

from napari_segtrain.cli import main, options
from napari_segtrain.config import ConfigError, ExperimentConfig
from napari_segtrain.runs import RunFolder

SMALL = {
    "tr_setup": {"device": "cpu", "num_workers": 0},
    "tr_config": {
        "patch_size": [32, 32],
        "batch_size": 2,
        "num_epochs": 1,
        "steps_per_epoch": 1,
        "val_steps": 1,
    },
    "model_config": {"base_features": 4, "blocks_per_stage": [1, 1], "max_poolings": 1},
    "inference_config": {"overlap": 0.0},
}


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


@pytest.fixture
def run(capsys):
    """Return a function that runs a command and returns its exit code and what it printed."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return call


def test_train_evaluate_predict_from_the_run_folder_alone(run, small, disc_folder, tmp_path):
    data, project = disc_folder(count=3), tmp_path / "P"
    split = {part: [{"image": f"im{i}"}] for i, part in enumerate(("train", "val", "test"))}
    (data / "split.json").write_text(json.dumps(split))
    code, out, _ = run("train", "-i", data, "-o", project, "--config-path", small, "--lr", "0.01")
    assert code == 0
    folder = project / "runs" / "lr_0.01"
    assert f"completed: {folder}" in out
    assert "Epoch 1/1" in out
    assert RunFolder.open(folder).read_config().tr_config.optimizer.lr == 0.01

    code, out, _ = run("evaluate", folder, "--split", "test")
    assert code == 0
    scores = json.loads((folder / "evaluation" / "test.json").read_text())
    assert set(scores["cells"]) >= {"dice", "iou"}
    assert list(scores["cells"]["images"]) == ["im2"]
    assert "cells" in out

    code, out, _ = run("predict", folder, "-i", data, "-o", tmp_path / "out")
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"im{i}_cells.tif" for i in range(3)]


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
    code, _, _ = run("train", "--resume", folder)
    assert code == 0
    assert len(RunFolder.open(folder).read_metrics()) == 2


def test_a_run_out_of_memory_names_the_flags_to_use(run, small, disc_folder, tmp_path, little_memory):
    little_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    code, _, err = run("train", "-i", disc_folder(), "-o", tmp_path / "P", "--config-path", small)
    assert code != 0
    assert "Try again with: --patch-size 32,32 --batch-size 1" in err
    assert "Traceback" not in err


def test_plan_tells_the_resolved_network(run, small, disc_folder):
    code, out, _ = run("plan", "-i", disc_folder(), "--config-path", small, "--patch-size", "30,30")
    assert code == 0
    for words in ("patch size      30,30", "batch size      2", "cells (1)", "parameters", "GiB", "s a step"):
        assert words in out


def test_check_lists_every_fault_and_exits_with_2(run, disc_folder):
    data = disc_folder()
    assert run("check", "-i", data)[0] == 0
    tifffile.imwrite(data / "labels" / "im0_cells.tif", np.ones((5, 5), np.uint8))
    (data / "images" / "im1.tif").write_bytes(b"II*\0 not really")
    code, out, _ = run("check", "-i", data)
    assert code == 2
    assert out.count("Fault:") >= 2
    assert "im0" in out
    assert "im1" in out


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
        (["train", "--resume", "P", "--loss", "DiceLoss"], "its own configuration"),
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


def test_losses_for_all_targets_or_one():
    assert options.losses(["A,B"], ["x", "y"]) == {
        "dataset_config.targets.x.losses": ["A", "B"],
        "dataset_config.targets.y.losses": ["A", "B"],
    }
    assert options.losses(["y=A"], ["x", "y"]) == {"dataset_config.targets.y.losses": ["A"]}
    with pytest.raises(ConfigError, match="names no loss"):
        options.losses(["x="], ["x"])


def test_any_key_can_be_set():
    given = options.assignments(["tr_config.ema_decay=0.9", "model_config.features=[8, 16]"])
    config = ExperimentConfig().with_overrides(given)
    assert config.tr_config.ema_decay == 0.9
    assert config.network.features == (8, 16)
