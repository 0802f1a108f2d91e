"""What a user does, by clicking, with the real engine: open, paint, Start, watch, Stop, predict, compare."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data.samples import coins
from napari_segtrain.evaluation import dice
from napari_segtrain.runs import RunFolder, RunState, list_runs
from napari_segtrain.widgets.predict_dock import PredictDock
from napari_segtrain.widgets.train_dock import TrainDock

pytestmark = [pytest.mark.gui, pytest.mark.slow]

SCREENSHOTS = "SEGTRAIN_SCREENSHOTS"
"""Variable that names a folder for the pictures of the README; without it none is taken."""

CONFIG = ExperimentConfig.parse(
    {
        "tr_setup": {"device": "cpu"},
        "tr_config": {
            "patch_size": [96, 96],
            "batch_size": 4,
            "num_epochs": 200,
            "steps_per_epoch": 10,
            "optimizer": {"name": "AdamW", "lr": 0.003},
            "scheduler": {"name": "constant"},
        },
        "model_config": {"base_features": 8, "blocks_per_stage": [1, 1, 1, 1], "decoders": "shared"},
        "dataset_config": {"targets": {"foreground": {"kind": "binary", "unlabelled": 0}}},
        "auxiliary_tasks": {
            "distance": {"type": "distance_transform", "source_target": "foreground", "clip": 8.0}
        },
    }
)


@pytest.fixture
def engine_path() -> tuple[str, ...]:
    """The real engine, in the place of the scripted one."""
    return ()


def press(qtbot: Any, dock: Any, action: str) -> None:
    qtbot.mouseClick(dock.findChild(QPushButton, action), Qt.MouseButton.LeftButton)


def wait(qapp: Any, done: Callable[[], Any], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        qapp.processEvents()
        time.sleep(0.005)
        if time.monotonic() > end:
            pytest.fail(f"nothing came in {seconds:.0f} s")


def paint(layer: Any, scribbles: np.ndarray) -> None:
    """Paint the sample's scribbles anew with a small brush, as strokes are: point by point."""
    layer.brush_size = 3
    for value in (1, 2):
        for point in np.argwhere(scribbles == value)[::4]:
            layer.paint(tuple(int(n) for n in point), value)


def picture(viewer: Any, name: str) -> None:
    folder = os.environ.get(SCREENSHOTS)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        viewer.window._qt_window.resize(1600, 1000)
        viewer.screenshot(str(Path(folder) / f"{name}.png"), canvas_only=False, flash=False)


def test_paint_train_watch_stop_predict(
    qtbot: Any, qapp: Any, viewer: Any, make_dock: Callable[[type], Any], tmp_path: Path
) -> None:
    sample = coins()
    space = {"scale": (0.5, 0.5), "translate": (3.0, 4.0), "units": ("um", "um")}
    image = viewer.add_image(sample.image, name="coins", **space)
    labels = viewer.add_labels(np.zeros(sample.image.shape, np.uint8), name="coins_foreground", **space)
    paint(labels, sample.labels["foreground"])
    viewer.window.show()
    train = make_dock(TrainDock)
    train.set_value(CONFIG)
    wait(qapp, lambda: train.engine.engine.ready)

    press(qtbot, train, "start")
    assert not train.panel.buttons["start"].isEnabled()
    wait(qapp, lambda: "foreground · live" in viewer.layers)
    preview = viewer.layers["foreground · live"]
    np.testing.assert_allclose(preview.data_to_world((7, 9)), image.data_to_world((7, 9)))
    assert preview.units == image.units
    first = np.array(preview.data)
    wait(qapp, lambda: not np.array_equal(np.asarray(preview.data), first))
    truth = sample.truth["foreground"] > 0
    wait(qapp, lambda: dice(truth, np.asarray(preview.data) == np.max(preview.data)) > 0.8)
    wait(qapp, lambda: (tmp_path / "project" / "runs" / "base" / "checkpoints" / "best.ckpt").is_file())
    picture(viewer, "train_dock")

    press(qtbot, train, "stop")
    wait(qapp, lambda: train.panel.buttons["start"].isEnabled())
    [run] = list_runs(tmp_path / "project")
    assert run.state is RunState.INTERRUPTED
    assert RunFolder.open(run.path).read_info().epoch >= 1

    predict = make_dock(PredictDock)
    predict.run.refresh()
    assert predict.run.value() == run.path
    press(qtbot, predict, "predict")
    wait(qapp, lambda: not predict.session.busy)
    result = viewer.layers["coins · foreground"]
    np.testing.assert_allclose(result.data_to_world((7, 9)), image.data_to_world((7, 9)))
    assert tuple(result.scale) == tuple(image.scale)
    assert result.data.shape == sample.image.shape
    assert dice(truth, np.asarray(result.data)) > 0.8
    picture(viewer, "predict_dock")
