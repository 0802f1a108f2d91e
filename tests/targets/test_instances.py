import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import find_boundaries

INSTANCES = {"kind": "instances"}


@pytest.mark.parametrize("shape", [(48, 40), (14, 20, 18)])
def test_boundary_equals_scikit_image(derive, shape):
    rng = np.random.default_rng(0)
    labels = ndimage.label(ndimage.gaussian_filter(rng.normal(size=shape), 1.5) > 0.02)[0].astype(np.int32)
    # Let some objects touch.
    labels[labels > 3] = labels[labels > 3] % 7 + 3
    labels[shape[0] // 3 : shape[0] // 2] = 9
    out = derive(labels, target=INSTANCES)
    expected = find_boundaries(labels, connectivity=1, mode="thick")
    assert 0.05 < expected.mean() < 0.9
    np.testing.assert_array_equal(out["t_boundary"][0], expected)
    inner = (slice(1, -1),) * len(shape)
    assert out["t_boundary_mask"][0][inner].all()
    rim = np.ones(shape, bool)
    rim[inner] = False
    np.testing.assert_array_equal(out["t_boundary_mask"][0][rim], expected[rim])


def test_boundary_beside_unlabelled_voxels_is_not_known(derive):
    labels = np.ones((9, 9), np.int32)
    labels[4, 4] = 0
    out = derive(labels, target={**INSTANCES, "unlabelled": 0, "values": [1]})
    assert not out["t_boundary"].any()
    assert not out["t_boundary_mask"][0, 4, 3:6].any()
    assert out["t_boundary_mask"][0, 2, 2:7].all()


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 1.0)])
def test_centre_distance_of_a_disc(derive, spacing):
    axes = [(np.arange(n) - n // 2) * s for n, s in zip((61, 81), spacing, strict=True)]
    y, x = np.meshgrid(*axes, indexing="ij")
    radius = np.hypot(y, x)
    labels = np.where(radius < 20, 3, 0)
    out = derive(labels, target=INSTANCES, spacing=spacing)
    values = out["t_distance"][0]
    assert out["t_distance_mask"].all()
    assert values[30, 40] == 1.0
    assert values[labels == 0].max() == 0
    inside = labels > 0
    np.testing.assert_allclose(values[inside], 1 - radius[inside] / 20, atol=0.06 * max(spacing))


def test_each_object_has_its_own_scale_and_touching_objects_are_apart(derive):
    labels = np.zeros((40, 60), np.uint16)
    labels[10:30, 5:25] = 1
    labels[16:24, 25:33] = 2
    out = derive(labels, target=INSTANCES)
    values = out["t_distance"][0]
    assert values[labels == 1].max() == 1
    assert values[labels == 2].max() == 1
    assert values[20, 24] < 0.2
    assert values[20, 25] < 0.4


def test_objects_whose_depth_is_cut_off_are_invalid(derive):
    y, x = np.mgrid[:64, :96]
    labels = np.zeros((64, 96), np.int32)
    labels[np.hypot(y - 32, x + 5) < 12] = 1  # centre outside the patch: a rim is visible
    labels[np.hypot(y - 32, x - 30) < 12] = 2  # whole
    labels[np.hypot(y + 0, x - 60) < 3] = 3  # centre on the border
    labels[28:34, 70:] = 4  # a tube through the border
    out = derive(labels, target=INSTANCES)
    valid = out["t_distance_mask"][0]
    assert valid[labels == 0].all()
    assert [bool(valid[labels == i].all()) for i in (1, 2, 3, 4)] == [False, True, False, True]
    assert not valid[labels == 1].any()
    assert out["t_mask"].all()


def test_large_and_scattered_numbers_give_the_same(derive):
    rng = np.random.default_rng(0)
    labels = ndimage.label(ndimage.gaussian_filter(rng.normal(size=(64, 64)), 2) > 0.05)[0].astype(np.int64)
    spread = np.where(labels > 0, labels * 100_000_019 % 2_147_000_000, 0)
    small, large = derive(labels, target=INSTANCES), derive(spread, target=INSTANCES)
    assert len(np.unique(spread)) == len(np.unique(labels)) > 5
    assert small.keys() == large.keys()
    for key in small:
        np.testing.assert_array_equal(small[key], large[key], err_msg=key)


@pytest.mark.parametrize("value", [0, 7])
def test_patches_of_one_object_or_none(derive, value):
    out = derive(np.full((12, 12), value, np.int32), target=INSTANCES)
    assert out["t_distance_mask"].all() == (value == 0)
    assert not out["t_boundary"].any()
    assert np.isfinite(out["t_distance"]).all()
    assert (out["t"] == (value > 0)).all()


def test_sparsely_painted_objects_have_no_known_depth(derive):
    labels = np.zeros((40, 40), np.int32)
    labels[5:35, 5:35] = 1
    labels[12:20, 12:20] = 2
    labels[24:30, 20:30] = 3
    labels[30:32, 20:30] = 0  # nothing was painted below object 3
    labels[22:24, 18:32] = 1
    out = derive(labels, target={**INSTANCES, "unlabelled": 0, "values": None})
    valid = out["t_distance_mask"][0]
    assert valid[labels == 2].all()
    assert valid[labels == 1].all()
    assert not valid[labels == 0].any()
    # Object 3 borders on unlabelled voxels; only its upper half is certain, which is deep enough.
    assert out["t_distance"][0][labels == 3].max() <= 1
