"""A training that is killed at any instant leaves files that can be read and a run that goes on."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from napari_segtrain import workflow
from napari_segtrain.config import dump_config
from napari_segtrain.runs import (
    Checkpoint,
    EpochDone,
    ProjectLock,
    RunFolder,
    RunState,
    list_runs,
    load_checkpoint,
    read_events,
    recover,
)

INSTANTS = 20
KEPT = 2


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ended(run: RunFolder) -> dict[str, object]:
    """Return everything that a finished run has learned."""
    checkpoint = load_checkpoint(run.checkpoints / "last.ckpt")
    return {key: checkpoint[key] for key in ("model", "optimizer", "rows", "random_states", "epoch", "step")}


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def check_readable(run: RunFolder) -> None:
    """Everything that is there can be read, and no epoch that was announced as done is lost."""
    rows = run.read_metrics()
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    events = read_events(run.events_path)
    saved = {file.name: load_checkpoint(file)["epoch"] for file in run.checkpoints.glob("[!.]*")}
    done = [event.epoch for event in events if isinstance(event, EpochDone)]
    assert saved.get("last.ckpt", 0) >= max(done, default=0)
    named = [event for event in events if isinstance(event, Checkpoint)]
    newest = max((event.epoch for event in named), default=0)
    for event in named:
        if event.kind != "numbered" or event.epoch > newest - KEPT:
            assert saved[Path(event.path).name] >= event.epoch
    assert (run.path / "summary.txt").read_text()
    assert run.read_config().tr_config.num_epochs == 3


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.timeout(900)
def test_a_training_killed_at_random_instants_can_be_read_and_goes_on(
    disc_folder, tiny_experiment, tmp_path, one_thread
):
    config = tiny_experiment(
        **{"tr_config.num_epochs": 3, "tr_config.keep_checkpoints": KEPT, "model_config.dropout": 0.2}
    )
    (tmp_path / "experiment.yaml").write_text(dump_config(config))
    project, plan = tmp_path / "P", tmp_path / "plan.json"

    def run(runs: dict[str, int]) -> dict[str, int | None]:
        content = {"config": tmp_path / "experiment.yaml", "data": data, "project": project, "runs": runs}
        plan.write_text(json.dumps(content, default=str))
        script = Path(__file__).with_name("crash_script.py")
        command = [sys.executable, str(script), str(plan)]
        result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=800)
        return json.loads(result.stdout.splitlines()[-1])

    data = disc_folder(count=2)
    # The first finds no cache of the patch index and so has a few operations more.
    operations = run({"first": 0, "whole": 0})["whole"]
    assert operations > 60
    instants = sorted(random.sample(range(1, operations + 1), INSTANTS))  # runs are called by them
    run({f"killed_{instant}": instant for instant in instants})

    whole = ended(RunFolder.open(project / "runs" / "whole"))
    # Each new run has marked the one before; the last is still to be found.
    recover(project)
    killed = [folder for folder in list_runs(project) if folder.name.startswith("killed")]
    assert len(killed) == INSTANTS
    assert sum(folder.state is RunState.INTERRUPTED for folder in killed) > INSTANTS // 2
    for folder in killed:
        assert ProjectLock(project).holder() is None
        if folder.state is RunState.COMPLETED:  # killed after its last word
            assert same(ended(folder), whole)
            continue
        assert folder.state is RunState.INTERRUPTED, folder
        check_readable(folder)
        assert workflow.resume(folder.path).status is RunState.COMPLETED, folder
        assert same(ended(folder), whole), folder
        check_readable(folder)
        assert not list(folder.path.rglob("*.part")), folder
