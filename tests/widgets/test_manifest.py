from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

import napari_segtrain

pytestmark = pytest.mark.gui

PLUGIN = "napari-segtrain"


@pytest.fixture
def manifest() -> Any:
    from pathlib import Path

    return yaml.safe_load((Path(napari_segtrain.__file__).parent / "napari.yaml").read_text("utf-8"))


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The installed plugins, with no engine processes behind their docks."""
    from npe2 import PluginManager

    from napari_segtrain.widgets.sessions.engine_session import EngineSession

    monkeypatch.setattr(EngineSession, "warm", lambda self: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other plugins' manifests
        manager = PluginManager.instance()
        manager.discover()
    yield manager


def test_every_command_exists_and_is_offered_somewhere(manifest: Any) -> None:
    contributions = manifest["contributions"]
    offered = {item["command"] for item in [*contributions["widgets"], *contributions["sample_data"]]}
    # These are offered in the command palette, and where the user binds keys.
    offered |= {f"{PLUGIN}.{name}" for name in ("next_region", "previous_region", "region_done")}
    for command in contributions["commands"]:
        module, _, name = command["python_name"].partition(":")
        assert callable(getattr(importlib.import_module(module), name))
        assert command["id"] in offered
    for items in contributions["menus"].values():
        assert {item["command"] for item in items} <= offered


def test_samples_open_from_the_menu(plugins: Any, viewer: Any) -> None:
    coins = viewer.open_sample(PLUGIN, "coins")
    assert [layer.name for layer in coins] == ["coins", "coins_foreground"]
    volume = viewer.open_sample(PLUGIN, "tubes_and_blobs")
    assert [layer.name for layer in volume] == ["volume", "volume_blobs", "volume_tubes"]
    assert tuple(volume[0].scale) == (2, 1, 1)
    assert [str(unit) for unit in volume[0].units] == ["micrometer"] * 3


def test_docks_open_from_the_menu(plugins: Any, viewer: Any) -> None:
    _, train = viewer.window.add_plugin_dock_widget(PLUGIN, "Train")
    _, predict = viewer.window.add_plugin_dock_widget(PLUGIN, "Predict")
    _, runs = viewer.window.add_plugin_dock_widget(PLUGIN, "Runs")
    _, correct = viewer.window.add_plugin_dock_widget(PLUGIN, "Correct")
    _, label = viewer.window.add_plugin_dock_widget(PLUGIN, "Label next")
    _, step = viewer.window.add_plugin_dock_widget(PLUGIN, "Step by step")
    _, workflow = viewer.window.add_plugin_dock_widget(PLUGIN, "Workflow")
    docks = (train, predict, runs, correct, label, step, workflow)
    assert [dock.objectName() for dock in docks] == [
        "train_dock",
        "predict_dock",
        "runs_dock",
        "correct_dock",
        "label_dock",
        "step_dock",
        "workflow_dock",
    ]
    for dock in docks:
        viewer.window.remove_dock_widget(dock)


def test_the_step_dock_opens_the_train_dock_behind_it(plugins: Any, viewer: Any, until: Any) -> None:
    from napari_segtrain.widgets.docks.train_dock import TrainDock

    viewer.window.show()
    _, step = viewer.window.add_plugin_dock_widget(PLUGIN, "Step by step")
    until(step.isVisible)
    train = step._train_dock()
    assert isinstance(train, TrainDock)
    assert step._train_dock() is train
    until(lambda: train.visibleRegion().isEmpty() and not step.visibleRegion().isEmpty())
    for dock in (step, train):
        viewer.window.remove_dock_widget(dock)
    viewer.window._qt_window.hide()


def test_the_runs_dock_opens_the_others_where_they_are_not_open(plugins: Any, viewer: Any) -> None:
    from napari_segtrain.widgets.docks.other_docks import find_dock, show_dock
    from napari_segtrain.widgets.docks.predict_dock import PredictDock
    from napari_segtrain.widgets.docks.train_dock import TrainDock

    _, runs = viewer.window.add_plugin_dock_widget(PLUGIN, "Runs")
    for kind, title in ((TrainDock, "Train"), (PredictDock, "Predict")):
        assert find_dock(runs, kind) is None
        opened = show_dock(runs, kind, title)
        assert isinstance(opened, kind)
        assert show_dock(runs, kind, title) is opened
        viewer.window.remove_dock_widget(opened)
        assert find_dock(runs, kind) is None
