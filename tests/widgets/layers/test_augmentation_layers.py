from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import DatasetConfig, TargetConfig
from napari_segtrain.runs import AugmentationReady
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.widgets.layers.augmentation_layers import prepare, show
from napari_segtrain.widgets.layers.data_spec import TrainingData, training_data
from napari_segtrain.widgets.layers.layer_choice import is_image, is_labels
from napari_segtrain.widgets.layers.placing import Place, place_of

GEOMETRY = {"scale": (2.0, 0.5), "rotate": 20, "translate": (7, -3), "shear": [0.2], "units": ("µm", "µm")}
Shared = tuple[AugmentationReady, Place, TrainingData]


@pytest.fixture
def viewer() -> Any:
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def share(viewer: Any, tmp_path: Path) -> Callable[..., Shared]:
    """Lay down three patches of an image, as the engine does."""

    def make(
        shape: tuple[int, ...] = (72, 96),
        *,
        ndim: int = 2,
        rgb: bool = False,
        start: tuple[int, ...] = (4, 6, 8),
        labels_type: type = np.uint16,
        **geometry: Any,
    ) -> Shared:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 255, (*shape, 3) if rgb else shape, np.uint8)
        image = viewer.add_image(pixels, name="im", rgb=rgb, **geometry)
        paint = viewer.add_labels(rng.integers(0, 4, shape, np.uint8), name="im_cells", **geometry)
        paint.colormap = {0: "transparent", 1: "red", 2: "lime", 3: "blue", None: "white"}
        config = DatasetConfig(targets={"cells": TargetConfig()}, ndim=ndim)
        data = training_data([image], {"cells": (paint, None)}, config, all_layers=list(viewer.layers))
        start, size = start[:ndim], (16, 20, 24)[:ndim]
        stop = tuple(a + n for a, n in zip(start, size, strict=True))
        scratch = Scratch(tmp_path / "shared")
        images = rng.normal(size=(3, 3 if rgb else 1, *size)).astype(np.float32)
        event = AugmentationReady(
            record="im" if len(shape) == ndim else "im[1]",
            start=start,
            stop=stop,
            image=scratch.add("image", images, 1),
            labels={"cells": scratch.add("cells", rng.integers(0, 4, (3, *size)).astype(labels_type))},
            words=((), ("flip y",), ("noise 0.1 std",)),
        )
        place = place_of(data.images, event.record, start, stop)
        assert place is not None
        return event, place, data

    return make


def world(layer: Any, point: Any) -> np.ndarray:
    return np.asarray(layer.data_to_world(point))


def test_patches_lie_where_they_were_taken(viewer: Any, share: Callable[..., Shared]) -> None:
    event, place, data = share(**GEOMETRY)
    camera = getattr(viewer, "scene", viewer).camera
    view = (tuple(camera.center), camera.zoom)
    chosen = set(viewer.layers.selection)
    added = show(viewer, prepare(event, place), place, data)
    assert [layer.name for layer in added] == ["im · augmented", "im · augmented · cells"]
    for layer in added:
        assert layer.data.shape == (3, 16, 20)
        np.testing.assert_allclose(world(layer, (0, 5, 6))[1:], world(viewer.layers["im"], (9, 12)))
        np.testing.assert_allclose(world(layer, (2, 5, 6))[1:], world(viewer.layers["im"], (9, 12)))
    # The patch as it is comes first, and neither view nor selection have moved.
    assert viewer.dims.current_step[0] == 0
    assert (tuple(camera.center), camera.zoom) == view
    assert set(viewer.layers.selection) == chosen
    assert not is_image(added[0])
    assert not is_labels(added[1])


def test_labels_have_the_painted_colours_and_are_outlines(viewer: Any, share: Callable[..., Shared]) -> None:
    event, place, data = share()
    labels = show(viewer, prepare(event, place), place, data)[1]
    painted = viewer.layers["im_cells"]
    for value in (1, 2, 3):
        np.testing.assert_array_equal(labels.get_color(value), painted.get_color(value))
    assert labels.contour == 1
    assert not labels.editable
    assert labels.colormap is not painted.colormap


def test_another_draw_takes_the_place_of_the_former(viewer: Any, share: Callable[..., Shared]) -> None:
    event, place, data = share()
    for _ in range(2):
        added = show(viewer, prepare(event, place), place, data)
    assert len(viewer.layers) == 4
    assert viewer.layers[-2:] == added


def test_a_volume_gets_one_axis_more(viewer: Any, share: Callable[..., Shared]) -> None:
    event, place, data = share((40, 48, 56), ndim=3, scale=(5.0, 1.0, 1.0), units=("µm",) * 3)
    added = show(viewer, prepare(event, place), place, data)
    for layer in added:
        assert layer.data.shape == (3, 16, 20, 24)
        np.testing.assert_allclose(world(layer, (1, 2, 3, 4))[1:], world(viewer.layers["im"], (6, 9, 12)))
    assert viewer.dims.ndim == 4
    assert viewer.dims.current_step[0] == 0


def test_a_plane_of_a_stack_stays_in_its_plane(viewer: Any, share: Callable[..., Shared]) -> None:
    event, place, data = share((3, 72, 96), scale=(5.0, 2.0, 1.0))
    for layer in show(viewer, prepare(event, place), place, data):
        assert layer.data.shape == (3, 1, 16, 20)
        np.testing.assert_allclose(world(layer, (1, 0, 3, 4))[1:], world(viewer.layers["im"], (1, 7, 10)))


def test_a_patch_larger_than_the_image_begins_before_it(viewer: Any, share: Callable[..., Shared]) -> None:
    event, place, data = share((10, 30), start=(-3, 2))
    layer = show(viewer, prepare(event, place), place, data)[0]
    np.testing.assert_allclose(world(layer, (0, 3, 0))[1:], world(viewer.layers["im"], (0, 2)))


def test_colours_stay_colours_and_measured_values_are_an_image(
    viewer: Any, share: Callable[..., Shared]
) -> None:
    event, place, data = share(rgb=True, labels_type=np.float32)
    image, values = show(viewer, prepare(event, place), place, data)
    assert image.rgb
    assert image.data.shape == (3, 16, 20, 3)
    assert 0 <= image.data.min() < image.data.max() <= 1
    assert type(values).__name__ == "Image"
    assert not values.visible
