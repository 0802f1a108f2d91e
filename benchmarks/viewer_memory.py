"""How much the viewer's memory grows in an hour of live preview, with a moving camera and a busy brush.

    tools/with-display.sh python benchmarks/viewer_memory.py [--minutes 60]

The Train dock trains on the coins, instances are shown live; every two seconds the camera moves, every five
a stroke is painted, every minute one is undone. Prints the resident memory of the viewer's process, without
the engine's, and how much it grew an hour: the slope of a line through all values but those of the first
tenth, in which buffers come into being. Pages that are shared with the engine count as the process' own.
"""

import argparse
import tempfile
import time
import warnings

import numpy as np
import psutil

warnings.filterwarnings("ignore")

LIMIT = 50.0
CONFIG = {
    "tr_setup": {"device": "cpu"},
    "tr_config": {"num_epochs": 100_000, "patch_size": [128, 128], "batch_size": 4, "evaluate_after": "none"},
    "model_config": {"base_features": 8, "blocks_per_stage": [1, 1, 1, 1]},
    "dataset_config": {"targets": {"foreground": {"kind": "binary", "unlabelled": 0}}},
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    options = parser.parse_args()
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_segtrain.config import ExperimentConfig
    from napari_segtrain.runs import PreviewReady

    viewer = napari.Viewer()
    app = QApplication.instance()
    viewer.open_sample("napari-segtrain", "coins")
    labels = viewer.layers["coins_foreground"]
    _, dock = viewer.window.add_plugin_dock_widget("napari-segtrain", "Train")
    previews, rng, process = [0], np.random.default_rng(0), psutil.Process()

    def count(event):
        previews[0] += isinstance(event, PreviewReady)

    with tempfile.TemporaryDirectory() as project:
        dock.project.set_value(project)
        dock.set_value(ExperimentConfig.parse(CONFIG))
        dock.engine.event.connect(count)
        dock.panel.buttons["start"].click()
        start, found, turn = time.perf_counter(), [], 0
        while (now := time.perf_counter() - start) < 60 * options.minutes:
            app.processEvents()
            time.sleep(0.005)
            if now < 0.5 * turn:
                continue
            turn += 1
            if turn % 4 == 0:
                viewer.camera.center = (0, *(int(rng.integers(n)) for n in labels.data.shape))
                viewer.camera.zoom = float(rng.uniform(1, 6))
            if turn % 10 == 0:
                for _ in range(8):
                    labels.paint([int(rng.integers(n)) for n in labels.data.shape], int(rng.integers(1, 3)))
            if turn % 120 == 0:
                labels.undo()
            if turn % 20 == 0:
                found.append((now / 3600, process.memory_info().rss / 2**20))
            if turn % 600 == 0:
                print(f"{now / 60:6.0f} min {found[-1][1]:8.0f} MB {previews[0]:6d} previews", flush=True)
        dock.panel.buttons["stop"].click()
        while str(dock.session.state) != "idle":
            app.processEvents()
            time.sleep(0.005)
    hours, size = np.array(found[len(found) // 10 :]).T
    slope = float(np.polyfit(hours, size, 1)[0])
    print(f"{previews[0]} previews; {size[0]:.0f} MB to {size[-1]:.0f} MB")
    print(f"grows an hour   {slope:6.1f} MB   (limit {LIMIT:.0f}, ratio {slope / LIMIT:.2f})")
    viewer.close()


if __name__ == "__main__":
    main()
