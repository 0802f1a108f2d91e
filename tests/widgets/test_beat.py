from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from napari_segtrain.widgets.beat import FAST, SLOW, Beat
from napari_segtrain.widgets.gaze import Gaze

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]


def test_what_was_asked_often_is_called_once(qtbot: Any) -> None:
    beat, called = Beat(), []

    def change() -> None:
        called.append(time.monotonic())

    for _ in range(5):
        beat.ask(change)
    qtbot.waitUntil(lambda: bool(called))
    beat.ask(change)
    qtbot.waitUntil(lambda: len(called) == 2)
    assert called[1] - called[0] >= 0.9 * FAST / 1000


def test_the_beat_is_slow_where_drawing_is(qtbot: Any) -> None:
    beat = Beat()
    beat.ask(lambda: time.sleep(0.03))
    qtbot.waitUntil(lambda: beat.interval == SLOW)
    beat.ask(lambda: None)
    beat.strike()
    qtbot.waitUntil(lambda: beat.interval == FAST)


def test_while_the_view_moves_it_waits_where_drawing_is_slow(
    qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_segtrain.widgets.beat.SLOW", 100)
    # Long enough for a busy machine, on which 20 ms can become several hundred.
    monkeypatch.setattr("napari_segtrain.widgets.beat._REST", 1000)
    monkeypatch.setattr("napari_segtrain.widgets.beat._PATIENCE", 2500)
    beat, called = Beat(), []
    beat.ask(lambda: time.sleep(0.03))
    qtbot.waitUntil(lambda: beat.interval == 100)
    began = time.monotonic()
    beat.ask(lambda: called.append(time.monotonic()))
    while time.monotonic() - began < 0.4:
        beat.give_way()
        qtbot.wait(20)
    assert not called
    qtbot.waitUntil(lambda: bool(called) and beat.interval == FAST, timeout=10_000)  # called, and measured

    beat.interval = 100
    beat.ask(lambda: called.append(time.monotonic()))
    while len(called) < 2:  # it does not wait for ever
        beat.give_way()
        qtbot.wait(20)
    assert 2.4 < called[1] - called[0] < 10


def test_moving_the_view_is_noticed(viewer: Any) -> None:
    viewer.add_image(np.zeros((4, 16, 16), np.uint8))
    moves: list[bool] = []
    gaze = Gaze(viewer, [], lambda _: None, lambda: moves.append(True))
    viewer.dims.set_current_step(0, 3)
    assert len(moves) == 1
    getattr(viewer, "scene", viewer).camera.zoom = 2.5
    assert len(moves) == 2
    gaze.close()
    viewer.dims.set_current_step(0, 0)
    assert len(moves) == 2
