import numpy as np
import pytest

from napari_segtrain.config.auxiliary import TASK_TYPES
from napari_segtrain.widgets.fields import LOOKS, direction_colours


def test_every_auxiliary_task_has_a_look() -> None:
    assert set(LOOKS) == set(TASK_TYPES)


@pytest.mark.parametrize("ndim", [2, 3])
def test_vectors_are_coloured_by_axis(ndim: int) -> None:
    vectors = np.zeros((ndim, *(4,) * ndim))
    vectors[0] = 1.0
    colours = direction_colours(vectors, "vector")
    assert colours.shape == (*(4,) * ndim, 3)
    assert colours[0, 0].reshape(-1, 3)[0].tolist() == [255, 127, 127]
    np.testing.assert_array_equal(direction_colours(9 * vectors, "vector"), colours)
    assert direction_colours(-vectors, "vector").reshape(-1, 3)[0].tolist() == [0, 127, 127]


def test_tensors_are_coloured_by_where_their_trace_lies() -> None:
    tensors = np.zeros((6, 2, 2, 2))
    tensors[3, 0] = 0.02  # yy
    tensors[0, 1, 0], tensors[5, 1, 0] = 0.5, 0.5  # zz and xx
    colours = direction_colours(tensors, "tensor")
    assert colours[0, 0, 0].tolist() == [0, 255, 0]
    assert colours[1, 0, 0].tolist() == [127, 0, 127]
    assert colours[1, 1, 1].tolist() == [0, 0, 0]
    assert direction_colours(np.full((3, 2, 2), 0.5), "tensor")[0, 0].tolist() == [127, 127, 0]
