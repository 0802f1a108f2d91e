"""``python -m napari_segtrain.widgets.show RUN``: the demo's image, scribbles and predictions in napari."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ..config import RunError
from ..runs import RunFolder


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
    data = Path(str(folder.read_json("data.json")))
    predictions = sorted((folder.path / "predictions").glob("*.tif"))
    if not predictions:
        raise RunError(f"{folder.path}: has no predictions to show; run segtrain demo first")
    for image in sorted((data / "images").glob("*.tif")):
        viewer.add_image(tifffile.imread(image), name=image.stem)
    for labels in sorted((data / "labels").glob("*.tif")):
        viewer.add_labels(tifffile.imread(labels), name=labels.stem, opacity=0.4)
    for prediction in predictions:
        layer = viewer.add_labels(tifffile.imread(prediction), name=f"{prediction.stem} · predicted")
        layer.contour = 2 if prediction.stem == "instances" else 0
        layer.visible = prediction.stem == "instances"


def main(arguments: list[str]) -> None:
    """Open a viewer on the run that is named, with the Train dock beside it."""
    import napari

    viewer = napari.Viewer(title="napari-segtrain")
    add_run_layers(viewer, arguments[0])
    viewer.window.add_plugin_dock_widget("napari-segtrain", "Train")
    napari.run()


if __name__ == "__main__":
    main(sys.argv[1:])
