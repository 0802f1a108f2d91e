from __future__ import annotations

import time
from typing import Any

import pytest

from napari_segtrain.widgets.beat import FAST, SLOW, Beat

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
