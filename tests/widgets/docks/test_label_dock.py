from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_segtrain.config import DatasetConfig, DistanceTransformTask, ExperimentConfig, TargetConfig
from napari_segtrain.runs import DoubtfulRegion, RunFolder
from napari_segtrain.widgets.docks.label_dock import LabelDock
from napari_segtrain.widgets.docks.label_keys import next_region, previous_region, region_done
from napari_segtrain.widgets.layers.data_spec import image_data
from napari_segtrain.widgets.layers.label_points import go, mark_done, region_layer, show_regions

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
Notes = list[tuple[str, str]]
CONFIG = ExperimentConfig(
    dataset_config=DatasetConfig(targets={"nuclei": TargetConfig(unlabelled=0), "edges": TargetConfig()}),
    auxiliary_tasks={"distance": DistanceTransformTask(source_target="nuclei")},
)


def make_run(project: Path, name: str) -> RunFolder:
    run = RunFolder.create(project, name)
    run.write_config(CONFIG)
    (run.checkpoints / "last.ckpt").write_bytes(b"")
    return run


@pytest.fixture
def dock(make_dock: Callable[[type], Any]) -> Any:
    return make_dock(LabelDock)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return make_run(tmp_path / "project", "first")


def press(qtbot: Any, dock: Any, action: str) -> None:
    qtbot.mouseClick(dock.findChild(QPushButton, action), Qt.MouseButton.LeftButton)


def choose(dock: Any, run: RunFolder, until: Until) -> None:
    dock.run.set_value(run.path)
    until(lambda: dock.run.known and dock.target.value() == "nuclei")


def find(qtbot: Any, dock: Any, until: Until) -> None:
    press(qtbot, dock, "find_regions")
    assert dock.session.busy, dock.panel.status.text()
    until(lambda: not dock.session.busy)


def test_from_the_button_to_points_and_through_them(
    qtbot: Any, viewer: Any, cells: Any, dock: Any, run: RunFolder, until: Until, notes: Notes
) -> None:
    image, labels = cells
    image.data[8:16, 24:32] = 0
    image.data[32:40, 40:48] = 5
    choose(dock, run, until)
    assert dock.labels.value() == "cells_nuclei", "by its name"
    steps = [dock.findChild(QPushButton, name) for name in ("previous_region", "next_region", "region_done")]
    assert not any(button.isEnabled() for button in steps)
    dock.number.set_value(3)
    viewer.layers.selection.active = image
    find(qtbot, dock, until)

    layer = region_layer(viewer)
    assert layer.name == "cells · label next"
    np.testing.assert_array_equal(layer.data[:2], [[11.5, 27.5], [35.5, 43.5]])
    np.testing.assert_allclose(layer.data_to_world((1, 2)), image.data_to_world((1, 2)))
    assert (layer.units, layer.axis_labels) == (image.units, image.axis_labels)
    assert list(layer.features) == ["rank", "score", "target", "reason", "done"]
    assert list(layer.features["rank"]) == [1, 2, 3]
    assert set(layer.features["target"]) == {"nuclei"}
    assert "3 regions are in the layer 'cells · label next'" in dock.panel.status.text()
    assert "epoch 3" in dock.panel.status.text()
    assert viewer.layers.selection.active is image, "nothing that the user chose is taken away"
    assert all(button.isEnabled() for button in steps)

    camera = getattr(viewer, "scene", viewer).camera
    press(qtbot, dock, "next_region")
    np.testing.assert_allclose(camera.center[-2:], image.data_to_world((11.5, 27.5)))
    assert viewer.layers.selection.active is labels
    assert "Region 1 of 3: unsure (nuclei" in dock.panel.status.text()
    assert "paint in 'cells_nuclei'" in dock.panel.status.text()
    press(qtbot, dock, "region_done")
    assert "2 left" in dock.panel.status.text()
    assert list(layer.features["done"]) == [True, False, False]
    assert [str(symbol) for symbol in layer.symbol] == ["cross", "square", "square"]
    assert list(layer.text.values) == ["1 ✓ done", "2 unsure", "3 unsure"], "not by colour alone"
    for action, rank in (("next_region", 2), ("next_region", 3), ("next_region", 2), ("previous_region", 3)):
        press(qtbot, dock, action)
        assert f"Region {rank} of 3" in dock.panel.status.text(), "what is done is passed over"
    viewer.layers.remove(labels)
    press(qtbot, dock, "next_region")
    assert "paint in" not in dock.panel.status.text()

    find(qtbot, dock, until)
    assert len([one for one in viewer.layers if one.name == layer.name]) == 1, "the old ones are replaced"
    assert not region_layer(viewer).features["done"].any()
    viewer.layers.remove(region_layer(viewer))
    assert not any(button.isEnabled() for button in steps)
    assert not notes
    assert not list(run.project.glob(".scratch/*")), "nothing is left of the shared files"


