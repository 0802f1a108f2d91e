"""A training graph that is drawn and run by the real engine: the weights are those of `segtrain train`."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_segtrain.config import ExperimentConfig, dump_config
from napari_segtrain.runs import Control, NodeOutput, list_runs, load_checkpoint
from napari_segtrain.runs.scratch import Scratch, open_memmap
from napari_segtrain.widgets.docks.workflow_dock import WorkflowDock
from napari_segtrain.widgets.layers.graph_layers import add_output, graph_data
from napari_segtrain.workflow import train
from napari_segtrain.workflow.graph import experiment_of, graph_to_dict
from napari_segtrain.workflow.graph.serving import GraphServer
from napari_segtrain.workflow.graph.templates import template

pytestmark = [pytest.mark.gui, pytest.mark.slow]

SMALL = {
    "data_loader": {"patch_size": [32, 32], "batch_size": 2, "steps_per_epoch": 2, "num_workers": 0},
    "unet_model": {"base_features": 4, "blocks_per_stage": [1, 1, 1], "max_poolings": 2},
    "optimizer": {"optimizer": {"name": "AdamW", "lr": 0.01}},
    "trainer": {"device": "cpu", "evaluate_after": "none"},
}


@pytest.fixture
def engine_path() -> tuple[str, ...]:
    """The real engine, in the place of the scripted one."""
    return ()


def wait(qapp: Any, done: Callable[[], Any], seconds: float = 300.0) -> None:
    """Let Qt work until something is true; the first engine of a machine compiles its loops before."""
    end = time.monotonic() + seconds
    while not done():
        qapp.processEvents()
        time.sleep(0.005)
        if time.monotonic() > end:
            pytest.fail(f"nothing came in {seconds:.0f} s")


def weights(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = load_checkpoint(run / "checkpoints" / "last.ckpt")["model"]
    return found


@pytest.mark.parametrize("hand", ["by_mouse", "by_keyboard"])
def test_a_drawn_training_has_the_weights_of_the_command_line(
    hand: str,
    drawing: Any,
    make_dock: Callable[[type], Any],
    viewer: Any,
    notes: list[tuple[str, str]],
    qapp: Any,
    disc_folder: Callable[..., Path],
    tmp_path: Path,
) -> None:
    data = disc_folder(count=3)
    viewer.window.show()
    dock = make_dock(WorkflowDock)
    wait(qapp, dock.isVisible)
    getattr(drawing, hand)(dock, notes)
    drawing.type_parameter(dock, "data_loader", "data", str(data))
    drawing.type_parameter(dock, "trainer", "num_epochs", "2")
    for name, changes in SMALL.items():
        dock.editor.edit(lambda g, name=name, changes=changes: g.configure(name, changes))
    loader, trainer = (dock.value().node(name).config for name in ("data_loader", "trainer"))
    assert (loader.data, trainer.num_epochs) == (str(data), 2)
    wait(qapp, lambda: dock.engine.engine.ready)
    QTest.mouseClick(dock.panel.buttons["run"], Qt.MouseButton.LeftButton)
    assert not dock.panel.buttons["run"].isEnabled(), notes
    wait(qapp, lambda: dock.panel.buttons["run"].isEnabled())
    assert dock.panel.text.startswith("The workflow is done"), dock.panel.text
    assert all(item.status.startswith("✓") for item in dock.editor.scene.nodes.values())
    [drawn] = list_runs(tmp_path / "project")

    config = tmp_path / "experiment.yaml"
    config.write_text(dump_config(experiment_of(dock.value()).config), encoding="utf-8")
    command = ["-m", "napari_segtrain", "train", "-i", str(data), "-o", str(tmp_path / "P")]
    command += ["--config-path", str(config)]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [trained] = list_runs(tmp_path / "P")
    ours, theirs = weights(drawn.path), weights(trained.path)
    assert list(ours) == list(theirs)
    assert all((ours[name] == theirs[name]).all() for name in ours)

    QTest.mouseClick(dock.panel.buttons["run"], Qt.MouseButton.LeftButton)
    wait(qapp, lambda: dock.panel.buttons["run"].isEnabled())
    statuses = {name: item.status for name, item in dock.editor.scene.nodes.items()}
    assert statuses["trainer"] == "= cached", statuses
    assert len(list_runs(tmp_path / "project")) == 1
    viewer.window._qt_window.hide()


@pytest.mark.parametrize("shape", [(40, 48), (1, 40, 48), (3, 40, 48)])
def test_what_is_predicted_of_layers_lies_on_them(
    shape: tuple[int, ...], disc_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """From layers that are flipped, moved and turned to the engine, and back."""
    run = trained(disc_folder(count=3), tmp_path / "project")
    viewer, flat = ViewerModel(), (1,) * (len(shape) - 2)
    turned = np.eye(len(shape) + 1)
    turned[-3:-1, -3:-1] = [[0.8, -0.6], [0.6, 0.8]]
    space: dict[str, Any] = {"scale": (*flat, -0.5, 0.25), "translate": (*flat, 3, -2), "affine": turned}
    rng = np.random.default_rng(0)
    image = viewer.add_image(rng.integers(0, 255, shape, np.uint8), name="cells", **space)
    viewer.add_labels((np.asarray(image.data) > 128).astype(np.uint8), name="cells_cells", **space)
    graph = template("evaluate").configure("checkpoint_loader", {"run": str(run)})
    graph = graph.configure("data_loader", {"layers": ["cells"], "ndim": 2, "train_split": 0.5})
    graph = graph.add(graph.new_node("image_layer")).configure("image_layer", {"image": "cells"})
    graph = graph.connect("image_layer", "image", "predictor", "image")
    data, events = graph_data(viewer, graph), list[NodeOutput]()
    list(data.copies.write(Scratch(tmp_path / "shared")))
    GraphServer().run(
        graph_to_dict(graph),
        tmp_path / "outputs",
        show=[("predictor", "all_predictions")],
        layers=data.spec,
        data=data.data,
        emit=lambda event: events.append(event) if isinstance(event, NodeOutput) else None,
        control=Control(),
    )
    [event] = events
    arrays = {name: np.array(open_memmap(spec)) for name, spec in event.arrays.items()}
    added = add_output(viewer, data, graph, "predictor.all_predictions", arrays, event.told)
    assert {event.told[name]["node"] for name in arrays} == {"image_layer", "data_loader"}
    for layer, (name, told) in zip(added, event.told.items(), strict=True):
        plane = re.findall(r"\[(\d+)\]", told["record"])
        first = (*(int(plane[0]) if plane else 0 for _ in flat), *told["start"][-2:])
        assert np.allclose(layer.data_to_world((0,) * len(shape)), image.data_to_world(first)), name
        one = np.ones(len(shape))
        assert np.allclose(layer.data_to_world(one), image.data_to_world(first + one)), name


def trained(data: Path, project: Path) -> Path:
    config = ExperimentConfig.parse(
        {
            "tr_setup": {"num_workers": 0, "device": "cpu", "compile": "off"},
            "tr_config": {"patch_size": [16, 16], "batch_size": 2, "num_epochs": 1, "steps_per_epoch": 1}
            | {"val_steps": 1, "evaluate_after": "none"},
            "model_config": {"base_features": 4, "max_features": 8},
        }
    )
    return train(config, data, project).path
