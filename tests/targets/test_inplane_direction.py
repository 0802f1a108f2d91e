import numpy as np
import pytest
from scipy import ndimage

from napari_segtrain.targets.tensor_kernels import eigenvectors

DIRECTION = {"v": {"type": "inplane_direction"}}
BINARY = {"v": {"type": "inplane_direction", "compute_from": "binary"}}
FROM = pytest.mark.parametrize("tasks", [DIRECTION, BINARY], ids=["sdt", "binary"])


def degrees(out, truth):
    """Angle modulo sign between the derived directions and the truth at valid voxels."""
    valid = out["v_mask"][0]
    assert valid.any()
    truth = np.asarray(truth, float)
    if truth.ndim == 1:
        truth = truth.reshape(-1, *(1,) * valid.ndim)
    cosine = np.abs((out["v"] * truth / np.linalg.norm(truth, axis=0)).sum(axis=0))
    return np.degrees(np.arccos(np.clip(cosine[valid], 0, 1)))


@FROM
@pytest.mark.parametrize("angle", range(0, 360, 5))
def test_along_an_edge_at_any_angle(derive, plane, tasks, angle):
    turn = np.radians(angle)
    labels = (plane((64, 64), (np.cos(turn), np.sin(turn)), (1.0, 1.0), offset=0.3) < 0).astype(np.uint8)
    out = derive(labels, tasks)
    assert not out["v_mask"][0][labels == 0].any()
    off = degrees(out, (-np.sin(turn), np.cos(turn)))
    assert off.mean() < 3.1
    assert off.max() < 6.5
    np.testing.assert_allclose(np.linalg.norm(out["v"], axis=0)[out["v_mask"][0]], 1, atol=1e-5)


@FROM
@pytest.mark.parametrize("seed", range(6))
def test_along_a_fibre_in_any_direction(derive, tasks, seed):
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    places = np.stack(np.meshgrid(*[np.arange(40) - 19.5] * 3, indexing="ij"))
    along = np.tensordot(direction, places, axes=1)
    radius = np.sqrt(np.maximum((places**2).sum(axis=0) - along**2, 0))
    labels = (radius < rng.uniform(2.5, 6)).astype(np.uint8)
    out = derive(labels, tasks)
    assert out["v_mask"].sum() > 0.5 * labels.sum()
    off = degrees(out, direction)
    assert off.mean() < 2.5
    assert off.max() < 7


@FROM
@pytest.mark.parametrize("seed", range(4))
def test_a_flat_sheet_in_3d_has_no_direction(derive, plane, tasks, seed):
    direction = np.random.default_rng(seed).normal(size=3)
    distance = plane((36, 36, 36), direction, (1.0,) * 3)
    for labels in (distance < 0, np.abs(distance) < 2):
        assert not derive(labels.astype(np.uint8), tasks)["v_mask"].any()


@FROM
def test_a_bent_sheet_has_the_direction_in_which_it_is_straight(derive, tasks):
    _, y, x = np.meshgrid(*[np.arange(40) - 19.5] * 3, indexing="ij")
    labels = np.abs(np.hypot(y, x) - 10) < 1.5
    out = derive(labels.astype(np.uint8), tasks)
    assert out["v_mask"].sum() > 0.4 * labels.sum()
    assert degrees(out, (1, 0, 0)).max() < 1


@FROM
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_components_are_in_array_order_with_anisotropic_spacing(derive, tasks, axis):
    spacing = (2.0, 1.0, 0.75)
    places = (np.indices((36, 48, 56)) - np.reshape([18, 24, 28], (3, 1, 1, 1))) * np.reshape(
        spacing, (3, 1, 1, 1)
    )
    across = np.delete(places, axis, axis=0)
    labels = (np.linalg.norm(across, axis=0) < 5).astype(np.uint8)
    out = derive(labels, tasks, spacing=spacing)
    assert degrees(out, np.eye(3)[axis]).max() < 1


@FROM
def test_gradients_are_taken_in_physical_units(derive, plane, tasks):
    spacing, turn = (4.0, 1.0), 0.6
    labels = plane((64, 160), (np.cos(turn), np.sin(turn)), spacing) < 0
    tangent = np.array([-np.sin(turn), np.cos(turn)])
    out = derive(labels.astype(np.uint8), tasks, spacing=spacing)
    assert degrees(out, tangent).mean() < 7
    assert degrees(out, tangent * spacing).mean() > 20


