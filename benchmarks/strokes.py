"""What following the labels costs the viewer: edits of a large layer in memory, followed and not.

    tools/with-display.sh python benchmarks/strokes.py [edge]      # edge of the volume in voxels, 512

Prints, for each kind of edit, napari's own time on the main thread (ms), the time that following it adds
there, their ratio, the seconds until the message for the training is sent, and the longest time that the
main thread was not free meanwhile. Times are medians.
"""

from __future__ import annotations

import functools
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

warnings.filterwarnings("ignore")

REPEATS = 15


def edits(layer: Any, edge: int) -> dict[str, Callable[[int], None]]:
    """Return what is measured, by name; each is called with the number of the repetition."""
    middle = edge // 2

    def dab(n: int) -> None:
        layer.n_edit_dimensions = 2
        layer.paint((middle, 40 + 8 * n, 60), 1 + n % 2)

    def ball(n: int) -> None:
        layer.n_edit_dimensions = 3
        layer.paint((middle, 40 + 8 * n, middle), 3 + n % 2)

    def drag(n: int) -> None:
        layer.n_edit_dimensions = 2
        with layer.block_history():
            for step in range(40, edge - 40, 3):
                layer.paint((middle + n, step, step), 5, refresh=False)
        layer._partial_labels_refresh()

    def oblique(n: int) -> None:
        layer.n_edit_dimensions = 3
        with layer.block_history():
            for step in range(40, edge - 40, 3):
                layer.paint((step, step, step), 6 + n % 2, refresh=False)
        layer._partial_labels_refresh()

    def new_array(n: int) -> None:
        new = layer.data.copy()
        new[middle:, :50, :50] = 10 + n
        layer.data = new

    def written(n: int) -> None:
        layer.data[n, 3:9, 3:9] = 30 + n
        layer.refresh()

    return {
        "a dab, 2D": dab,
        "a dab, 3D": ball,
        "a drag, 2D": drag,
        "undo of a drag": lambda n: layer.undo(),
        "a drag through the volume": oblique,
        "written into the array": written,
        "a new array": new_array,
    }


def main(edge: int) -> None:
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_segtrain.config import DatasetConfig, TargetConfig
    from napari_segtrain.runs.scratch import Scratch
    from napari_segtrain.widgets.layers.data_spec import training_data
    from napari_segtrain.widgets.layers.edits import LayerEdits
    from napari_segtrain.widgets.sessions.strokes import StrokeForwarder

    clock = Clock(
        *((LayerEdits, name) for name in ("_on_paint", "_on_data", "_on_refresh", "look")),
        *((StrokeForwarder, name) for name in ("_flush", "_on_compared")),
    )
    viewer = napari.Viewer(show=False)
    app = QApplication.instance()
    image = viewer.add_image(np.broadcast_to(np.uint8(0), (edge,) * 3), contrast_limits=(0, 1), name="a")
    layer = viewer.add_labels(np.zeros((edge,) * 3, np.uint8), name="cells")
    viewer.dims.set_point(0, edge // 2)
    data = training_data(
        [image],
        {"cells": (layer, None)},
        DatasetConfig(targets={"cells": TargetConfig()}),
        all_layers=[image, layer],
    )
    print(
        f"{edge}^3 voxels: ms{'napari':>24}{'following':>11}{'ratio':>7}{'sent after s':>14}{'worst gap':>11}"
    )
    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(Path(folder))
        list(data.copies.write(scratch))
        told: list[float] = []
        followed = StrokeForwarder(viewer, data.mirrors, scratch, lambda _: told.append(time.perf_counter()))
        followed.open()
        for name, edit in edits(layer, edge).items():
            bare, added, sent, gaps = [], [], [], []
            for n in range(REPEATS):
                told.clear()
                clock.seconds = 0.0
                start = time.perf_counter()
                edit(n)
                bare.append(1000 * (time.perf_counter() - start - clock.seconds))
                worst = 0.0
                while not told and time.perf_counter() - start < 10:
                    turn = time.perf_counter()
                    app.processEvents()
                    worst = max(worst, time.perf_counter() - turn)
                    time.sleep(0.001)
                sent.append(told[0] - start if told else float("nan"))
                added.append(1000 * clock.seconds)
                gaps.append(1000 * worst)
            medians = [statistics.median(values) for values in (bare, added, sent, gaps)]
            print(
                f"{name:26}{medians[0]:15.2f}{medians[1]:11.2f}{medians[1] / medians[0]:7.2f}"
                f"{medians[2]:14.3f}{medians[3]:11.1f}",
                flush=True,
            )
        followed.close()
    viewer.close()


class Clock:
    """Adds up the time spent in methods that the event loop or napari calls."""

    def __init__(self, *methods: tuple[type, str]) -> None:
        self.seconds = 0.0
        self._inside = False
        for owner, name in methods:
            setattr(owner, name, self._timed(getattr(owner, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def timed(*args: Any) -> Any:
            if self._inside:
                return method(*args)
            self._inside = True
            start = time.perf_counter()
            try:
                return method(*args)
            finally:
                self.seconds += time.perf_counter() - start
                self._inside = False

        return timed


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 512)
