import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_segtrain.targets import nearest

DISTANCE = {"d": {"type": "distance_transform", "clip": 100.0}}


def test_a_plane_along_an_axis_is_exact_for_every_spacing(derive):
    for spacing in [(1.0, 1.0), (3.0, 0.5), (0.5, 3.0)]:
        labels = np.zeros((24, 60), np.uint8)
        labels[:11] = 1
        out = derive(labels, DISTANCE, spacing=spacing)
        truth = (np.arange(24) - 10.5) * spacing[0]
        expected = np.broadcast_to(truth[:, None], labels.shape)
        valid = out["d_mask"][0]
        assert valid.sum() > 100 / max(spacing)
        np.testing.assert_allclose(out["d"][0][valid], expected[valid], atol=1e-5)


@pytest.mark.parametrize("angle", range(0, 360, 5))
def test_a_half_plane_at_any_angle_is_within_half_a_voxel(derive, plane, angle):
    direction = (np.cos(np.radians(angle)), np.sin(np.radians(angle)))
    truth = plane((64, 64), direction, (1.0, 1.0), offset=0.3)
    out = derive((truth < 0).astype(np.uint8), DISTANCE)
    error = (out["d"][0] - truth)[out["d_mask"][0]]
    assert out["d_mask"].mean() > 0.35
    assert np.abs(error).max() <= 0.5 + 1e-5
    assert np.abs(error).mean() < 0.31


@pytest.mark.parametrize("seed", range(6))
def test_a_half_space_at_a_random_angle_in_3d(derive, plane, seed):
    rng = np.random.default_rng(seed)
    truth = plane((32, 32, 32), rng.normal(size=3), (1.0, 1.0, 1.0), offset=rng.uniform(-2, 2))
    out = derive((truth < 0).astype(np.uint8), DISTANCE)
    valid = out["d_mask"][0]
    assert valid.any()
    assert np.abs(out["d"][0] - truth)[valid].max() <= 0.5 * np.sqrt(3)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 1.0)])
def test_a_disc_is_negative_inside_and_close_to_its_formula(derive, spacing):
    y, x = np.meshgrid(
        (np.arange(64) - 31.5) * spacing[0], (np.arange(96) - 47.5) * spacing[1], indexing="ij"
    )
    truth = np.hypot(y, x) - 20.0
    out = derive((truth < 0).astype(np.uint8), DISTANCE, spacing=spacing)
    valid = out["d_mask"][0]
    assert valid[31, 47]
    assert (np.sign(out["d"][0]) == np.sign(truth))[valid].all()
    assert np.abs(out["d"][0] - truth)[valid].max() < 0.75 * max(spacing)


