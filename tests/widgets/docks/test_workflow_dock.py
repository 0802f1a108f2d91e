"""The Workflow dock: a graph drawn by keyboard, checked, configured, kept as a file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import RunFolder
from napari_segtrain.widgets.docks.other_docks import find_dock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.docks.workflow_dock import WorkflowDock, _result_of
from napari_segtrain.widgets.forms.style import theme_colours
from napari_segtrain.widgets.sessions import graph_session
from napari_segtrain.workflow.graph import (
    NODE_TYPES,
    Graph,
    experiment_of,
    read_graph,
    write_graph,
)
from napari_segtrain.workflow.graph.arrange import arrange
from napari_segtrain.workflow.graph.templates import TEMPLATES, template

pytestmark = pytest.mark.gui

Key, Held = Qt.Key, Qt.KeyboardModifier


@pytest.fixture
def dock(make_dock: Callable[[type], Any], viewer: Any, until: Callable[..., None]) -> Any:
    viewer.window.show()
    made = make_dock(WorkflowDock)
    until(made.isVisible)
    yield made
    viewer.window._qt_window.hide()


def test_the_training_graph_is_drawn_by_keyboard(dock: Any, drawing: Any, notes: list[Any]) -> None:
    drawing.by_keyboard(dock, notes)
    dock.editor.view.setFocus()
    for _ in range(10):
        QTest.keyClick(dock.editor.view, Key.Key_Z, Held.ControlModifier)
    assert dock.value() == Graph()


def test_templates_are_whole_graphs(dock: Any, drawing: Any) -> None:
    for name in TEMPLATES:
        drawing.choose(dock.template, name)
        assert dock.template.toolTip() == TEMPLATES[name][0]
        dock.use.click()
        graph = template(name)
        assert dock.value() == graph.move(arrange(graph))
        assert not any(text.startswith("✗") for text in checks(dock)), name
        dock.history.undo()
        assert dock.value() == Graph()


def checks(dock: Any) -> list[str]:
    return [dock.checks.item(row).text() for row in range(dock.checks.count())]


def test_what_is_missing_is_listed_and_leads_to_its_node(dock: Any) -> None:
    assert checks(dock) == ["✗ The graph is empty: add a node, or open a template"]
    dock.set_value(template("train").disconnect("unet_model", "model", "optimizer", "model"))
    found = checks(dock)
    assert found[0] == "✗ Required input 'model' on node 'optimizer' is not connected"
    assert any(line.startswith("⚠ Parameter 'data'") for line in found)
    assert "○ the same network's model at the optimizer's model" in found
    assert "✓ a trainer" in found
    dock.checks.setCurrentRow(0)
    assert dock.editor.scene.selected_nodes() == ["optimizer"]
    assert dock.node.name.text() == "optimizer"


def test_a_fault_leads_to_its_node_also_when_a_port_is_called_as_another(dock: Any) -> None:
    whole = template("train")
    for link in whole.links:
        ends = (link.source, link.source_port, link.target, link.target_port)
        dock.set_value(whole.disconnect(*ends))
        dock.editor.select("data_loader")
        row = checks(dock).index(
            f"✗ Required input '{link.target_port}' on node '{link.target}' is not connected"
        )
        for _ in range(2):  # also when the line is chosen already
            dock.editor.select("data_loader")
            dock.checks.setCurrentRow(row)
            dock.checks.itemClicked.emit(dock.checks.item(row))
            assert dock.editor.scene.selected_nodes() == [link.target]


def test_open_layers_are_chosen_for_a_data_loader_and_for_an_image(
    dock: Any, drawing: Any, cells: Any, viewer: Any, until: Callable[..., None]
) -> None:
    image, _ = cells
    dock.set_value(template("evaluate"))
    dock.editor.select("data_loader")
    layers = dock.node.form().editors["layers"]
    [box] = layers.boxes
    box.click()
    assert dock.value().node("data_loader").config.layers == ("cells",)
    dock.node.form().editors["data"].line.setText("/a/folder")
    assert dock.value().node("data_loader").config.data is None, "not both"
    dock.node.form().editors["data"].line.setText("")
    image.name = "others"
    assert [box.text() for box in layers.boxes] == ["others", "cells (missing)"]
    image.name = "cells"
    dock.set_value(template("predict"))
    dock.editor.select("image_layer")
    edit = dock.node.form().editors["image"]
    assert edit.path.isVisible() and edit.layer.offered() == [None, "cells"]
    drawing.choose(edit.layer, "cells")
    edit.layer.activated.emit(edit.layer.currentIndex())
    assert dock.value().node("image_layer").config.image == "cells" and not edit.path.isVisible()
    drawing.choose(edit.layer, None)
    edit.layer.activated.emit(0)
    assert dock.value().node("image_layer").config.image is None and edit.path.isVisible()
    edit.line.setText("/some/image.tif")
    assert dock.value().node("image_layer").config.image == "/some/image.tif"


def test_a_graph_runs_on_open_layers_and_shows_regions_where_they_lie(
    dock: Any, cells: Any, viewer: Any, until: Callable[..., None]
) -> None:
    image, labels = cells
    labels.name = "cells_nuclei"
    dock.set_value(template("evaluate").configure("data_loader", {"layers": ["cells"]}))
    dock.shown.set_value(("predictor", "all_predictions"))
    dock.run()
    until(lambda: dock.panel.buttons["run"].isEnabled())
    assert dock.panel.text.startswith("The workflow is done"), dock.panel.text
    layer = viewer.layers["predictor.all_predictions · cells cells"]
    assert layer._type_string == "image"
    assert (np.asarray(layer.data) == 255 - image.data[2:, 2:]).all()
    assert np.allclose(layer.data_to_world((1, 3)), image.data_to_world((3, 5)))


@pytest.mark.parametrize("weights", ["", "checkpoints/best.ckpt"])
def test_an_image_is_read_as_the_run_that_predicts_it_has_read_its_own(
    dock: Any, viewer: Any, until: Callable[..., None], tmp_path: Path, weights: str
) -> None:
    run = RunFolder.create(tmp_path / "project", "coloured")
    run.write_config(ExperimentConfig.parse({"dataset_config": {"channel_axis": 0, "ndim": 2}}))
    (run.checkpoints / "best.ckpt").write_bytes(b"")
    image = viewer.add_image(np.arange(72, dtype=np.uint8).reshape(3, 4, 6), name="cells", rgb=False)
    graph = predict_graph().configure("checkpoint_loader", {"run": str(run.path / weights)})
    dock.set_value(graph)
    dock.run()
    assert not dock.panel.buttons["run"].isEnabled()
    until(lambda: dock.panel.buttons["run"].isEnabled())
    until(lambda: dock.panel.text.startswith("The workflow is done"))
    layer = viewer.layers["predictor.predictions · cells cells"]
    assert (np.asarray(layer.data) == 255 - image.data[0]).all(), "the first of three channels"


def test_the_train_docks_experiment_is_a_graph(
    dock: Any, drawing: Any, cells: Any, notes: list[Any], make_dock: Callable[[type], Any], tmp_path: Path
) -> None:
    drawing.choose(dock.template, "train_dock")
    dock.use.click()
    assert notes == [("error", "Choose images and targets in the Train dock, and press Use again")]
    train = find_dock(dock, TrainDock)
    assert train is not None, "it is opened"
    config = train.value().with_overrides({"tr_config.num_epochs": 7})
    train.set_value(config)
    dock.use.click()
    assert len(notes) == 1, notes
    graph = dock.value()
    assert graph.node("data_loader").config.layers == ("cells",)
    assert experiment_of(graph).config == train.value()
    assert graph.node("trainer").config.project == str(train.project.value())
    cells[1].name = "painted elsewhere"
    dock.use.click()
    assert experiment_of(dock.value()).config == train.value(), "a target names its layer"


def test_what_a_run_said_of_a_node_goes_when_it_is_no_longer_true(
    dock: Any, cells: Any, until: Callable[..., None]
) -> None:
    def done() -> set[str]:
        return {name for name, item in dock.editor.scene.nodes.items() if item.status}

    dock.set_value(predict_graph())
    dock.run()
    until(lambda: dock.panel.buttons["run"].isEnabled())
    everything = {"checkpoint_loader", "image_layer", "predictor"}
    assert done() == everything
    dock.history.edit(lambda graph: graph.move({"predictor": (900.0, 9.0)}))
    assert done() == everything
    dock.history.edit(lambda graph: graph.configure("predictor", {"overlap": 0.25}))
    assert done() == {"checkpoint_loader", "image_layer"}
    dock.history.edit(lambda graph: graph.configure("image_layer", {"image": "other"}))
    assert done() == {"checkpoint_loader"}
    dock.history.undo()
    dock.history.undo()
    assert done() == everything
    dock.set_value(template("train"))
    assert done() == set()


def test_a_drawing_outlives_its_dock(dock: Any, make_dock: Callable[[type], Any]) -> None:
    dock.set_value(template("train"))
    dock.close()
    assert make_dock(WorkflowDock).value() == template("train")


def test_every_node_has_its_parameters_in_a_form(dock: Any) -> None:
    for kind in NODE_TYPES:
        dock.editor.add(kind)
        form = dock.node.form()
        assert form.isVisible() and form.value() == dock.value().node(kind).config
        # The kind of network follows from the node.
        fixed = {"architecture"} if kind in ("unet_model", "vnet_model") else set()
        assert set(form.editors) == set(NODE_TYPES[kind].config.model_fields) - fixed


def test_parameters_names_and_links_are_edited_and_undone(dock: Any, notes: list[Any]) -> None:
    dock.set_value(template("train"))
    before = dock.value()
    dock.editor.select("trainer")
    form = dock.node.form()
    epochs = form.editors["num_epochs"].lineEdit()
    epochs.setFocus()
    epochs.selectAll()
    QTest.keyClicks(epochs, "12")
    QTest.keyClick(epochs, Key.Key_Return)
    assert dock.value().node("trainer").config.num_epochs == 12
    dock.history.undo()
    assert dock.value() == before and form.value().num_epochs == 50
    dock.node.name.setText("optimizer")
    dock.node.name.editingFinished.emit()
    assert notes[-1] == ("error", "two nodes are called 'optimizer'; give one another name")
    assert dock.node.name.text() == "trainer"
    dock.node.name.setText("coach")
    dock.node.name.editingFinished.emit()
    assert dock.value().has("coach") and dock.editor.scene.selected_nodes() == ["coach"]
    dock.node.links.setCurrentRow(0)
    dock.node.cut.click()
    assert len(dock.value().links) == 4


def test_each_parameter_is_a_step_of_undo(dock: Any) -> None:
    dock.set_value(template("train"))
    dock.editor.select("trainer")
    form, before = dock.node.form(), dock.value()
    epochs, device = form.editors["num_epochs"].lineEdit(), form.editors["device"]

    def write(line: Any, text: str) -> None:
        line.selectAll()
        QTest.keyClicks(line, text)
        QTest.keyClick(line, Key.Key_Return)

    def shown() -> tuple[int, str]:
        config = dock.value().node("trainer").config
        assert form.value() == config
        return config.num_epochs, config.device

    write(epochs, "12")
    write(device, "cpu")
    assert shown() == (12, "cpu")
    dock.history.undo()
    assert shown() == (12, "auto")
    dock.history.undo()
    assert dock.value() == before

    write(epochs, "34")
    dock.editor.select("optimizer")
    dock.editor.select("trainer")
    write(epochs, "56")
    dock.history.undo()
    assert shown() == (34, "auto")
    dock.history.undo()
    assert dock.value() == before


@pytest.mark.parametrize(
    ("typed", "name"), [("mse", "MSELoss"), ("mae", "L1Loss"), ("huber", "SmoothL1Loss")]
)
def test_short_names_of_losses_are_typed(
    dock: Any, until: Callable[..., None], typed: str, name: str
) -> None:
    dock.set_value(template("train"))
    dock.editor.select("loss_function")
    losses = dock.node.form().editors["losses"]
    losses.add.click()
    line = losses._rows[0].name.lineEdit()
    line.window().activateWindow()
    line.setFocus()
    until(line.hasFocus)  # else the list completes nothing
    line.selectAll()
    QTest.keyClicks(line, typed)
    assert [loss.name for loss in dock.value().node("loss_function").config.losses] == [name]


def test_targets_and_tasks_are_written_as_yaml(dock: Any) -> None:
    dock.editor.add("data_loader")
    form = dock.node.form()
    form.editors["targets"].setPlainText("cells: {kind: instances, weight: 2}")
    form.editors["auxiliary_tasks"].setPlainText("sdt: {type: distance_transform, source_target: cells}")
    form.editors["data"].line.setText("/some/where")
    config = dock.value().node("data_loader").config
    assert (config.targets["cells"].kind, config.targets["cells"].weight) == ("instances", 2.0)
    assert config.auxiliary_tasks["sdt"].source_target == "cells"
    assert config.data == "/some/where"
    form.set_value(config)
    assert form.value() == config
    form.editors["targets"].setPlainText("cells: [")
    assert dock.value().node("data_loader").config == config


def test_files_are_opened_and_saved(
    dock: Any, notes: list[Any], until: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "g.json"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    graph = template("predict").move({"predictor": (500.0, 7.0)})
    dock.set_value(graph)
    dock.save.click()
    until(lambda: dock.panel.text == f"Saved {path}")
    assert read_graph(path) == graph
    write_graph(path, template("train"))
    dock.open.click()
    until(lambda: dock.value() == template("train"))
    path.write_text('{"nodes": [{"name": "a", "type": "nothing"}], "links": 1}')
    dock.open.click()
    until(lambda: notes)
    assert "2 faults" in notes[0][1] and "nodes[0].type: node type 'nothing' is unknown" in notes[0][1]
    assert dock.value() == template("train")


def test_the_drawing_follows_the_theme(dock: Any, viewer: Any, until: Callable[..., None]) -> None:
    dock.set_value(template("train"))
    try:
        for theme in ("light", "dark"):
            viewer.theme = theme
            text, _ = theme_colours(theme)
            until(lambda text=text: dock.editor.scene.theme.text == text)
            assert {item.theme.text.name() for item in dock.editor.scene.nodes.values()} == {text.name()}
    finally:
        viewer.theme = "dark"


def predict_graph(image: str | None = "cells", name: str = "checkpoint_loader") -> Graph:
    graph = template("predict").configure("image_layer", {"image": image})
    return graph.rename("checkpoint_loader", name)


def test_a_graph_runs_and_its_output_is_a_layer_that_knows_it(
    dock: Any, cells: Any, viewer: Any, notes: list[Any], until: Callable[..., None]
) -> None:
    image, _ = cells
    graph = predict_graph()
    dock.set_value(template("evaluate"))
    assert dock.shown.value() == ("metrics", "metrics")
    dock.set_value(graph)
    assert dock.shown.value() == ("predictor", "predictions")
    told: list[dict[str, str]] = []
    dock.session.statuses_changed.connect(told.append)
    QTest.mouseClick(dock.panel.buttons["run"], Qt.MouseButton.LeftButton)
    assert not dock.panel.buttons["run"].isEnabled() and dock.panel.buttons["stop"].isEnabled()
    until(lambda: dock.panel.buttons["run"].isEnabled())
    assert dock.panel.text.startswith("The workflow is done")
    assert told[0] == {graph.order()[0]: "… waiting"}
    assert {"predictor": "▶ running"}.items() <= told[-2].items()
    assert set(told[-1].values()) == {"✓ done, 2 s"}
    assert dock.editor.scene.nodes["predictor"].status == "✓ done, 2 s"
    layer = viewer.layers["predictor.predictions · cells cells"]
    assert (np.asarray(layer.data) == 255 - image.data).all()
    for name in ("scale", "translate", "rotate", "units"):
        assert str(getattr(layer, name)) == str(getattr(image, name)), name
    assert np.allclose(layer.data_to_world((7, 9)), image.data_to_world((7, 9)))
    dock.set_value(Graph())
    viewer.layers.selection.active = layer
    dock.of_layer.click()
    assert dock.value() == graph
    viewer.layers.selection.active = image
    dock.of_layer.click()
    assert notes[-1][1] == "no workflow made the selected layer: select a layer that came from one"


def test_the_output_that_is_shown_follows_the_graph(dock: Any, drawing: Any) -> None:
    dock.set_value(template("predict"))
    drawing.choose(dock.shown, ("predictor", "all_predictions"))
    dock.node.renamed.emit("predictor", "oracle")
    assert dock.shown.value() == ("oracle", "all_predictions")
    dock.history.undo()
    assert dock.shown.value() == ("predictor", "all_predictions")
    dock.set_value(template("train"))
    assert dock.shown.value() == _result_of(template("train"))
    dock.set_value(template("predict"))
    assert dock.shown.value() == ("predictor", "predictions"), "what was chosen is gone: the default again"
    drawing.choose(dock.shown, None)
    dock.set_value(template("evaluate"))
    assert dock.shown.value() is None, "nothing is always there"


def test_only_what_can_be_seen_or_told_is_offered(dock: Any) -> None:
    shown = {
        "train": [("trainer", "metrics")],
        "predict": [("predictor", "predictions"), ("predictor", "all_predictions")],
        "evaluate": [
            ("predictor", "predictions"),
            ("predictor", "all_predictions"),
            ("predictor", "all_labels"),
            ("metrics", "metrics"),
        ],
        "direct": [("checkpoint_loader", "output")],
    }
    for name, wanted in shown.items():
        dock.set_value(template(name))
        assert dock.shown.offered() == [None, *wanted], name
    assert dock.shown.value() == ("checkpoint_loader", "output")
    dock.set_value(template("stepwise"))
    assert dock.shown.value() == ("repeat", "history")


def test_a_file_gets_its_suffix_and_replaces_none_unasked(
    dock: Any, until: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answers = [QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.Cancel]

    def answer(*given: Any) -> Any:
        asked.append(given[2])
        return answers.pop()

    monkeypatch.setattr(QMessageBox, "question", answer)
    path = tmp_path / "wf.v2.json"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "wf.v2"), ""))
    dock.set_value(template("predict"))
    dock.save.click()
    until(lambda: dock.panel.text == f"Saved {path}")
    assert (read_graph(path), asked) == (template("predict"), [])
    dock.set_value(template("train"))
    dock.save.click()
    assert asked == [f"{path} exists already. Replace it?"]
    assert read_graph(path) == template("predict"), "the user thought better of it"
    dock.save.click()
    until(lambda: read_graph(path) == template("train"))
    assert [file.name for file in tmp_path.glob("wf*")] == ["wf.v2.json"]


def test_what_cannot_be_read_is_not_run_or_saved(
    dock: Any, notes: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "g.json"), ""))
    dock.set_value(template("train"))
    dock.editor.select("data_loader")
    targets = dock.node.form().editors["targets"]
    targets.setPlainText("cells: [")
    dock.editor.add("data_loader")
    assert dock.node.form().value() == dock.value().node("data_loader_2").config, "a form of its own"
    dock.editor.select("trainer")
    for button in (dock.panel.buttons["run"], dock.save):
        button.click()
        kind, message = notes.pop()
        assert kind == "error" and message.startswith("node 'data_loader': ") and "Targets" in message
    assert not dock.session.busy and not list(tmp_path.iterdir())
    dock.editor.select("data_loader")
    assert targets.toPlainText() == "cells: [", "it can be mended"
    targets.setPlainText("cells: {kind: binary}")
    dock.node.refuse_unreadable(dock.value())
    assert dock.value().node("data_loader").config.targets["cells"].kind == "binary"
    targets.setPlainText("cells: [")
    dock.history.undo()
    dock.node.refuse_unreadable(dock.value())
    assert targets.toPlainText() == "{}" or not targets.toPlainText()


def test_the_node_that_fails_is_named_and_selected(
    dock: Any, cells: Any, notes: list[Any], until: Callable[..., None]
) -> None:
    dock.set_value(predict_graph(name="broken"))
    dock.run()
    until(lambda: notes)
    assert notes == [("error", "Node 'broken': it is broken")]
    assert dock.editor.scene.nodes["broken"].status == "✗ failed"
    assert dock.editor.scene.selected_nodes() == ["broken"]
    assert dock.panel.buttons["run"].isEnabled()


def test_a_run_is_stopped_and_what_cannot_run_says_why(
    dock: Any, cells: Any, notes: list[Any], until: Callable[..., None]
) -> None:
    dock.set_value(predict_graph(name="slow"))
    dock.run()
    until(lambda: dock.editor.scene.nodes["slow"].status == "▶ 50%")
    dock.panel.buttons["stop"].click()
    until(lambda: dock.panel.buttons["run"].isEnabled())
    assert dock.editor.scene.nodes["slow"].status == "■ cancelled"
    assert notes == []
    dock.set_value(template("train").disconnect("unet_model", "model", "optimizer", "model"))
    dock.run()
    assert notes == [("error", "Required input 'model' on node 'optimizer' is not connected")]
    assert dock.panel.buttons["run"].isEnabled()


def test_a_run_ends_also_when_its_output_cannot_be_shown(
    dock: Any, cells: Any, until: Callable[..., None], monkeypatch: Any
) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(graph_session, "add_output", refuse)
    told: list[str] = []
    dock.session.warned.connect(told.append)
    dock.set_value(predict_graph())
    dock.run()
    until(lambda: dock.panel.buttons["run"].isEnabled())
    assert told == ["predictor.predictions cannot be shown as a layer (RuntimeError: no room)"]
    assert dock.panel.text.startswith("The workflow is done")


def test_stop_ends_a_run_whose_outputs_are_being_read(
    dock: Any, cells: Any, viewer: Any, until: Callable[..., None], monkeypatch: Any
) -> None:
    before, read = len(viewer.layers), threading.Event()

    def wait(event: Any) -> dict[str, Any]:
        read.wait()
        return {}

    monkeypatch.setattr(graph_session, "_read", wait)
    dock.set_value(predict_graph())
    dock.run()
    try:
        until(lambda: dock.session._finished is not None)
        dock.panel.buttons["stop"].click()
        assert dock.panel.buttons["run"].isEnabled() and not dock.session.busy
    finally:
        read.set()
    assert dock.panel.text == "Cancelled" and len(viewer.layers) == before
