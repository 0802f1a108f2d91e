import numpy as np
import pytest
from scipy import ndimage

NORMALS = {"n": {"type": "surface_normals"}}


def degrees(out, truth):
    """Angle between the derived normals and the truth at valid voxels."""
    valid = out["n_mask"][0]
    assert valid.any()
    cosine = (out["n"] * np.asarray(truth).reshape(out["n"].shape[0], *([1] * valid.ndim))).sum(axis=0)
    return np.degrees(np.arccos(np.clip(cosine[valid], -1, 1)))


@pytest.mark.parametrize("angle", range(0, 360, 5))
def test_a_half_plane_at_any_angle_points_outward(derive, plane, angle):
    direction = (np.cos(np.radians(angle)), np.sin(np.radians(angle)))
    truth = plane((64, 64), direction, (1.0, 1.0), offset=0.3)
    out = derive((truth < 0).astype(np.uint8), NORMALS)
    off = degrees(out, direction)
    assert off.mean() < 5.1  # a plane at 5° has flat steps of 11 voxels
    assert np.percentile(off, 99) < 14


@pytest.mark.parametrize("seed", range(6))
def test_a_half_space_at_a_random_angle_in_3d(derive, plane, seed):
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    out = derive((plane((32, 32, 32), direction, (1.0,) * 3) < 0).astype(np.uint8), NORMALS)
    off = degrees(out, direction)
    assert off.mean() < 4
    assert np.percentile(off, 99) < 15


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [-1, 1])
def test_components_are_in_array_order_and_exact_along_axes(derive, axis, sign):
    direction = np.zeros(3)
    direction[axis] = sign
    place = np.indices((16, 20, 24))[axis] - 8
    out = derive((place * sign < 0).astype(np.uint8), NORMALS, spacing=(3.0, 1.0, 0.5))
    assert out["n"].shape == (3, 16, 20, 24)
    assert degrees(out, direction).max() < 0.1


def test_gradients_are_taken_in_physical_units(derive, plane):
    spacing = (4.0, 1.0)
    direction = np.array([np.cos(0.6), np.sin(0.6)])
    out = derive((plane((48, 128), direction, spacing) < 0).astype(np.uint8), NORMALS, spacing=spacing)
    assert degrees(out, direction).mean() < 6
    ignored = np.array([direction[0] * 4.0, direction[1]])
    assert degrees(out, ignored / np.linalg.norm(ignored)).mean() > 20


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_ball_has_radial_normals_of_length_one(derive, ndim):
    size = 64 if ndim == 2 else 40
    axes = np.meshgrid(*[np.arange(size) - (size - 1) / 2] * ndim, indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    out = derive((radius < size / 4).astype(np.uint8), NORMALS)
    valid = out["n_mask"][0]
    radial = np.stack(axes) / radius
    cosine = (out["n"] * radial).sum(axis=0)
    np.testing.assert_allclose(np.linalg.norm(out["n"], axis=0)[valid], 1, atol=1e-5)
    off = np.degrees(np.arccos(np.clip(cosine[valid & (radius > 3)], -1, 1)))
    assert off.mean() < 4
    assert np.percentile(off, 99) < 12
    assert (out["n"][:, ~valid] == 0).all()


def test_valid_is_the_band_around_the_surface(derive):
    labels = np.zeros((64, 64), np.uint8)
    labels[:32] = 1
    out = derive(labels, {"n": {"type": "surface_normals", "band": 5.0}})
    rows = out["n_mask"][0][:, 32]
    np.testing.assert_array_equal(np.flatnonzero(rows), np.arange(27, 37))
    assert derive(labels, NORMALS)["n_mask"][0][:, 32].sum() == 32


def test_the_medial_axis_has_no_direction(derive):
    labels = np.zeros((41, 41), np.uint8)
    labels[17:24] = 1
    out = derive(labels, NORMALS)
    assert not out["n_mask"][0, 20, 5:36].any()
    assert out["n_mask"][0, 17, 5:36].all()
    assert (out["n"][0, 16, 5:36] < -0.99).all()
    assert (out["n"][0, 24, 5:36] > 0.99).all()


def test_normals_do_not_bend_at_the_patch_border(derive):
    rng = np.random.default_rng(2)
    world = ndimage.gaussian_filter(rng.normal(size=(160, 160)), 8) > 0
    inner = (slice(48, 112), slice(48, 112))
    patch = derive(world[inner].astype(np.uint8), {"n": {"type": "surface_normals", "band": 12.0}})
    whole = derive(world.astype(np.uint8), {"n": {"type": "surface_normals", "band": 12.0}})
    both = patch["n_mask"][0] & whole["n_mask"][0][inner]
    assert both[2:-2, 2:-2].sum() < both.sum()
    cosine = (patch["n"] * whole["n"][(slice(None), *inner)]).sum(axis=0)[both]
    off = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    assert off.mean() < 0.5
    assert (off > 10).mean() < 0.01


def test_smoothing_makes_normals_steadier(derive, plane):
    direction = (np.cos(0.35), np.sin(0.35))
    labels = (plane((64, 64), direction, (1.0, 1.0)) < 0).astype(np.uint8)
    spread = [
        degrees(derive(labels, {"n": {"type": "surface_normals", "smoothing": s}}), direction).std()
        for s in (0.0, 1.0, 2.0)
    ]
    assert spread[0] > 1.5 * spread[1] > 1.5 * 1.2 * spread[2]
