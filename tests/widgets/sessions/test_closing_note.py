"""What napari asks before it closes a window in which a dock works."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, patch

import pytest
from qtpy.QtWidgets import QDialog, QSpinBox

from napari_segtrain.runs import Progress
from napari_segtrain.widgets.docks.label_dock import LabelDock
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.sessions.closing_note import ClosingNote
from napari_segtrain.widgets.sessions.prediction_session import PredictionSession
from napari_segtrain.widgets.sessions.preview_session import DOCTOR, TARGETS
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = pytest.mark.gui


def asked(viewer: Any) -> list[str]:
    return list(viewer.window._task_status_manager.get_status())


def close_by_hand(viewer: Any) -> str:
    """Close a window as its frame's button does, answer Cancel, and return what was asked."""
    window = viewer.window._qt_window
    dialog = Mock(return_value=Mock(exec_=Mock(return_value=QDialog.DialogCode.Rejected)))
    event = SimpleNamespace(spontaneous=lambda: True, ignore=Mock())
    with patch("napari._qt.qt_main_window.ConfirmCloseDialog", dialog):
        window.closeEvent(event)
    event.ignore.assert_called_once()
    return str(dialog.call_args.kwargs["extra_info"])


def test_closing_napari_names_a_training_and_what_becomes_of_it(
    viewer: Any, make_dock: Callable[[type], Any], cells: Any, until: Callable[..., None]
) -> None:
    before = asked(viewer)
    dock = make_dock(TrainDock)
    dock.engine.warm()
    until(lambda: dock.engine.engine.alive)
    assert asked(viewer) == before  # a dock that waits is nothing to ask about
    dock.findChild(QSpinBox, "num_epochs").setValue(500)
    dock.start()
    assert any("being prepared" in text for text in asked(viewer))
    until(lambda: dock.session.state is State.RUNNING)
    text = close_by_hand(viewer)
    assert dock.session.run.name in text
    assert "checkpoint" in text and "Resume" in text
    scoring = Progress(fraction=0.5, text="Scoring val", scoring=True, job=dock.session._job)
    dock.session.pause()
    until(lambda: dock.session.state is State.PAUSED)
    dock.session._on_event(scoring)
    assert any("is being evaluated" in text and "stays complete" in text for text in asked(viewer))
    dock.session.stop()
    until(lambda: dock.session.state is State.IDLE)
    assert asked(viewer) == before


def test_closing_napari_names_a_prediction(
    viewer: Any, make_dock: Callable[[type], Any], cells: Any, tmp_path: Path
) -> None:
    from napari_segtrain.config import InferenceConfig
    from napari_segtrain.widgets.layers.prediction_data import Scope, prediction_data

    before = asked(viewer)
    session: PredictionSession = make_dock(PredictDock).session
    data = prediction_data(viewer, cells[0], Scope.LAYER, None)
    for store, words in ((None, "it is lost"), (tmp_path / "new.zarr", "Go on in the Predict dock")):
        session.start(tmp_path, data, InferenceConfig(), "cpu", tmp_path / "project", store)
        assert any(words in text for text in asked(viewer))
        session.cancel()
        assert asked(viewer) == before


def test_closing_napari_names_a_search_for_regions(
    viewer: Any, make_dock: Callable[[type], Any], cells: Any, tmp_path: Path
) -> None:
    from napari_segtrain.config import DatasetConfig
    from napari_segtrain.widgets.layers.data_spec import image_data

    before = asked(viewer)
    session = make_dock(LabelDock).session
    data = image_data(cells[0], DatasetConfig())
    session.start(tmp_path, data, None, (), 5, "cpu", tmp_path / "project")
    assert [text for text in asked(viewer) if "searched for" in text]
    session.cancel()
    assert asked(viewer) == before


def test_closing_napari_names_a_preview_and_stop_ends_it(
    viewer: Any, make_dock: Callable[[type], Any], cells: Any, until: Callable[..., None]
) -> None:
    before, layers = asked(viewer), list(viewer.layers)
    dock = make_dock(TrainDock)
    stop = dock.panel.buttons["stop"]
    for kind, words in ((TARGETS, "a preview"), (DOCTOR, "the training doctor")):
        dock.preview(kind)
        assert any(words in text for text in asked(viewer)), dock.panel.text
        assert dock.panel.progress.isVisibleTo(dock) and stop.isEnabled()
        stop.click()
        until(lambda: not dock.previews.busy)
        assert asked(viewer) == before
        assert (dock.panel.text, stop.isEnabled(), list(viewer.layers)) == ("Cancelled", False, layers)


def test_closing_napari_names_runs_that_are_being_deleted(
    viewer: Any, make_dock: Callable[[type], Any], until: Callable[..., None]
) -> None:
    before = asked(viewer)
    dock = make_dock(RunsDock)
    go_on = threading.Event()
    dock._perform(go_on.wait, "Deleting 2 runs …", lambda _: "done")
    assert any("Deleting 2 runs. When the window closes" in text for text in asked(viewer))
    go_on.set()
    until(lambda: dock.panel.text == "done")
    assert asked(viewer) == before


def test_a_napari_without_a_task_manager_is_asked_nothing() -> None:
    note = ClosingNote(SimpleNamespace(window=SimpleNamespace()))
    note.show("working")
    note.show("")
