"""Every key has its control, every control its name, its tooltip and something that it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, get_args

import numpy as np
import pytest
from qtpy.QtCore import QObject
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QLineEdit,
    QProgressBar,
    QWidget,
)

from napari_segtrain.config import (
    AuxiliaryTask,
    Config,
    DatasetConfig,
    ExperimentConfig,
    InferenceConfig,
    InplaneDirectionTask,
    LossConfig,
    TargetConfig,
)
from napari_segtrain.widgets.docks.correct_dock import CorrectDock
from napari_segtrain.widgets.docks.label_dock import LabelDock
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.docks.run_actions import ACTIONS
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.docks.step_dock import StepDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.docks.workflow_dock import WorkflowDock
from napari_segtrain.widgets.forms.schema import Key, Shape, keys_of

pytestmark = pytest.mark.gui

ELSEWHERE = {"inference_config"}
"""Sections that the Train dock only keeps: how a network predicts is chosen in the Predict dock."""

SPECIAL: dict[str, Any] = {
    "device": "cuda:1",
    "monitor": "val_nuclei_dice",
    "source_target": "cells",
    "labels": "more",
    "mask": "field",
    "patch_size": (32, 48),
    "tile_size": (48, 32),
    "spacing": (0.5, 0.25),
    "kernel_sizes": ((1, 3), (3, 3)),
    "strides": ((1, 1), (1, 2)),
    "kwargs": {"rho": 3.0, "on": True},
    "name": "DiceLoss",
    "losses": (LossConfig(name="DiceLoss", weight=2.0, kwargs={"batch": True}, start_epoch=3),),
}


ONLY_ONE = {(InplaneDirectionTask, "ds_interpolation")}
"""Keys that refuse any value but one, with the reason."""

NOT_FROM_NAPARI = {"devices", "num_nodes", "strategy"}
"""Keys that the Train dock keeps and does not show: several devices train from the command line only."""

WITH = {"fold": {"folds": 5}}
"""Keys that are allowed only with others."""


def another(key: Key, now: Any) -> Any:
    """Return an allowed value of a key that is not the one it has."""
    if key.name in SPECIAL and SPECIAL[key.name] in (key.choices or (SPECIAL[key.name],)):
        return SPECIAL[key.name]
    if key.shape is Shape.BOOL:
        return not now
    if key.shape is Shape.CHOICE:
        return next(choice for choice in key.choices if choice != now)
    if key.shape is Shape.TEXT:
        return "another"
    if key.shape is Shape.SEQUENCE:
        return ("nuclei", "depth") if key.item is str else (2, 3)
    candidates = (1, 2, 3, 5) if key.shape is Shape.INT else (0.25, 0.75, 5.0, 60.0)
    return next(number for number in candidates if number != now and fits(key, number))


def fits(key: Key, number: float) -> bool:
    above = key.lower is None or number > key.lower or (number == key.lower and not key.lower_open)
    below = key.upper is None or number < key.upper or (number == key.upper and not key.upper_open)
    return above and below


def changes(value: Config) -> Iterator[tuple[str, Config]]:
    """Yield the name of each key below a value, and the value with this key changed."""
    for key in keys_of(type(value)):
        now = getattr(value, key.name)
        if key.shape is Shape.GROUP:
            for name, inner in changes(now):
                yield f"{key.name}.{name}", value.replace(**{key.name: inner})
        elif key.shape is Shape.UNION:
            for model in key.models:
                if model() != now:
                    yield f"{key.name}.{model.__name__}", value.replace(**{key.name: model()})
                for name, inner in changes(model()):
                    yield f"{key.name}.{model.__name__}.{name}", value.replace(**{key.name: inner})
        elif (type(value), key.name) not in {(DatasetConfig, "targets"), *ONLY_ONE}:
            yield key.name, value.replace(**{key.name: another(key, now)}, **WITH.get(key.name, {}))


TASKS = get_args(get_args(AuxiliaryTask)[0])


def experiment(**parts: Any) -> ExperimentConfig:
    """Return an experiment with two targets and an auxiliary task of every kind."""
    dataset = parts.pop("dataset_config", DatasetConfig())
    targets = {"nuclei": TargetConfig(labels="painted"), "cells": TargetConfig(labels="more")}
    targets |= parts.pop("targets", {})
    tasks = {model.__name__: model(source_target="nuclei") for model in TASKS}
    tasks |= parts.pop("tasks", {})
    dataset = dataset.replace(targets=targets)
    return ExperimentConfig().replace(dataset_config=dataset, auxiliary_tasks=tasks, **parts)


def experiments() -> Iterator[tuple[str, ExperimentConfig]]:
    """Yield an experiment for every key of the schema, with this key changed."""
    base = experiment()
    targets = base.dataset_config.targets
    for section in ("tr_setup", "tr_config", "network", "dataset_config"):
        for name, value in changes(getattr(base, section)):
            yield f"{section}.{name}", experiment(**{section: value})
    for name, value in changes(targets["nuclei"]):
        yield f"targets.{name}", experiment(targets={"nuclei": value})
    for name, loss in changes(LossConfig(name="BCEDiceLoss")):
        yield f"losses.{name}", experiment(targets={"cells": TargetConfig(losses=(loss,), labels="more")})
    for model in TASKS:
        for name, value in changes(model(source_target="nuclei")):
            yield f"{model.__name__}.{name}", experiment(tasks={model.__name__: value})


@pytest.fixture
def layers(viewer: Any) -> None:
    viewer.add_image(np.random.default_rng(0).integers(0, 255, (48, 64)).astype(np.uint8), name="cells")
    for name in ("painted", "more", "field"):
        viewer.add_labels(np.arange(48 * 64).reshape(48, 64) % 3, name=name)


@pytest.fixture
def train(make_dock: Callable[[type], Any], layers: None) -> Any:
    dock = make_dock(TrainDock)
    dock.set_value(experiment())
    return dock


@pytest.fixture
def predict(make_dock: Callable[[type], Any], layers: None) -> Any:
    dock = make_dock(PredictDock)
    dock.outputs.offer(["nuclei", "depth"])
    return dock


def test_the_schema_is_walked_to_its_ends() -> None:
    walked = [name for name, _ in experiments()]
    assert len(walked) == len(set(walked)) > 120
    for name in ("dataset_config.augmentation.elastic", "tr_config.optimizer.SGD.momentum", "losses.kwargs"):
        assert name in walked
    assert all(value != experiment() for _, value in experiments())


@pytest.mark.slow
def test_every_key_of_an_experiment_is_shown_and_read_back(train: Any) -> None:
    lost = []
    for name, value in experiments():
        train.set_value(value)
        if train.value() != value:
            lost.append(name)
    assert lost == []


def test_every_key_of_a_prediction_is_shown_and_read_back(predict: Any) -> None:
    for name, value in changes(InferenceConfig()):
        predict.set_value(value)
        assert predict.value() == value, name


def test_what_the_train_dock_does_not_edit_it_keeps(train: Any) -> None:
    sections = {field.alias or name for name, field in ExperimentConfig.model_fields.items()}
    shown = {name for name in sections if train.findChild(QWidget, name) is not None}
    assert sections - shown == ELSEWHERE
    for _, value in changes(InferenceConfig()):
        train.set_value(experiment(inference_config=value))
        assert train.value().inference_config == value


def operate(control: Any, value: Any) -> None:
    """Set a control as a user does, by what Qt offers for its kind."""
    if isinstance(control, QCheckBox):
        control.setChecked(value)
    elif isinstance(control, QAbstractSpinBox):
        control.lineEdit().setText(str(value))
        control.interpretText()
    elif isinstance(control, QLineEdit):
        rows = value if isinstance(value, tuple) and isinstance(value[0], tuple) else (value,)
        texts = (", ".join(map(str, row)) if isinstance(row, tuple) else str(row) for row in rows)
        control.setText("; ".join(texts))
    else:
        assert isinstance(control, QComboBox)
        control.setCurrentText(str(value))


SEVERAL_PROCESSES = {"devices", "num_nodes", "strategy"}
"""Keys of `tr_setup` that the Train dock only keeps: several processes train from the command line."""

READ_WHEN_PRESSED = {"more_epochs"}
"""Controls that nobody listens to: the button beside them reads them."""

SECTIONS = {"tr_setup": "tr_setup", "tr_config": "tr_config", "model_config": "network"}


@pytest.mark.parametrize("section", [*SECTIONS, "dataset_config", "inference_config"])
def test_the_control_of_a_key_changes_this_key_and_no_other(train: Any, predict: Any, section: str) -> None:
    dock = predict if section == "inference_config" else train
    attribute = SECTIONS.get(section, section)

    def shown() -> Any:
        return dock.value() if dock is predict else getattr(dock.value(), attribute)

    for key in keys_of(type(shown())):
        if section == "tr_setup" and key.name in SEVERAL_PROCESSES:
            continue
        if key.shape in (Shape.GROUP, Shape.UNION) or key.name == "targets":
            continue  # their parts are keys themselves; targets are a table, or boxes to tick
        if section == "tr_setup" and key.name in NOT_FROM_NAPARI:
            continue
        before = shown()
        control = dock.findChild(QWidget, section).findChild(QWidget, key.name)
        operate(control, another(key, getattr(before, key.name)))
        assert shown() == before.replace(**{key.name: another(key, getattr(before, key.name))}), key.name


def test_outputs_are_ticked_one_by_one(predict: Any, qtbot: Any) -> None:
    predict.findChild(QCheckBox, "targets/depth").click()
    assert predict.value().targets == ("depth",)
    predict.findChild(QCheckBox, "targets/all outputs").click()
    assert predict.value().targets is None


def told(widget: QWidget, dock: QWidget) -> str:
    """Return the tooltip that appears over a widget: its own, or that of the editor it is part of."""
    ancestor: QObject | None = widget
    while ancestor is not None and ancestor is not dock:
        if isinstance(ancestor, QWidget) and ancestor.toolTip():
            return str(ancestor.toolTip())
        ancestor = ancestor.parent()
    return ""


def heard(widget: Any) -> bool:
    """Return whether somebody listens to the signals that tell of a user's action."""
    if isinstance(widget, QAbstractItemView):
        return True  # its selection is a model of its own, and a table of texts does nothing
    names = (
        "clicked",
        "toggled",
        "editingFinished",
        "valueChanged",
        "currentIndexChanged",
        "currentTextChanged",
        "textChanged",
    )
    meta = widget.metaObject()
    methods = [meta.method(index) for index in range(meta.methodCount())]
    own = [method for method in methods if bytes(method.name()).decode() in names]
    return any(widget.isSignalConnected(method) for method in own)


