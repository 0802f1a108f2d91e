import numpy as np
import pytest

from napari_segtrain.config import LossConfig
from napari_segtrain.targets import Head
from napari_segtrain.targets.colours import (
    CLASSES,
    direction_colours,
    head_colours,
    number_colours,
    scalar_limits,
)


def head(encoding, channels=1, activation="none"):
    return Head("a", "a", "a", encoding, channels, activation, (LossConfig(name="MSELoss"),))


@pytest.mark.parametrize("ndim", [2, 3])
def test_vectors_are_coloured_by_axis(ndim):
    vectors = np.zeros((ndim, *(4,) * ndim))
    vectors[0] = 1.0
    colours = direction_colours(vectors, "vector")
    assert colours.shape == (*(4,) * ndim, 3)
    assert colours.reshape(-1, 3)[0].tolist() == [255, 127, 127]
    np.testing.assert_array_equal(direction_colours(9 * vectors, "vector"), colours)
    assert direction_colours(-vectors, "vector").reshape(-1, 3)[0].tolist() == [0, 127, 127]


def test_lines_have_the_colour_of_their_opposite():
    lines = np.random.default_rng(0).normal(size=(3, 4, 5, 6))
    lines /= np.linalg.norm(lines, axis=0)
    np.testing.assert_array_equal(direction_colours(lines, "line"), direction_colours(-lines, "line"))
    assert direction_colours(np.eye(3)[1].reshape(3, 1, 1, 1), "line").tolist() == [[[[0, 255, 0]]]]


def test_tensors_are_coloured_by_where_their_trace_lies():
    tensors = np.zeros((6, 2, 2, 2))
    tensors[3, 0] = 0.02  # yy
    tensors[0, 1, 0], tensors[5, 1, 0] = 0.5, 0.5  # zz and xx
    colours = direction_colours(tensors, "tensor")
    assert colours[0, 0, 0].tolist() == [0, 255, 0]
    assert colours[1, 0, 0].tolist() == [127, 0, 127]
    assert colours[1, 1, 1].tolist() == [0, 0, 0]
    assert direction_colours(np.full((3, 2, 2), 0.5), "tensor")[0, 0].tolist() == [127, 127, 0]


def test_a_signed_distance_is_white_at_the_surface_whatever_its_range():
    values = np.array([[-2.0, 0.0, 8.0]])
    limits = scalar_limits(np.repeat(values, 100), np.ones(300, bool))
    assert limits == (-8.0, 8.0)
    below, at, above = number_colours(values, limits)[0].astype(int)
    assert at.tolist() == [247, 247, 247]
    assert below[2] > below[0]
    assert above[0] > above[2]
    assert scalar_limits(np.repeat([1.0, 3.0], 100), np.ones(200, bool)) == (1.0, 3.0)
    assert scalar_limits(np.append(np.repeat([1.0, 3.0], 500), 99.0), np.ones(1001, bool)) == (1.0, 3.0)
    assert scalar_limits(values, np.zeros((1, 3), bool)) == (0.0, 1.0)


def test_what_is_not_known_is_transparent():
    valid = np.array([[True, False]])
    for one in (
        head("binary", activation="sigmoid"),
        head("classes", activation="softmax", channels=3),
        head("distance_transform"),
        head("surface_normals", 2),
        head("inplane_direction", 2),
        head("structure_tensor", 3),
    ):
        colours = head_colours(one, np.ones((one.out_channels, 1, 2)), valid)
        assert colours.shape == (1, 2, 4)
        assert colours[..., 3].tolist() == [[255, 0]]


def test_classes_have_a_colour_each_and_background_none_of_them():
    numbers = np.arange(9).reshape(1, 1, 9)
    colours = head_colours(head("classes", 9), numbers, np.ones((1, 9), bool))[0, :, :3]
    assert [tuple(c) for c in colours[:7].tolist()] == list(CLASSES)
    assert tuple(colours[7]) == CLASSES[1]
