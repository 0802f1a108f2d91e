import numpy as np
import pytest

FLOWS = {"f": {"type": "flows"}}
INSTANCES = {"kind": "instances"}


def grid(shape, spacing=None):
    spacing = spacing or (1.0,) * len(shape)
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def degrees(flows, truth, where):
    cosine = (flows * truth).sum(axis=0) / np.maximum(np.linalg.norm(truth, axis=0), 1e-9)
    return np.degrees(np.arccos(np.clip(cosine[where], -1, 1)))


@pytest.mark.parametrize("kind", ["instances", "binary", "classes"])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((41, 52), (1.0, 1.0)),
        ((40, 80), (2.0, 1.0)),
        ((22, 24, 26), (1.0,) * 3),
        ((13, 30, 30), (3.0, 1.0, 1.0)),
    ],
)
def test_flows_of_a_ball_are_radial_in_physical_space(derive, kind, shape, spacing):
    places = grid(shape, spacing)
    radius = np.linalg.norm(places, axis=0)
    ball = radius < 9
    out = derive(ball.astype(np.int32), FLOWS, target={"kind": kind, "out_channels": None}, spacing=spacing)
    valid = out["f_mask"][0]
    np.testing.assert_array_equal(valid, ball & (radius >= min(spacing)))
    assert degrees(out["f"], -places, valid).max() < 0.1
    np.testing.assert_allclose(np.linalg.norm(out["f"], axis=0)[valid], 1, atol=1e-5)
    assert (out["f"][:, ~valid] == 0).all()


@pytest.mark.parametrize("angle", range(0, 180, 15))
def test_flows_of_an_ellipse_at_any_angle_lead_to_its_centre(derive, angle):
    y, x = grid((64, 64))
    turn = np.radians(angle)
    a, b = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
    out = derive(((a / 22) ** 2 + (b / 8) ** 2 < 1).astype(np.int32), FLOWS, target=INSTANCES)
    off = degrees(out["f"], -np.stack([y, x]), out["f_mask"][0] & (np.hypot(y, x) > 2))
    assert off.max() < 3


def test_objects_that_touch_have_their_own_centres(derive):
    labels = np.zeros((40, 60), np.int32)
    labels[10:30, 8:28] = 5
    labels[10:30, 28:52] = 9
    out = derive(labels, FLOWS, target=INSTANCES)
    assert out["f"][1, 20, 27] < -0.99
    assert out["f"][1, 20, 28] > 0.99
    # Without numbers the two are one.
    joined = derive((labels > 0).astype(np.int32), FLOWS)
    assert joined["f"][1, 20, 27] > 0.9


def test_the_centre_of_a_bent_object_lies_in_it(derive):
    y, x = grid((64, 64))
    radius = np.hypot(y, x)
    labels = ((radius > 16) & (radius < 22) & (y < 4)).astype(np.int32)
    out = derive(labels, FLOWS, target=INSTANCES)
    valid = out["f_mask"][0]
    # All lines meet in one voxel of the object.
    places = np.stack([y, x])[:, valid].T
    flows = out["f"][:, valid].T
    normal = np.stack([-flows[:, 1], flows[:, 0]], axis=1)
    centre, *_ = np.linalg.lstsq(normal, (normal * places).sum(axis=1), rcond=None)
    assert labels[tuple(np.round(centre + 31.5).astype(int))] == 1


def test_objects_that_are_not_seen_whole_are_invalid(derive):
    labels = np.zeros((48, 64), np.int32)
    labels[0:12, 4:20] = 1  # at the border
    labels[20:30, 10:24] = 2  # whole
    labels[20:30, 40:54] = 3  # beside a voxel that nobody painted
    labels[25, 54] = 99
    labels[36:44, 10:30] = 4  # whole, beside another object
    labels[36:44, 30:40] = 5
    out = derive(labels, FLOWS, target={**INSTANCES, "unlabelled": 99})
    valid = out["f_mask"][0]
    found = {number: bool(valid[labels == number].mean() > 0.9) for number in (1, 2, 3, 4, 5)}
    assert found == {1: False, 2: True, 3: False, 4: True, 5: True}
    assert not valid[labels == 1].any()
    assert not valid[labels == 3].any()
    assert not valid[labels == 0].any()


def test_large_and_scattered_numbers_give_the_same(derive):
    labels = np.zeros((32, 48), np.int64)
    labels[4:20, 4:20] = 1
    labels[8:28, 20:40] = 2
    small = derive(labels, FLOWS, target=INSTANCES)
    large = derive(labels * 1_000_000_007 % 2_147_000_000, FLOWS, target=INSTANCES)
    assert small["f_mask"].sum() > 500
    for key in small:
        np.testing.assert_array_equal(small[key], large[key])


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("kind", ["instances", "binary"])
@pytest.mark.parametrize("shape", [(16, 16), (8, 8, 8)])
def test_empty_and_full_patches_have_no_flows(derive, value, kind, shape):
    out = derive(np.full(shape, value, np.int32), FLOWS, target={"kind": kind})
    assert not out["f_mask"].any()
    assert not out["f"].any()


def test_values_do_not_change_with_what_is_around_the_patch(derive):
    rng = np.random.default_rng(0)
    world = np.zeros((120, 120), np.int32)
    y, x = np.mgrid[:120, :120]
    for number, (cy, cx) in enumerate(rng.uniform(8, 112, (30, 2)), start=1):
        world[(np.hypot(y - cy, x - cx) < 7) & (world == 0)] = number
    inner = (slice(30, 90), slice(30, 90))
    patch = derive(world[inner].copy(), FLOWS, target=INSTANCES)
    whole = derive(world, FLOWS, target=INSTANCES)
    valid = patch["f_mask"][0]
    assert valid.sum() > 300
    assert whole["f_mask"][0][inner][valid].all()
    np.testing.assert_allclose(patch["f"][:, valid], whole["f"][(slice(None), *inner)][:, valid], atol=1e-5)
