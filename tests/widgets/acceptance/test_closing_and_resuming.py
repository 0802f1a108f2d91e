"""napari is closed in mid-training; another one finds the run, its labels and its epochs, and goes on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import EpochDone, RunState, list_runs
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.timeout(1800)]

Notes = list[tuple[str, str]]
SETTINGS = {
    "tr_setup": {"device": "cpu", "num_workers": 0, "compile": "off"},
    "tr_config": {
        "patch_size": [32, 32],
        "batch_size": 2,
        "num_epochs": 10**4,
        "steps_per_epoch": 2,
        "val_steps": 1,
        "evaluate_after": "none",
    },
    "model_config": {"base_features": 4, "blocks_per_stage": [1, 1], "max_poolings": 1},
    "dataset_config": {"targets": {"cells": {"labels": "painted"}}},
}
FIRST_VIEWER = """
import sys
from pathlib import Path
import napari
import numpy as np
from napari_segtrain.config import load_config
from napari_segtrain.runs import EpochDone
from napari_segtrain.widgets.docks.train_dock import TrainDock

folder = Path(sys.argv[1])
viewer = napari.Viewer(show_welcome_screen=False)
with np.load(folder / "layers.npz") as found:
    viewer.add_image(found["image"], name="image")
    labels = viewer.add_labels(found["painted"], name="painted")
dock = TrainDock(viewer)
viewer.window.add_dock_widget(dock, name="Train")
dock.project.set_value(folder / "project")
dock.set_value(load_config(folder / "experiment.json"))

def on_event(event):
    if isinstance(event, EpochDone) and event.epoch == 2:
        first, *_, last = np.argwhere(labels.data == 0)
        labels.paint(first, 1)
        labels.undo()
        labels.paint(last, 1)
        np.save(folder / "last.npy", labels.data)
        viewer.window._qt_window.close()

dock.session.happened.connect(on_event)
dock.start()
napari.run()
"""


@pytest.fixture
def engine_path() -> tuple[str, ...]:
    """The real engine, in the place of the scripted one."""
    return ()


@pytest.fixture
def closed(tmp_path: Path, disc_image: Any) -> Path:
    """A folder in which a viewer trained two epochs, was painted in, and closed in the same moment."""
    image, found = disc_image((64, 72), 5, 0)
    np.savez(tmp_path / "layers.npz", image=image, painted=(found > 0).astype(np.uint8))
    (tmp_path / "experiment.json").write_text(json.dumps(ExperimentConfig.parse(SETTINGS).to_dict()))
    command = [sys.executable, "-W", "ignore", "-c", FIRST_VIEWER, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1500)
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_the_next_viewer_finds_the_run_and_goes_on(
    viewer: Any, make_dock: Callable[[type], Any], closed: Path, hands: Any, notes: Notes
) -> None:
    [run] = list_runs(closed / "project")
    hands.wait(lambda: run.state is RunState.INTERRUPTED, lambda: run.state)
    epochs = run.read_info().epoch
    assert epochs >= 2
    last = np.load(closed / "last.npy")
    with np.load(closed / "layers.npz") as found:
        viewer.add_image(found["image"], name="image")
        assert not np.array_equal(found["painted"], last)

    runs = make_dock(RunsDock)
    runs.project.set_value(closed / "project")
    viewer.window.show()
    hands.wait(lambda: runs.table.runs.rowCount() == 1)
    runs.table.selectRow(0)
    hands.press(runs, "open_labels")
    hands.wait(lambda: len(viewer.layers) == 2)
    labels = viewer.layers[1]
    np.testing.assert_array_equal(labels.data, last, "the last stroke too")

    train = make_dock(TrainDock)
    train.project.set_value(closed / "project")
    events: list[Any] = []
    train.session.happened.connect(events.append)
    hands.wait(lambda: train.resumable.value() == run.path)
    hands.press(train, "resume")
    hands.wait(lambda: not train._opening)
    words = f"the labels as they are now in {labels.name!r}, which stands for 'painted'"
    assert f"goes on with the open layers and {words}" in notes[-1][1]
    hands.wait(lambda: [event for event in events if isinstance(event, EpochDone)])
    hands.wait(lambda: train.curves.points("train", "loss")[0][:2] == [1.0, 2.0])  # earlier epochs are shown

    # The Runs dock follows it, and stops it; a few epochs complete it.
    runs.projects.look()
    hands.wait(lambda: runs.follower.run is not None and runs.follower.run.path == run.path)
    hands.press(runs, "stop_run")
    hands.wait(lambda: train.session.state is State.IDLE)
    assert run.state is RunState.INTERRUPTED
    config = run.read_config()
    end = run.read_info().epoch + 2
    run.write_config(config.replace(tr_config=config.tr_config.replace(num_epochs=end)))
    train.projects.look()
    hands.wait(lambda: train.resumable.value() == run.path)
    hands.press(train, "resume")
    hands.wait(lambda: run.state is RunState.COMPLETED)
    hands.wait(lambda: train.session.state is State.IDLE)
    assert [row["epoch"] for row in run.read_metrics()] == list(range(1, end + 1))
    assert [level for level, _ in notes if level == "error"] == []
    viewer.window._qt_window.hide()
