"""How long a stroke takes from the brush to the sampler of the running training, at 64 × 2048 × 2048 voxels.

    tools/with-display.sh python benchmarks/stroke_to_sampler.py

Trains a small 3D network in the Train dock on the processor, and paints, erases and undoes while it does.
Prints, for each kind of edit, the median and the worst seconds from the edit to the moment at which the
patch index of the training process has it, and the ratio of the worst to the second that is promised; beside
them the median seconds of a batch.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

warnings.filterwarnings("ignore")

SHAPE = (64, 2048, 2048)
REPEATS = 10
CONFIG = {
    "tr_setup": {"device": "cpu"},
    "tr_config": {"patch_size": [32, 64, 64], "num_epochs": 10_000, "batch_size": 2},
    "model_config": {"base_features": 16, "blocks_per_stage": [1, 1, 1, 1], "max_poolings": 3},
    "dataset_config": {"targets": {"cells": {"kind": "binary", "unlabelled": 0}}, "ndim": 3},
}


def edits(layer: Any) -> dict[str, Callable[[int], None]]:
    """Return what is measured, by name; each is called with the number of the repetition."""

    def stroke(n: int) -> None:
        layer.n_edit_dimensions = 2
        with layer.block_history():
            for step in range(200, 700, 4):
                layer.paint((5 + n, step + 20 * n, 900), 2, refresh=False)
        layer._partial_labels_refresh()

    def ball(n: int) -> None:
        layer.n_edit_dimensions = 3
        layer.paint((30, 1500, 300 + 40 * n), 2)

    def erase(n: int) -> None:
        layer.n_edit_dimensions = 2
        layer.paint((5 + n, 300 + 20 * n, 900), 0)

    return {
        "a stroke of 500 voxels": stroke,
        "a ball": ball,
        "an erasure": erase,
        "undo": lambda n: layer.undo(),
        "redo": lambda n: layer.redo(),
    }


def main() -> None:
    import napari
    from qtpy.QtWidgets import QApplication, QLineEdit, QPushButton

    from napari_segtrain.config import ExperimentConfig
    from napari_segtrain.runs import BatchDone, LabelsApplied
    from napari_segtrain.widgets.docks.train_dock import TrainDock

    viewer = napari.Viewer(show=False)
    app: Any = QApplication.instance()

    def wait(until: Callable[[], Any], timeout: float) -> None:
        start = time.perf_counter()
        while not until():
            app.processEvents()
            time.sleep(0.001)
            if time.perf_counter() - start > timeout:
                raise SystemExit(f"nothing happened in {timeout:.0f} s: {dock.panel.text}")

    with tempfile.TemporaryDirectory() as project:
        noise = np.random.default_rng(0).integers(0, 255, (64, 256, 256)).astype(np.uint8)
        viewer.add_image(np.tile(noise, (1, 8, 8)), name="volume")
        painted = np.zeros(SHAPE, np.uint8)
        painted[:, 100:160, 100:160], painted[:, 1800:1900, 1800:1900] = 1, 2
        layer = viewer.add_labels(painted, name="volume_cells")
        layer.brush_size = 8
        dock = TrainDock(viewer)
        dock.set_value(ExperimentConfig.parse(CONFIG))
        dock.findChild(QLineEdit, "project").setText(project)
        events: list[Any] = []
        dock.session.happened.connect(events.append)
        dock.findChild(QPushButton, "start").click()
        wait(lambda: sum(isinstance(event, BatchDone) for event in events) > 2, 400)
        print(f"{'x'.join(map(str, SHAPE))} voxels{'median s':>24}{'worst s':>12}{'of 1 s':>10}")
        for name, edit in edits(layer).items():
            found = []
            for n in range(REPEATS):
                events.clear()
                start = time.time()
                edit(n)
                wait(lambda: any(isinstance(event, LabelsApplied) for event in events), 60)
                found.append(next(e.time for e in events if isinstance(e, LabelsApplied)) - start)
            print(
                f"{name:32}{statistics.median(found):16.3f}{max(found):12.3f}{max(found):10.0%}", flush=True
            )
        events.clear()
        wait(lambda: sum(isinstance(event, BatchDone) for event in events) > 5, 600)
        times = [event.time for event in events if isinstance(event, BatchDone)]
        gaps = [late - early for early, late in itertools.pairwise(times)]
        print(f"a batch of the training: {statistics.median(gaps):.3f} s")
        dock.shut_down()
    viewer.close()


if __name__ == "__main__":
    main()