def test_what_cannot_be_ranked_is_said(
    qtbot: Any,
    viewer: Any,
    cells: Any,
    dock: Any,
    run: RunFolder,
    until: Until,
    notes: Notes,
) -> None:
    press(qtbot, dock, "find_regions")
    assert "no trained network is chosen" in notes[-1][1]
    RunFolder.create(run.project, "untrained").write_config(CONFIG)
    choose(dock, run, until)
    assert [path.name for path in dock.run.choice.offered()] == ["first"], "not one without a checkpoint"

    viewer.add_labels(np.zeros((7, 9), np.uint8), name="small")
    dock.labels.set_value("small")
    press(qtbot, dock, "find_regions")
    assert "'small' (7, 9)" in notes[-1][1]
    assert not dock.session.busy
    dock.labels.set_value("cells_nuclei")

    for name, words in (("broken", "the checkpoint is damaged"), ("dies", "process")):
        choose(dock, make_run(run.project, name), until)
        find(qtbot, dock, until)
        assert notes[-1][0] == "error"
        assert words in notes[-1][1]
    said = len(notes)
    choose(dock, make_run(run.project, "slow"), until)
    press(qtbot, dock, "find_regions")
    until(lambda: dock.panel.text == "Looking for doubt …")
    press(qtbot, dock, "cancel")
    until(lambda: not dock.session.busy)
    assert dock.panel.text == "Cancelled"
    assert region_layer(viewer) is None

    choose(dock, run, until)
    dock.labels.set_value(None)  # an image that nobody painted on
    find(qtbot, dock, until)
    assert len(region_layer(viewer).data) == 20
    assert len(notes) == said
    viewer.layers.clear()
    press(qtbot, dock, "find_regions")
    assert "no image layer is chosen" in notes[-1][1]


def shown(viewer: Any, shape: tuple[int, ...], boxes: list[Any]) -> Any:
    image = viewer.add_image(np.zeros(shape), name="v", scale=(3, 0.5, 0.5), translate=(1, 2, 3))
    found = [
        DoubtfulRegion(record="v", target="t", start=start, stop=stop, score=0.5, reason="outputs")
        for start, stop in boxes
    ]
    [trained] = image_data(image, DatasetConfig()).images.values()
    return show_regions(viewer, trained, None, found)


def test_keys_and_commands_do_what_the_buttons_do(viewer: Any, dock: Any, notes: Notes) -> None:
    from napari._qt.widgets.qt_keyboard_settings import ShortcutEditor
    from napari.utils.action_manager import action_manager

    for command in (next_region, previous_region, region_done):
        command(viewer)
        assert "no regions to label; find some in the Label next dock" in notes[-1][1]
    layer = shown(viewer, (9, 40, 60), [((2, 8, 10), (7, 24, 42)), ((0, 0, 0), (4, 8, 8))])
    region_done(viewer)
    assert "go to the next one first" in notes[-1][1]
    previous_region(viewer)
    assert layer.selected_data == {1}, "before the first is the last"
    assert list(layer._view_indices) == [1], "in the slice that is gone to, also between two"

    editor = ShortcutEditor()
    listed = editor.key_bindings_strs[editor.VIEWER_KEYBINDINGS]
    names = [name for name in listed if name.startswith("napari-segtrain:")]
    assert sorted(names) == [
        f"napari-segtrain:{n}" for n in ("next_region", "previous_region", "region_done")
    ]
    assert not any(action_manager._shortcuts.get(name) for name in names), "no key but what the user chose"
    action_manager.bind_shortcut("napari-segtrain:next_region", "Alt-Shift-K")
    try:
        viewer.window._qt_viewer.canvas._key_map_handler.press_key("Alt-Shift-K")
    finally:
        action_manager.unbind_shortcut("napari-segtrain:next_region")
    assert layer.selected_data == {0}
    assert viewer.dims.current_step[0] == 4
    assert "Region 1 of 2: outputs disagree" in viewer.status
    for word in ("is done; 1 left", "to do again; 2 left", "is done; 1 left"):
        assert word in mark_done(viewer)
    go(viewer, 1)
    mark_done(viewer)
    next_region(viewer)
    assert "all regions are done" in notes[-1][1]