@FROM
def test_around_a_disc(derive, tasks):
    y, x = np.meshgrid(*[np.arange(64) - 31.5] * 2, indexing="ij")
    radius = np.hypot(y, x)
    out = derive((radius < 20).astype(np.uint8), tasks)
    out["v_mask"] &= radius > 6
    off = degrees(out, np.stack([-x, y]))
    assert off.mean() < 2
    assert off.max() < 8
    # In the middle every direction is as good as the other.
    y, x = np.mgrid[-20:21, -20:21]
    assert not derive((np.hypot(y, x) < 6).astype(np.uint8), tasks)["v_mask"][0, 20, 20]


@FROM
def test_of_a_vector_and_its_opposite_one_is_taken(derive, tasks):
    labels = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(64, 64)), 4) > 0
    out = derive(labels.astype(np.uint8), tasks)
    y, x = out["v"][:, out["v_mask"][0]]
    assert ((y > 0) | ((y == 0) & (x > 0))).all()
    assert (out["v"][:, ~out["v_mask"][0]] == 0).all()


@FROM
def test_directions_do_not_bend_at_the_patch_border(derive, tasks):
    world = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=(160, 160)), 8) > 0
    inner = (slice(48, 112), slice(48, 112))
    patch, whole = (derive(labels.astype(np.uint8), tasks) for labels in (world[inner], world))
    both = patch["v_mask"][0] & whole["v_mask"][0][inner]
    assert both.sum() > 300
    cosine = np.abs((patch["v"] * whole["v"][(slice(None), *inner)]).sum(axis=0))[both]
    off = np.degrees(np.arccos(np.clip(cosine, 0, 1)))
    assert off.mean() < 0.3
    assert off.max() < 8


@FROM
@pytest.mark.parametrize("value", [0, 1])
def test_without_a_surface_there_is_no_direction(derive, tasks, value):
    for shape in [(16, 16), (12, 12, 12)]:
        out = derive(np.full(shape, value, np.uint8), tasks)
        assert not out["v_mask"].any()
        assert not out["v"].any()


def test_the_tensor_is_computed_once_for_both_tasks(derive, monkeypatch):
    from napari_segtrain.targets import structure

    made = []
    compute = structure._compute
    monkeypatch.setattr(structure, "_compute", lambda *args: (made.append(args[1:]), compute(*args))[1])
    labels = np.zeros((32, 32), np.uint8)
    labels[10:20] = 1
    both = {"v": {"type": "inplane_direction"}, "j": {"type": "structure_tensor"}}
    derive(labels, both)
    assert len(made) == 1
    derive(labels, {**both, "w": {"type": "inplane_direction", "tensor_sigma": 3.0}})
    assert len(made) == 3


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("ndim", [2, 3])
def test_eigenvectors_are_those_of_numpy(ndim, largest):
    factors = np.random.default_rng(0).normal(size=(300, ndim, ndim))
    matrices = factors @ factors.transpose(0, 2, 1)
    rows, columns = np.triu_indices(ndim)
    tensors = matrices[:, rows, columns].T.astype(np.float32).reshape(-1, *(20, 15, 1)[:ndim])
    tensors = tensors.reshape(len(rows), *((20, 15) if ndim == 2 else (4, 5, 15)))
    found, defined = eigenvectors(tensors, np.ones(tensors.shape[1:], bool), 0.01, largest=largest)
    values, vectors = np.linalg.eigh(matrices)
    order = slice(None) if not largest else slice(None, None, -1)
    gaps = np.abs(np.diff(values[:, order][:, :2]))[:, 0] / values.sum(axis=1)
    sure = np.abs(gaps - 0.01) > 1e-4
    np.testing.assert_array_equal(defined.reshape(-1)[sure], (gaps > 0.01)[sure])
    expected = vectors[:, :, -1 if largest else 0]
    cosine = np.abs((found.reshape(ndim, -1).T * expected).sum(axis=1))[defined.reshape(-1)]
    assert np.degrees(np.arccos(np.clip(cosine, 0, 1))).max() < 0.1
