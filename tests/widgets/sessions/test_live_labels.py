"""Labels that change while the dock trains, through both processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QSpinBox

from napari_segtrain.config import DatasetConfig, ExperimentConfig, TargetConfig
from napari_segtrain.runs import BatchDone, LabelsApplied
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
Notes = list[tuple[str, str]]


class Painting:
    """A running training of two targets, one with a mask, and what it said."""

    def __init__(self, viewer: Any, dock: Any, until: Until, qtbot: Any) -> None:
        self.dock, self.qtbot, self.until = dock, qtbot, until
        rng = np.random.default_rng(0)
        viewer.add_image(rng.integers(0, 255, (48, 64)).astype(np.uint8), name="cells", scale=(0.5, 0.25))
        painted = np.zeros((48, 64), np.uint8)
        painted[5:9, 5:30], painted[20:30, 20:40] = 1, 2
        self.nuclei = viewer.add_labels(painted, name="nuclei", scale=(0.5, 0.25))
        self.walls = viewer.add_labels(painted.copy(), name="walls")
        self.field = viewer.add_labels(np.ones((48, 64), np.uint8), name="field")
        targets = {
            "nuclei": TargetConfig(labels="nuclei", mask="field"),
            "walls": TargetConfig(labels="walls", kind="binary"),
        }
        dock.set_value(ExperimentConfig(dataset_config=DatasetConfig(targets=targets)))
        dock.findChild(QSpinBox, "num_epochs").setValue(5000)
        self.events: list[Any] = []
        dock.session.happened.connect(self.events.append)
        self.press("start")
        until(lambda: self.of(BatchDone))

    def press(self, action: str) -> None:
        self.qtbot.mouseClick(self.dock.findChild(QPushButton, action), Qt.MouseButton.LeftButton)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def applied(self) -> tuple[str, Any, Any]:
        """Wait until one change was applied, and return its target and block."""
        self.until(lambda: self.of(LabelsApplied))
        (event,) = self.of(LabelsApplied)
        self.events.clear()
        return event.target, tuple(event.start), tuple(event.stop)

    def goes_on(self) -> None:
        """Wait for the next batch."""
        self.events.clear()
        self.until(lambda: self.of(BatchDone))


@pytest.fixture
def painting(viewer: Any, make_dock: Callable[[type], Any], until: Until, qtbot: Any) -> Any:
    started = Painting(viewer, make_dock(TrainDock), until, qtbot)
    yield started
    started.press("stop")
    until(lambda: started.dock.session.state is State.IDLE)


def shown(viewer: Any, target: str) -> Any:
    """Return the labels as the engine reads them: what the scripted training shows as preview."""
    return viewer.layers[f"{target} · live"].data


def test_strokes_undo_and_redo_reach_the_training(painting: Any, viewer: Any, until: Until) -> None:
    before = painting.nuclei.data.copy()
    painting.nuclei.brush_size = 3
    painting.nuclei.paint((40, 50), 1)
    stroke = painting.applied()
    _, start, stop = stroke
    assert max(b - a for a, b in zip(start, stop, strict=True)) <= 5, "the stroke travels, not the image"
    until(lambda: "nuclei · live" in viewer.layers and shown(viewer, "nuclei")[40, 50] == 1)
    painting.nuclei.undo()
    assert painting.applied() == stroke
    until(lambda: np.array_equal(shown(viewer, "nuclei"), before))
    painting.nuclei.redo()
    assert painting.applied() == stroke
    until(lambda: np.array_equal(shown(viewer, "nuclei"), painting.nuclei.data))


def test_a_second_target_and_a_mask_travel_too(painting: Any, viewer: Any, until: Until) -> None:
    painting.walls.data_setitem((np.array([3]), np.array([4])), 1)
    assert painting.applied() == ("walls", (3, 4), (4, 5))
    painting.field.data_setitem((np.array([7]), np.array([8])), 0)
    assert painting.applied() == ("nuclei", (7, 8), (8, 9)), "the target that the mask is of"


def test_a_new_array_reaches_the_training(painting: Any, viewer: Any, until: Until) -> None:
    new = painting.nuclei.data.copy()
    new[30:40, 10:60] = 1
    painting.nuclei.data = new
    assert painting.applied() == ("nuclei", (30, 10), (40, 60))
    until(lambda: "nuclei · live" in viewer.layers and np.array_equal(shown(viewer, "nuclei"), new))


@pytest.mark.parametrize("what", ["delete", "reshape"])
def test_labels_that_go_away_or_change_shape(
    painting: Any, viewer: Any, until: Until, notes: Notes, what: str
) -> None:
    before = painting.nuclei.data.copy()
    if what == "delete":
        viewer.layers.remove(painting.nuclei)
        assert (
            "'nuclei' was deleted or converted: the training goes on with the labels it had" in notes[-1][1]
        )
    else:
        painting.nuclei.data = np.zeros((20, 20), np.uint8)
        assert "now has the shape (20, 20)" in notes[-1][1]
        painting.nuclei.data_setitem((np.array([3]), np.array([4])), 1)
    painting.goes_on()
    assert len(notes) == 1
    painting.walls.data_setitem((np.array([3]), np.array([4])), 1)
    assert painting.applied()[0] == "walls", "the other labels are followed on"
    until(lambda: "walls · live" in viewer.layers and shown(viewer, "walls")[3, 4] == 1)
    np.testing.assert_array_equal(shown(viewer, "nuclei"), before, "no label is lost")
    assert painting.dock.session.state is State.RUNNING
