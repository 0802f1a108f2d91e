"""What the real engine refuses is one notification in a dock that works on; as in the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import RunFolder, RunState, list_runs
from napari_segtrain.widgets.docks.predict_dock import PredictDock
from napari_segtrain.widgets.docks.train_dock import TrainDock
from napari_segtrain.widgets.sessions.training_session import State

pytestmark = [pytest.mark.gui, pytest.mark.slow, pytest.mark.timeout(1800)]

Notes = list[tuple[str, str]]

SMALL: dict[str, Any] = {
    "tr_setup": {"device": "cpu", "num_workers": 0},
    "tr_config": {
        "batch_size": 2,
        "num_epochs": 1,
        "steps_per_epoch": 1,
        "val_steps": 1,
        "evaluate_after": "none",
    },
    "model_config": {"base_features": 4, "blocks_per_stage": [1, 1], "max_poolings": 1},
    "dataset_config": {"targets": {"nuclei": {}}},
}
NUCLEI = "dataset_config.targets.nuclei"
UNSTABLE = {
    "tr_config.optimizer": {"name": "SGD", "lr": 10.0},
    "tr_config.gradient_clip": 0.0,
    "tr_config.num_epochs": 40,
    "model_config.norm": "none",
}


@pytest.fixture
def engine_path() -> tuple[str, ...]:
    """The real engine, in the place of the scripted one."""
    return ()


def discs() -> np.ndarray:
    y, x = np.indices((48, 64))
    return ((y - 20) ** 2 + (x - 24) ** 2 < 150).astype(np.uint8)


def noise(shape: tuple[int, ...] = (48, 64)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


class Share:
    """A lazy image on a share that can be lost."""

    lost = False

    def layer(self) -> Any:
        return da.map_blocks(self._read, da.zeros((48, 64), np.uint8), dtype=np.uint8)

    def lose(self) -> None:
        self.lost = True

    def _read(self, block: np.ndarray) -> np.ndarray:
        if self.lost:
            raise FileNotFoundError("the share is gone")
        return noise()


def damage(store: Path) -> None:
    chunk = next(p for p in store.rglob("*") if p.is_file() and p.name != "zarr.json")
    chunk.write_bytes(b"\0\0\0")


def wait(qapp: Any, done: Callable[[], Any], seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        qapp.processEvents()
        time.sleep(0.005)
        if time.monotonic() > end:
            pytest.fail(f"nothing came in {seconds:.0f} s")


class Attempts:
    """Presses Start with one thing wrong after the other."""

    def __init__(self, qtbot: Any, qapp: Any, viewer: Any, dock: Any, notes: Notes) -> None:
        self._qtbot, self._qapp, self._viewer, self._dock, self._notes = qtbot, qapp, viewer, dock, notes

    def start(
        self, image: Any, labels: Any, changes: dict[str, Any], before: Callable[[], None] = lambda: None
    ) -> Notes:
        """Train on these arrays and return what was said until the end."""
        self._viewer.layers.clear()
        self._viewer.add_image(image, name="cells", contrast_limits=(0, 255))
        self._viewer.add_labels(labels, name="cells_nuclei")
        self._dock.form.images.set_value(("cells",))
        self._dock.set_value(ExperimentConfig.parse(SMALL).with_overrides(changes))
        self._notes.clear()
        before()
        button = self._dock.findChild(QPushButton, "start")
        assert button.isEnabled()
        self._qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        wait(self._qapp, lambda: self._dock.session.state is State.IDLE)
        return list(self._notes)

    def refused(self, image: Any, labels: Any, words: Sequence[str], *how: Any) -> None:
        """Expect one notification with all these words, and a dock that can be used again."""
        errors = [text for level, text in self.start(image, labels, *how) if level == "error"]
        assert len(errors) == 1, errors
        for word in words:
            assert word in errors[0]
        assert self._dock.panel.status.text()
        assert self._dock.panel.buttons["start"].isEnabled()


def test_the_train_dock_says_what_cannot_work_and_trains_then(
    qtbot: Any, qapp: Any, viewer: Any, make_dock: Callable[[type], Any], notes: Notes, tmp_path: Path
) -> None:
    dock = make_dock(TrainDock)
    tries = Attempts(qtbot, qapp, viewer, dock, notes)
    image, labels, zeros = noise(), discs(), np.zeros((48, 64), np.uint8)
    loss = {f"{NUCLEI}.losses": ["DiceLos"]}
    sparse = {f"{NUCLEI}.unlabelled": 0}
    nan = np.where(image > 200, np.nan, image).astype(np.float32)
    share = Share()

    tries.refused(image, zeros, ["the labels hold background only. Paint foreground"], {})
    tries.refused(image, zeros, ["no voxel is labelled (all are 0, which means unlabelled)"], sparse)
    tries.refused(nan, labels, ["image 'cells' holds values that are not numbers (NaN"], {})
    tries.refused(np.full_like(image, 7), labels, ["image 'cells' is constant (every voxel is 7)"], {})
    tries.refused(image, labels.astype(np.int64) * 2**32, ["2147483647 (2^31 - 1)", "relabel_sequential"], {})
    tries.refused(image, labels.astype(np.int16) - 1, ["hold the value -1", f"{NUCLEI}.unlabelled"], {})
    tries.refused(image, labels, [f"{NUCLEI}.losses: loss 'DiceLos' is unknown", "'DiceLoss'?"], loss)
    gone = ["layer 'cells': its voxels cannot be read (FileNotFoundError: the share is gone)"]
    tries.refused(share.layer(), labels, gone, {}, share.lose)
    store = tmp_path / "image.zarr"
    stored = zarr.create_array(str(store), data=image, chunks=(16, 16))
    tries.refused(stored, labels, ["cannot be read at", "damaged or incomplete"], {}, lambda: damage(store))
    both = ["2 faults", "image 'cells' is constant", "loss 'DiceLos' is unknown"]
    tries.refused(np.zeros_like(image), labels, both, loss)
    size = {"tr_config.patch_size": [200000, 200000]}
    tries.refused(image, labels, ["memory is not enough for patches of 200000,200000"], size)
    assert not list_runs(tmp_path / "project"), "nothing was begun"

    tries.refused(image, labels, ["became nan in epoch", "last good checkpoint is kept. Try a"], UNSTABLE)
    [failed] = list_runs(tmp_path / "project")
    assert failed.state is RunState.FAILED

    said = tries.start(image, labels, {"tr_setup.device": "cuda:7", "tr_config.patch_size": [64, 96]})
    assert [level for level, _ in said if level == "error"] == []
    warned = "\n".join(text for level, text in said if level == "warning")
    assert "smaller than the patch size 64,96, and padded to it: cells" in warned
    assert "cuda:7 " in warned and "the processor computes instead" in warned
    assert any(level == "info" and "is trained" in text for level, text in said)
    dock.shut_down()
    run = next(run for run in list_runs(tmp_path / "project") if run.state is RunState.COMPLETED)
    predictions(qtbot, qapp, viewer, make_dock(PredictDock), notes, run, tmp_path)


def predictions(
    qtbot: Any, qapp: Any, viewer: Any, dock: Any, notes: Notes, run: RunFolder, folder: Path
) -> None:
    """Expect the same of the Predict dock, with the run that was trained."""
    best = (run.checkpoints / "best.ckpt").read_bytes()
    taken = folder / "taken.zarr"
    taken.write_text("a file in the place of a store")

    def attempt(image: Any, *, rgb: bool = False) -> str:
        viewer.layers.clear()
        viewer.add_image(image, name="cells", contrast_limits=(0, 255), rgb=rgb)
        dock.image.set_value("cells")
        notes.clear()
        button = dock.findChild(QPushButton, "predict")
        assert button.isEnabled()
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
        wait(qapp, lambda: not dock.session.busy)
        errors = [text for level, text in notes if level == "error"]
        assert len(errors) <= 1, errors
        return "".join(errors)

    dock.run.set_value(run.path)
    wait(qapp, lambda: dock.run.known)
    nan = np.where(noise() > 200, np.nan, noise()).astype(np.float32)
    assert "image cells holds values that are not numbers (NaN" in attempt(nan)
    colour = attempt(noise((48, 64, 3)), rgb=True)
    assert "image cells has 3 channel" in colour and "but the network was trained on 1" in colour
    (run.checkpoints / "best.ckpt").write_bytes(best[:500])
    assert "is damaged or not a checkpoint" in attempt(noise())
    (run.checkpoints / "best.ckpt").write_bytes(best)
    dock.destination.set_value("store")
    dock.store.set_value(taken)
    assert "exists and is not a prediction of this program; it is left alone" in attempt(noise())
    dock.destination.set_value("layers")
    assert attempt(noise()) == ""
    assert "cells · nuclei" in viewer.layers
