from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import LossConfig
from napari_segtrain.runs import PredictDone, RunFolder
from napari_segtrain.targets import Encoding, Head
from napari_segtrain.widgets.layers.colours import foreground_colours, foreground_names, heads_of
from napari_segtrain.widgets.layers.prediction_data import Scope, prediction_data
from napari_segtrain.widgets.layers.results import add_results

pytestmark = pytest.mark.gui

NAMES = ("cells", "nuclei")


def head(name: str, encoding: Encoding = "binary", channels: int = 1) -> Head:
    return Head(name, name, name, encoding, channels, "none", (LossConfig(name="MSELoss"),))


def colour(colours: Any, value: int) -> tuple[float, ...]:
    return tuple(colours.map(np.array([value]))[0])


def test_each_target_has_a_colour_of_its_own_and_no_background() -> None:
    cells, nuclei = (foreground_colours(NAMES, name) for name in NAMES)
    assert colour(cells, 1) != colour(nuclei, 1)
    assert colour(cells, 0)[3] == 0.0
    assert foreground_colours(NAMES, "types") is None


def test_what_is_foreground_is_read_from_the_run(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "r")
    assert foreground_names(run.path) == (), "the run has not begun"
    heads = [head("cells"), head("types", "classes", 3), head("nuclei"), head("nuclei_boundary", "boundary")]
    run.write_json("resolved.json", {"heads": [one.to_dict() for one in heads]})
    assert list(heads_of(run.path).values()) == heads
    assert foreground_names(run.path) == NAMES
    assert foreground_names(tmp_path / "elsewhere.ckpt") == ()


def test_results_have_the_colours_of_their_previews() -> None:
    from napari.components import ViewerModel

    viewer = ViewerModel()
    data = prediction_data(viewer, viewer.add_image(np.zeros((8, 9)), name="a"), Scope.LAYER)
    arrays = {"cells": np.ones((8, 9), np.uint8), "nuclei": np.full((8, 9), 7, np.int32)}
    done = PredictDone(outputs={name: {} for name in arrays}, seconds=1.0)
    cells, nuclei = add_results(
        viewer, done, data, arrays, as_numbers=False, heads={name: head(name) for name in NAMES}
    )
    assert colour(cells.colormap, 1) == colour(foreground_colours(NAMES, "cells"), 1)
    assert colour(nuclei.colormap, 7) != colour(nuclei.colormap, 8), "separated objects can be told apart"


def test_scaled_results_say_what_they_are_made_with_and_how_to_restore_their_values() -> None:
    from napari.components import ViewerModel

    viewer = ViewerModel()
    data = prediction_data(viewer, viewer.add_image(np.zeros((8, 9)), name="a"), Scope.LAYER)
    arrays = {"cells": np.full((8, 9), 3, np.uint8), "normals": np.full((2, 8, 9), 200, np.uint8)}
    done = PredictDone(
        outputs={"cells": {}, "normals": {"channel_axis": 0}},
        seconds=1.0,
        settings={"date": "today"},
        limits={"cells": (0.0, 1.0), "normals": (-1.0, 1.0)},
    )
    heads = {"cells": head("cells"), "normals": head("normals", "surface_normals", 2)}
    cells, y, x = add_results(viewer, done, data, arrays, as_numbers=True, heads=heads)
    assert (cells.colormap.name, cells.contrast_limits) == ("magma", [0, 255])
    for layer in (y, x):
        assert (layer.colormap.name, layer.contrast_limits) == ("PiYG", [0, 255])
        kept = layer.metadata["napari_segtrain"]
        assert kept["settings"] == {"date": "today"} and kept["limits"] == (-1.0, 1.0)
        np.testing.assert_allclose(kept["offset"] + kept["scale"] * 255, 1.0)


@pytest.mark.parametrize("lazy", [False, True])
def test_components_are_called_by_their_axes_and_coloured_around_0(lazy: bool) -> None:
    import dask.array as da
    from napari.components import ViewerModel

    viewer = ViewerModel()
    data = prediction_data(viewer, viewer.add_image(np.zeros((8, 9)), name="a"), Scope.LAYER)
    kinds: dict[str, tuple[Encoding, int]] = {
        "distance": ("distance_transform", 1),
        "normals": ("surface_normals", 2),
        "nearest": ("nearest_component", 2),
        "tensor": ("structure_tensor", 3),
        "other": ("regression", 3),
    }
    heads = {name: head(name, *kind) for name, kind in kinds.items()}
    arrays, outputs = {}, {}
    for name, (_, channels) in kinds.items():
        values = np.linspace(-0.5, 2.0, channels * 72, dtype=np.float32).reshape(channels, 8, 9)
        arrays[name] = values if channels > 1 else values[0]
        outputs[name] = {"channel_axis": 0 if channels > 1 else None}
        if lazy:
            arrays[name] = da.from_array(arrays[name])
    done = PredictDone(outputs=outputs, seconds=1.0)
    add_results(viewer, done, data, arrays, as_numbers=False, heads=heads)
    names = [layer.name.removeprefix("a · ") for layer in viewer.layers][1:]
    parts = ["normals y", "normals x", "nearest y", "nearest x", "tensor yy", "tensor yx", "tensor xx"]
    assert names == ["distance", *parts, "other 0", "other 1", "other 2"]
    normals = viewer.layers["a · normals y"]
    assert (normals.colormap.name, normals.contrast_limits) == ("PiYG", [-1, 1])
    if not lazy:
        distance = viewer.layers["a · distance"]
        assert (distance.colormap.name, distance.contrast_limits) == ("PiYG", [-2, 2])
        assert viewer.layers["a · tensor xx"].colormap.name == "magma"


def test_a_result_takes_the_place_of_its_live_preview() -> None:
    from napari.components import ViewerModel

    viewer = ViewerModel()
    data = prediction_data(viewer, viewer.add_image(np.zeros((8, 9)), name="a"), Scope.LAYER)
    for image, head in (("a", "cells"), ("a", "nuclei"), ("b", "cells")):
        ours = {"preview": True, "image": image, "head": head}
        viewer.add_labels(np.ones((8, 9), int), name=f"{image} {head}", metadata={"napari_segtrain": ours})
    done = PredictDone(outputs={"cells": {}}, seconds=1.0)
    add_results(viewer, done, data, {"cells": np.ones((8, 9), np.uint8)}, as_numbers=False)
    shown = {layer.name for layer in viewer.layers if layer.visible}
    assert shown == {"a", "a nuclei", "b cells", "a · cells"}
