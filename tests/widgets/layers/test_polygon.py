from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask
from skimage.measure import points_in_poly

from napari_segtrain.widgets.layers.polygon import fill_polygon

PLACES = st.one_of(st.integers(-5, 25), st.integers(-10, 50).map(lambda half: half / 2), st.floats(-5, 25))


def on_an_edge(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    found = np.zeros(len(points), bool)
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = np.clip(((points - a) @ (b - a)) / max((b - a) @ (b - a), 1e-300), 0, 1)
        found |= np.linalg.norm(a + along[:, None] * (b - a) - points, axis=1) < 1e-6
    return found


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(PLACES, PLACES), min_size=3, max_size=9))
def test_every_voxel_inside_and_on_the_edge(corners: list[tuple[float, float]]) -> None:
    polygon, size = np.array(corners, float), (16, 20)
    points = np.argwhere(np.ones(size))
    filled = fill_polygon(polygon, size).reshape(-1)
    edge = on_an_edge(polygon, points)
    np.testing.assert_array_equal(filled[~edge], points_in_poly(points, polygon)[~edge])
    exact = polygon == np.round(polygon)
    if exact.all():
        assert filled[edge].all()


def test_an_ellipse_with_many_corners() -> None:
    angles = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    corners = 99.5 + 99.5 * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_array_equal(fill_polygon(corners, (200, 200)), polygon2mask((200, 200), corners))


def test_a_rectangle_between_voxels_holds_none() -> None:
    corners = np.array([[1.2, 1.2], [1.2, 9.0], [1.8, 9.0], [1.8, 1.2]])
    assert not fill_polygon(corners, (12, 12)).any()
