"""Several processes train one run as one process with larger batches does."""

import json
import os
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import psutil
import pytest
import tifffile
import torch
import yaml
from torch.distributed import TCPStore

from napari_segtrain import workflow
from napari_segtrain.config import ConfigError, DataError, TrainingError
from napari_segtrain.network import Hardware
from napari_segtrain.runs import (
    BatchDone,
    Control,
    EpochDone,
    FinishReason,
    RunFolder,
    RunStarted,
    Warned,
    read_events,
)
from napari_segtrain.training import Team
from napari_segtrain.workflow import crew
from napari_segtrain.workflow.crew import Crew, failure_told, place_of

GREEDY = Path(__file__).with_name("greedy_follower.py")
SETTINGS = {
    "tr_setup": {"device": "cpu", "num_workers": 0, "compile": "off"},
    "tr_config": {
        "patch_size": [32, 32],
        "num_epochs": 2,
        "steps_per_epoch": 3,
        "accumulate": 2,
        "evaluate_after": "none",
        "debug_pictures": 0,
        "ema_decay": 0.9,
        "optimizer": {"name": "SGD", "lr": 0.05},
    },
    "model_config": {
        "base_features": 4,
        "blocks_per_stage": [1, 1, 1],
        "max_poolings": 2,
        "deep_supervision": True,
    },
    "dataset_config": {"targets": {"cells": {"kind": "binary", "unlabelled": 0}}},
    "auxiliary_tasks": {"distance": {"type": "distance_transform", "source_target": "cells"}},
}


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def scribbles(tmp_path, disc_image):
    """Return a data folder in which much, little or nothing of an image is labelled."""
    folder = tmp_path / "data"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for number in range(3):
        image, labels = disc_image((48, 80), 4, number)
        painted = (labels > 0).astype("uint8") + 1
        painted[:, : 30 * number] = 0
        tifffile.imwrite(folder / "images" / f"im{number}.tif", image)
        tifffile.imwrite(folder / "labels" / f"im{number}_cells.tif", painted)
    return folder


def trained_alone(data, project):
    """Train in this process, with batches twice as large."""
    config = {**SETTINGS, "tr_config": {**SETTINGS["tr_config"], "batch_size": 4}}
    return workflow.train(config, data, project, run_name="alone").path


