from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.config import AugmentationConfig
from napari_segtrain.data.augmentation import Augmenter, SpatialParameters
from napari_segtrain.data.augmentation.frame import LARGEST_CONTEXT, Frame

spacings = st.floats(0.2, 5.0)
radians = st.floats(-np.pi, np.pi)


@pytest.mark.parametrize(
    ("spacing", "axis", "anisotropic"),
    [
        ((1, 1, 1), 0, False),
        ((2, 1, 1), 0, False),
        ((5, 1, 1), 0, True),
        ((1, 1, 5), 2, True),
        ((1, 5, 1), 1, True),
        ((5, 5, 1), 2, True),
    ],
)
def test_slices_lie_along_the_axis_unlike_the_others(spacing, axis, anisotropic):
    frame = Frame((8, 8, 8), spacing)
    assert frame.slice_axis == axis
    assert set(frame.plane) == {0, 1, 2} - {axis}
    assert frame.anisotropic == anisotropic


@given(st.sampled_from([2, 3]), st.data())
def test_rotations_preserve_physical_distances(ndim, data):
    spacing = np.array([data.draw(spacings) for _ in range(ndim)])
    angles = tuple(data.draw(radians) for _ in range(1 if ndim == 2 else 3))
    flips = tuple(data.draw(st.booleans()) for _ in range(ndim))
    frame = Frame((8,) * ndim, tuple(spacing))
    matrix = frame.matrix(SpatialParameters(flips, data.draw(st.integers(0, 3)), angles))
    step = np.array([data.draw(st.floats(-9, 9)) for _ in range(ndim)])
    assert np.linalg.norm(spacing * (matrix @ step)) == pytest.approx(
        np.linalg.norm(spacing * step), abs=1e-9
    )


@given(st.floats(0.3, 3.0))
def test_a_larger_scale_reads_a_smaller_part(scale):
    matrix = Frame((8, 8, 8), (4.0, 1.0, 1.0)).matrix(SpatialParameters((False,) * 3, scale=scale))
    assert np.allclose(matrix, np.eye(3) / scale)


@settings(deadline=None, max_examples=10)
@given(st.sampled_from([(2, (48, 24), (1.0, 2.0)), (3, (12, 32, 32), (2.5, 1.0, 1.0))]), radians)
def test_a_physical_ball_stays_the_ball_it_is(only, geometry, angle):
    """With spacing ignored a rotation would turn it into an ellipsoid."""
    ndim, size, spacing = geometry
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(size, spacing, strict=True)]
    radius = np.sqrt(sum(np.square(g) for g in np.meshgrid(*axes, indexing="ij")))
    params = only(ndim, SpatialParameters((False,) * ndim, 0, (angle, *(0.0,) * (2 if ndim == 3 else 0))))
    augmenter = Augmenter(AugmentationConfig(), ndim, size, spacing)
    moved, _, masks = augmenter.apply(
        params, radius[None].astype(np.float32), {}, {"all": np.ones(size, bool)}
    )
    # Close to the centre a cone is not linear between voxels.
    looked_at = masks["all"] & (radius > 6) & (radius < 14)
    assert looked_at.sum() > 100
    assert np.abs(moved[0] - radius)[looked_at].max() < 0.5


def test_out_of_the_plane_a_sixth_and_nothing_between_coarse_slices():
    assert Frame((32, 32, 32), (1.0, 1.0, 1.0)).largest_angles(180.0) == (180.0, 30.0, 30.0)
    assert Frame((32, 32, 32), (2.0, 1.0, 1.0)).largest_angles(180.0)[1] > 0
    assert Frame((32, 32, 32), (2.1, 1.0, 1.0)).largest_angles(180.0) == (180.0, 0.0, 0.0)
    assert Frame((32, 32), (1.0, 1.0)).largest_angles(90.0) == (90.0,)


@given(st.integers(8, 64), st.integers(8, 64))
def test_a_long_patch_turns_only_as_far_as_its_context_reaches(rows, columns):
    frame = Frame((rows, columns), (1.0, 1.0))
    limit = np.deg2rad(frame.largest_angles(180.0)[0])
    short, long = sorted((rows, columns))
    if long / short <= LARGEST_CONTEXT:
        assert limit == pytest.approx(np.pi)
    else:
        assert short * np.cos(limit) + long * np.sin(limit) == pytest.approx(LARGEST_CONTEXT * short)


def test_the_source_size_of_a_turned_square():
    frame = Frame((64, 64), (1.0, 1.0))
    flat = (False, False)
    assert frame.source_size(SpatialParameters(flat, 3)) == (64, 64)
    # 63 / 2 · √2 = 44.5 voxels on both sides of the centre
    assert frame.source_size(SpatialParameters(flat, 0, (np.pi / 4,))) == (92, 92)
    assert frame.source_size(SpatialParameters(flat, scale=1.2)) == (64, 64)
    assert frame.source_size(SpatialParameters(flat, 0, (np.pi / 4,), 0.5)) == (96, 96)


def test_without_anything_that_moves_voxels_the_patch_itself_is_read(intensity_config):
    for size, spacing in (((64, 64), (1.0, 1.0)), ((9, 32, 32), (3.0, 1.0, 1.0))):
        assert Augmenter(intensity_config, len(size), size, spacing).source_size() == size
