"""The newest debug picture is one click away while and after a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton, QSlider

from napari_segtrain.runs import DebugPicture, RunStarted, Warned
from napari_segtrain.widgets.docks.train_dock import TrainDock

pytestmark = pytest.mark.gui


@pytest.fixture
def dock(make_dock: Callable[[type], Any]) -> Any:
    return make_dock(TrainDock)


def draw(path: Path, *greys: int) -> DebugPicture:
    frames = [Image.fromarray(np.full((40, 60), grey, np.uint8)) for grey in greys]
    more = {"save_all": True, "append_images": frames[1:], "duration": 20} if path.suffix == ".gif" else {}
    frames[0].save(path, **more)
    return DebugPicture(path=str(path), epoch=len(greys))


def shown_grey(dock: Any) -> int:
    window = dock.debug._window
    picture = window._movie.currentPixmap() if window._movie is not None else window.label.pixmap()
    return int(picture.toImage().pixelColor(30, 20).red())


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_the_newest_picture_opens_and_follows_the_training(
    qtbot: Any, dock: Any, until: Any, tmp_path: Path, suffix: str
) -> None:
    button = dock.findChild(QPushButton, "open_debug_picture")
    assert not button.isVisibleTo(dock), "there is nothing to open yet"
    path = tmp_path / f"a_debug.{suffix}"
    dock.session.happened.emit(draw(path, 80))
    assert button.isVisibleTo(dock)
    assert "epoch 1" in button.toolTip()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    window = dock.debug._window
    until(window.isVisible)
    assert shown_grey(dock) == 80
    dock.session.happened.emit(draw(path, *((160,) if suffix == "png" else (160, 240))))
    until(lambda: shown_grey(dock) in (160, 240))
    if suffix == "gif":
        until(lambda: shown_grey(dock) == 240)  # it plays
    window.close()
    dock.session.happened.emit(RunStarted(run_id="b", name="b", path=str(tmp_path), num_epochs=1))
    assert not button.isVisibleTo(dock), "the new run has no picture yet"


def test_planes_and_epochs_are_gone_through(qtbot: Any, dock: Any, until: Any, tmp_path: Path) -> None:
    for epoch, grey in ((3, 40), (12, 120)):
        draw(tmp_path / f"a_debug_{epoch}.gif", grey, grey + 40, grey + 80)
    draw(tmp_path / "a_debug_other.gif", 1)
    newest = DebugPicture(path=str(tmp_path / "a_debug.gif"), epoch=12)
    (tmp_path / "a_debug.gif").write_bytes((tmp_path / "a_debug_12.gif").read_bytes())
    dock.session.happened.emit(newest)
    qtbot.mouseClick(dock.findChild(QPushButton, "open_debug_picture"), Qt.MouseButton.LeftButton)
    window = dock.debug._window
    until(window.isVisible)
    plane, epoch = (window.findChild(QSlider, name) for name in ("plane", "epoch"))
    assert (plane.maximum(), epoch.maximum(), window.epoch.word.text()) == (2, 1, "12")
    until(lambda: plane.value() == 2)  # it plays, and the slider with it
    for place in (2, 0, 1):
        plane.setValue(place)
        assert shown_grey(dock) == 120 + 40 * place
    assert (window.play.isChecked(), window.play.text()) == (False, "Play")
    window.play.setFocus()
    QTest.keyClick(window.play, Qt.Key.Key_Space)
    assert (window.play.isChecked(), window.play.text()) == (True, "Pause")
    window.play.click()
    epoch.setValue(0)
    until(lambda: window.windowTitle() == "a_debug_3.gif")
    assert window.epoch.word.text() == "3"
    until(lambda: shown_grey(dock) == 120)  # its last plane, after it was played
    draw(tmp_path / "a_debug_20.gif", 200, 210)
    (tmp_path / "a_debug.gif").write_bytes((tmp_path / "a_debug_20.gif").read_bytes())
    dock.session.happened.emit(newest)
    until(lambda: epoch.maximum() == 2)
    assert (window.windowTitle(), epoch.value()) == ("a_debug_3.gif", 0), "what the user looks at stays"
    epoch.setValue(1)  # and a validation ends before it is read
    dock.session.happened.emit(newest)
    until(lambda: window.windowTitle() == "a_debug_12.gif")
    assert epoch.value() == 1
    epoch.setValue(2)
    until(lambda: plane.maximum() == 1)
    draw(tmp_path / "a_debug_21.gif", 220)
    dock.session.happened.emit(newest)
    until(lambda: epoch.maximum() == 3)
    assert epoch.value() == 3, "the newest is followed"
    use_by_key(window)


def use_by_key(window: Any) -> None:
    """Reach everything by Tab, hold the animation, close the window."""
    controls = [window.epoch.slider, window.plane.slider, window.play]
    controls = [control for control in controls if control.isVisible()]
    controls[0].setFocus()
    reached = []
    for _ in controls:
        reached.append(window.focusWidget())
        QTest.keyClick(window.focusWidget(), Qt.Key.Key_Tab)
    assert reached == controls
    QTest.keyClick(window.focusWidget(), Qt.Key.Key_Escape)
    assert not window.isVisible()


def test_a_picture_that_is_gone_is_said(
    qtbot: Any, dock: Any, tmp_path: Path, notes: Any, until: Any
) -> None:
    dock.session.happened.emit(DebugPicture(path=str(tmp_path / "gone.png"), epoch=1))
    qtbot.mouseClick(dock.findChild(QPushButton, "open_debug_picture"), Qt.MouseButton.LeftButton)
    until(lambda: notes)
    assert [kind for kind, _ in notes] == ["warning"]
    assert "gone.png" in notes[0][1]
    assert not dock.debug._window.isVisible()


def test_a_loss_that_saw_no_voxel_is_one_notification(dock: Any, notes: Any) -> None:
    dock.session.happened.emit(Warned(message="other (BCEDiceLoss) learned nothing in epoch 1"))
    assert notes == [("warning", "other (BCEDiceLoss) learned nothing in epoch 1")]
