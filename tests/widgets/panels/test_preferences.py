"""What napari keeps of the plugin's settings, and that new docks begin with it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_segtrain.widgets.docks.correct_dock import CorrectDock
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.forms.style import DEFAULT_PROJECT
from napari_segtrain.widgets.panels import preferences as module
from napari_segtrain.widgets.panels.preferences import Preferences, preferences
from napari_segtrain.widgets.sessions.engine_session import EngineSession

pytestmark = pytest.mark.gui

PLUGIN = "napari-segtrain"
STORED = module._stored
"""As it is when no fixture keeps tests away from the settings of this machine."""


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Napari's own settings of the plugin, in a folder of the test."""
    napari_settings = pytest.importorskip("napari.settings")
    if not hasattr(napari_settings, "get_plugin_settings"):
        pytest.skip("this napari keeps no settings of plugins")
    monkeypatch.setattr(module, "_stored", STORED)
    napari_settings._PLUGIN_SETTINGS.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other plugins' manifests
        yield napari_settings.get_plugin_settings(PLUGIN, path_dir=tmp_path)
    napari_settings._PLUGIN_SETTINGS.clear()


def test_new_docks_begin_with_what_napari_has_kept(
    stored: Any, viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert preferences() == Preferences(DEFAULT_PROJECT, "auto", keep_labels=True)
    stored.docks.project = str(tmp_path / "mine")
    stored.docks.device = "cpu"
    stored.docks.keep_labels = False
    assert "keep_labels: false" in (tmp_path / f"{PLUGIN}.yaml").read_text("utf-8")
    monkeypatch.setattr(EngineSession, "warm", lambda self: None)
    for kind in (TrainDock, PredictDock, RunsDock, CorrectDock):
        dock: Any = kind(viewer)
        assert dock.project.value() == tmp_path / "mine"
        if kind is TrainDock:
            assert dock.value().tr_setup.device == "cpu"
            assert not dock.value().tr_config.keep_labels
        if kind is PredictDock:
            assert dock.device.value() == "cpu"
        dock.shut_down()
        dock.deleteLater()


def test_the_preferences_window_shows_them(stored: Any, viewer: Any) -> None:
    from qtpy.QtWidgets import QCheckBox

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # napari's own
        dialog = viewer.window._open_preferences_dialog()
    try:
        pages = [dialog._list.item(row).text() for row in range(dialog._list.count())]
        page = dialog._stack.widget(pages.index("Segtrain"))
        [box] = page.findChildren(QCheckBox)
        box.click()
        assert not stored.docks.keep_labels
    finally:
        dialog.close()


def test_without_settings_of_plugins_there_are_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_stored", lambda: None)
    assert preferences() == Preferences()
