"""A run on layers in memory goes on from the command line when the viewer is gone; with the real jobs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segtrain.runs import RunFolder, RunState, list_runs, read_data
from napari_segtrain.runs.scratch import Scratch, open_memmap

pytestmark = pytest.mark.slow

VIEWER = """
import json, sys, time
import numpy as np
from napari_segtrain.engine import Engine, Train
from napari_segtrain.runs import EpochDone
from napari_segtrain.runs.scratch import Scratch
config, arrays, project = sys.argv[1:]
with np.load(arrays) as found:
    scratch = Scratch.create(project)
    specs = {name: scratch.add(name, found[name]) for name in ("image", "cells")}
engine = Engine(("--nice", "0"))
engine.start()
layer = {"id": "image", "image": specs["image"], "labels": {"cells": specs["cells"]}}
engine.send(Train(config=json.loads(config), data={"layers": [layer]}, project=project))
for event in engine.events():
    if isinstance(event, EpochDone):
        # The last stroke that the viewer paints.
        scratch.write_block("cells", (0, 0), np.full((1, 2), 1, np.uint8))
        print("trained", flush=True)
        break
time.sleep(600)
"""


def wait(done: Callable[[], Any], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            pytest.fail(f"nothing came in {seconds:.0f} s")
        time.sleep(0.05)


def test_a_run_of_a_viewer_that_was_killed_is_finished_by_the_command_line(
    tmp_path: Path, disc_image: Any, tiny_experiment: Any
) -> None:
    image, labels = disc_image((64, 72), 5, 0)
    np.savez(tmp_path / "arrays.npz", image=image, cells=(labels > 0).astype(np.uint8))
    epochs = {"tr_config.num_epochs": 10**4, "tr_config.steps_per_epoch": 2}
    config = json.dumps(tiny_experiment(**epochs).to_dict())
    project = tmp_path / "project"
    arguments = [config, str(tmp_path / "arrays.npz"), str(project)]
    viewer = subprocess.Popen([sys.executable, "-c", VIEWER, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert viewer.stdout is not None
        assert viewer.stdout.readline() == "trained\n"
    finally:
        viewer.kill()
        viewer.communicate()
    [run] = list_runs(project)
    wait(lambda: run.state is RunState.INTERRUPTED, 60)
    info = run.read_info()
    assert info.finish_reason == "parent_gone"
    mine = Scratch.create(project)
    mine.tidy()
    mine.remove()
    assert list((project / ".scratch").iterdir()) == [], "what the viewer shared is tidied away"
    kept = read_data(run)["layers"][0]["labels"]["cells"]
    assert (open_memmap(kept)[0, :2] == 1).all(), "the last stroke is not lost"

    more = info.epoch + 1
    command = ["train", "--resume", str(run.path), "--num-epochs", str(more)]
    done = subprocess.run(
        [sys.executable, "-m", "napari_segtrain", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    info = RunFolder.open(run.path).read_info()
    assert (info.status, info.epoch) == (RunState.COMPLETED, more)
    assert [row["epoch"] for row in run.read_metrics()] == list(range(1, more + 1))
    assert list(run.scratch.iterdir()) == []
