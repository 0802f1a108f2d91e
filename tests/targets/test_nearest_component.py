import numpy as np
import pytest

NEAREST = {"v": {"type": "nearest_component", "band": 100.0}}


def check_plane(out, truth, direction, step):
    """The vector ends in a voxel behind the plane, at most a step further away than the plane is."""
    valid = out["v_mask"][0]
    outside = valid & (truth >= 0)
    assert outside.sum() > 20
    assert (out["v"][:, truth < 0] == 0).all()
    vectors, away = out["v"][:, outside], truth[outside]
    length = np.linalg.norm(vectors, axis=0)
    depth = -np.tensordot(direction, vectors, axes=1)
    assert (depth > away - 1e-4).all()
    assert (length <= away + step).all()
    # So it cannot lead sideways by more than this, and is right on average.
    sideways = np.sqrt(np.maximum(length**2 - depth**2, 0))
    assert (sideways <= np.sqrt(2 * away * step + step**2)).all()
    mean = vectors.mean(axis=1)
    assert -direction @ mean / np.linalg.norm(mean) > np.cos(np.radians(15))


@pytest.mark.parametrize("angle", range(0, 360, 5))
def test_a_half_plane_at_any_angle(derive, plane, angle):
    direction = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    truth = plane((64, 64), direction, (1.0, 1.0), offset=0.3)
    check_plane(derive((truth < 0).astype(np.uint8), NEAREST), truth, direction, 1.0)


@pytest.mark.parametrize("seed", range(6))
def test_a_half_space_at_a_random_angle_in_3d(derive, plane, seed):
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    truth = plane((32, 32, 32), direction, (1.0,) * 3, offset=rng.uniform(-2, 2))
    check_plane(derive((truth < 0).astype(np.uint8), NEAREST), truth, direction, 1.5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [-1, 1])
def test_components_are_in_array_order_and_physical_units(derive, axis, sign):
    spacing = (3.0, 1.0, 0.5)
    place = np.indices((16, 20, 24))[axis] - 8
    out = derive((place * sign < 0).astype(np.uint8), NEAREST, spacing=spacing)
    valid = out["v_mask"][0]
    expected = np.zeros((3, 16, 20, 24))
    # From the background the nearest voxel of the foreground is the last one on this side of the plane.
    expected[axis] = np.where(place * sign >= 0, -(place + sign * (sign > 0)) * spacing[axis], 0)
    if sign < 0:
        expected[axis] = np.where(place <= 0, (1 - place) * spacing[axis], 0)
    assert out["v"].shape == expected.shape
    np.testing.assert_allclose(out["v"][:, valid], expected[:, valid], atol=1e-5)


@pytest.mark.parametrize("ndim", [2, 3])
def test_vectors_outside_a_ball_lead_to_it(derive, ndim):
    size = 64 if ndim == 2 else 40
    axes = np.stack(np.meshgrid(*[np.arange(size) - (size - 1) / 2] * ndim, indexing="ij"))
    radius = np.linalg.norm(axes, axis=0)
    ball = radius < size / 5
    out = derive(ball.astype(np.uint8), NEAREST)
    outside = out["v_mask"][0] & ~ball
    assert outside.mean() > 0.15
    there = np.round(np.indices(ball.shape) + out["v"]).astype(int)
    assert ball[tuple(there[:, outside])].all()
    expected = -axes * (1 - size / 5 / radius)
    assert np.linalg.norm((out["v"] - expected)[:, outside], axis=0).max() < 1.5 * np.sqrt(ndim)
    assert out["v_mask"][0][ball].all()
    assert (out["v"][:, ball] == 0).all()


@pytest.mark.parametrize("kind", ["binary", "instances"])
def test_the_nearer_of_two_components_is_meant(derive, kind):
    labels = np.zeros((40, 60), np.int32)
    labels[10:30, 5:15] = 3
    labels[10:30, 40:50] = 7
    out = derive(labels, NEAREST, target={"kind": kind, "values": None})
    row = out["v"][1, 20]
    assert row[15] == -1
    assert row[26] == -12
    assert row[28] == 12
    assert row[39] == 1
    assert (row[labels[20] > 0] == 0).all()


def test_valid_is_what_nothing_unknown_can_change(derive):
    rng = np.random.default_rng(1)
    labels = (rng.random((48, 48)) < 0.01).astype(np.uint8)
    labels[30:, 30:] = 2
    hidden = labels.copy()
    hidden[20:28, 10:30] = 9
    full = derive(labels, NEAREST, target={"values": [1]})
    part = derive(hidden, NEAREST, target={"values": [1], "unlabelled": 9})
    valid = part["v_mask"][0]
    assert not valid[20:28, 10:30].any()
    assert 0.2 < valid.mean() < full["v_mask"].mean()
    length = [np.linalg.norm(out["v"], axis=0)[valid] for out in (part, full)]
    np.testing.assert_allclose(*length, rtol=1e-5)
    # The same patch seen as a part of a larger world.
    world = np.zeros((80, 80), np.uint8)
    world[16:64, 16:64] = labels == 1
    world[10, 10:70] = 1
    outside = derive(world, NEAREST)["v"][:, 16:64, 16:64]
    both = full["v_mask"][0]
    np.testing.assert_allclose(
        np.linalg.norm(outside, axis=0)[both], np.linalg.norm(full["v"], axis=0)[both], rtol=1e-5
    )


def test_the_band_bounds_how_far_vectors_are_learned(derive):
    labels = np.zeros((64, 64), np.uint8)
    labels[:16] = 1
    rows = [
        np.flatnonzero(derive(labels, {"v": {"type": "nearest_component", **band}})["v_mask"][0][:, 32])
        for band in ({"band": 5.0}, {})
    ]
    assert rows[0].max() == 20
    assert rows[1].max() == 31  # a quarter of 64


@pytest.mark.parametrize("kind", ["binary", "instances"])
def test_patches_of_one_side(derive, kind):
    empty = derive(np.zeros((12, 12), np.uint8), NEAREST, target={"kind": kind})
    assert not empty["v_mask"].any()
    assert not empty["v"].any()
    full = derive(np.ones((12, 12), np.uint8), NEAREST, target={"kind": kind})
    assert full["v_mask"].all()
    assert not full["v"].any()