@pytest.mark.parametrize(
    "kind", [TrainDock, PredictDock, RunsDock, CorrectDock, LabelDock, StepDock, WorkflowDock]
)
def test_every_control_has_a_name_a_tooltip_and_an_effect(
    make_dock: Callable[[type], Any], layers: None, kind: type, controls: Callable[[QWidget], Any]
) -> None:
    dock = make_dock(kind)
    if kind is TrainDock:
        losses = (LossConfig(name="DiceLoss"),)
        dock.set_value(experiment(targets={"nuclei": TargetConfig(labels="painted", losses=losses)}))
    found = list(controls(dock))
    assert len(found) > (12 if kind in (RunsDock, CorrectDock, LabelDock, StepDock, WorkflowDock) else 30)
    where = {
        widget: f"{type(widget).__name__} {widget.objectName()!r} {told(widget, dock)!r}" for widget in found
    }
    assert [where[w] for w in found if not w.objectName()] == []
    assert [where[w] for w in found if not told(w, dock)] == []
    assert [where[w] for w in found if not heard(w) and w.objectName() not in READ_WHEN_PRESSED] == []
    actions = {
        TrainDock: ["start", "pause", "stop", "add_target", "add_auxiliary", "open_config", "save_config"],
        PredictDock: ["predict", "cancel"],
        RunsDock: list(ACTIONS),
        CorrectDock: ["accept"],
        LabelDock: ["find_regions", "cancel", "previous_region", "next_region", "region_done"],
        StepDock: ["define_model", "optimizer_step", "run_batches", "what_if", "overfit", "stop", "end"],
        WorkflowDock: ["use_template", "open_graph", "save_graph", "add_node", "connect", "arrange", "undo"],
    }
    for action in actions[kind]:
        assert isinstance(dock.findChild(QWidget, action), QAbstractButton), action
    assert kind is CorrectDock or dock.findChild(QProgressBar, "progress") is not None
