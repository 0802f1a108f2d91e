"""What a user does, by clicking, with the real engine: open, paint, Start, watch, Stop, predict, compare."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton
from scipy import ndimage

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data.samples import coins
from napari_segtrain.evaluation import dice
from napari_segtrain.runs import RunFolder, RunState, list_runs
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.docks.train_dock import TrainDock

pytestmark = [pytest.mark.gui, pytest.mark.slow]

SCREENSHOTS = "SEGTRAIN_SCREENSHOTS"
"""Variable that names a folder for the pictures of the README; without it none is taken."""

SETTINGS = ExperimentConfig.parse(
    {
        "tr_setup": {"device": "cpu"},
        "tr_config": {
            "patch_size": [96, 96],
            "batch_size": 4,
            "num_epochs": 50,
            "steps_per_epoch": 10,
            "optimizer": {"name": "AdamW", "lr": 0.003},
            "scheduler": {"name": "constant"},
        },
        "model_config": {"base_features": 8, "blocks_per_stage": [1, 1, 1, 1], "decoders": "shared"},
    }
)
"""A small network; targets and tasks are clicked together."""


@dataclass(frozen=True)
class Scene:
    """An image in a file, what shall be found in it, and what a user paints: 1 background, 2 foreground."""

    file: Path
    target: str
    truth: npt.NDArray[np.bool_]
    scribbles: npt.NDArray[np.uint8]


def coins_in_a_file(folder: Path) -> Scene:
    sample = coins()
    tifffile.imwrite(folder / "coins.tif", sample.image)
    truth = sample.truth["foreground"] > 0
    return Scene(folder / "coins.tif", "foreground", truth, sample.labels["foreground"])


def nuclei_of_the_data_set(_: Path) -> Scene:
    if "SEGTRAIN_DATA" not in os.environ:
        pytest.skip("SEGTRAIN_DATA does not name the folder of the labelled data sets")
    data = Path(os.environ["SEGTRAIN_DATA"]) / "dsb2018_fluo"
    truth = tifffile.imread(data / "labels" / "1b518cd2ea84_nuclei.tif") > 0
    scribbles = np.zeros(truth.shape, np.uint8)
    scribbles[::24][ndimage.distance_transform_edt(~truth)[::24] > 2] = 1
    scribbles[::8][ndimage.distance_transform_edt(truth)[::8] > 2] = 2
    return Scene(data / "images" / "1b518cd2ea84.tif", "nuclei", truth, scribbles)


@pytest.fixture(params=[coins_in_a_file, nuclei_of_the_data_set], ids=["coins", "dsb2018_fluo"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    found: Scene = request.param(tmp_path)
    return found


@pytest.fixture
def engine_path() -> tuple[str, ...]:
    """The real engine, in the place of the scripted one."""
    return ()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own: the project is shown as ``~/project``, on whatever machine."""
    monkeypatch.setenv("HOME", str(tmp_path))


def press(qtbot: Any, dock: Any, action: str) -> None:
    qtbot.mouseClick(dock.findChild(QPushButton, action), Qt.MouseButton.LeftButton)


def wait(qapp: Any, done: Callable[[], Any], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        qapp.processEvents()
        time.sleep(0.005)
        if time.monotonic() > end:
            pytest.fail(f"nothing came in {seconds:.0f} s")


def paint(qtbot: Any, viewer: Any, scene: Scene) -> Any:
    """Press napari's button for a labels layer and paint on it, point by point, as strokes are."""
    button = viewer.window._qt_viewer.layerButtons.newLabelsButton
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    [labels] = viewer.layers.selection
    labels.name = scene.target
    labels.mode = "paint"
    labels.brush_size = 3
    for value in (1, 2):
        labels.selected_label = value
        for point in np.argwhere(scene.scribbles == value)[::4]:
            labels.paint(tuple(int(n) for n in point), value)
    return labels


def same_place(layer: Any, image: Any) -> None:
    """Check that a layer lies on an image: scale, units, and where a pixel is in the world."""
    assert tuple(layer.scale) == tuple(image.scale)
    assert tuple(layer.translate) == tuple(image.translate)
    assert layer.units == image.units
    assert layer.data.shape == image.data.shape
    np.testing.assert_allclose(layer.data_to_world((7, 9)), image.data_to_world((7, 9)))


def picture(qtbot: Any, viewer: Any, name: str) -> None:
    folder = os.environ.get(SCREENSHOTS)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        qtbot.wait(500)
        viewer.screenshot(str(Path(folder) / f"{name}.png"), canvas_only=False, flash=False)


@pytest.mark.slow
def test_open_paint_train_watch_stop_predict(
    qtbot: Any,
    qapp: Any,
    make_viewer: Callable[[], Any],
    make_dock: Callable[..., Any],
    tmp_path: Path,
    scene: Scene,
) -> None:
    viewer = make_viewer()  # one of its own: what it has drawn must not stay for other tests to draw
    viewer.window.show()
    viewer.window.resize(1400, 875)
    [image] = viewer.open(
        scene.file, plugin="napari", scale=(0.5, 0.5), translate=(3.0, 4.0), units=("um", "um")
    )
    labels = paint(qtbot, viewer, scene)
    same_place(labels, image)

    train = make_dock(TrainDock, viewer)
    assert train.form.images.value() == (image.name,)
    train.set_value(SETTINGS.replace(dataset_config=train.value().dataset_config))
    press(qtbot, train, "add_auxiliary")
    wait(qapp, lambda: train.engine.engine.ready)
    viewer.reset_view()
    press(qtbot, train, "start")
    assert not train.panel.buttons["start"].isEnabled()
    wait(qapp, lambda: f"{scene.target} · live" in viewer.layers)
    preview = viewer.layers[f"{scene.target} · live"]
    same_place(preview, image)
    same_place(viewer.layers["distance_transform · live"], image)
    first = np.array(preview.data)
    wait(qapp, lambda: not np.array_equal(np.asarray(preview.data), first))
    wait(qapp, lambda: dice(scene.truth, np.asarray(preview.data) > 0) > 0.8)
    epochs = 15 if os.environ.get(SCREENSHOTS) else 1
    wait(qapp, lambda: len(train.curves.points("val", "loss")[0]) >= epochs)
    picture(qtbot, viewer, f"train_{scene.target}")

    press(qtbot, train, "stop")
    wait(qapp, lambda: train.panel.buttons["start"].isEnabled())
    [run] = list_runs(tmp_path / "project")
    assert run.state is RunState.INTERRUPTED
    assert RunFolder.open(run.path).read_info().epoch >= epochs

    predict = make_dock(PredictDock, viewer)
    wait(qapp, lambda: predict.run.value() == run.path and predict.run.known)
    assert predict.scope.currentText() == "whole layer"
    press(qtbot, predict, "predict")
    wait(qapp, lambda: not predict.session.busy)
    result = viewer.layers[f"{image.name} · {scene.target}"]
    same_place(result, image)
    assert dice(scene.truth, np.asarray(result.data) > 0) > 0.8
    picture(qtbot, viewer, f"predict_{scene.target}")
