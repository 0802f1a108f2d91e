"""When a dock's engine is started: after the dock has opened, and not for one that is closed at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from qtpy.QtTest import QTest

from napari_segtrain.widgets.docks.dock import _FIRST_PAINT
from napari_segtrain.widgets.docks.train_dock import TrainDock

pytestmark = pytest.mark.gui


@pytest.fixture
def opened(viewer: Any, engine_path: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
    """Return a dock as a user opens it, and its frame; `make_dock` starts an engine only where it is used."""
    dock = TrainDock(viewer, engine_path)
    yield dock, viewer.window.add_dock_widget(dock, name="Train (napari-segtrain)")
    dock.shut_down()
    dock.engine.engine.close(grace=5.0)


def test_the_engine_does_not_compete_with_the_dock_that_opens(
    opened: tuple[Any, Any], until: Callable[..., None]
) -> None:
    dock, _ = opened
    assert not dock.engine.engine.alive
    until(lambda: dock.engine.engine.ready)


def test_a_dock_that_is_closed_at_once_starts_no_engine(viewer: Any, opened: tuple[Any, Any]) -> None:
    dock, frame = opened
    viewer.window.remove_dock_widget(frame)
    QTest.qWait(2 * _FIRST_PAINT)
    assert not dock.engine.engine.alive
    assert dock.engine.engine.pid is None
