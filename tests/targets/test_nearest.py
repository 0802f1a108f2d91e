import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segtrain.targets.nearest import nearest_other

SPACINGS = st.sampled_from([(1.0, 1.0, 1.0), (3.0, 1.0, 0.5), (0.25, 2.0, 1.0)])


def brute_force(ids, spacing):
    """Distance of every voxel to the nearest one of another number, from all pairs."""
    places = np.argwhere(np.ones(ids.shape)) * np.asarray(spacing)
    values = ids.reshape(-1)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    apart[values[:, None] == values[None]] = np.inf
    return apart.min(axis=1).reshape(ids.shape)


@settings(max_examples=60, deadline=None)
@given(
    ids=hnp.arrays(
        np.int32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.integers(-1, 3)
    ),
    spacing=SPACINGS,
)
def test_distance_and_vector_agree_with_all_pairs(ids, spacing):
    spacing = spacing[-ids.ndim :]
    found = nearest_other(ids, spacing)
    np.testing.assert_allclose(found.distance, brute_force(ids, spacing), rtol=1e-6)
    finite = np.isfinite(found.distance)
    vectors = found.vectors(finite)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=0)[finite], found.distance[finite], rtol=1e-5)
    steps = vectors / np.reshape(spacing, (-1, *(1,) * ids.ndim))
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    there = tuple((np.indices(ids.shape) + np.round(steps).astype(int))[:, finite])
    assert (ids[there] != ids[finite]).all()
    assert (vectors[:, ~finite] == 0).all()


@given(
    ids=hnp.arrays(np.int32, (5, 6), elements=st.integers(0, 2)),
    skip=st.integers(0, 2),
)
def test_skipped_numbers_are_found_but_not_asked(ids, skip):
    every, others = nearest_other(ids, (1.0, 1.0)), nearest_other(ids, (1.0, 1.0), skip=skip)
    np.testing.assert_array_equal(others.distance[ids != skip], every.distance[ids != skip])
    assert (others.distance[ids == skip] == 0).all()


@pytest.mark.parametrize("shape", [(40, 300), (1, 9), (7, 1), (20, 24, 28)])
def test_shapes_and_booleans(shape):
    ids = np.random.default_rng(0).random(shape) < 0.02
    ids.flat[0] = True
    found = nearest_other(ids, (1.0,) * len(shape))
    assert found.distance.shape == shape
    assert found.vectors(~ids).shape == (len(shape), *shape)
    assert (found.distance[ids] >= 1).all()


def test_one_number_alone_has_no_other():
    found = nearest_other(np.ones((4, 5), np.int32), (1.0, 1.0))
    assert np.isinf(found.distance).all()
