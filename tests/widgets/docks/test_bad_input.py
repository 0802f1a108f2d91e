"""What cannot work is said in one notification, and the dock works on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit, QPushButton

from napari_segtrain.config import ConfigError
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = pytest.mark.gui

Notes = list[tuple[str, str]]


@pytest.fixture
def dock(make_dock: Callable[[type], Any], viewer: Any) -> Any:
    rng = np.random.default_rng(0)
    viewer.add_image(rng.integers(0, 255, (48, 64)).astype(np.uint8), name="cells")
    painted = np.zeros((48, 64), np.uint8)
    painted[5:9, 5:30], painted[20:30, 20:40] = 1, 2
    viewer.add_labels(painted, name="cells_nuclei")
    return make_dock(TrainDock)


def press(qtbot: Any, dock: Any, action: str) -> None:
    qtbot.mouseClick(dock.findChild(QPushButton, action), Qt.MouseButton.LeftButton)


def test_faults_of_all_settings_are_in_one_message(qtbot: Any, dock: Any, notes: Notes) -> None:
    dock.findChild(QLineEdit, "patch_size").setText("64")
    dock.findChild(QLineEdit, "run_name").setText("a/b")
    dock.form.auxiliary.append_new().source.set_value("nuclej")
    press(qtbot, dock, "start")
    [(level, message)] = notes
    assert level == "error"
    assert message.startswith("2 faults\n- tr_config.patch_size: patch size 64 is not usable")
    assert "- tr_setup.run_name: 'a/b' is not allowed" in message
    dock.findChild(QLineEdit, "patch_size").setText("")
    dock.findChild(QLineEdit, "run_name").setText("")
    press(qtbot, dock, "start")
    assert "source_target: 'nuclej' is not a target. Did you mean 'nuclei'?" in notes[-1][1]
    assert dock.session.state is State.IDLE


def test_a_long_list_of_faults_leaves_room_for_the_form(dock: Any, notes: Notes) -> None:
    message = str(
        ConfigError.listing([f"image {n} is constant, so that nothing can be learned" for n in range(20)])
    )
    dock._refuse(message)
    assert notes == [("error", message)]
    assert len(dock.panel.status.text()) < 710 and dock.panel.status.text().endswith(" …")
    assert dock.panel.status.toolTip() == message
    dock.panel.say("Stopped")
    assert (dock.panel.status.text(), dock.panel.status.toolTip()) == ("Stopped", "")


@pytest.mark.parametrize("name", ["image", "nuclei_mask", "a/b"])
def test_a_target_that_cannot_have_its_name(qtbot: Any, dock: Any, notes: Notes, name: str) -> None:
    dock.form.targets.cards[0].name.setText(name)
    press(qtbot, dock, "start")
    assert f"a target cannot be called {name!r}" in notes[-1][1]
    assert dock.session.state is State.IDLE
    assert dock.panel.buttons["start"].isEnabled()
