"""Painting and learning at once: with mouse and keys, the real engine and the coins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data.samples import coins
from napari_segtrain.evaluation import dice
from napari_segtrain.runs import EpochDone, LabelsApplied, RunState, list_runs
from napari_segtrain.widgets.docks.correct_dock import CorrectDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.layers.kept_labels import read_kept
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.timeout(1800)]

GROUND, COIN = 1, 2
SCRIBBLED = (2, 7, 12, 16, 23)
"""Coins that get a stroke, by their number in the complete labels."""
ROWS = (12, 90, 157, 225, 296)
"""Rows of the image that run between coins and get a stroke of ground."""
SETTINGS = ExperimentConfig.parse(
    {
        "tr_setup": {"device": "cpu", "compile": "off"},
        "tr_config": {
            "patch_size": [96, 96],
            "batch_size": 4,
            "num_epochs": 5000,
            "steps_per_epoch": 10,
            "optimizer": {"name": "AdamW", "lr": 0.003},
            "scheduler": {"name": "constant"},
        },
        "model_config": {"base_features": 8, "blocks_per_stage": [1, 1, 1, 1], "decoders": "shared"},
        "dataset_config": {"targets": {"foreground": {"kind": "binary", "unlabelled": 0}}},
    }
)

Mask = npt.NDArray[np.bool_]


class Coins:
    """A viewer with the coins, ten scribbles, and a training on them with a live preview."""

    def __init__(self, viewer: Any, hands: Any, folder: Path) -> None:
        self.viewer, self.hands, self.folder = viewer, hands, folder
        sample = coins()
        self.truth = sample.truth["foreground"]
        self.image = viewer.add_image(sample.image, name="coins", scale=(0.5, 0.5), units=("um", "um"))
        space = {"scale": (0.5, 0.5), "units": ("um", "um")}
        self.labels = viewer.add_labels(
            np.zeros(self.truth.shape, np.uint8), name="coins_foreground", **space
        )
        viewer.window.show()
        viewer.window.resize(1200, 800)
        viewer.reset_view()
        self.docks: list[Any] = []
        self.train = self.dock(TrainDock)
        self.train.project.set_value(folder / "project")
        self.events: list[Any] = []
        self.train.session.happened.connect(self.events.append)

    def dock(self, kind: type) -> Any:
        made = kind(self.viewer)
        self.docks.append(made)
        self.viewer.window.add_dock_widget(made, name=kind.__name__)
        return made

    def scribble(self) -> None:
        """Paint five coins and the ground between them, a stroke each."""
        for number in SCRIBBLED:
            y, x = ndimage.center_of_mass(self.truth == number)
            self.stroke(COIN, [(y - 8, x - 8), (y + 8, x), (y - 8, x + 8)], 9)
        outside = ndimage.distance_transform_edt(self.truth == 0)
        for row in ROWS:
            free, _ = ndimage.label(outside[row] > 4)
            longest = np.flatnonzero(free == np.bincount(free[free > 0]).argmax())
            self.stroke(GROUND, [(row, longest[0] + 3), (row, longest[-1] - 3)], 5)

    def stroke(self, value: int, points: Any, size: int) -> None:
        """Drag the brush through voxels of the image."""
        world = [self.labels.data_to_world(point) for point in points]
        self.hands.stroke(self.viewer, self.labels, value, world, size)

    @property
    def prediction(self) -> npt.NDArray[Any]:
        return np.asarray(self.viewer.layers["foreground · live"].data)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def shared(self) -> npt.NDArray[Any]:
        """The labels as the engine reads them."""
        [mirror] = self.train.session._strokes._mirrors
        return np.array(self.train.session._scratch.array(mirror.copy))

    @property
    def run(self) -> Any:
        [run] = list_runs(self.folder / "project")
        return run

    def trained_on(self) -> Mask:
        """Return the voxels that are trained on, not validated."""
        found = np.zeros(self.truth.shape, bool)
        for entry in json.loads((self.run.path / "split.json").read_text())["train"]:
            box = entry.get("region") or [[0, n] for n in found.shape]
            found[tuple(slice(*side) for side in box)] = True
        return found

    def seen_coin(self) -> Mask:
        """Return a coin without a label in what is trained on, which the network finds."""
        trained = self.trained_on()
        for number in range(1, self.truth.max() + 1):
            coin = self.truth == number
            if (
                trained[coin].all()
                and not self.labels.data[coin].any()
                and self.prediction[coin].mean() > 0.8
            ):
                return coin
        return np.zeros(self.truth.shape, bool)

    def close(self) -> None:
        self.train.session.stop()
        self.hands.wait(lambda: self.train.session.state is State.IDLE)
        for dock in self.docks:
            dock.shut_down()
        self.train.engine.engine.close(grace=10.0)
        self.viewer.window.remove_dock_widget("all")
        self.viewer.layers.clear()
        self.viewer.window._qt_window.hide()


@pytest.fixture(scope="module")
def training(one_viewer: Any, hands: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coins]:
    """A training that has found the coins from ten scribbles, and goes on."""
    made = Coins(one_viewer, hands, tmp_path_factory.mktemp("coins"))
    try:
        made.scribble()
        assert set(np.unique(made.labels.data)) == {0, GROUND, COIN}
        assert len(made.labels._undo_history) == 10, "ten strokes"
        assert made.train.form.targets.cards[0].labels.value() == "coins_foreground"
        made.train.set_value(SETTINGS)
        made.train.form.targets.cards[0].labels.set_value("coins_foreground")
        hands.press(made.train, "start")
        hands.wait(lambda: "foreground · live" in one_viewer.layers)
        hands.wait(
            lambda: dice(made.truth > 0, made.prediction > 0) > 0.8,
            lambda: dice(made.truth > 0, made.prediction > 0),
        )
        yield made
    finally:
        made.close()


def test_a_prediction_is_accepted_and_taken_back_while_the_training_runs(training: Coins, hands: Any) -> None:
    labels, viewer = training.labels, training.viewer
    correct = training.dock(CorrectDock)
    panel = correct.accepting
    panel.prediction.set_value("foreground · live")
    panel.labels.set_value("coins_foreground")
    hands.wait(panel.values.text)
    assert panel.values.text() == f"1 → {COIN}, 0 → {GROUND}"
    before = labels.data.copy()

    training.events.clear()
    hands.press(correct, "accept")
    hands.wait(lambda: not panel.busy)
    after = labels.data.copy()
    assert ((after == before) | (before == 0)).all() and (after != before).any(), panel.status.text()
    assert {GROUND, COIN} == set(np.unique(after[after != before]))
    hands.wait(lambda: training.of(LabelsApplied))
    np.testing.assert_array_equal(training.shared, after)
    [applied] = training.of(LabelsApplied)
    inside = tuple(slice(*side) for side in zip(applied.start, applied.stop, strict=True))
    np.testing.assert_array_equal((after != before).sum(), (after != before)[inside].sum())

    training.events.clear()
    hands.undo(viewer, labels)
    np.testing.assert_array_equal(labels.data, before)
    hands.wait(lambda: training.of(LabelsApplied))
    np.testing.assert_array_equal(training.shared, before)
    [undone] = training.of(LabelsApplied)
    assert (undone.start, undone.stop) == (applied.start, applied.stop)
    hands.wait(lambda: training.of(EpochDone))
    assert training.train.session.state is State.RUNNING


def test_the_prediction_changes_where_it_is_corrected_and_because_of_it(training: Coins, hands: Any) -> None:
    hands.wait(lambda: training.seen_coin().any())
    here = training.seen_coin()
    far = (training.truth > 0) & (ndimage.distance_transform_edt(~here) > 40)
    before = training.prediction.copy()
    training.events.clear()
    y, x = ndimage.center_of_mass(here)
    size = int(2 * np.sqrt(here.sum() / np.pi)) + 6
    training.stroke(GROUND, [(y, x - 1), (y, x + 1)], size)
    assert (training.labels.data[here] == GROUND).mean() > 0.95
    hands.wait(lambda: training.of(LabelsApplied))

    def lost(where: Mask) -> float:
        return float(before[where].mean() - training.prediction[where].mean())

    hands.wait(lambda: lost(here) > max(0.5, 2 * lost(far)), lambda: (lost(here), lost(far)))


def test_what_was_painted_is_kept_with_the_run(training: Coins, hands: Any) -> None:
    training.stroke(COIN, [(150, 3), (150, 6)], 3)
    hands.press(training.train, "stop")
    hands.wait(lambda: training.train.session.state is State.IDLE)
    assert training.run.state is RunState.INTERRUPTED
    [kept] = read_kept(training.run.path)
    np.testing.assert_array_equal(kept.values, training.labels.data)
