"""How the viewer feels while a 3D network trains: gaps between the ticks of a 10 ms timer on the main thread.

    tools/with-display.sh python benchmarks/viewer.py

Measures the viewer at rest and while slices are scrolled ten times a second, first without training, then
while the Train dock trains, and scrolled once more when it has ended and the preview is one more layer.

Prints p50, p99 and the worst gap, their ratios, the time the dock takes to open, and the time from Start to
the first preview. What the preview costs the training: benchmarks/live_preview.py.
"""

import argparse
import tempfile
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")

PATIENCE = 600.0
"""Seconds that only a fault takes, also on a machine that does something else."""
CONFIG = {
    "tr_setup": {"device": "cpu"},
    "tr_config": {"patch_size": [32, 64, 64], "num_epochs": 500, "batch_size": 1},
    "model_config": {"base_features": 16, "blocks_per_stage": [1, 1, 1, 1], "max_poolings": 3},
    "dataset_config": {"targets": {"tubes": {"kind": "binary"}}},
}


def wait(app, until, timeout):
    """Process events until a condition holds, and return the seconds that took."""
    start = time.perf_counter()
    while not until():
        app.processEvents()
        time.sleep(0.002)
        if time.perf_counter() - start > timeout:
            raise SystemExit(f"nothing happened in {timeout} s")
    return time.perf_counter() - start


def gaps(app, seconds, viewer=None):
    """Return the gaps (ms) between timer ticks; slices are scrolled when a viewer is given."""
    from qtpy.QtCore import Qt, QTimer

    ticks = []
    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start(10)
    scroll = QTimer()
    if viewer is not None:

        def turn():
            depth = viewer.layers[0].data.shape[0]
            viewer.dims.set_current_step(0, (viewer.dims.current_step[0] + 1) % depth)

        scroll.timeout.connect(turn)
        scroll.start(100)
    wait(app, lambda: bool(ticks) and ticks[-1] - ticks[0] > seconds, seconds + 60)
    timer.stop()
    scroll.stop()
    return 1000 * np.diff(ticks)


def row(name, values, reference=None):
    """Print one line."""
    p50, p99, worst = np.percentile(values, 50), np.percentile(values, 99), values.max()
    ratio = "" if reference is None else f"{p99 / np.percentile(reference, 99):10.2f}"
    print(f"{name:28}{p50:8.1f}{p99:8.1f}{worst:8.1f}{ratio}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_segtrain.config import ExperimentConfig
    from napari_segtrain.runs import BatchDone, PreviewReady

    viewer = napari.Viewer()
    app = QApplication.instance()
    viewer.open_sample("napari-segtrain", "tubes_and_blobs")
    gaps(app, 2.0)
    rest = gaps(app, options.seconds)
    scrolled = gaps(app, options.seconds, viewer)
    with tempfile.TemporaryDirectory() as project:
        start = time.perf_counter()
        _, dock = viewer.window.add_plugin_dock_widget("napari-segtrain", "Train")
        app.processEvents()
        opened = time.perf_counter() - start
        dock.project.set_value(project)
        config = ExperimentConfig.parse(CONFIG)
        dock.set_value(config)
        seen = []
        dock.engine.event.connect(seen.append)
        wait(app, lambda: dock.engine.engine.ready, PATIENCE)
        dock.panel.buttons["start"].click()
        preview = wait(app, lambda: any(isinstance(e, PreviewReady) for e in seen), PATIENCE)
        wait(app, lambda: sum(isinstance(e, BatchDone) for e in seen) > 5, PATIENCE)
        training_rest = gaps(app, options.seconds)
        training_scrolled = gaps(app, options.seconds, viewer)
        dock.panel.buttons["stop"].click()
        wait(app, lambda: str(dock.session.state) == "idle", PATIENCE)
        scrolled_after = gaps(app, options.seconds, viewer)
        print(f"{'gaps between ticks, ms':28}{'p50':>8}{'p99':>8}{'worst':>8}{'p99 ratio':>10}")
        row("at rest, no training", rest)
        row("at rest, training", training_rest, rest)
        row("scrolling, no training", scrolled)
        row("scrolling, training", training_scrolled, scrolled)
        row("scrolling, trained", scrolled_after, scrolled)
        print(f"\ndock opens              {opened:6.2f} s   (limit 1.5, ratio {opened / 1.5:.2f})")
        print(f"Start to first preview  {preview:6.2f} s   (limit 8, ratio {preview / 8:.2f})")
        viewer.close()


if __name__ == "__main__":
    main()
