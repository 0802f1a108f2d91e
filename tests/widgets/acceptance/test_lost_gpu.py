"""A GPU that stops working ends a training in one sentence; a new process goes on with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import EpochDone, RunState, list_runs
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.timeout(1800)]

SETTINGS = ExperimentConfig.parse(
    {
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
        "dataset_config": {"targets": {"nuclei": {"kind": "binary", "labels": "cells_nuclei"}}},
    }
)


@pytest.fixture
def engine_path(
    engine_path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, ...]:
    """The real engine, on a device that can be lost."""
    monkeypatch.setenv("LOST_GPU", str(tmp_path / "lost"))
    return ("--jobs", "lost_gpu_jobs:JOBS", "--nice", "0")


def test_a_lost_gpu_costs_no_epoch_and_no_label(
    viewer: Any,
    cells: Any,
    make_dock: Callable[[type], Any],
    hands: Any,
    tmp_path: Path,
    notes: list[tuple[str, str]],
) -> None:
    dock = make_dock(TrainDock)
    dock.set_value(SETTINGS)
    events: list[Any] = []
    dock.session.happened.connect(events.append)
    hands.press(dock, "start")
    hands.wait(lambda: [event for event in events if isinstance(event, EpochDone) and event.epoch >= 2])
    process = dock.engine.engine.pid
    cells[1].paint((40, 50), 1)
    painted = np.array(cells[1].data)
    (tmp_path / "lost").touch()
    hands.wait(lambda: dock.session.state is State.IDLE)
    [message] = [text for level, text in notes if level == "error"]
    assert message.startswith("the GPU stopped working (CUDA error: unspecified launch failure). Nothing")
    assert "resume the run" in message and "\n" not in message
    assert [text for level, text in notes if level == "warning" and "CUDA" in text] == []
    [run] = list_runs(Path(dock.project.value()))
    info = run.read_info()
    assert (info.status, info.finish_reason) == (RunState.FAILED, "device_lost")
    assert info.epoch >= 2
    np.testing.assert_array_equal(cells[1].data, painted)

    hands.wait(lambda: dock.engine.engine.ready and dock.engine.engine.pid != process)
    config = run.read_config()
    run.write_config(config.replace(tr_config=config.tr_config.replace(num_epochs=info.epoch + 2)))
    dock.projects.look()
    hands.wait(lambda: dock.resumable.value() == run.path)
    hands.press(dock, "resume")
    hands.wait(lambda: run.state is RunState.COMPLETED)
    hands.wait(lambda: dock.session.state is State.IDLE)
    assert [row["epoch"] for row in run.read_metrics()] == list(range(1, info.epoch + 3))
    assert len([text for level, text in notes if level == "error"]) == 1