def assert_same(run, other):
    """Compare weights, averaged and not, and every number of every epoch."""
    found, expected = (
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True) for path in (run, other)
    )
    for part in ("model", "state_dict"):
        for name, value in expected[part].items():
            torch.testing.assert_close(found[part][name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert len(found["rows"]) == len(expected["rows"]) == 2
    for row, truth in zip(found["rows"], expected["rows"], strict=True):
        assert row == pytest.approx(truth, rel=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # processes that load torch take minutes on a busy machine
def test_two_processes_of_the_command_line_equal_one_with_batches_twice_as_large(
    tmp_path, scribbles, one_thread
):
    project, file = tmp_path / "project", tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(SETTINGS))
    command = [sys.executable, "-m", "napari_segtrain", "train", "-i", scribbles, "-o", project]
    command += ["--config-path", file, "--batch-size", "2", "--devices", "2", "--strategy", "ddp"]
    ended = subprocess.run(
        [*map(str, command), "--device", "cpu"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    run = RunFolder.open(project / "runs" / "batch_2")
    effective = "2 × 2 accumulated × 2 processes = 8 patches a step"
    assert ended.stdout.count("Epoch 1/2") == 1
    assert effective in ended.stdout
    assert effective in (run.path / "summary.txt").read_text(encoding="utf-8")
    assert_same(run.path, trained_alone(scribbles, project))
    names = {path.name for path in run.checkpoints.iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "segtrain_1.pth", "segtrain_2.pth"}
    assert [row["epoch"] for row in json.loads((run.path / "metrics.json").read_text())] == [1, 2]
    events = list(read_events(run.events_path))
    assert sum(isinstance(event, RunStarted) for event in events) == 1
    assert sum(isinstance(event, EpochDone) for event in events) == 2
    info, alone = run.read_info(), RunFolder.open(project / "runs" / "alone").read_info()
    assert info.split == alone.split


@pytest.mark.slow
@pytest.mark.timeout(1800)  # processes that load torch take minutes on a busy machine
def test_a_stop_and_a_killed_process_end_all_and_the_run_goes_on(
    tmp_path, scribbles, one_thread, monkeypatch
):
    # However long a busy machine takes to notice that a process is gone, this one is not to end for it.
    monkeypatch.setattr(crew, "_GRACE", 3600.0)
    project = tmp_path / "project"
    changes = {"devices": 2, "strategy": "ddp"}
    config = {**SETTINGS, "tr_setup": {**SETTINGS["tr_setup"], **changes}}
    config["tr_config"] = {**SETTINGS["tr_config"], "batch_size": 2}
    control = Control()

    def stop(event):
        if isinstance(event, BatchDone):
            control.stop()

    stopped = workflow.train(config, scribbles, project, emit=stop, control=control)
    assert (str(stopped.status), stopped.reason) == ("interrupted", FinishReason.STOPPED)
    assert others() == []

    def kill(event):
        if isinstance(event, EpochDone):
            others()[0].kill()

    with pytest.raises(workflow.RunFailedError, match="process 2 of 2 was ended by SIGKILL"):
        workflow.resume(stopped.path, emit=kill)
    info = RunFolder.open(stopped.path).read_info()
    assert str(info.status) == "failed"
    assert "SIGKILL" in info.message
    assert others() == []
    assert str(workflow.resume(stopped.path).status) == "completed"
    assert_same(stopped.path, trained_alone(scribbles, project))


@pytest.fixture
def train_greedily(tmp_path, scribbles, one_thread, monkeypatch):
    """Return a function that trains in two processes, of which the second runs out of memory."""

    # Processes that wait for each other in vain are a failure, not the end of all tests.
    monkeypatch.setattr(import_module("napari_segtrain.training.team"), "PATIENCE", timedelta(minutes=8))

    def train(when):
        monkeypatch.setattr(crew, "FOLLOWER", (str(GREEDY), when))
        config = {**SETTINGS, "tr_setup": {**SETTINGS["tr_setup"], "devices": 2, "strategy": "ddp"}}
        config["tr_config"] = {**SETTINGS["tr_config"], "batch_size": 4}
        try:
            workflow.train(config, scribbles, tmp_path / "project", run_name="two", emit=events.append)
        finally:
            assert others() == []
        return tmp_path / "project" / "runs" / "two"

    def said():
        messages = [event.message for event in events if isinstance(event, Warned)]
        return [message for message in messages if "was not enough" in message]

    events = []
    return train, said


def test_when_one_process_runs_out_of_memory_all_compute_less_at_a_time(train_greedily, tmp_path, scribbles):
    train, said = train_greedily
    run = train("sometimes")
    first, second = said()
    assert "batches of 4 are computed 2 patches at a time" in first
    assert "batches of 4 are computed one patch at a time" in second
    assert RunFolder.open(run).read_config().tr_config.micro_batch == 1
    # The first epoch is that of one process with batches twice as large, and parts twice as large.
    config = {**SETTINGS, "tr_config": {**SETTINGS["tr_config"], "batch_size": 8, "micro_batch": 4}}
    alone = workflow.train(config, scribbles, tmp_path / "project", run_name="alone").path
    rows, expected = (json.loads((path / "metrics.json").read_text()) for path in (run, alone))
    assert [row["epoch"] for row in rows] == [1, 2]
    for name in ("train_cells_dice", "train_distance_mae", "val_cells_dice", "learning_rate"):
        assert rows[0][name] == pytest.approx(expected[0][name], rel=1e-3), name


@pytest.mark.slow
def test_where_less_does_not_help_one_process_all_end_and_say_what_fits(train_greedily):
    train, said = train_greedily
    with pytest.raises(workflow.RunFailedError, match="memory is not enough"):
        train("always")
    assert len(said()) == 3, "halves, single patches, features computed again"


def others():
    """Return the processes that were started to train with this one."""
    names = {"napari_segtrain.workflow.follower", str(GREEDY)}
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # one of another test, which ends just now
            if names & set(child.cmdline()):
                found.append(child)
    return found


TWO = Hardware("cpu", (0, 1), "ddp")
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "GROUP_RANK": "0"}
SLURM = {
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_ID": "12",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "4",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NODELIST": "node[7-8]",
}


def placed(monkeypatch, hardware, environment):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return place_of(hardware)


def test_a_process_that_torchrun_started_knows_its_place(monkeypatch):
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29400"}
    team, outside = placed(monkeypatch, TWO, {**TORCHRUN, **address})
    assert (team.rank, team.size, team.local_rank, outside) == (1, 2, 1, True)


def test_a_process_that_srun_started_knows_its_place_and_where_to_meet(monkeypatch):
    team, outside = placed(monkeypatch, Hardware("cuda", (0, 1), "ddp", num_nodes=2), SLURM)
    assert (team.rank, team.size, team.local_rank, team.node_rank, outside) == (3, 4, 1, 1, True)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("node7", "15012")


def test_a_reservation_without_srun_starts_the_processes_here(monkeypatch):
    environment = {name: value for name, value in SLURM.items() if name != "SLURM_STEP_ID"}
    team, outside = placed(monkeypatch, TWO, environment)
    assert (team.rank, team.size, outside) == (0, 2, False)


@pytest.mark.parametrize("devices", [(0,), (0, 1, 2)])
def test_those_who_start_processes_must_agree_with_the_experiment(monkeypatch, devices):
    hardware = Hardware("cpu", devices, "ddp")
    with pytest.raises(ConfigError, match=r"2 processes were started.*give --devices and --num-nodes"):
        placed(monkeypatch, hardware, {**TORCHRUN, "MASTER_ADDR": "h", "MASTER_PORT": "1"})


def test_nodes_that_are_started_by_hand_must_know_where_to_meet(monkeypatch):
    with pytest.raises(ConfigError, match="MASTER_ADDR, MASTER_PORT, NODE_RANK"):
        placed(monkeypatch, Hardware("cpu", (0,), "ddp", num_nodes=2), {})


def test_the_leader_says_what_failed_in_another_process():
    crew = Crew(TWO, Team(0, 2), outside=True)
    crew.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    with pytest.raises(DataError), failure_told(Team(1, 2), crew.store):
        raise DataError("im1.tif cannot be read")
    # Others fail because of it, and their connection breaks.
    with pytest.raises(RuntimeError), failure_told(Team(1, 2), crew.store):
        raise RuntimeError("Connection closed by peer")
    with (
        pytest.raises(TrainingError, match=r"process 2 of 2 failed: im1.tif cannot be read"),
        crew.failures_explained(),
    ):
        raise RuntimeError("Connection closed by peer")
    with pytest.raises(DataError, match="its own"), crew.failures_explained():
        raise DataError("its own")


def test_data_in_memory_cannot_be_handed_on(tmp_path, disc_image, one_thread):
    image, labels = disc_image((64, 64), 4, 0)
    data = {"layers": [{"id": "a", "image": image, "labels": {"cells": (labels > 0).astype("uint8") + 1}}]}
    config = {**SETTINGS, "tr_setup": {**SETTINGS["tr_setup"], "devices": 2}}
    with pytest.raises(workflow.RunFailedError, match="data on a disk"):
        workflow.train(config, data, tmp_path / "project")
