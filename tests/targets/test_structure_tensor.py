import numpy as np
import pytest
from scipy import ndimage

from napari_segtrain.targets import resolve_heads
from napari_segtrain.targets.structure import triangle
from napari_segtrain.targets.tensor_kernels import mean_products

TENSOR = {"j": {"type": "structure_tensor"}}
BINARY = {"j": {"type": "structure_tensor", "compute_from": "binary"}}
FROM = pytest.mark.parametrize("tasks", [TENSOR, BINARY], ids=["sdt", "binary"])


def upper(direction):
    """Upper triangle of the outer product of a unit vector with itself."""
    unit = np.asarray(direction, float) / np.linalg.norm(direction)
    rows, columns = np.triu_indices(len(unit))
    return unit[rows] * unit[columns]


def matrices(tensors):
    """Turn (triangle, *spatial) into (*spatial, n, n)."""
    n = 2 if len(tensors) == 3 else 3
    full = np.zeros((*tensors.shape[1:], n, n))
    for channel, (i, j) in enumerate(zip(*np.triu_indices(n), strict=True)):
        full[..., i, j] = full[..., j, i] = tensors[channel]
    return full


def check(out, direction, spread):
    """Tensors divided by their trace are those of a plane; values of a signed distance have trace 1."""
    tensors, valid = out["j"], out["j_mask"][0]
    assert valid.any()
    trace = np.trace(matrices(tensors), axis1=-2, axis2=-1)
    expected = upper(direction).reshape(-1, *(1,) * valid.ndim)
    error = np.abs(tensors / np.where(valid, trace, 1) - expected)[:, valid]
    assert error.max() < spread
    assert error.mean() < spread / 3
    return trace[valid]


@FROM
@pytest.mark.parametrize("angle", range(0, 360, 5))
def test_a_half_plane_at_any_angle(derive, plane, tasks, angle):
    direction = (np.cos(np.radians(angle)), np.sin(np.radians(angle)))
    labels = (plane((64, 64), direction, (1.0, 1.0), offset=0.3) < 0).astype(np.uint8)
    out = derive(labels, tasks)
    assert out["j"].shape == (3, 64, 64)
    assert not out["j_mask"][0][labels == 0].any()
    trace = check(out, direction, 0.1)
    if tasks is TENSOR:
        np.testing.assert_allclose(trace, 1, atol=0.17)


@FROM
@pytest.mark.parametrize("seed", range(6))
def test_a_half_space_at_a_random_angle_in_3d(derive, plane, tasks, seed):
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=3)
    labels = plane((36, 36, 36), direction, (1.0,) * 3, offset=rng.uniform(-2, 2)) < 0
    out = derive(labels.astype(np.uint8), tasks)
    assert out["j"].shape == (6, 36, 36, 36)
    check(out, direction, 0.08)


@FROM
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_components_are_in_array_order_and_gradients_physical(derive, tasks, axis):
    place = np.indices((36, 40, 48))[axis] - 18
    out = derive((place < 0).astype(np.uint8), tasks, spacing=(2.0, 1.0, 0.75))
    trace = check(out, np.eye(3)[axis], 1e-5)
    if tasks is TENSOR:
        np.testing.assert_allclose(trace, 1, atol=1e-5)
        filled = np.flatnonzero(np.abs(out["j"]).max(axis=(1, 2, 3)) > 1e-5)
        assert filled.tolist() == [{0: 0, 1: 3, 2: 5}[axis]]  # zz, yy, xx


@FROM
def test_tilted_planes_in_anisotropic_voxels(derive, plane, tasks):
    spacing = (3.0, 1.0, 1.0)
    direction = np.array([0.5, 0.6, -0.4])
    labels = (plane((24, 64, 64), direction, spacing) < 0).astype(np.uint8)
    check(derive(labels, tasks, spacing=spacing), direction, 0.15)


@FROM
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_ball_has_radial_gradients(derive, tasks, ndim):
    size = 64 if ndim == 2 else 44
    axes = np.stack(np.meshgrid(*[np.arange(size) - (size - 1) / 2] * ndim, indexing="ij"))
    radius = np.linalg.norm(axes, axis=0)
    out = derive((radius < size / 3.5).astype(np.uint8), tasks)
    where = out["j_mask"][0] & (radius > 6)
    assert where.sum() > 300
    _, vectors = np.linalg.eigh(matrices(out["j"])[where])
    radial = np.moveaxis(axes / np.maximum(radius, 1e-6), 0, -1)[where]
    off = np.degrees(np.arccos(np.clip(np.abs((vectors[..., -1] * radial).sum(axis=-1)), 0, 1)))
    assert off.mean() < 2
    assert off.max() < 8


@FROM
@pytest.mark.parametrize("shape", [(40, 40), (28, 28, 28)])
def test_turning_the_labels_turns_the_tensors(derive, tasks, shape):
    labels = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=shape), 4) > 0
    straight = derive(labels.astype(np.uint8), tasks)
    turned = derive(np.rot90(labels).copy().astype(np.uint8), tasks)
    np.testing.assert_array_equal(turned["j_mask"][0], np.rot90(straight["j_mask"][0]))
    # A quarter turn maps the first axis to the second and the second to minus the first.
    turn = np.eye(len(shape))
    turn[:2, :2] = [[0, -1], [1, 0]]
    expected = turn @ np.rot90(matrices(straight["j"])) @ turn.T
    np.testing.assert_allclose(matrices(turned["j"]), expected, atol=1e-5)