def test_a_sphere_in_3d_with_thick_slices(derive):
    spacing = (2.0, 1.0, 1.0)
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip((24, 48, 48), spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    truth = np.sqrt(z**2 + y**2 + x**2) - 12.0
    out = derive((truth < 0).astype(np.uint8), DISTANCE, spacing=spacing)
    valid = out["d_mask"][0]
    assert valid.mean() > 0.2
    assert np.abs(out["d"][0] - truth)[valid].max() < 1.5
    assert np.abs(out["d"][0] - truth)[valid].mean() < 0.5


@pytest.mark.parametrize("value", [0, 1])
def test_a_patch_of_one_side_has_no_valid_voxel(derive, value):
    labels = np.full((16, 16), value, np.uint8)
    out = derive(labels, {"d": {"type": "distance_transform"}, "n": {"type": "surface_normals"}})
    assert not out["d_mask"].any()
    assert not out["n_mask"].any()
    assert np.isfinite(out["d"]).all()
    assert np.isfinite(out["n"]).all()


@pytest.mark.parametrize(("kind", "value", "valid"), [("inside", 0, 1), ("inside", 1, 0), ("outside", 1, 1)])
def test_the_zero_side_is_known_without_a_surface(derive, kind, value, valid):
    labels = np.full((16, 16), value, np.uint8)
    out = derive(labels, {"d": {"type": "distance_transform", "distance_type": kind}})
    assert out["d_mask"].mean() == valid
    assert (out["d"] == 0).all()


def test_inside_and_outside_are_the_two_halves_of_signed(derive):
    labels = np.zeros((32, 32), np.uint8)
    labels[10:20, 8:25] = 1
    tasks = {k: {"type": "distance_transform", "distance_type": k} for k in ("signed", "inside", "outside")}
    out = derive(labels, tasks)
    signed, inside, outside = (out[k][0] for k in tasks)
    np.testing.assert_array_equal(outside - inside, signed)
    assert (inside >= 0).all()
    assert (outside >= 0).all()
    assert out["inside_mask"][0][labels == 0].all()
    assert out["outside_mask"][0][labels == 1].all()


def test_distances_are_cut_off_at_a_quarter_of_the_smallest_edge(derive):
    labels = np.zeros((16, 64), np.uint8)
    labels[:, :4] = 1
    out = derive(labels, {"d": {"type": "distance_transform"}}, spacing=(2.0, 1.0))
    assert out["d"].max() == 16 * 2 / 4
    assert derive(labels, {"d": {"type": "distance_transform", "clip": 3.0}})["d"].max() == 3.0


def test_valid_means_that_nothing_beyond_the_patch_can_change_it(derive):
    """The defining property: wherever the surroundings are put, valid distances stay."""
    rng = np.random.default_rng(1)
    world = ndimage.gaussian_filter(rng.normal(size=(160, 160)), 5) > 0
    inner = (slice(48, 112), slice(48, 112))
    patch = derive(world[inner].astype(np.uint8), DISTANCE)
    whole = derive(world.astype(np.uint8), DISTANCE)
    valid = patch["d_mask"][0]
    assert 0.5 < valid.mean() < 0.95
    np.testing.assert_allclose(patch["d"][0][valid], whole["d"][0][inner][valid], atol=1e-5)
    changed = np.abs(patch["d"][0] - whole["d"][0][inner]) > 1e-3
    assert changed.any()
    assert not changed[valid].any()


@given(seed=st.integers(0, 10_000), anisotropy=st.sampled_from([1.0, 2.5]))
@settings(max_examples=25, deadline=None)
def test_valid_means_that_no_label_of_an_unlabelled_voxel_can_change_it(seed, anisotropy):
    from napari_segtrain.targets.source import SourcePatch

    rng = np.random.default_rng(seed)
    truth = ndimage.gaussian_filter(rng.normal(size=(24, 24)), 2) > 0
    labelled = ndimage.gaussian_filter(rng.normal(size=(24, 24)), 2) > -0.1
    spacing = (anisotropy, 1.0)
    full = SourcePatch(truth, truth, np.ones_like(truth), spacing).surface
    part = SourcePatch(truth, truth & labelled, labelled, spacing).surface
    if part is None:
        return
    assert full is not None
    valid = labelled & (np.abs(part.signed) <= part.known * (1 + 1e-5))
    if anisotropy == 1.0:
        np.testing.assert_allclose(part.signed[valid], full.signed[valid], atol=1e-5)
    # With thick slices half a voxel's length depends on the direction, which unlabelled voxels may tilt.
    assert np.abs(part.signed[valid] - full.signed[valid]).max(initial=0) <= anisotropy / 2


def test_a_gap_between_strokes_is_not_a_surface(derive):
    labels = np.zeros((32, 64), np.uint8)
    labels[:, 20:30] = 1
    labels[:, 40:50] = 2
    out = derive(labels, DISTANCE, target={"unlabelled": 0})
    assert not out["d_mask"].any()
    labels[:, 30:40] = 1
    out = derive(labels, DISTANCE, target={"unlabelled": 0})
    assert out["d_mask"][0, 16, 36:44].all()
    assert not out["d_mask"][0][labels == 0].any()
    np.testing.assert_allclose(out["d"][0, 16, 36:44], -(np.arange(36, 44) - 39.5), atol=1e-5)


def test_masked_voxels_are_unlabelled(derive):
    labels = np.zeros((32, 32), np.uint8)
    labels[:16] = 1
    mask = np.ones(labels.shape, bool)
    mask[:, 20:] = False
    out = derive(labels, DISTANCE, mask=mask)
    np.testing.assert_array_equal(out["t_mask"][0], mask)
    assert not out["d_mask"][0, :, 20:].any()
    assert out["d_mask"][0, 15, 1:19].all()
    # Six rows from the surface and four columns from the masked part: it may hide a nearer surface.
    assert not out["d_mask"][0, 22, 16]


def test_touching_objects_have_a_surface_between_them(derive):
    labels = np.zeros((32, 32), np.int32)
    labels[8:24, 4:16] = 5
    labels[8:24, 16:28] = 70_000
    out = derive(labels, DISTANCE, target={"kind": "instances"})
    np.testing.assert_allclose(out["d"][0, 16, 13:19], [-2.5, -1.5, -0.5, -0.5, -1.5, -2.5])
    assert out["d_mask"][0, 16, 13:19].all()
    binary = derive((labels > 0).astype(np.uint8), DISTANCE)
    assert binary["d"][0, 16, 15] == -7.5


def test_unlabelled_voxels_make_object_distances_invalid_not_wrong(derive):
    labels = np.zeros((40, 40), np.int32)
    labels[10:30, 10:30] = 4
    holes = labels.copy()
    holes[:, 28:] = 99
    tasks = {**DISTANCE, "n": {"type": "surface_normals"}}
    full = derive(labels, tasks, target={"kind": "instances"})
    part = derive(holes, tasks, target={"kind": "instances", "unlabelled": 99})
    valid = part["d_mask"][0]
    assert 0.1 < valid.mean() < full["d_mask"].mean()
    np.testing.assert_allclose(part["d"][0][valid], full["d"][0][valid], atol=1e-5)
    assert np.isfinite(part["d"]).all()
    assert np.isfinite(part["n"]).all()
    both = part["n_mask"][0] & full["n_mask"][0]
    assert both.sum() > 50
    cosine = (part["n"] * full["n"]).sum(axis=0)[both]
    assert cosine.mean() > 0.998
    assert cosine.min() > 0.9


def test_one_distance_transform_serves_all_tasks_of_a_source(derive, monkeypatch):
    calls = []
    original = nearest.nearest_other

    def counted(*args, **kwargs):
        calls.append(args[0].shape)
        return original(*args, **kwargs)

    monkeypatch.setattr(nearest, "nearest_other", counted)
    labels = np.zeros((32, 32), np.int32)
    labels[10:20, 8:25] = 3
    tasks = {
        "a": {"type": "distance_transform"},
        "b": {"type": "distance_transform", "distance_type": "inside"},
        "c": {"type": "surface_normals"},
        "d": {"type": "nearest_component"},
    }
    derive(labels, tasks)
    assert len(calls) == 1
    derive(labels, tasks, target={"kind": "instances"})
    assert len(calls) == 2
    derive(labels)
    assert len(calls) == 2
