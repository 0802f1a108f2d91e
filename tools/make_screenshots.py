"""Takes the pictures of docs and README: real docks, short trainings. ``make screenshots``.

A home of its own and windows of one size make the pictures the same on every machine, but for what two
trainings never share: times, and single pixels of a prediction. Look at them before you commit them.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

IMAGES = Path(__file__).parent.parent / "docs" / "images"
WINDOW = (1300, 820)
"""Pixels, wide and high."""
MOST_BYTES = 250_000
"""A picture that is larger is refused: it would be downloaded with every clone."""
PATIENCE = 600.0
"""Seconds until something that never comes is given up."""

SETTINGS: dict[str, Any] = {
    "tr_setup": {"device": "cpu"},
    "tr_config": {
        "patch_size": [96, 96],
        "batch_size": 4,
        "num_epochs": 30,
        "steps_per_epoch": 8,
        "optimizer": {"name": "AdamW", "lr": 0.003},
        "scheduler": {"name": "constant"},
        "evaluate_after": "none",
    },
    "model_config": {"base_features": 8, "blocks_per_stage": [1, 1, 1, 1], "decoders": "shared"},
}
VOLUME: dict[str, Any] = {
    **SETTINGS,
    "tr_config": {**SETTINGS["tr_config"], "patch_size": [16, 64, 64], "batch_size": 2, "num_epochs": 12},
}


class Studio:
    """A viewer whose window is photographed.

    Parameters
    ----------
    folder
        Where the pictures go.
    """

    def __init__(self, folder: Path) -> None:
        import napari
        from napari.settings import get_settings
        from qtpy.QtWidgets import QApplication

        get_settings().application.gui_notification_level = "warning"  # no note lies over the canvas
        self.folder = folder
        self.viewer = napari.Viewer(show=True, show_welcome_screen=False)
        self.app = QApplication.instance()
        self.viewer.window.resize(*WINDOW)
        self.rest(0.5)

    def dock(self, name: str) -> Any:
        """Open a dock as the Plugins menu does, or bring the open one to the front; return it."""
        frame, dock = self.viewer.window.add_plugin_dock_widget("napari-segtrain", name)
        self.rest(0.3)
        frame.raise_()
        self.viewer.window.resize(*WINDOW)
        self.rest(0.3)
        return dock

    def press(self, dock: Any, name: str) -> None:
        """Press a button of a dock once it can be pressed."""
        from qtpy.QtWidgets import QPushButton

        button = dock.findChild(QPushButton, name)
        self.wait(button.isEnabled, f"{name} is not enabled")
        button.click()

    def wait(self, done: Callable[[], Any], fault: str) -> None:
        """Let Qt work until something is true."""
        end = time.monotonic() + PATIENCE
        while not done():
            self.rest(0.02)
            if time.monotonic() > end:
                raise TimeoutError(fault)

    def rest(self, seconds: float) -> None:
        """Let Qt work for a while."""
        end = time.monotonic() + seconds
        while True:
            self.app.processEvents()
            if time.monotonic() > end:
                return
            time.sleep(0.005)

    def whole(self, name: str) -> None:
        """Photograph the window."""
        self.rest(1.0)
        self._save(name, self.viewer.screenshot(canvas_only=False, flash=False))

    def only(self, name: str, dock: Any) -> None:
        """Photograph a dock."""
        from qtpy.QtGui import QImage

        self.rest(0.5)
        picture = dock.grab().toImage().convertToFormat(QImage.Format.Format_RGBA8888)
        bits = picture.constBits()
        if hasattr(bits, "setsize"):  # PyQt
            bits.setsize(picture.sizeInBytes())
        shape = picture.height(), picture.bytesPerLine() // 4, 4
        self._save(name, np.array(bits, np.uint8).reshape(shape)[:, : picture.width()])

    def _save(self, name: str, pixels: Any) -> None:
        """Write as many colours as a window with an image in it needs, and no more bytes than allowed."""
        from PIL import Image

        path = self.folder / f"{name}.png"
        picture = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
        picture.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
        size = path.stat().st_size
        print(f"{path.name}: {picture.width} × {picture.height}, {size / 1000:.0f} kB", flush=True)
        if size > MOST_BYTES:
            raise ValueError(f"{path} has {size} bytes, more than {MOST_BYTES}; show less in it")


def use(train: Any, settings: dict[str, Any], **changes: Any) -> None:
    """Write settings into the Train dock; image and targets stay as they were found."""
    from napari_segtrain.config import ExperimentConfig

    config = ExperimentConfig.parse(settings).replace(dataset_config=train.value().dataset_config)
    train.set_value(config.with_overrides(changes))


def idle(train: Any) -> bool:
    """Return whether the Train dock can start something."""
    return bool(train.panel.buttons["start"].isEnabled())


def epochs_done(train: Any) -> int:
    """Return how many validations the Train dock has drawn."""
    return len(train.curves.points("val", "loss")[0])


def coins(studio: Studio) -> None:
    """Photograph the coins: opened, trained on, predicted, corrected, and their runs."""
    viewer = studio.viewer
    viewer.open_sample("napari-segtrain", "coins")
    train = studio.dock("Train")
    use(train, SETTINGS)
    viewer.reset_view()
    studio.whole("coins_opened")
    studio.press(train, "start")
    live = "foreground · live"
    studio.wait(lambda: live in viewer.layers and epochs_done(train) >= 14, "no live preview came")
    viewer.layers.selection.active = viewer.layers["coins_foreground"]
    studio.whole("train_dock")
    studio.press(train, "stop")
    studio.wait(lambda: idle(train), "the training does not stop")
    viewer.layers[live].visible = False
    predict_coins(studio)
    label_next(studio)
    correct(studio)
    doctor(studio)
    steps(studio)
    workflow(studio)
    runs(studio)


def predict_coins(studio: Studio) -> None:
    """Photograph a prediction."""
    predict = studio.dock("Predict")
    predicted(studio, predict)
    studio.whole("predict_dock")


def predicted(studio: Studio, predict: Any) -> list[Any]:
    """Press Predict, and return the layers that come."""
    known = set(studio.viewer.layers)
    studio.wait(lambda: predict.run.value() is not None and predict.run.known, "no run is found")
    studio.press(predict, "predict")
    done = lambda: not predict.session.busy and not predict.instances.live.busy  # noqa: E731
    studio.wait(lambda: done() and set(studio.viewer.layers) - known, "no prediction came")
    return [layer for layer in studio.viewer.layers if layer not in known]


def label_next(studio: Studio) -> None:
    """Photograph the regions that the network doubts most, at the first of them."""
    viewer = studio.viewer
    dock = studio.dock("Label next")
    studio.wait(lambda: dock.run.value() is not None and dock.run.known, "no run is found")
    dock.number.set_value(8)
    before = set(viewer.layers)
    studio.press(dock, "find_regions")
    studio.wait(lambda: set(viewer.layers) - before and not dock.session.busy, "no region came")
    for layer in viewer.layers:
        layer.visible = layer.name in ("coins", "coins_foreground") or layer not in before
    viewer.reset_view()
    studio.whole("label_next_dock")
    viewer.layers.remove(*(set(viewer.layers) - before))


def correct(studio: Studio) -> None:
    """Photograph a prediction that is accepted inside a drawn shape."""
    viewer = studio.viewer
    dock = studio.dock("Correct")
    viewer.layers["coins_foreground"].visible = True
    corners = [[80, 78], [80, 233], [160, 233], [160, 78]]
    shapes = viewer.add_shapes(
        [corners], name="right here", edge_color="white", face_color="transparent", edge_width=2
    )
    accept = dock.accepting
    predictions = [accept.prediction.itemText(place) for place in range(accept.prediction.count())]
    accept.prediction.setCurrentText(next(name for name in predictions if name.endswith("· live")))
    accept.where.setCurrentText(shapes.name)
    studio.wait(lambda: accept.values.text(), "no values are suggested")
    studio.wait(lambda: dock.worst.list.count(), "no worst patches are listed")
    studio.press(dock, "accept")
    studio.wait(lambda: not accept.busy, "nothing was accepted")
    for layer in viewer.layers:
        layer.visible = layer.name in ("coins", "coins_foreground", shapes.name)
    viewer.layers.selection.active = viewer.layers["coins_foreground"]
    studio.whole("correct_dock")
    viewer.layers.remove(shapes)


def doctor(studio: Studio) -> None:
    """Photograph what the training doctor says of a learning rate that is far too high."""
    train = studio.dock("Train")
    use(train, SETTINGS, **{"tr_config.optimizer.lr": 3.0})
    studio.press(train, "diagnose")
    studio.wait(lambda: train.findings.value() and idle(train), "the training doctor finds nothing")
    studio.only("training_doctor", train)


def steps(studio: Studio) -> None:
    """Photograph a batch and what the loss says of it, after some batches that were stepped through."""
    viewer = studio.viewer
    use(studio.dock("Train"), SETTINGS)
    dock = studio.dock("Step by step")
    for layer in viewer.layers:
        layer.visible = layer.name == "coins"
    before = set(viewer.layers)
    taken = lambda: not dock.session.waits  # noqa: E731
    dock.checks.batches.set_value(40)
    for action in ("define_model", "initialize_optimizer", "run_batches", "prepare_batch", "zero_gradients",
                   "forward_pass", "calculate_loss", "backward_pass"):  # fmt: skip
        studio.press(dock, action)
        studio.wait(taken, f"{action} is not answered")
    viewer.dims.set_current_step(0, 1)  # the second patch
    studio.whole("step_dock")
    dock.session.cancel()  # as End does, once it is told that nothing shall be saved
    studio.wait(lambda: not dock.session.busy, "the session does not end")
    for layer in set(viewer.layers) - before:
        viewer.layers.remove(layer)


def workflow(studio: Studio) -> None:
    """Photograph the graph of a training, with one of its nodes selected."""
    dock = studio.dock("Workflow")
    dock.template.set_value("train")
    studio.press(dock, "use_template")
    studio.rest(0.3)
    dock.editor.select("unet_model")
    studio.only("workflow_dock", dock)


def runs(studio: Studio) -> None:
    """Photograph two runs with their curves and the settings in which they differ."""
    train = studio.dock("Train")
    use(train, SETTINGS, **{"tr_config.optimizer.lr": 0.0005, "tr_config.num_epochs": 8})
    studio.press(train, "start")
    studio.wait(lambda: not idle(train), "no second training starts")
    studio.wait(lambda: idle(train), "the second training does not end")
    dock = studio.dock("Runs")
    studio.wait(lambda: len(dock.projects.state.rows) == 2, "the runs are not listed")
    dock.table.select([row.run.path for row in dock.projects.state.rows])
    studio.wait(lambda: len(dock.projects.state.details) == 2, "the runs are not compared")
    studio.rest(2.0)
    studio.only("runs_dock", dock)


def volume(studio: Studio, project: Path) -> None:
    """Photograph the volume: what is taught, and what is predicted, in three dimensions."""
    from napari_segtrain.config import InferenceConfig

    viewer = studio.viewer
    viewer.open_sample("napari-segtrain", "tubes_and_blobs")
    train = studio.dock("Train")
    train.project.set_value(project)
    use(train, VOLUME)
    viewer.reset_view()
    before = set(viewer.layers)
    viewer.layers["volume_blobs"].visible = viewer.layers["volume_tubes"].visible = False
    studio.press(train, "preview_targets")
    studio.wait(lambda: set(viewer.layers) - before and idle(train), "no targets came")
    studio.whole("targets_preview")
    for layer in set(viewer.layers) - before:
        viewer.layers.remove(layer)
    studio.press(train, "start")
    studio.wait(lambda: not idle(train), "the volume is not trained on")
    studio.wait(lambda: idle(train), "the training of the volume does not end")
    predict = studio.dock("Predict")
    predict.project.set_value(project)
    predict.set_value(InferenceConfig(instances=True, min_size=100))
    found = predicted(studio, predict)
    for layer in viewer.layers:
        layer.visible = layer in found
    viewer.dims.ndisplay = 3
    viewer.reset_view()
    viewer.camera.angles = (5, -25, 130)
    studio.whole("volume_predicted")
    viewer.window.remove_dock_widget("all")
    viewer.layers.clear()
    viewer.dims.ndisplay = 2


def main(folder: Path = IMAGES) -> None:
    """Take all pictures.

    Parameters
    ----------
    folder
        Where they go.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        # Before anything is imported that looks for them: no path and no setting of this machine is seen.
        os.environ.update(HOME=home, NAPARI_CONFIG=str(Path(home) / "napari.yaml"), TZ="UTC")
        studio = Studio(folder)
        volume(studio, Path(home) / "volumes")
        coins(studio)
        studio.viewer.close()


if __name__ == "__main__":
    main()
