"""What users do to layers, viewers and docks while a network trains: a sentence each, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_segtrain.config import DatasetConfig, ExperimentConfig, TargetConfig
from napari_segtrain.runs import BatchDone, EpochDone, LabelsApplied, RunState, Warned, list_runs, read_data
from napari_segtrain.runs.scratch import open_memmap
from napari_segtrain.widgets.docks.correct_dock import CorrectDock
from napari_segtrain.widgets.docks.runs_dock import RunsDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = pytest.mark.gui

Notes = list[tuple[str, str]]
Until = Callable[[Callable[[], Any]], None]
SMALL = {
    "tr_setup": {"device": "cpu", "num_workers": 0, "compile": "off"},
    "tr_config": {
        "patch_size": [32, 32],
        "batch_size": 2,
        "num_epochs": 10**4,
        "steps_per_epoch": 2,
        "val_steps": 1,
        "evaluate_after": "none",
        "optimizer": {"name": "AdamW", "lr": 1e-4},
    },
    "model_config": {"base_features": 4, "blocks_per_stage": [1, 1], "max_poolings": 1, "decoders": "shared"},
}


@pytest.fixture
def engine_path(request: pytest.FixtureRequest, engine_path: tuple[str, ...]) -> tuple[str, ...]:
    """The scripted engine, or the real one where a test asks for it."""
    return () if getattr(request, "param", "scripted") == "real" else engine_path


def by_napari(action: str, *args: Any) -> Callable[[Any, Any], None]:
    """Return what an entry of the menu of the layer list does to a layer."""

    def perform(viewer: Any, layer: Any) -> None:
        from napari.layers import _layer_actions

        viewer.layers.selection = {layer}
        getattr(_layer_actions, action)(viewer.layers, *args)

    return perform


def changed(**attributes: Any) -> Callable[[Any, Any], None]:
    def perform(viewer: Any, layer: Any) -> None:
        for name, value in attributes.items():
            setattr(layer, name, value)

    return perform


def look_around(viewer: Any, layer: Any) -> None:
    for ndisplay in (3, 2):
        viewer.dims.ndisplay = ndisplay
        viewer.dims.order = viewer.dims.order[::-1]


KEPT: dict[str, tuple[Callable[[Any, Any], None], str]] = {
    "renamed": (changed(name="mine"), "Layer 'renamed' is called 'mine' now: the training goes on with it"),
    "scaled": (changed(scale=(3, 3)), "Layer 'scaled' was moved or scaled: the training goes on"),
    "moved": (changed(affine=np.diag([2.0, 3, 1])), "Layer 'moved' was moved or scaled: the training goes"),
    "typed": (by_napari("_convert_dtype", "int64"), ""),
    "turned": (look_around, ""),
}
"""What leaves a layer a target that is painted on, and what is said; nothing where nothing changes."""
LOST: dict[str, tuple[Callable[[Any, Any], None], str]] = {
    "reshaped": (changed(data=np.zeros((20, 20), np.uint8)), "'reshaped' now has the shape (20, 20)"),
    "flat": (changed(data=np.zeros((3, 64, 72), np.uint8)), "'flat' now has the shape (3, 64, 72)"),
    "converted": (
        by_napari("_convert_to_image"),
        "'converted' was deleted or converted: the training goes on",
    ),
    "deleted": (lambda v, x: v.layers.remove(x), "'deleted' was deleted or converted: the training goes on"),
    "image": (
        changed(data=np.zeros((5, 20, 20), np.uint8)),
        "Image layer 'image' has another array now: the",
    ),
}
"""What takes a layer away from the training, which goes on with what it had."""


class Training:
    """A training in a dock, and what it said."""

    def __init__(self, dock: Any, until: Until, config: ExperimentConfig) -> None:
        self.dock, self.until = dock, until
        self.events: list[Any] = []
        self.doctor: list[str] = []
        dock.session.happened.connect(self._on_event)
        dock.set_value(config)
        dock.start()
        until(lambda: self.of(BatchDone))

    def _on_event(self, event: Any) -> None:
        self.events.append(event)
        if isinstance(event, Warned):
            self.doctor.append(event.message)

    def said(self, notes: Notes) -> list[str]:
        """Return what was said that is not about how the network learns, and forget it."""
        texts = [text for _, text in notes if text not in self.doctor]
        notes.clear()
        return texts

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def goes_on(self) -> None:
        self.events.clear()
        self.until(lambda: self.of(EpochDone))

    def stop(self) -> Any:
        """Stop, and return the run."""
        self.dock.session.stop()
        self.until(lambda: self.dock.session.state is State.IDLE)
        [run] = list_runs(Path(self.dock.project.value()))
        return run


def config_of(targets: Any, **settings: Any) -> ExperimentConfig:
    chosen = {name: TargetConfig(kind="binary", labels=name) for name in targets}
    dataset = DatasetConfig(targets=chosen, **settings)
    return ExperimentConfig.parse(SMALL).replace(dataset_config=dataset)


@pytest.mark.parametrize(
    "engine_path", ["scripted", pytest.param("real", marks=pytest.mark.slow)], indirect=True
)
def test_anything_may_be_done_to_layers_while_they_are_trained_on(
    viewer: Any, make_dock: Callable[[type], Any], until: Until, notes: Notes, disc_image: Any
) -> None:
    values, found = disc_image((64, 72), 5, 0)
    viewer.add_image(values, name="image")
    targets = [name for name in {**KEPT, **LOST} if name != "image"]
    layers = {name: viewer.add_labels((found > 0).astype(np.uint8), name=name) for name in targets}
    training = Training(make_dock(TrainDock), until, config_of(targets))
    notes.clear()
    for name, (act, words) in {**KEPT, **LOST}.items():
        act(viewer, layers.get(name) or viewer.layers[name])
        said = training.said(notes)
        assert len(said) == bool(words) and words in "".join(said), (name, said)
        shown = training.dock.findings
        assert not words or (words in shown.label.text() and shown.isVisibleTo(training.dock)), (
            "it stays in view"
        )
    training.goes_on()
    assert training.said(notes) == []
    expected = {name: (found > 0).astype(np.uint8) for name in targets}
    for name in KEPT:
        training.events.clear()
        layers[name].brush_size = 4
        layers[name].paint((5, 60), 1)
        until(lambda: training.of(LabelsApplied))
        assert [event.target for event in training.of(LabelsApplied)] == [name]
        expected[name] = np.array(layers[name].data)
        assert (expected[name] != (found > 0)).any()
    run = training.stop()
    assert run.state is RunState.INTERRUPTED and training.said(notes) == []
    stored = read_data(run)["layers"][0]["labels"]
    for name in targets:
        np.testing.assert_array_equal(open_memmap(stored[name]), expected[name], name)

    end = run.read_info().epoch + 2
    config = run.read_config()
    run.write_config(config.replace(tr_config=config.tr_config.replace(num_epochs=end)))
    training.dock.go_on(run.path)
    until(lambda: not training.dock.busy)
    assert run.state is RunState.COMPLETED
    assert [row["epoch"] for row in run.read_metrics()] == list(range(1, end + 1))
    assert "goes on with the copies of its layers, with the labels it had: layer" in notes[0][1]
    assert [text for level, text in notes if level == "error"] == []


def accept_in(dock: Any, until: Until, target: str) -> None:
    """Accept what is predicted as foreground into the labels of a target, as 2, over everything."""
    panel = dock.accepting
    panel.prediction.set_value(f"{target} · live")
    panel.labels.set_value(target)
    until(lambda: panel.values.text() and not panel.busy)
    panel.values.setText("1 → 2")
    panel.overwrite.setChecked(True)
    panel.accept()
    until(lambda: not panel.busy)


def test_a_volume_is_trained_on_and_accepted_in_any_view(
    viewer: Any, make_dock: Callable[[type], Any], until: Until, notes: Notes, disc_image: Any
) -> None:
    values, found = disc_image((8, 24, 32), 4, 0)
    viewer.add_image(values, name="image", scale=(3, 1, 1))
    labels = viewer.add_labels((found > 0).astype(np.uint8), name="cells", scale=(3, 1, 1))
    viewer.dims.ndisplay = 3
    viewer.window.show()
    config = config_of(["cells"])
    config = config.replace(tr_config=config.tr_config.replace(patch_size=(8, 16, 16)))
    training = Training(make_dock(TrainDock), until, config)
    labels.n_edit_dimensions = 3
    labels.paint((4, 3, 28), 1)
    until(lambda: training.of(LabelsApplied))
    until(lambda: "cells · live" in viewer.layers)
    preview = viewer.layers["cells · live"]
    assert tuple(preview.scale) == (3, 1, 1)
    before = labels.data.copy()
    until(lambda: np.array_equal(preview.data, before))
    correct = make_dock(CorrectDock)
    accept_in(correct, until, "cells")
    np.testing.assert_array_equal(labels.data, 2 * before, "all of the volume is seen")
    labels.undo()

    viewer.dims.ndisplay = 2
    viewer.dims.order = (1, 2, 0)  # y is the slider
    row = int(before.sum(axis=(0, 2)).argmax())
    viewer.dims.set_current_step(1, row)
    until(lambda: np.array_equal(preview.data, before))
    until(lambda: (labels.corner_pixels[1] == (7, 0, 31)).all())
    accept_in(correct, until, "cells")
    expected = before.copy()
    expected[:, row] *= 2
    np.testing.assert_array_equal(labels.data, expected, "the slice that is seen")
    labels.undo()
    np.testing.assert_array_equal(labels.data, before)
    training.goes_on()
    training.stop()
    viewer.window._qt_window.hide()
    assert notes == []


def test_labels_that_cannot_be_painted_on_are_trained_on(
    viewer: Any, make_dock: Callable[[type], Any], until: Until, notes: Notes, tmp_path: Path, disc_image: Any
) -> None:
    values, found = disc_image((64, 72), 5, 0)
    painted = (found > 0).astype(np.uint8)
    zarr.create_array(tmp_path / "labels.zarr", data=painted, chunks=(32, 32))
    viewer.add_image(values, name="image")
    fixed = viewer.add_labels(zarr.open_array(tmp_path / "labels.zarr", mode="r"), name="fixed")
    levels = viewer.add_labels([painted, painted[::2, ::2]], name="levels")
    training = Training(make_dock(TrainDock), until, config_of(["fixed", "levels"]))
    [(level, text)] = notes
    assert level == "warning" and "'fixed' can be trained on, but not painted on" in text
    correct = make_dock(CorrectDock)
    for layer, words in ((fixed, "'fixed' cannot be written"), (levels, "'levels' has resolution levels")):
        until(lambda layer=layer: f"{layer.name} · live" in viewer.layers)
        np.testing.assert_array_equal(viewer.layers[f"{layer.name} · live"].data, painted)
        notes.clear()
        accept_in(correct, until, layer.name)
        [(level, text)] = notes
        assert level == "error" and words in text
        training.goes_on()
    assert training.stop().state is RunState.INTERRUPTED
    np.testing.assert_array_equal(fixed.data[:], painted)
    np.testing.assert_array_equal(levels.data[0], painted)


def test_two_docks_on_one_run(
    viewer: Any, make_viewer: Callable[[], Any], make_dock: Callable[..., Any], until: Until, notes: Notes,
    disc_image: Any,
) -> None:  # fmt: skip
    values, found = disc_image((64, 72), 5, 0)
    other = make_viewer()
    for each in (viewer, other):
        each.add_image(values, name="image")
        each.add_labels((found > 0).astype(np.uint8), name="cells")
    one, two = make_dock(TrainDock), make_dock(TrainDock, other)
    training = Training(one, until, config_of(["cells"]))
    [run] = list_runs(Path(one.project.value()))
    notes.clear()
    # In the second before the other dock has noticed, Start and Resume can be pressed there.
    two.set_value(config_of(["cells"]))
    for begin in (two.start, lambda: two.go_on(run.path)):
        begin()
        until(lambda: two.session.state is State.IDLE and any(level == "error" for level, _ in notes))
        [text] = [text for level, text in notes if level == "error"]
        assert text.startswith("A training run is already active")
        notes.clear()
    training.goes_on()
    viewer.layers["cells"].paint((5, 60), 1)
    until(lambda: training.of(LabelsApplied))
    runs = make_dock(RunsDock, other)
    runs.projects.look()
    until(lambda: runs.table.runs.rowCount() == 1)
    runs.table.selectRow(0)
    runs.stop()
    until(lambda: one.session.state is State.IDLE)
    assert run.state is RunState.INTERRUPTED
    stored = read_data(run)["layers"][0]["labels"]["cells"]
    np.testing.assert_array_equal(open_memmap(stored), viewer.layers["cells"].data)
    assert (viewer.layers["cells"].data != other.layers["cells"].data).any()
    assert [text for level, text in notes if level == "error"] == []
