"""What the rows of the Train dock say of the labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_segtrain.config import DistanceTransformTask, TargetConfig
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.docks.train_form import of_row
from napari_segtrain.widgets.panels.glance_row import thumbnail

pytestmark = pytest.mark.gui

Until = Callable[..., None]


@pytest.fixture
def dock(make_dock: Callable[..., Any], cells: Any) -> Any:
    return make_dock(TrainDock)


def test_each_row_shows_its_labels_and_follows_strokes_undo_and_settings(
    viewer: Any, dock: Any, cells: Any, until: Until
) -> None:
    glance, editors = dock.form.targets.cards[0].glance, dock.form.targets.cards[0].form.editors
    until(lambda: "9.8 % labelled: background 3.3 %" in glance.text.text())
    assert not glance.picture.pixmap().isNull()
    assert glance.warning.isHidden()
    labels = cells[1]
    labels.data_setitem(np.nonzero(labels.data), 0)
    until(lambda: "Nothing is labelled" in glance.warning.text())
    assert "⚠" in glance.warning.text(), "not by colour alone"
    labels.undo()
    until(lambda: "9.8 % labelled" in glance.text.text())
    editors["unlabelled"].set_value(None)
    until(lambda: "100 % labelled: background 90 %" in glance.text.text())
    editors["kind"].set_value("instances")
    until(lambda: "2 objects" in glance.text.text())
    dock.form.setEnabled(False)  # as while a training runs
    labels.paint((40, 50), 3)
    until(lambda: "3 objects" in glance.text.text())
    dock.set_value(dock.value())  # rows of one's own stay when their layer goes
    glance = dock.form.targets.cards[0].glance
    until(lambda: "3 objects" in glance.text.text())
    viewer.layers.remove(labels)
    until(lambda: not glance.text.text())


def test_the_picture_has_the_colours_of_the_layer(cells: Any) -> None:
    picture = thumbnail(np.array([[0, 1], [2, 2]], np.uint8), cells[1]).toImage()
    wanted = cells[1].colormap.map(np.array([2], np.uint8))[0]
    colour = picture.pixelColor(picture.width() - 1, picture.height() - 1)
    np.testing.assert_allclose(colour.getRgbF(), wanted, atol=0.01)
    assert picture.pixelColor(0, 0).alpha() == 0
    grey = thumbnail(np.array([[0.0, np.nan], [1.0, 4.0]]), cells[0]).toImage()
    assert grey.pixelColor(grey.width() - 1, grey.height() - 1).red() == 255


def test_each_row_has_a_preview_of_its_own(
    qtbot: Any, viewer: Any, dock: Any, until: Until, notes: list[tuple[str, str]]
) -> None:
    viewer.add_labels(np.tile(np.arange(64) // 32, (48, 1)), name="cells_halves")
    config = dock.value()
    targets = {"nuclei": TargetConfig(unlabelled=0), "halves": TargetConfig(kind="binary")}
    tasks = {
        "near": DistanceTransformTask(source_target="nuclei"),
        "far": DistanceTransformTask(source_target="halves"),
    }
    config = config.replace(
        dataset_config=config.dataset_config.replace(targets=targets),
        auxiliary_tasks=tasks,
        tr_config=config.tr_config.replace(monitor="val_nuclei_dice"),
    )
    of_target, of_task = of_row(config, "nuclei"), of_row(config, "far")
    assert (list(of_target.dataset_config.targets), list(of_target.auxiliary_tasks)) == (["nuclei"], ["near"])
    assert (list(of_task.dataset_config.targets), list(of_task.auxiliary_tasks)) == (["halves"], ["far"])
    assert of_task.tr_config.monitor == "val_loss", "another row's score cannot be watched"

    dock.set_value(config.replace(auxiliary_tasks={}))
    qtbot.mouseClick(dock.form.targets.cards[1].look, Qt.MouseButton.LeftButton)
    assert dock.previews.busy
    until(lambda: not dock.previews.busy)
    assert notes == []
    assert [layer.name for layer in viewer.layers if layer.name.endswith("· target")] == ["halves · target"]
    dock.form.targets.cards[1].name.setText("")
    qtbot.mouseClick(dock.form.targets.cards[1].look, Qt.MouseButton.LeftButton)
    assert "a target has no name" in notes[-1][1]
