"""Every dock with everything in it that can be there, for tests that go through whatever a dock has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QScrollArea,
    QWidget,
)
from superqt import QCollapsible

from napari_segtrain.config import (
    DatasetConfig,
    DistanceTransformTask,
    ExperimentConfig,
    LossConfig,
    TargetConfig,
)
from napari_segtrain.inference.kept_parts import KeptParts
from napari_segtrain.runs import DebugPicture, EpochDone, Finding, RunFolder, RunStarted, RunState
from napari_segtrain.widgets.docks.correct_dock import CorrectDock
from napari_segtrain.widgets.docks.label_dock import LabelDock
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.docks.step_dock import StepDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.docks.workflow_dock import WorkflowDock
from napari_segtrain.widgets.layers.results import OURS
from napari_segtrain.workflow.graph.templates import template

DOCKS = [TrainDock, PredictDock, RunsDock, CorrectDock, LabelDock, StepDock, WorkflowDock]


def _controls(dock: QWidget) -> Iterator[QWidget]:
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # what was replaced is gone
    kinds = (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QAbstractItemView)
    for widget in dock.findChildren(QWidget):
        part = isinstance(widget.parent(), QAbstractSpinBox | QComboBox | QAbstractItemView)
        popup = widget.window() is not dock.window()  # the list of a combo box is a window of its own
        if isinstance(widget, kinds) and not part and not popup:
            yield widget


@pytest.fixture
def controls() -> Callable[[QWidget], Iterator[QWidget]]:
    """What yields the controls that a user can operate, without the parts that Qt makes controls of."""
    return _controls


def unfold(dock: QWidget) -> None:
    """Show everything that is folded."""
    for section in dock.findChildren(QCollapsible):
        section.expand(animate=False)
    for button in dock.findChildren(QAbstractButton, "loss_settings"):
        button.setChecked(True)


def _run(project: Path, name: str, *states: RunState, **settings: Any) -> RunFolder:
    run = RunFolder.create(project, name)
    targets = {"nuclei": TargetConfig(kind="binary"), "cells": TargetConfig(kind="instances")}
    config = ExperimentConfig(dataset_config=DatasetConfig(targets=targets)).with_overrides(settings)
    run.write_config(config)
    for state in states:
        run.set_state(state, **({} if state is RunState.RUNNING else {"reason": "stopped"}))
    run.append_metrics({"epoch": 1, "val_loss": 0.5, "train_loss": 0.75})
    for name in ("best", "last"):
        (run.checkpoints / f"{name}.ckpt").write_bytes(b"")
    run.update_info(epoch=1, num_epochs=9, best={"epoch": 1, "monitor": "val_loss", "value": 0.5})
    return run


def _fill_train(dock: Any, until: Callable[..., None]) -> None:
    targets = {
        "nuclei": TargetConfig(labels="painted", losses=(LossConfig(name="DiceLoss"),), unlabelled=0),
        "cells": TargetConfig(labels="more", mask="field", kind="instances"),
    }
    dataset = DatasetConfig(targets=targets)
    tasks = {"distance": DistanceTransformTask(source_target="nuclei")}
    dock.set_value(ExperimentConfig(dataset_config=dataset, auxiliary_tasks=tasks))
    dock.form.images.set_value(("cells", "others"))
    remedy = {"tr_config.optimizer.lr": 0.01}
    fast = Finding(rule="a", severity="warning", sentence="too fast", remedy=remedy)
    dock.findings.set_value((fast, Finding(rule="b", severity="note", sentence="worth knowing")))
    dock.fitting.make("This should fit: patches of 64 × 64 in batches of 2", lambda: None)
    dock.session.happened.emit(RunStarted(run_id="a", name="a", path="/none", num_epochs=2))
    dock.session.happened.emit(EpochDone(epoch=1, num_epochs=2, row={"val_loss": 0.5}))
    dock.session.happened.emit(DebugPicture(path="/none/a_debug.png", epoch=1))
    dock.projects.look()
    until(lambda: dock.projects.state.resumable and dock.projects.state.completed)
    until(lambda: not dock.form.glances.busy)


def _fill_predict(dock: Any, until: Callable[..., None]) -> None:
    part = np.zeros((48, 64), np.float16)
    ours = {"result": True, "parts": KeptParts(part, part, None, 2), "settings": {}}
    dock.viewer.add_labels(np.zeros((48, 64), np.int32), name="objects", metadata={OURS: ours})
    dock.run.refresh()
    until(lambda: dock.run.value() is not None and dock.run.known)
    dock.destination.set_value("store")
    until(lambda: not dock.instances.live.busy)


def _fill_runs(dock: Any, until: Callable[..., None]) -> None:
    dock.projects.look()
    until(lambda: len(dock.projects.state.rows) == 2)
    dock.table.select([row.run.path for row in dock.projects.state.rows])
    until(lambda: len(dock.projects.state.details) == 2 and dock.projects.state.comparison)


def _fill_correct(dock: Any, until: Callable[..., None]) -> None:
    dock.viewer.add_labels(np.zeros((48, 64), np.uint8), name="predicted", metadata={OURS: {"result": True}})
    dock.viewer.add_shapes([[[1, 1], [9, 9]]], name="here")
    dock.run.refresh()
    until(lambda: dock.run.value() is not None and dock.run.known)
    until(lambda: "Reading" not in dock.worst.status.text())
    dock.worst.list.addItem("dice 0.20 · nuclei · cells [0:16, 0:16]")


def _fill_label(dock: Any, until: Callable[..., None]) -> None:
    dock.run.refresh()
    until(lambda: dock.run.value() is not None and dock.run.known)
    for button in dock.steps.values():
        button.setEnabled(True)  # as with a layer of regions


def _fill_steps(dock: Any, until: Callable[..., None]) -> None:
    dock.checks.offer(("encoder 1", "encoder 2"), 4)
    for button in (*dock.panel.buttons.values(), *dock.checks.buttons.values()):
        button.setEnabled(True)
    dock.curves.add(1, loss=0.5, gradient_norm=2.0, learning_rate=0.001)


def _fill_workflow(dock: Any, until: Callable[..., None]) -> None:
    dock.set_value(template("train"))
    dock.editor.select("optimizer")
    dock.node.links.setCurrentRow(0)
    dock.history.undo()
    dock.history.redo()
    dock.set_value(template("stepwise"))
    dock.history.undo()
    dock.editor.select("optimizer")
    dock.node.links.setCurrentRow(0)


_FILL = {
    TrainDock: _fill_train,
    PredictDock: _fill_predict,
    RunsDock: _fill_runs,
    CorrectDock: _fill_correct,
    LabelDock: _fill_label,
    StepDock: _fill_steps,
    WorkflowDock: _fill_workflow,
}


@pytest.fixture
def full_dock(
    viewer: Any, make_dock: Callable[[type], Any], tmp_path: Path, until: Callable[..., None]
) -> Iterator[Callable[[type], Any]]:
    """Open a dock in a shown window of 1200 × 700 pixels, with everything that can be in it unfolded."""

    def make(kind: type) -> Any:
        project = tmp_path / "project"
        _run(project, "stopped", RunState.RUNNING, RunState.INTERRUPTED)
        _run(project, "done", RunState.RUNNING, RunState.COMPLETED, **{"tr_config.optimizer.lr": 0.5})
        rng = np.random.default_rng(0)
        for name in ("others", "cells"):
            viewer.add_image(rng.integers(0, 255, (48, 64)).astype(np.uint8), name=name)
        for name in ("painted", "more", "field"):
            viewer.add_labels(np.arange(48 * 64).reshape(48, 64) % 3, name=name)
        viewer.window.show()
        viewer.window.resize(1200, 700)
        dock = make_dock(kind)
        until(dock.isVisible)
        _FILL[kind](dock, until)
        unfold(dock)
        body = dock.findChild(QScrollArea, "scroll").widget()
        until(lambda: body.height() >= body.layout().minimumSize().height())
        return dock

    window = viewer.window._qt_window
    size = window.size()
    yield make
    window.resize(size)
    window.hide()  # as other tests expect it


@pytest.fixture(params=DOCKS)
def each_dock(request: pytest.FixtureRequest, full_dock: Callable[[type], Any]) -> Any:
    """Every kind of dock, one after the other, as `full_dock` opens it."""
    return full_dock(request.param)
