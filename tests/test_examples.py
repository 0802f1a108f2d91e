"""The example experiments load, resolve against their data set, and learn something in a minute."""

import json
import math
import os
import re
from pathlib import Path

import pytest

from napari_segtrain.config import DataFacts, TargetFacts, load_config
from napari_segtrain.config.auxiliary import TASK_TYPES
from napari_segtrain.losses import LOSSES, check_heads, loss_names
from napari_segtrain.targets import resolve_heads

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
DATA = {
    "nuclei2d": "dsb2018_fluo",
    "membrane3d": "fib25_em3d",
    "vessels2d": "chase_db1",
    "all_losses2d": "chase_db1",
    "all_auxiliary3d": "fib25_em3d",
}


@pytest.fixture
def data_folder():
    root = os.environ.get("SEGTRAIN_DATA")
    if not root:
        pytest.skip("SEGTRAIN_DATA does not name the labelled data sets")
    return Path(root)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_is_a_valid_experiment(path):
    assert path.stem in DATA
    assert load_config(path).dataset_config.targets


def test_one_example_has_every_auxiliary_task():
    tasks = load_config(ROOT / "examples" / "all_auxiliary3d.yaml").auxiliary_tasks
    assert {task.type for task in tasks.values()} == set(TASK_TYPES)


@pytest.mark.data
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_fits_its_data(path, data_folder):
    from napari_segtrain import workflow
    from napari_segtrain.data import check_dataset, make_split, open_dataset

    config = load_config(path)
    dataset = open_dataset(data_folder / DATA[path.stem], config.dataset_config)
    assert check_dataset(dataset, config).errors == ()
    resolved = workflow.resolve(config, dataset)
    assert resolved.plan.patch_size == tuple(config.tr_config.patch_size)
    assert make_split(dataset, patch_size=resolved.patch_size).test


def test_the_tour_of_losses_has_every_loss():
    config = load_config(ROOT / "examples" / "all_losses2d.yaml")
    facts = DataFacts(
        ndim=2,
        shape=(960, 999),
        spacing=(1.0, 1.0),
        targets={"vessel": TargetFacts(values=(0, 1), max_value=1)},
    )
    heads = {head.name: head for head in resolve_heads(config, facts)}
    check_heads(list(heads.values()), 2)
    used = {name: {loss.name for loss in head.losses} for name, head in heads.items()}
    able = {n: set(loss_names(h.encoding, h.out_channels, 2, h.activation)) for n, h in heads.items()}
    assert heads["vessel"].encoding == "binary"
    assert used["vessel"] == able["vessel"]
    assert set().union(*used.values()) == set(LOSSES)


@pytest.mark.slow
@pytest.mark.data
def test_the_tour_of_losses_trains_and_reports_each(data_folder, tmp_path):
    from napari_segtrain import workflow

    config = load_config(ROOT / "examples" / "all_losses2d.yaml").with_overrides(
        {
            "tr_config.num_epochs": 2,
            "tr_config.steps_per_epoch": 2,
            "tr_config.val_steps": 1,
            "tr_config.evaluate_after": "none",
        }
    )
    run = workflow.train(config, data_folder / DATA["all_losses2d"], tmp_path / "P").path
    row = json.loads((run / "metrics.json").read_text(encoding="utf-8"))[-1]
    for name, output in {**config.dataset_config.targets, **config.auxiliary_tasks}.items():
        for loss in output.losses if len(output.losses) > 1 else ():
            assert math.isfinite(row[f"val_{name}_{loss.name}"]), loss.name


@pytest.mark.slow
@pytest.mark.data
def test_nuclei_are_learned_from_real_images(data_folder, tmp_path):
    from napari_segtrain import workflow

    config = load_config(EXAMPLES[[p.stem for p in EXAMPLES].index("nuclei2d")])
    config = config.with_overrides(
        {
            "tr_setup.compile": "off",
            "tr_config.num_epochs": 2,
            "tr_config.steps_per_epoch": 50,
            "tr_config.batch_size": 4,
            "tr_config.val_every": 2,
            "tr_config.val_steps": 5,
            "tr_config.max_time": None,
            "tr_config.evaluate_after": "none",
            "tr_config.ema_decay": 0.0,
            "tr_config.optimizer.lr": 0.005,
            "model_config.base_features": 16,
            "dataset_config.targets.nuclei.kind": "binary",
        }
    )
    run = workflow.train(config, data_folder / "dsb2018_fluo", tmp_path / "P").path
    settings = {"mirroring": False, "overlap": 0.1, "instances": False}
    scores = workflow.evaluate(run, "val", overrides=settings).scores["nuclei"]
    # A hundred steps; the example itself, with its time, reaches a Dice of 0.946 on the test images.
    assert scores["dice_pooled"] > 0.85


def test_the_job_for_slurm_gives_options_that_there_are() -> None:
    from typer.main import get_command

    from napari_segtrain.cli import app

    [line] = re.findall(r"^srun .*?[^\\]$", (ROOT / "examples" / "slurm.sbatch").read_text(), re.M | re.S)
    given = set(re.findall(r"(?<= )--?[a-z-]+", line.partition("segtrain train")[2]))
    train = get_command(app).commands["train"]  # type: ignore[attr-defined]
    known = {name for parameter in train.params for name in parameter.opts}
    assert {"--num-nodes", "--devices"} <= given <= known
