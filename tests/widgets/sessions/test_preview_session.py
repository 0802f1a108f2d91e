from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_segtrain.config import AuxiliaryTask, ExperimentConfig, SurfaceNormalsTask
from napari_segtrain.widgets.docks.train_dock import TrainDock

pytestmark = pytest.mark.gui

Until = Callable[..., None]


@pytest.fixture
def dock(make_dock: Callable[..., Any], viewer: Any) -> Any:
    y, x = np.indices((80, 90))
    painted = (np.hypot(y - 40, x - 45) < 20).astype(np.uint8)
    viewer.add_image(painted * 100 + (x % 7).astype(np.uint8), name="im", scale=(2, 2))
    viewer.add_labels(painted, name="im_cells", scale=(2, 2))
    return make_dock(TrainDock)


def with_task(dock: Any, task: AuxiliaryTask) -> None:
    config: ExperimentConfig = dock.value()
    dock.set_value(config.replace(auxiliary_tasks={"normals": task}))


def click(qtbot: Any, dock: Any, name: str = "preview_targets") -> None:
    button = dock.findChild(QPushButton, name)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_the_button_shows_what_would_be_learned(
    qtbot: Any, viewer: Any, dock: Any, until: Until, notes: list[tuple[str, str]]
) -> None:
    with_task(dock, SurfaceNormalsTask(source_target="cells"))
    click(qtbot, dock)
    assert dock.previews.busy
    assert not dock.panel.buttons["start"].isEnabled()
    assert dock.panel.buttons["stop"].isEnabled(), "it ends the preview"
    until(lambda: not dock.previews.busy)
    assert dock.panel.buttons["start"].isEnabled()
    assert "normals" in dock.panel.text
    layer = viewer.layers["normals · target"]
    assert type(layer).__name__ == "Vectors"
    assert tuple(layer.scale) == (2, 2)
    assert notes == []
    # Nothing was trained, and the files that the two processes shared are gone.
    project = Path(dock.project.value())
    assert not (project / "runs").exists()
    assert not list((project / ".scratch").iterdir())


def test_what_cannot_be_derived_is_said(
    qtbot: Any, viewer: Any, dock: Any, until: Until, notes: list[tuple[str, str]]
) -> None:
    with_task(dock, SurfaceNormalsTask(source_target="cells", out_channels=7))
    click(qtbot, dock)
    until(lambda: not dock.previews.busy)
    assert "7 was given, but surface_normals has 2 in 2D" in notes[-1][1]
    assert "normals · target" not in viewer.layers
    viewer.layers.remove("im_cells")
    click(qtbot, dock)
    assert not dock.previews.busy
    assert "no target" in notes[-1][1] or "labels" in notes[-1][1]


def test_the_button_shows_a_patch_and_eight_draws_and_every_press_draws_anew(
    qtbot: Any, viewer: Any, dock: Any, until: Until, notes: list[tuple[str, str]]
) -> None:
    camera = getattr(viewer, "scene", viewer).camera
    camera.zoom = 3.5
    click(qtbot, dock, "preview_augmentation")
    assert dock.previews.busy
    assert not dock.panel.buttons["start"].isEnabled()
    until(lambda: not dock.previews.busy)
    assert "8 augmented" in dock.panel.text
    assert camera.zoom == 3.5
    image, labels = viewer.layers["im · augmented"], viewer.layers["im · augmented · cells"]
    assert image.data.shape == labels.data.shape == (9, 80, 90)
    assert tuple(image.scale) == (1, 2, 2)
    first = image.data
    np.testing.assert_array_equal(first[0], viewer.layers["im"].data)
    click(qtbot, dock, "preview_augmentation")
    until(lambda: not dock.previews.busy)
    assert [layer.name for layer in viewer.layers].count("im · augmented") == 1
    again = viewer.layers["im · augmented"].data
    np.testing.assert_array_equal(again[0], first[0])
    assert not np.array_equal(again[1:], first[1:])
    # What is shown is nothing to train on.
    assert [layer.name for layer in dock.form.images.layers()] == ["im"]
    assert notes == []
    assert not list((Path(dock.project.value()) / ".scratch").iterdir())


def test_what_cannot_be_augmented_is_said(
    qtbot: Any, viewer: Any, dock: Any, until: Until, notes: list[tuple[str, str]]
) -> None:
    viewer.layers["im_cells"].data = np.zeros((80, 90), np.uint8)
    click(qtbot, dock, "preview_augmentation")
    until(lambda: not dock.previews.busy)
    assert "no labelled voxel" in notes[-1][1]
    assert "im · augmented" not in viewer.layers
    viewer.layers.remove("im")
    click(qtbot, dock, "preview_augmentation")
    assert not dock.previews.busy
    assert "no image layer is chosen" in notes[-1][1]


def test_the_button_shows_the_split_and_says_it_in_words(
    qtbot: Any, viewer: Any, dock: Any, until: Until, notes: list[tuple[str, str]]
) -> None:
    config: ExperimentConfig = dock.value()
    dock.set_value(config.with_overrides({"tr_config.patch_size": (16, 16)}))
    click(qtbot, dock, "preview_split")
    until(lambda: not dock.previews.busy)
    assert dock.panel.text.startswith("train: 1 block: im [")
    assert "validation: 1 block: im [" in dock.panel.text
    layer = viewer.layers["im · split"]
    assert tuple(layer.scale) == (2, 2)
    assert np.unique(np.asarray(layer.data)).tolist() == [1, 2, 4]
    assert [layer.name for layer in viewer.layers.selection] == ["im_cells"]
    assert notes == []
    viewer.layers.remove("im_cells")
    click(qtbot, dock, "preview_split")
    assert not dock.previews.busy
    assert "labels" in notes[-1][1] or "no target" in notes[-1][1]


def test_a_dock_that_is_closed_meanwhile_leaves_nothing_behind(
    qtbot: Any, viewer: Any, dock: Any, until: Until
) -> None:
    with_task(dock, SurfaceNormalsTask(source_target="cells"))
    click(qtbot, dock)
    project = Path(dock.project.value())
    viewer.window.remove_dock_widget(dock)
    until(lambda: not dock.engine.engine.alive)
    assert not list((project / ".scratch").iterdir())
