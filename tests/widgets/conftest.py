from __future__ import annotations

import functools
import gc
import importlib.util
import os
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from qtpy.compat import isalive

HERE = Path(__file__).parent
PATIENCE = 90.0
"""Seconds until a test gives up waiting: only a fault takes so long, also on a machine that is busy."""
ENGINE = ("--jobs", "gui_jobs:JOBS", "--nice", "0")

# Deprecations inside napari and the libraries below it, by how they begin; ours stay errors.
THIRD_PARTY = (
    "Using extra keyword arguments on `Field` is deprecated",  # npe2 0.10 under pydantic 2
    "`allow_mutation` is deprecated and will be removed",
    "`json_encoders` is deprecated",
)

with warnings.catch_warnings():
    for text in THIRD_PARTY:
        warnings.filterwarnings("ignore", re.escape(text), DeprecationWarning)
    # The first import of what is behind its lazy names, before a test module does it without filters.
    import napari
    import napari.layers
    import napari.qt.threading
    import napari.utils.notifications


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform != "linux"
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        item.add_marker(pytest.mark.xdist_group("widgets"))  # one viewer serves them all
        for message in THIRD_PARTY:
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{re.escape(message)}:DeprecationWarning"))
        if item.get_closest_marker("gui") and not screen:
            item.add_marker(pytest.mark.skip(reason="needs a display; run it through tools/with-display.sh"))


@pytest.fixture(autouse=True)
def _default_preferences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the user of this machine prefers out of the tests."""
    monkeypatch.setattr("napari_segtrain.widgets.panels.preferences._stored", lambda: None)
    workflow = sys.modules.get("napari_segtrain.widgets.docks.workflow_dock")
    if workflow is not None:
        workflow._DRAWN.clear()


@pytest.fixture
def make_viewer(qapp: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Make viewers that are closed afterwards."""
    from napari.settings import get_settings

    made: list[Any] = []

    def make() -> Any:
        get_settings().reset()
        monkeypatch.setattr("napari._qt.threads.status_checker.StatusChecker.start", lambda *_: None)
        made.append(napari.Viewer(show=False, show_welcome_screen=False))
        return made[-1]

    yield make
    for viewer in made:
        if hasattr(viewer.window, "_qt_window"):
            close(viewer)


def close(viewer: Any) -> None:
    with patch.object(viewer.window._qt_window, "_save_current_window_settings"):
        viewer.close()
    gc.collect()


@pytest.fixture(scope="session")
def one_viewer(qapp: Any) -> Iterator[Any]:
    """One viewer for many tests: making one takes a second."""
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr("napari._qt.threads.status_checker.StatusChecker.start", lambda *_: None)
        viewer = napari.Viewer(show=False, show_welcome_screen=False)
        yield viewer
        close(viewer)


@pytest.fixture
def viewer(qapp: Any, one_viewer: Any) -> Iterator[Any]:
    """An empty viewer; a test that leaves a thread behind fails."""
    before = set(threading.enumerate())
    yield one_viewer
    one_viewer.window.remove_dock_widget("all")
    one_viewer.layers.clear()
    one_viewer.dims.ndim = 2
    wait_until(qapp, lambda: not leaked(before), "threads are left: {}", lambda: leaked(before))


def leaked(before: set[threading.Thread]) -> list[threading.Thread]:
    from qtpy.QtCore import QThreadPool

    now = [t for t in threading.enumerate() if t not in before and t.is_alive() and "engine" in t.name]
    busy = QThreadPool.globalInstance().activeThreadCount()
    return now + [threading.Thread(name="pool")] * busy


def wait_until(
    qapp: Any, done: Callable[[], Any], text: str = "{}", what: Callable[[], Any] = lambda: "not done"
) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        qapp.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            pytest.fail(text.format(what()))


@pytest.fixture
def until(qapp: Any) -> Callable[..., None]:
    """Let Qt work until something is true, or fail."""

    def wait(done: Callable[[], Any]) -> None:
        wait_until(qapp, done)

    return wait


@pytest.fixture
def drawing() -> Any:
    """What draws a graph as a user does: the module `drawing`."""
    spec = importlib.util.spec_from_file_location("drawing", HERE / "drawing.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def qtbot(qtbot: Any) -> Any:
    """Wait, where nothing is said, as long as all waits here."""
    qtbot.waitUntil = functools.partial(qtbot.waitUntil, timeout=int(1000 * PATIENCE))
    return qtbot


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the user was told: level and message."""
    from napari_segtrain.widgets.forms import notify

    said: list[tuple[str, str]] = []
    for level in ("error", "warning", "info"):
        monkeypatch.setattr(notify, level, lambda text, level=level: said.append((level, text)))
    return said


@pytest.fixture
def engine_path(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Arguments of an engine process with the scripted jobs of `gui_jobs`."""
    monkeypatch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
    return ENGINE


@pytest.fixture
def make_dock(
    viewer: Any, engine_path: tuple[str, ...], tmp_path: Path, qapp: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Open a dock in the viewer, with a project in a temporary folder.

    The scripted engine is started when it is needed, as one that ended too early would be: most tests never
    do, and each would wait for it at its end.
    """
    from napari.utils._proxies import PublicOnlyProxy

    from napari_segtrain.widgets.docks.dock import EngineDock

    docks: list[Any] = []
    if engine_path:
        monkeypatch.setattr(EngineDock, "_warm", lambda self: None)

    def make(kind: type, within: Any = viewer) -> Any:
        seen = PublicOnlyProxy(within)  # what napari gives a plugin instead of the viewer
        dock = kind(seen, engine_path) if issubclass(kind, EngineDock) else kind(seen)
        name = kind.__name__.removesuffix("Dock")
        within.window.add_dock_widget(dock, name=f"{name} (napari-segtrain)")  # as napari calls it
        dock.project.set_value(tmp_path / "project")
        docks.append(dock)
        return dock

    yield make
    for dock in docks:
        if isalive(dock):
            dock.shut_down()
        if isinstance(dock, EngineDock):
            dock.engine.engine.close(grace=5.0)


@pytest.fixture
def cells(viewer: Any) -> Any:
    """An image with a labels layer, turned and scaled, so that previews have something to get wrong."""
    rng = np.random.default_rng(0)
    space = {"scale": (0.5, 0.25), "translate": (3, 4), "rotate": 20, "units": ("um", "um")}
    image = viewer.add_image(rng.integers(0, 255, (48, 64)).astype(np.uint8), name="cells", **space)
    painted = np.zeros((48, 64), np.uint8)
    painted[5:9, 5:30], painted[20:30, 20:40] = 1, 2
    labels = viewer.add_labels(painted, name="cells_nuclei", **space)
    return image, labels