@FROM
@pytest.mark.parametrize(
    ("size", "start", "stop", "width"), [((160,) * 2, 48, 112, 8), ((80,) * 3, 20, 60, 5)]
)
def test_the_patch_border_leaves_no_trace(derive, tasks, size, start, stop, width):
    world = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=size), width) > 0
    inner = (slice(start, stop),) * len(size)
    patch = derive(world[inner].astype(np.uint8), tasks)
    whole = derive(world.astype(np.uint8), tasks)
    both = patch["j_mask"][0] & whole["j_mask"][0][inner]
    rim = np.ones(both.shape, bool)
    rim[(slice(4, -4),) * len(size)] = False
    assert both.sum() > 300
    error = np.abs(patch["j"] - whole["j"][(slice(None), *inner)]).max(axis=0)
    scale = np.abs(whole["j"]).max()
    assert error[both].max() < 0.1 * scale
    assert error[both].mean() < 0.01 * scale
    # Where a surface crosses the border at a right angle, tensors are known close to it.
    labels = np.zeros((40, 40), np.uint8)
    labels[20:] = 1
    straight = derive(labels, tasks)
    assert straight["j_mask"][0, 21, 6:-6].all()
    assert np.ptp(straight["j"][:, 21][:, straight["j_mask"][0, 21]], axis=1).max() < 1e-4 * scale


@FROM
def test_what_is_not_labelled_changes_nothing_that_is_valid(derive, tasks):
    labels = (ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(96, 96)), 6) > 0).astype(np.uint8)
    holes = labels.copy()
    holes[30:50, 20:60] = 9
    full, part = derive(labels, tasks), derive(holes, tasks, target={"unlabelled": 9})
    both = full["j_mask"][0] & part["j_mask"][0]
    assert not part["j_mask"][0][holes == 9].any()
    assert 300 < both.sum() < full["j_mask"].sum()
    assert np.abs(part["j"] - full["j"]).max(axis=0)[both].max() < 0.1 * np.abs(full["j"]).max()
    assert np.isfinite(part["j"]).all()


@FROM
@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("kind", ["binary", "instances"])
def test_without_a_surface_there_is_no_structure(derive, tasks, value, kind):
    out = derive(np.full((16, 16), value, np.uint8), tasks, target={"kind": kind})
    assert not out["j_mask"].any()
    assert not out["j"].any()


def test_objects_that_touch_have_structure_between_them(derive):
    labels = np.zeros((48, 48), np.int32)
    labels[8:40, 8:24] = 1
    labels[8:40, 24:40] = 2
    out = derive(labels, TENSOR, target={"kind": "instances"})
    assert out["j_mask"][0, 24, 22:26].all()
    assert (out["j"][2, 24, 22:26] > 0.5).all()
    assert (np.abs(out["j"][:2, 24, 22:26]) < 0.01).all()


def test_the_mask_of_a_mask_reaches_as_far_as_its_edge_is_felt(derive):
    labels = np.zeros((64, 64), np.uint8)
    labels[32:] = 1
    rows = np.flatnonzero(derive(labels, BINARY)["j_mask"][0][:, 32])
    assert rows.min() == 32
    assert 34 < rows.max() < 44


@pytest.mark.parametrize("beyond", [0.5, 3.0])
def test_a_wider_neighbourhood_makes_tensors_steadier(derive, plane, beyond):
    direction = (np.cos(0.35), np.sin(0.35))
    labels = (plane((64, 64), direction, (1.0, 1.0)) < 0).astype(np.uint8)

    def spread(sigma):
        out = derive(labels, {"j": {"type": "structure_tensor", "tensor_sigma": sigma}})
        return out["j"][:, out["j_mask"][0]].std(axis=1).max()

    assert (spread(beyond) > spread(2.0)) == (beyond < 2.0)


@pytest.mark.parametrize("ndim", [2, 3])
def test_products_are_those_of_numpy_and_scipy(ndim):
    field = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(20, 18, 22)[:ndim]), 2)
    field = field.astype(np.float32)
    spacing = (2.0, 1.0, 0.5)[:ndim]
    sums, share = mean_products(field, spacing, np.ones(field.shape, bool), [1.5] * ndim)
    gradient = np.gradient(field, *spacing)
    for channel, (i, j) in enumerate(zip(*np.triu_indices(ndim), strict=True)):
        expected = ndimage.gaussian_filter(gradient[i] * gradient[j], 1.5, mode="constant", radius=5)
        np.testing.assert_allclose(sums[channel], expected, atol=1e-5 * np.abs(expected).max())
    ones = ndimage.gaussian_filter(np.ones(field.shape), 1.5, mode="constant", radius=5)
    np.testing.assert_allclose(share, ones, atol=1e-5)
    assert len(sums) == triangle(ndim)


def test_outputs_are_of_the_order_of_one(derive):
    labels = np.zeros((64, 64), np.uint8)
    labels[32:] = 1
    from napari_segtrain.config import DataFacts, ExperimentConfig

    for sigma in (0.0, 1.0, 2.5):
        tasks = {"j": {"type": "structure_tensor", "compute_from": "binary", "grad_sigma": sigma}}
        config = ExperimentConfig.parse(
            {
                "dataset_config": {"targets": {"t": {"kind": "binary"}}},
                "auxiliary_tasks": {"j": {**tasks["j"], "source_target": "t"}},
            }
        )
        head = resolve_heads(config, DataFacts(ndim=2, shape=(64, 64), spacing=(1.0, 1.0)))[1]
        assert 0.5 < derive(labels, tasks)["j"].max() / head.scale < 1.5
