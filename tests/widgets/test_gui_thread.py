"""The thread of the windows reads no file of a project: a slow disk does not hold the viewer."""

from __future__ import annotations

import builtins
import io
import os
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QFileDialog

from napari_segtrain.config import DatasetConfig, ExperimentConfig, TargetConfig
from napari_segtrain.runs import RunFolder
from napari_segtrain.widgets.docks.correct_dock import CorrectDock
from napari_segtrain.widgets.docks.label_dock import LabelDock
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.docks.workflow_dock import WorkflowDock
from napari_segtrain.widgets.layers.results import OURS
from napari_segtrain.workflow.graph import Graph, template

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
OURS_OR_NAPARI = re.compile(r"[/\\](src[/\\]napari_segtrain|napari)[/\\]")
WRITTEN = (".scratch", ".writable")
"""Shared copies: their folder is made, empty, before a worker fills it."""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder.create(tmp_path / "project", "first")
    targets = {"nuclei": TargetConfig(unlabelled=0)}
    run.write_config(ExperimentConfig(dataset_config=DatasetConfig(targets=targets)))
    run.append_metrics({"epoch": 1, "val_loss": 0.5})
    (run.checkpoints / "best.ckpt").write_bytes(b"")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(run.plots / "first_debug.png")
    return run


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the main thread opens or lists in the project, and where in the program."""
    found: list[str] = []

    def watch(module: Any, name: str) -> None:
        real = getattr(module, name)

        def spy(path: Any = ".", *args: Any, **options: Any) -> Any:
            text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
            here = threading.current_thread() is threading.main_thread()
            if here and str(tmp_path) in text and not any(part in text for part in WRITTEN):
                calls = [call for call in traceback.extract_stack() if OURS_OR_NAPARI.search(call.filename)]
                if calls and "napari_segtrain" in calls[-1].filename:  # napari reads what it shows
                    found.append(f"{text}\n{''.join(traceback.format_list(calls[-3:]))}")
            return real(path, *args, **options)

        monkeypatch.setattr(module, name, spy)

    for module, name in ((builtins, "open"), (io, "open"), (os, "scandir"), (os, "listdir")):
        watch(module, name)
    yield found
    assert not found, "\n".join(found)


@pytest.fixture
def layers(viewer: Any) -> None:
    rng = np.random.default_rng(0)
    viewer.add_image(rng.integers(0, 255, (48, 64)).astype(np.uint8), name="cells")
    viewer.add_labels(np.zeros((48, 64), np.uint8), name="cells_nuclei")


def test_runs_and_their_pictures(
    make_dock: Callable[[type], Any], run: RunFolder, opened: list[str], until: Until
) -> None:
    dock = make_dock(RunsDock)
    dock.projects.look()
    until(lambda: dock.projects.state.rows)
    dock.table.select([run.path])
    until(lambda: dock.projects.state.details)
    dock.open_picture()
    until(lambda: dock._window.isVisible())
    dock._window.close()


@pytest.mark.parametrize("to_store", [False, True])
def test_predictions(
    make_dock: Callable[[type], Any], layers: None, run: RunFolder, opened: list[str], until: Until,
    tmp_path: Path, to_store: bool,
) -> None:  # fmt: skip
    dock = make_dock(PredictDock)
    dock.run.refresh()
    until(lambda: dock.run.value() is not None)
    if to_store:
        dock.destination.set_value("store")
        dock.store.set_value(tmp_path / "project" / "new.zarr")
    dock.begin()  # also before the run was read
    until(lambda: dock.panel.text.startswith("Predicted"))


def test_regions(
    make_dock: Callable[[type], Any], layers: None, run: RunFolder, opened: list[str], until: Until
) -> None:
    dock = make_dock(LabelDock)
    dock.run.refresh()
    until(lambda: dock.run.value() is not None)
    dock.begin()
    until(lambda: "best first" in dock.panel.text)


def test_corrections(
    make_dock: Callable[[type], Any], viewer: Any, layers: None, run: RunFolder, opened: list[str],
    until: Until,
) -> None:  # fmt: skip
    settings = {"checkpoint": {"path": str(run.path)}}
    ours = {"result": True, "head": "nuclei", "settings": settings}
    viewer.add_labels(np.eye(48, 64, dtype=np.uint8), name="found", metadata={OURS: ours})
    dock = make_dock(CorrectDock)
    until(lambda: QThreadPool.globalInstance().activeThreadCount() == 0)
    dock.run.refresh()
    until(lambda: dock.run.value() is not None and dock.worst.status.text() != "Reading …")


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where in the program the main thread reads a Zarr array, but for napari, which shows it."""
    found: list[str] = []
    real = zarr.Array.__getitem__

    def spy(array: Any, index: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            calls = [call for call in traceback.extract_stack() if OURS_OR_NAPARI.search(call.filename)]
            if calls and "napari_segtrain" in calls[-1].filename:
                found.append("".join(traceback.format_list(calls[-3:])))
        return real(array, index)

    monkeypatch.setattr(zarr.Array, "__getitem__", spy)
    return found


def test_accepting_inside_large_shapes(
    make_dock: Callable[[type], Any], viewer: Any, until: Until, tmp_path: Path, read_here: list[str]
) -> None:
    side = 4200
    viewer.add_labels(np.ones((side, side), np.uint8), name="found", metadata={OURS: {"result": True}})
    array = zarr.create_array(tmp_path / "a.zarr", shape=(side, side), chunks=(1000, 1000), dtype=np.uint8)
    labels = viewer.add_labels(array, name="painted")
    panel = make_dock(CorrectDock).accepting
    panel.labels.set_value("painted")
    until(lambda: panel.values.text())

    def press(radius: int) -> float:
        """Accept inside an ellipse; return the seconds of the processor that the press took."""
        shapes = viewer.add_shapes(name=f"{radius}", ndim=2)
        middle, reach = np.full(2, side / 2 - 0.5), np.full(2, radius)
        shapes.add_ellipses(np.array([middle, reach]))
        panel.where.set_value(shapes.name)
        read_here.clear()
        start = time.thread_time()
        panel.accept()
        return time.thread_time() - start

    assert press(2060) < 0.5
    assert "too many for one step" in panel.status.text() and not panel.busy
    assert press(1000) < 0.5
    until(lambda: not panel.busy)
    assert read_here == []
    assert panel.status.text().startswith("Accepted 3,1")
    assert len(labels._undo_history) == 1


def test_workflows(
    make_dock: Callable[[type], Any], layers: None, opened: list[str], until: Until, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = str(tmp_path / "graph.json")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (path, ""))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (path, ""))
    dock = make_dock(WorkflowDock)
    graph = template("predict").configure("image_layer", {"image": "cells"})
    dock.set_value(graph)
    dock.save.click()
    until(lambda: dock.panel.text.startswith("Saved"))
    dock.set_value(Graph())
    dock.open.click()
    until(lambda: dock.value() == graph)
    dock.run()
    until(lambda: dock.panel.text.startswith("The workflow is done"))


def test_labels_on_the_disk(
    make_dock: Callable[[type], Any], viewer: Any, opened: list[str], until: Until, tmp_path: Path
) -> None:
    painted = np.zeros((48, 64), np.uint8)
    painted[3:9, 3:9], painted[20:22, 20:40] = 1, 2
    path = tmp_path / "labels.zarr"
    zarr.save_array(str(path), painted)
    dock = make_dock(TrainDock)
    viewer.add_image(np.zeros((48, 64), np.uint8), name="cells")
    layer = viewer.add_labels(painted, name="cells_nuclei")
    layer.data = zarr.open_array(str(path), mode="r")
    dock.form.targets.clear()
    card = dock.form.targets.append_new(layer)
    until(lambda: card.form.editors["unlabelled"].value() == 0)
