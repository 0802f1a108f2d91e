from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_segtrain.config import DatasetConfig, DistanceTransformTask, ExperimentConfig, TargetConfig
from napari_segtrain.runs import RunFolder, write_data
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.runs.worst import WorstPatch, read_done, worst_patches
from napari_segtrain.widgets.docks.correct_dock import CorrectDock
from napari_segtrain.widgets.layers.data_spec import training_data

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
Notes = list[tuple[str, str]]
CONFIG = ExperimentConfig(
    dataset_config=DatasetConfig(targets={"nuclei": TargetConfig(labels="cells_nuclei")}),
    auxiliary_tasks={"distance": DistanceTransformTask(source_target="nuclei")},
)
PATCHES = (
    WorstPatch("nuclei", "cells", (8, 16), (24, 48), "dice", 0.25),
    WorstPatch("nuclei", "cells", (32, 0), (48, 32), "dice", 0.5),
    WorstPatch("distance", "cells", (0, 0), (16, 32), "mae", 2.5),
    WorstPatch("nuclei", "gone", (0, 0), (16, 32), "dice", 0.6),
)


@pytest.fixture
def run(viewer: Any, cells: Any, tmp_path: Path) -> RunFolder:
    """A scored run on the layers that are open."""
    run = RunFolder.create(tmp_path / "project", "first")
    run.write_config(CONFIG)
    (run.checkpoints / "best.ckpt").write_bytes(b"")
    image, labels = cells
    data = training_data([image], {"nuclei": (labels, None)}, CONFIG.dataset_config, all_layers=[*cells])
    list(data.copies.write(Scratch(tmp_path / "scratch")))
    write_data(run, data.spec)
    run.evaluation.mkdir(exist_ok=True)
    said = {"val": {"worst": [patch.to_dict() for patch in PATCHES]}}
    (run.evaluation / "index.json").write_text(json.dumps(said))
    return run


def opened(make_dock: Callable[[type], Any], run: RunFolder, until: Until) -> Any:
    dock = make_dock(CorrectDock)
    dock.run.set_value(run.path)
    until(lambda: dock.worst.list.count())
    return dock


def test_a_list_that_goes_there_and_keeps_what_is_done(
    viewer: Any, cells: Any, run: RunFolder, make_dock: Callable[[type], Any], until: Until, notes: Notes
) -> None:
    assert worst_patches(run) == PATCHES
    image, labels = cells
    dock = opened(make_dock, run, until)
    panel, camera = dock.worst, getattr(viewer, "scene", viewer).camera
    texts = [panel.list.item(row).text() for row in range(4)]
    assert texts[:2] == [
        "dice 0.25 · nuclei · cells [8:24, 16:48]",
        "dice 0.50 · nuclei · cells [32:48, 0:32]",
    ]
    viewer.layers.selection.active = image
    for row in (0, 2):
        panel.list.setCurrentRow(row)
        patch = PATCHES[row]
        middle = (np.array(patch.start) + patch.stop - 1) / 2
        np.testing.assert_allclose(camera.center[-2:], image.data_to_world(middle))
        assert viewer.layers.selection.active is labels, "the layer that is painted on, of a task its source"
        assert "paint in 'cells_nuclei'" in panel.status.text()
    panel.list.setCurrentRow(3)
    assert "'gone' of 'first' is not open" in notes[-1][1]
    panel.list.item(1).setCheckState(Qt.CheckState.Checked)
    until(lambda: panel.written)
    assert read_done(run) == {PATCHES[1].key}
    panel.list.item(2).setCheckState(Qt.CheckState.Checked)
    panel.list.item(2).setCheckState(Qt.CheckState.Unchecked)  # the newest counts, also for the list anew
    dock.run.refresh_button.click()
    until(lambda: panel.list.count())
    states = [panel.list.item(row).checkState() is Qt.CheckState.Checked for row in range(4)]
    assert states == [False, True, False, False], "ticks outlive the list"
    said = {"val": {"worst": [PATCHES[0].to_dict()]}}
    (run.evaluation / "index.json").write_text(json.dumps(said))
    dock.run.refresh_button.click()
    until(lambda: panel.list.count() == 1)
    panel.list.item(0).setCheckState(Qt.CheckState.Checked)
    until(lambda: panel.written)
    assert read_done(run) == {PATCHES[0].key, PATCHES[1].key}, "and scores that are found anew"
    viewer.layers.remove(labels)
    panel.list.setCurrentRow(-1)
    panel.list.setCurrentRow(0)
    assert panel.status.text().startswith("dice 0.25"), "the place is known without the labels"


def test_runs_without_scores_or_with_damaged_ones_say_so(
    run: RunFolder, make_dock: Callable[[type], Any], until: Until
) -> None:
    dock = opened(make_dock, run, until)
    path = run.evaluation / "index.json"
    for text, words in (
        ("{}", "no scored validation patches yet"),
        ('{"val": {"worst": [{"output": 1}]}}', "the list of worst patches is damaged"),
        (None, "no scored validation patches yet"),
    ):
        path.unlink() if text is None else path.write_text(text)
        dock.run.refresh_button.click()
        until(lambda words=words: words in dock.worst.status.text())
        assert dock.worst.list.count() == 0


def test_a_patch_of_a_volume_is_looked_at_in_its_middle(viewer: Any) -> None:
    from napari_segtrain.widgets.layers.data_spec import image_data
    from napari_segtrain.widgets.layers.placing import place_of
    from napari_segtrain.widgets.layers.view import look_at

    layer = viewer.add_image(np.zeros((9, 40, 60)), name="v", scale=(3, 0.5, 0.5), translate=(1, 2, 3))
    data = image_data(layer, DatasetConfig())
    place = place_of(data.images, "v", (2, 8, 10), (7, 24, 42))
    assert place is not None
    look_at(viewer, place)
    assert viewer.dims.current_step[0] == 4
    camera = getattr(viewer, "scene", viewer).camera
    np.testing.assert_allclose(camera.center[-2:], (2 + 15.5 * 0.5, 3 + 25.5 * 0.5))
