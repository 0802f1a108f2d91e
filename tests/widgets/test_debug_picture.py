"""The newest debug picture is one click away while and after a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_segtrain.runs import DebugPicture, RunStarted, Warned
from napari_segtrain.widgets.train_dock import TrainDock

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


def test_a_picture_that_is_gone_is_said(qtbot: Any, dock: Any, tmp_path: Path, notes: Any) -> None:
    dock.session.happened.emit(DebugPicture(path=str(tmp_path / "gone.png"), epoch=1))
    qtbot.mouseClick(dock.findChild(QPushButton, "open_debug_picture"), Qt.MouseButton.LeftButton)
    assert [kind for kind, _ in notes] == ["warning"]
    assert "gone.png" in notes[0][1]
    assert not dock.debug._window.isVisible()


def test_a_loss_that_saw_no_voxel_is_one_notification(dock: Any, notes: Any) -> None:
    dock.session.happened.emit(Warned(message="other (BCEDiceLoss) learned nothing in epoch 1"))
    assert notes == [("warning", "other (BCEDiceLoss) learned nothing in epoch 1")]
