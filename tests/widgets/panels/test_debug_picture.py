"""The newest debug picture is one click away while and after a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
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
    assert window.isVisible()
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
    plane, epoch = (window.findChild(QSlider, name) for name in ("plane", "epoch"))
    assert (plane.maximum(), epoch.maximum(), window.epoch.word.text()) == (2, 1, "12")
    until(lambda: plane.value() == 2)  # it plays, and the slider with it
    for place in (2, 0, 1):
        plane.setValue(place)
        assert shown_grey(dock) == 120 + 40 * place
    assert not window.play.isChecked()
    epoch.setValue(0)
    until(lambda: shown_grey(dock) == 120)  # its last plane, after it was played
    assert (window.windowTitle(), window.epoch.word.text()) == ("a_debug_3.gif", "3")
    draw(tmp_path / "a_debug_20.gif", 200, 210)
    (tmp_path / "a_debug.gif").write_bytes((tmp_path / "a_debug_20.gif").read_bytes())
    dock.session.happened.emit(newest)
    assert window.windowTitle() == "a_debug_3.gif", "what the user looks at stays"
    assert (epoch.maximum(), epoch.value()) == (2, 0)
    epoch.setValue(2)
    assert plane.maximum() == 1
    draw(tmp_path / "a_debug_21.gif", 220)
    dock.session.happened.emit(newest)
    assert (epoch.maximum(), epoch.value()) == (3, 3), "the newest is followed"
    window.close()


def test_a_picture_that_is_gone_is_said(qtbot: Any, dock: Any, tmp_path: Path, notes: Any) -> None:
    dock.session.happened.emit(DebugPicture(path=str(tmp_path / "gone.png"), epoch=1))
    qtbot.mouseClick(dock.findChild(QPushButton, "open_debug_picture"), Qt.MouseButton.LeftButton)
    assert [kind for kind, _ in notes] == ["warning"]
    assert "gone.png" in notes[0][1]
    assert not dock.debug._window.isVisible()


def test_a_loss_that_saw_no_voxel_is_one_notification(dock: Any, notes: Any) -> None:
    dock.session.happened.emit(Warned(message="other (BCEDiceLoss) learned nothing in epoch 1"))
    assert notes == [("warning", "other (BCEDiceLoss) learned nothing in epoch 1")]
