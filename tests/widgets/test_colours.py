from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import DatasetConfig, ExperimentConfig, TargetConfig
from napari_segtrain.runs import PredictDone
from napari_segtrain.widgets.colours import foreground_colours
from napari_segtrain.widgets.prediction_data import Scope, prediction_data
from napari_segtrain.widgets.results import add_results

pytestmark = pytest.mark.gui

KINDS = {"cells": "binary", "nuclei": "instances", "types": "classes"}
CONFIG = ExperimentConfig(
    dataset_config=DatasetConfig(targets={name: TargetConfig(kind=kind) for name, kind in KINDS.items()})
)


def colour(colours: Any, value: int) -> tuple[float, ...]:
    return tuple(colours.map(np.array([value]))[0])


def test_each_target_has_a_colour_of_its_own_and_no_background() -> None:
    cells, nuclei = (foreground_colours(CONFIG, name) for name in ("cells", "nuclei"))
    assert colour(cells, 1) != colour(nuclei, 1)
    assert colour(cells, 0)[3] == 0.0
    assert foreground_colours(CONFIG, "types") is None, "every class has its own"
    assert foreground_colours(CONFIG, "distance") is None
    assert foreground_colours(None, "cells") is None


def test_results_have_the_colours_of_their_previews() -> None:
    from napari.components import ViewerModel

    viewer = ViewerModel()
    data = prediction_data(viewer, viewer.add_image(np.zeros((8, 9)), name="a"), Scope.LAYER)
    arrays = {"cells": np.ones((8, 9), np.uint8), "nuclei": np.full((8, 9), 7, np.int32)}
    done = PredictDone(outputs={name: {} for name in arrays}, seconds=1.0)
    cells, nuclei = add_results(viewer, done, data, arrays, as_numbers=False, config=CONFIG)
    assert colour(cells.colormap, 1) == colour(foreground_colours(CONFIG, "cells"), 1)
    assert colour(nuclei.colormap, 7) != colour(nuclei.colormap, 8), "separated objects can be told apart"
