from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segtrain.config import AugmentationConfig
from napari_segtrain.data.augmentation import Augmenter, SpatialParameters
from napari_segtrain.data.augmentation.exact import rearrangement, reflect
from napari_segtrain.data.augmentation.frame import Frame


@given(st.integers(1, 9), st.integers(-40, 40))
def test_reflection_agrees_with_numpy(size, index):
    padded = np.pad(np.arange(size), (40, 40), mode="reflect") if size > 1 else np.zeros(81, int)
    assert reflect(np.array([index]), size)[0] == padded[min(index + 40, padded.size - 1)]


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_quarter_turn_is_the_one_of_numpy(ndim, turns, only):
    size = (6, 10, 10)[3 - ndim :]
    augmenter = Augmenter(AugmentationConfig(), ndim, size, (1.0,) * ndim)
    image = np.random.default_rng(0).random((2, *size), dtype=np.float32)
    label = np.arange(np.prod(size)).reshape(size)
    params = only(ndim, SpatialParameters((False,) * ndim, turns))
    moved, labels, _ = augmenter.apply(params, image, {"a": label}, {})
    rotations = [np.rot90(label, k, (-2, -1)) for k in (turns, -turns)]
    assert sum(np.array_equal(labels["a"], r) for r in rotations) == (2 if turns == 2 else 1)
    for _ in range(3):
        moved = augmenter.apply(params, moved, {}, {})[0]
    assert np.array_equal(moved, image)


def test_a_quarter_turn_equals_the_rotation_by_its_angle(only):
    for ndim, size in ((2, (9, 9)), (3, (5, 9, 9))):
        augmenter = Augmenter(AugmentationConfig(), ndim, size, (1.0,) * ndim)
        image = np.random.default_rng(0).random((1, *size), dtype=np.float32)
        flips = (True, *(False,) * (ndim - 1))
        exact = augmenter.apply(only(ndim, SpatialParameters(flips, 1)), image, {}, {})[0]
        angles = (np.pi / 2 - 1e-6, *(0.0,) * (2 if ndim == 3 else 0))
        close = augmenter.apply(only(ndim, SpatialParameters(flips, 0, angles)), image, {}, {})[0]
        assert np.abs(exact - close).max() < 1e-3


def test_a_turn_between_voxels_is_no_rearrangement():
    frame = Frame((8, 9), (1.0, 1.0))
    turn = frame.matrix(SpatialParameters((False, False), 1))
    assert rearrangement(turn, (8, 9), (8, 9)) is None
    assert rearrangement(turn, (8, 8), (8, 8)) is not None
    assert rearrangement(np.eye(2) * 1.5, (8, 8), (8, 8)) is None
    assert rearrangement(np.eye(2) * 2, (9, 9), (9, 9)) is None


def test_outside_the_source_is_reflected_and_masked():
    places = rearrangement(np.diag([1.0, -1.0]), (3, 4), (5, 6))
    assert places is not None
    array = np.arange(12).reshape(3, 4)
    assert np.array_equal(places.take(array), np.pad(array, 1, mode="reflect")[:, ::-1])
    expected = np.zeros((5, 6), bool)
    expected[1:-1, 1:-1] = True
    assert np.array_equal(places.take_mask(np.ones((3, 4), bool)), expected)
