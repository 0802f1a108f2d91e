"""``python -m napari_segtrain.widgets.show RUN``: the demo's image, scribbles and predictions in napari."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtGui import QGuiApplication

from ..config import RunError
from ..runs import RunFolder
from .layers.colours import foreground_colours, foreground_names

_SIZE = (1500, 950)
"""Width and height of the window in pixels, where the screen is as large."""


def add_run_layers(viewer: Any, run: str | Path) -> None:
    """Add a run's image and scribbles, and the label images in its ``predictions``.

    Parameters
    ----------
    viewer
        The napari viewer.
    run
        The folder of a run that was trained on a folder with one image.

    Raises
    ------
    RunError
        When it is no run, or has no predictions.
    """
    import tifffile

    folder = RunFolder.open(run)
    foreground = foreground_names(folder.path)
    data = Path(str(folder.read_json("data.json")))
    predictions = sorted((folder.path / "predictions").glob("*.tif"))
    if not predictions:
        raise RunError(f"{folder.path}: has no predictions to show; run segtrain demo first")
    for image in sorted((data / "images").glob("*.tif")):
        viewer.add_image(tifffile.imread(image), name=image.stem)
    for labels in sorted((data / "labels").glob("*.tif")):
        viewer.add_labels(tifffile.imread(labels), name=labels.stem, opacity=0.4)
    for prediction in predictions:
        colours = foreground_colours(foreground, prediction.stem)
        array, name = tifffile.imread(prediction), f"{prediction.stem} · predicted"
        layer = viewer.add_labels(array, name=name, colormap=colours)
        layer.contour = 2 if prediction.stem == "instances" else 0
        layer.visible = prediction.stem == "instances"


def main(arguments: list[str]) -> None:
    """Open a viewer on the run that is named, with the Train dock beside it."""
    import napari

    viewer = napari.Viewer(title="napari-segtrain")
    screen = QGuiApplication.primaryScreen().availableGeometry()
    viewer.window.resize(min(_SIZE[0], screen.width()), min(_SIZE[1], screen.height()))
    viewer.window.add_plugin_dock_widget("napari-segtrain", "Train")
    add_run_layers(viewer, arguments[0])
    QTimer.singleShot(0, viewer.reset_view)  # the canvas has its size when the window is drawn
    napari.run()


if __name__ == "__main__":
    main(sys.argv[1:])
