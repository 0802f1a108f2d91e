"""Resume with a layer open that has the name of the run's layer, and not what was painted last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QMessageBox, QPushButton, QSpinBox

from napari_segtrain.runs import RunFolder, RunState, list_runs, read_data
from napari_segtrain.runs.scratch import open_memmap
from napari_segtrain.widgets.docks import resuming
from napari_segtrain.widgets.docks.resuming import Labels
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
Notes = list[tuple[str, str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The names of the buttons to press when it is asked; those that are left have not been."""
    answers: list[str] = []
    said: list[str] = []

    def press() -> None:
        box = QApplication.activeModalWidget()
        assert isinstance(box, QMessageBox)
        said.append(box.text())
        name = answers.pop(0)
        cancel = box.button(QMessageBox.StandardButton.Cancel)
        (cancel if name == "cancel" else box.findChild(QPushButton, name)).click()

    real = resuming.ask_labels

    def ask(*arguments: Any) -> Labels | None:
        QTimer.singleShot(0, press)
        return real(*arguments)

    monkeypatch.setattr(resuming, "ask_labels", ask)
    return [answers, said]


@pytest.fixture
def opened_again(
    viewer: Any, make_dock: Callable[[type], Any], cells: Any, until: Until
) -> tuple[Any, RunFolder, np.ndarray]:
    """A run that was stopped, its labels opened again from a file without the last stroke; and the labels."""
    saved = np.array(cells[1].data)
    dock = make_dock(TrainDock)
    dock.findChild(QSpinBox, "num_epochs").setValue(500)
    dock.start()
    until(lambda: len(dock.curves.points("val", "loss")[0]) >= 2)
    cells[1].paint((40, 50), 1)
    last = np.array(cells[1].data)
    [run] = list_runs(Path(dock.project.value()))
    until(lambda: np.array_equal(trained_on(run), last))
    stop(dock, until)
    viewer.window.remove_dock_widget(dock)
    place = {"scale": cells[1].scale, "translate": cells[1].translate, "rotate": cells[1].rotate}
    viewer.layers.remove("nuclei · live")
    viewer.layers.remove("cells_nuclei")
    viewer.add_labels(saved, name="cells_nuclei", **place)
    dock = make_dock(TrainDock)
    until(lambda: dock.resumable.value() == run.path)
    return dock, run, last


def resume(dock: Any, until: Until) -> None:
    dock.resume()
    until(lambda: not dock._opening)


def stop(dock: Any, until: Until) -> None:
    dock.stop()
    until(lambda: dock.session.state is State.IDLE)


def trained_on(run: RunFolder) -> np.ndarray:
    return np.array(open_memmap(read_data(run)["layers"][0]["labels"]["nuclei"]))


def test_the_kept_labels_are_opened_and_painted_on(
    viewer: Any, opened_again: Any, asked: Any, until: Until, notes: Notes
) -> None:
    dock, run, last = opened_again
    answers, said = asked
    answers.append("kept_labels")
    resume(dock, until)
    voxels = np.count_nonzero(viewer.layers["cells_nuclei"].data != last)
    assert said == [
        "base: the layer 'cells_nuclei' holds other labels than the run has kept of it "
        f"({voxels} voxels differ)."
    ]
    opened = viewer.layers["cells_nuclei · base"]
    np.testing.assert_array_equal(opened.data, last)
    assert opened.visible and not viewer.layers["cells_nuclei"].visible
    assert "as they are now in 'cells_nuclei · base', which stands for 'cells_nuclei'" in notes[-1][1]
    until(lambda: dock.session.state is State.RUNNING)
    opened.paint((2, 3), 2)
    until(lambda: "nuclei · live" in viewer.layers and viewer.layers["nuclei · live"].data[2, 3] == 2)
    stop(dock, until)
    np.testing.assert_array_equal(trained_on(run), opened.data)
    resume(dock, until)
    assert "'cells_nuclei · base', which stands for" in notes[-1][1]
    stop(dock, until)
    assert not answers and len(said) == 1, "it is asked once"


def test_the_layer_is_used_as_it_is(
    viewer: Any, opened_again: Any, asked: Any, until: Until, notes: Notes
) -> None:
    dock, run, last = opened_again
    asked[0].append("open_labels")
    resume(dock, until)
    assert notes[-1][1].endswith("the labels as they are now in 'cells_nuclei'.")
    until(lambda: "nuclei · live" in viewer.layers)
    np.testing.assert_array_equal(viewer.layers["nuclei · live"].data, viewer.layers["cells_nuclei"].data)
    stop(dock, until)
    assert not np.array_equal(trained_on(run), last)


def test_with_neither_nothing_is_started_and_nothing_lost(
    opened_again: Any, asked: Any, until: Until, notes: Notes
) -> None:
    dock, run, last = opened_again
    asked[0].append("cancel")
    resume(dock, until)
    assert notes[-1][0] == "error"
    assert notes[-1][1].startswith("base does not go on: the layer 'cells_nuclei' holds other labels")
    assert dock.session.state is State.IDLE and not dock.busy
    assert run.state is RunState.INTERRUPTED
    np.testing.assert_array_equal(trained_on(run), last)


def test_a_layer_that_was_painted_on_goes_on_unasked(
    viewer: Any, opened_again: Any, asked: Any, until: Until, notes: Notes
) -> None:
    dock = opened_again[0]
    viewer.layers["cells_nuclei"].paint((45, 60), 1)
    resume(dock, until)
    assert notes[-1][1].endswith("the labels as they are now in 'cells_nuclei'.")
    stop(dock, until)
    assert not asked[1]


def test_without_its_image_the_run_goes_on_with_what_it_has_kept_unasked(
    viewer: Any, opened_again: Any, asked: Any, until: Until, notes: Notes
) -> None:
    dock, run, last = opened_again
    viewer.layers.remove("cells")
    resume(dock, until)
    assert "goes on with the copies of its layers" in notes[-1][1]
    stop(dock, until)
    np.testing.assert_array_equal(trained_on(run), last)
    assert not asked[1]
