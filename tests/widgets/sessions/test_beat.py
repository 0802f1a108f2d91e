from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_segtrain.widgets.sessions import beat as module
from napari_segtrain.widgets.sessions.beat import FAST, SLOW, Beat
from napari_segtrain.widgets.sessions.gaze import Gaze

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]


class Clock:
    """Goes on only when told to, so that no busy machine makes drawing slow."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def draw(self, seconds: float = 0.05) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_what_was_asked_often_is_called_once(
    qtbot: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FAST >= 250, "at most four times a second"
    beat, called = Beat(), []
    waits: list[int] = []
    start = beat._timer.start
    monkeypatch.setattr(beat._timer, "start", lambda wait: (waits.append(wait), start(0)))

    def change() -> None:
        called.append(clock.now)

    for _ in range(5):
        beat.ask(change)
    qtbot.waitUntil(lambda: bool(called))
    clock.draw(0.1)
    beat.ask(change)
    qtbot.waitUntil(lambda: len(called) == 2)
    assert waits == [0, FAST - 100]


def test_the_beat_is_slow_where_drawing_is(qtbot: Any, clock: Clock) -> None:
    beat = Beat()
    beat.ask(clock.draw)
    qtbot.waitUntil(lambda: beat.interval == SLOW)
    beat.ask(lambda: None)
    beat.strike()
    qtbot.waitUntil(lambda: beat.interval == FAST)


def test_drawing_that_follows_a_beat_counts(qtbot: Any, clock: Clock) -> None:
    from qtpy.QtWidgets import QLabel

    class Label(QLabel):
        def paintEvent(self, event: Any) -> None:
            clock.draw()

    label, beat = Label(), Beat()
    qtbot.addWidget(label)
    label.show()
    qtbot.waitUntil(lambda: clock.now > 1000.0)

    def change() -> None:
        label.setText(label.text() + ".")

    def slow() -> bool:
        beat.ask(change)
        return beat.interval == SLOW

    qtbot.waitUntil(slow)


def test_while_the_view_moves_it_waits_where_drawing_is_slow(
    qtbot: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SLOW", 20)
    monkeypatch.setattr(module, "_REST", 10)
    beat, called = Beat(), []
    beat.ask(clock.draw)
    qtbot.waitUntil(lambda: beat.interval == 20)

    def draw() -> None:
        called.append(clock.now)
        clock.draw()

    beat.ask(draw)
    for _ in range(20):
        beat.give_way()
        qtbot.wait(10)
    assert not called
    clock.draw(0.02)  # the view rests
    qtbot.waitUntil(lambda: len(called) == 1)
    qtbot.waitUntil(lambda: beat.interval == 20)

    beat.ask(draw)
    while len(called) < 2:  # it does not wait for ever
        clock.draw(0.1)
        beat.give_way()
        qtbot.wait(10)
    assert called[1] - called[0] >= 0.001 * module._PATIENCE


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
