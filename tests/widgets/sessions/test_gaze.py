"""What the training is told about where the user looks, whatever way the image is turned and shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import DatasetConfig
from napari_segtrain.widgets.layers.data_spec import TrainedImage, image_data
from napari_segtrain.widgets.sessions.gaze import Gaze, looked_at

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("qapp")]

SHAPE = (20, 300, 400)


@pytest.fixture
def viewer() -> Any:
    """A viewer without a window."""
    from napari.components import ViewerModel

    return ViewerModel()


@pytest.fixture
def add(viewer: Any) -> Callable[..., TrainedImage]:
    def add(shape: Any = SHAPE, config: DatasetConfig | None = None, **options: Any) -> TrainedImage:
        data = (
            [np.zeros(s, np.uint8) for s in shape] if isinstance(shape, list) else np.zeros(shape, np.uint8)
        )
        layer = viewer.add_image(data, name="v", **options)
        return image_data(layer, config or DatasetConfig()).images[layer.name]

    return add


def camera(viewer: Any) -> Any:
    return getattr(viewer, "scene", viewer).camera


def test_in_3d_a_cube_around_the_middle_of_the_view(viewer: Any, add: Callable[..., TrainedImage]) -> None:
    image = add(scale=(10, 1, 1), translate=(0, 1000, 0))
    viewer.dims.ndisplay = 3
    camera(viewer).center = (120, 1100, 200)
    camera(viewer).zoom = 10
    hint = looked_at(viewer, image)
    sides = [b - a for a, b in zip(hint.start, hint.stop, strict=True)]
    assert sides[1] == sides[2] < 100
    assert sides[0] <= sides[1] / 10 + 2, "as deep as it is wide in the world"
    assert [(a + b) // 2 for a, b in zip(hint.start, hint.stop, strict=True)] == [12, 100, 200]
    camera(viewer).zoom = 0.1
    hint = looked_at(viewer, image)
    assert (hint.start, hint.stop) == ((0, 0, 0), SHAPE)


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("centre", [(0, 0, 0), (-1e6, 1e6, 3), (np.nan, 0, 0)])
def test_past_the_volume_the_nearest_voxels_count(
    viewer: Any, add: Callable[..., TrainedImage], order: tuple[int, ...], centre: tuple[float, ...]
) -> None:
    image = add(rotate=30, shear=(0.1, 0.2, 0.3))
    viewer.dims.order = order
    viewer.dims.ndisplay = 3
    camera(viewer).center = centre
    camera(viewer).zoom = 50
    hint = looked_at(viewer, image)
    assert all(0 <= a < b <= n for a, b, n in zip(hint.start, hint.stop, SHAPE, strict=True))


def test_swapped_axes_keep_their_places(viewer: Any, add: Callable[..., TrainedImage]) -> None:
    image = add()
    viewer.dims.order = (2, 1, 0)  # x is the slider; y and z lie in the canvas
    viewer.dims.set_point(2, 77)
    image.layer.corner_pixels = np.array([[3, 100, 0], [8, 149, 0]])
    hint = looked_at(viewer, image)
    assert (hint.start, hint.stop) == ((3, 100, 77), (9, 150, 78))


def test_a_plane_image_in_3d_and_one_of_fewer_axes_than_the_viewer(
    viewer: Any, add: Callable[..., TrainedImage]
) -> None:
    viewer.add_image(np.zeros((5, 6, 30, 40), np.uint8))
    image = add((30, 40))
    viewer.dims.ndisplay = 3
    hint = looked_at(viewer, image)
    assert len(hint.start) == 2
    assert all(0 <= a < b <= n for a, b, n in zip(hint.start, hint.stop, (30, 40), strict=True))


def test_images_stacked_along_two_axes_are_numbered_through(
    viewer: Any, add: Callable[..., TrainedImage]
) -> None:
    image = add((3, 5, 30, 40), DatasetConfig(ndim=2))
    viewer.dims.set_point((0, 1), (2, 4))
    assert (looked_at(viewer, image).start[0], looked_at(viewer, image).stop[0]) == (14, 15)
    viewer.dims.ndisplay = 3
    camera(viewer).zoom = 0.01
    hint = looked_at(viewer, image)
    assert (hint.start, hint.stop) == ((10, 0, 0), (15, 30, 40)), "all planes of the shown volume"


def test_what_is_seen_of_a_level_is_told_in_voxels_of_the_trained_one(
    viewer: Any, add: Callable[..., TrainedImage]
) -> None:
    image = add([(400, 600), (200, 300), (100, 150)], DatasetConfig(level=1))
    image.layer._data_level = 2  # what napari shows, coarser than what is trained on
    image.layer.corner_pixels = np.array([[10, 20], [19, 39]])
    hint = looked_at(viewer, image)
    assert (hint.start, hint.stop) == ((20, 40), (40, 80))
    viewer.dims.ndisplay = 3
    assert looked_at(viewer, image).stop <= (200, 300)


def test_it_is_told_once_and_again_when_another_image_is_shown(
    viewer: Any, add: Callable[..., TrainedImage]
) -> None:
    first, second = add((30, 40)), add((50, 60))
    sent: list[Any] = []
    gaze = Gaze(viewer, [first, second], sent.append)
    gaze._timer.setInterval(0)
    gaze.tell()
    gaze.tell()
    assert [command.hint.record for command in sent] == ["v"]
    first.layer.visible = False
    assert gaze._timer.isActive()
    gaze.tell()
    assert [command.hint.record for command in sent] == ["v", "v [1]"]
    for shape in ((3, 2), (4, 3, 2)):  # reshaped while it trains: nothing of the trained image is seen there
        second.layer.data = np.zeros(shape, np.float32)
        gaze.tell()
    first.layer.visible = True
    gaze.tell()
    viewer.layers.remove(first.layer)
    gaze.tell()
    assert [command.hint.record for command in sent] == ["v", "v [1]", "v"]
    gaze.close()
