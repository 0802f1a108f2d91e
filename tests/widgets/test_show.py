from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import RunError
from napari_segtrain.data.samples import coins
from napari_segtrain.runs import RunFolder
from napari_segtrain.widgets.show import add_run_layers
from napari_segtrain.workflow.demonstration import write_images, write_sample

pytestmark = pytest.mark.gui


@pytest.fixture
def run(tmp_path: Any) -> RunFolder:
    folder = RunFolder.create(tmp_path, "coins")
    folder.write_json("data.json", str(write_sample(coins(), tmp_path / "data")))
    return folder


def test_image_scribbles_and_predictions_become_layers(run: RunFolder, viewer: Any) -> None:
    instances = np.zeros((303, 384), np.int32)
    instances[20:40, 30:60] = 7
    write_images(
        run.path / "predictions", {"foreground": (instances > 0).astype(np.uint8), "instances": instances}
    )
    add_run_layers(viewer, run.path)
    assert [layer.name for layer in viewer.layers] == [
        "coins",
        "coins_foreground",
        "foreground · predicted",
        "instances · predicted",
    ]
    assert viewer.layers["instances · predicted"].data.max() == 7
    assert not viewer.layers["foreground · predicted"].visible


def test_a_run_without_predictions_is_refused(run: RunFolder, viewer: Any) -> None:
    with pytest.raises(RunError, match="has no predictions"):
        add_run_layers(viewer, run.path)
