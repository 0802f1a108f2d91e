from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.config import AugmentationConfig
from napari_segtrain.data.augmentation import Augmenter, SpatialParameters, describe, warm_up

GEOMETRIES = [
    (2, (24, 24), (1.0, 1.0)),
    (2, (17, 30), (2.0, 1.0)),
    (3, (12, 16, 16), (1.0, 1.0, 1.0)),
    (3, (7, 20, 14), (5.0, 1.0, 1.0)),
    (3, (16, 9, 12), (0.3, 0.3, 0.9)),
]
geometries = st.sampled_from(GEOMETRIES)
seeds = st.integers(0, 2**32)


def some(size, channels=1, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(channels, *size)).astype(np.float32)
    labels = {"cells": rng.integers(0, 2**20, size).astype(np.int32), "flow": rng.normal(size=(2, *size))}
    masks = {name: rng.random(size) < 0.7 for name in labels}
    return image, labels, masks


def equal(a, b):
    return (
        np.array_equal(a[0], b[0])
        and all(np.array_equal(a[1][k], b[1][k]) for k in a[1])
        and all(np.array_equal(a[2][k], b[2][k]) for k in a[2])
    )


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("off", [{"strength": 0.0}, {"enabled": False}])
def test_switched_off_returns_the_input_exactly(geometry, off):
    augmenter = Augmenter(AugmentationConfig(**off), *geometry)
    assert augmenter.source_size() == geometry[1]
    given_ = some(geometry[1])
    for seed in range(5):
        result = augmenter(*given_, np.random.default_rng(seed))
        assert equal(result, given_)
        assert result[0].dtype == np.float32


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_switched_off_cuts_out_the_centre_of_a_larger_crop(geometry):
    patch = geometry[1]
    augmenter = Augmenter(AugmentationConfig(enabled=False), *geometry)
    image, labels, masks = some(tuple(n + 6 for n in patch))
    centre = tuple(slice(3, 3 + n) for n in patch)
    result = augmenter(image, labels, masks, np.random.default_rng(0))
    assert np.array_equal(result[0], image[(slice(None), *centre)])
    assert np.array_equal(result[1]["cells"], labels["cells"][centre])
    assert np.array_equal(result[2]["flow"], masks["flow"][centre])


REACHES = {
    "rotate": "rotation",
    "scale": "scaling",
    "shear": "shearing",
    **{n.removeprefix("max_"): n for n in AugmentationConfig.model_fields if n.startswith("max_")},
}
NEVER = dict.fromkeys(["flip", *REACHES], 0.0)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", REACHES)
def test_a_change_without_reach_returns_the_input_exactly(geometry, name):
    none = 1.0 if name == "low_resolution" else 0.0
    config = AugmentationConfig(**NEVER | {name: 1.0, REACHES[name]: none})
    augmenter = Augmenter(config, *geometry)
    assert augmenter.source_size() == geometry[1]
    given_ = some(geometry[1], 2)
    for seed in range(4):
        params = augmenter.draw(np.random.default_rng(seed), 2)
        assert describe(params) == ()
        assert equal(augmenter.apply(params, *given_), given_)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", ["flip", *REACHES])
def test_a_change_alone_has_an_effect_and_is_recorded(geometry, name):
    augmenter = Augmenter(AugmentationConfig(**NEVER | {name: 1.0}, strength=2.0), *geometry)
    image, labels, masks = some(augmenter.source_size(), 2)
    middle = tuple(
        slice((a - b) // 2, (a + b) // 2) for a, b in zip(image.shape[1:], geometry[1], strict=True)
    )
    stay = []
    for seed in range(4):
        params = augmenter.draw(np.random.default_rng(seed), 2)
        result, moved, _ = augmenter.apply(params, image, labels, masks)
        happens = name != "missing_slices" or geometry[0] == 3
        assert bool(describe(params)) == happens
        assert np.array_equal(result, image[(slice(None), *middle)]) != happens
        stay.append(np.array_equal(moved["cells"], labels["cells"][middle]))
    # A small angle may leave every voxel the nearest one to where it was.
    assert all(stay) == (name not in ("flip", "rotate", "scale", "shear", "elastic"))


@pytest.mark.parametrize("geometry", [(3, (8, 20, 20), (5.0, 1.0, 1.0)), (3, (20, 8, 20), (0.4, 2.0, 0.4))])
def test_content_stays_in_its_slice_where_slices_are_far_apart(coordinates, geometry):
    config = AugmentationConfig(**NEVER | {"rotate": 1.0, "shear": 1.0, "elastic": 1.0})
    augmenter = Augmenter(config, *geometry)
    image = coordinates(augmenter.source_size())
    along = augmenter.frame.slice_axis
    for seed in range(6):
        moved = augmenter(image, {}, {}, np.random.default_rng(seed))[0]
        slices = np.moveaxis(moved[along], along, 0)
        start = (image.shape[along + 1] - geometry[1][along]) // 2
        assert np.abs(slices - (start + np.arange(len(slices)))[:, None, None]).max() < 1e-4
        others = np.delete(moved, along, axis=0)
        centre = tuple(
            slice((a - b) // 2, (a + b) // 2) for a, b in zip(image.shape[1:], geometry[1], strict=True)
        )
        assert np.abs(others - np.delete(image[(slice(None), *centre)], along, axis=0)).max() > 1


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 0.5), (1.5, 1.0, 1.0), (5.0, 1.0, 2.0)])
def test_deformations_are_physical_lengths(only, coordinates, spacing):
    """Nodes that all say the same move everything by that length, whatever the voxels are."""
    ndim, shift = len(spacing), 3.0
    size = (12,) * ndim
    augmenter = Augmenter(AugmentationConfig(), ndim, size, spacing)
    for axis in range(ndim):
        nodes = np.zeros((ndim, *(5,) * ndim))
        nodes[axis] = shift
        params = only(ndim, SpatialParameters((False,) * ndim, elastic=nodes))
        read = augmenter.source_size(params)
        moved = augmenter.apply(params, coordinates(read), {}, {"all": np.ones(read, bool)})
        known = moved[2]["all"]
        start = [(a - b) // 2 for a, b in zip(read, size, strict=True)]
        travelled = moved[0] - coordinates(size) - np.reshape(start, (-1, *(1,) * ndim))
        for other in range(ndim):
            expected = shift / spacing[axis] if other == axis else 0.0
            assert np.abs(travelled[other][known] - expected).max() < 0.04


@settings(deadline=None, max_examples=60)
@given(geometries, seeds)
def test_image_labels_and_masks_stay_in_step(spatial_config, coordinates, geometry, seed):
    """Every valid voxel of the result shows, in all of them, the same place of the source."""
    ndim, patch, _ = geometry
    augmenter = Augmenter(spatial_config, *geometry)
    rng = np.random.default_rng(seed)
    size = augmenter.source_size()
    image = coordinates(size)
    place = np.arange(np.prod(size)).reshape(size)
    mask = rng.random(size) < 0.8
    masks = {"place": np.ones(size, bool), "some": mask, "each": np.stack([mask, ~mask])}
    labels = {"place": place, "coordinates": image.astype(np.float64)}
    moved, labels, masks = augmenter(image, labels, masks, rng)
    assert moved.shape == (ndim, *patch)
    valid = masks["place"]
    assert valid.mean() > 0.5
    nearest = np.stack(np.unravel_index(labels["place"], size))
    assert np.array_equal(labels["coordinates"], nearest)
    # OpenCV rounds coordinates to 1/32 of a pixel.
    assert np.abs(moved - nearest)[:, valid].max() <= 0.5 + (1 / 32 if ndim == 2 else 1e-3)
    picked = mask.ravel()[labels["place"]]
    assert np.array_equal(masks["some"], picked & valid)
    assert np.array_equal(masks["each"], np.stack([picked, ~picked]) & valid)


@settings(deadline=None, max_examples=40)
@given(geometries, seeds)
def test_masks_are_true_only_inside_the_source(spatial_config, geometry, seed):
    """A crop without context and the same crop within a larger world disagree about nothing but validity."""
    ndim, patch, _ = geometry
    augmenter = Augmenter(spatial_config, *geometry)
    params = augmenter.draw(np.random.default_rng(seed), 1)
    margin = 40
    world = tuple(n + 2 * margin for n in patch)
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(1, *world)).astype(np.float32)
    inside = np.zeros(world, np.uint8)
    centre = tuple(slice(margin, margin + n) for n in patch)
    inside[centre] = 1
    label = rng.integers(0, 9, world)
    _, in_world, world_masks = augmenter.apply(
        params, image, {"label": label, "inside": inside}, {"all": np.ones(world, bool)}
    )
    assert world_masks["all"].all()
    _, alone, masks = augmenter.apply(
        params, image[(slice(None), *centre)], {"label": label[centre]}, {"all": np.ones(patch, bool)}
    )
    disagreements = masks["all"] != (in_world["inside"] == 1)
    # A coordinate on the very edge may round to either side of it.
    assert disagreements.mean() < (0.02 if ndim == 2 else 1e-3)
    valid = masks["all"] & ~disagreements
    assert np.mean(alone["label"][valid] != in_world["label"][valid]) < 0.01


@settings(deadline=None, max_examples=40)
@given(geometries, st.data())
def test_a_flip_twice_is_the_identity(only, geometry, data):
    ndim, patch, _ = geometry
    flips = tuple(data.draw(st.booleans()) for _ in range(ndim))
    augmenter = Augmenter(AugmentationConfig(), *geometry)
    params = only(ndim, SpatialParameters(flips))
    given_ = some(patch)
    once = augmenter.apply(params, *given_)
    assert equal(augmenter.apply(params, *once), given_)
    assert equal(once, given_) != any(flips)


@settings(deadline=None, max_examples=30)
@given(geometries, seeds, st.integers(1, 3))
def test_the_same_seed_gives_the_same_patch(geometry, seed, channels):
    augmenter = Augmenter(AugmentationConfig(), *geometry)
    given_ = some(augmenter.source_size(), channels)
    first = augmenter(*given_, np.random.default_rng(seed))
    again = Augmenter(AugmentationConfig(), *geometry)(*given_, np.random.default_rng(seed))
    assert equal(first, again)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("kind", ["spatial_config", "intensity_config"])
def test_other_seeds_give_other_patches(geometry, kind, request):
    augmenter = Augmenter(request.getfixturevalue(kind), *geometry)
    given_ = some(augmenter.source_size())
    images = [augmenter(*given_, np.random.default_rng(seed))[0] for seed in range(6)]
    assert all(not np.array_equal(a, b) for i, a in enumerate(images) for b in images[:i])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_drawing_and_applying_equal_the_call_and_leave_the_input_alone(geometry):
    config = AugmentationConfig(rotate=0.8, noise=0.8, gamma=0.8, missing_slices=0.8, blur=0.8)
    augmenter = Augmenter(config, *geometry)
    given_ = some(augmenter.source_size(), 2)
    copies = (given_[0].copy(), *({k: v.copy() for k, v in d.items()} for d in given_[1:]))
    for seed in range(8):
        params = augmenter.draw(np.random.default_rng(seed), 2)
        called = augmenter(*given_, np.random.default_rng(seed))
        assert equal(augmenter.apply(params, *given_), called)
        assert equal(augmenter.apply(params, *given_), called)
    assert equal(given_, copies)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_crop_of_a_draw_serves_that_draw_as_the_largest_crop_does(spatial_config, geometry):
    patch = geometry[1]
    augmenter = Augmenter(spatial_config.replace(scaling=0.05), *geometry)
    largest = augmenter.source_size()
    image, labels = some(largest)[:2]
    for seed in range(12):
        params = augmenter.draw(np.random.default_rng(seed))
        size = augmenter.source_size(params)
        assert all(p <= s <= most for p, s, most in zip(patch, size, largest, strict=True))
        assert all((s - p) % 2 == 0 for p, s in zip(patch, size, strict=True))
        margins = [(a - b) // 2 for a, b in zip(largest, size, strict=True)]
        cut = tuple(slice(m, m + n) for m, n in zip(margins, size, strict=True))
        small = augmenter.apply(params, image[(slice(None), *cut)], {"cells": labels["cells"][cut]}, {})
        large = augmenter.apply(params, image, {"cells": labels["cells"]}, {})
        close = np.abs(small[0] - large[0]) < 1e-3
        assert close.mean() > 0.99
        assert np.mean(small[1]["cells"] != large[1]["cells"]) < 0.01


@pytest.mark.parametrize("geometry", [g for g in GEOMETRIES if g[1][-1] == g[1][-2]])
def test_the_largest_crop_leaves_hardly_a_corner_empty(geometry):
    config = AugmentationConfig(rotate=1.0, scale=0.0, elastic=0.0)
    augmenter = Augmenter(config, *geometry)
    image = some(augmenter.source_size())[0]
    everywhere = {"all": np.ones(image.shape[1:], bool)}
    for seed in range(20):
        _, _, valid = augmenter(image, {}, everywhere, np.random.default_rng(seed))
        # It ends at 1.5 times the patch; rotated in and out of the plane at once, a corner can reach further.
        assert valid["all"].mean() > (0.98 if len(geometry[1]) == 3 else 0.999)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float32", "f8"]
)
def test_labels_keep_their_type_and_values(spatial_config, geometry, dtype):
    patch = geometry[1]
    augmenter = Augmenter(spatial_config, *geometry)
    size = augmenter.source_size()
    rng = np.random.default_rng(1)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        values = np.array([np.nan, -0.5, 1e30], dtype)
    elif dtype.kind == "b":
        values = np.array([False, True])
    else:
        values = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max, 7], dtype)
    labels = {"plain": rng.choice(values, size), "channels": rng.choice(values, (3, *size))}
    _, result, _ = augmenter(np.zeros((1, *size), np.float32), labels, {}, rng)
    for name, shape in (("plain", patch), ("channels", (3, *patch))):
        assert result[name].dtype == dtype
        assert result[name].shape == shape
        assert np.isin(result[name][~_nan(result[name])], values).all()
        assert len(np.unique(result[name])) == len(values)


def _nan(array):
    return np.isnan(array) if array.dtype.kind == "f" else np.zeros(array.shape, bool)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 9])
def test_any_number_of_channels(intensity_config, geometry, channels):
    config = intensity_config.replace(rotate=1.0, elastic=1.0)
    augmenter = Augmenter(config, *geometry)
    image, labels, masks = some(augmenter.source_size(), channels)
    result = augmenter(image, labels, masks, np.random.default_rng(0))[0]
    assert result.shape == (channels, *geometry[1])
    assert np.isfinite(result).all()
    assert len({float(c.sum()) for c in result}) == channels


def test_readonly_and_strided_arrays_are_served(spatial_config):
    for geometry in GEOMETRIES:
        augmenter = Augmenter(spatial_config, *geometry)
        image, labels, masks = some(augmenter.source_size())
        expected = augmenter(image, labels, masks, np.random.default_rng(0))
        strided = [np.asfortranarray(a) for a in (image, labels["cells"], labels["flow"], masks["cells"])]
        for array in strided:
            array.flags.writeable = False
        result = augmenter(
            strided[0],
            {"cells": strided[1], "flow": strided[2]},
            {"cells": strided[3], "flow": masks["flow"]},
            np.random.default_rng(0),
        )
        assert equal(result, expected)


@pytest.mark.parametrize("geometry", [GEOMETRIES[0], GEOMETRIES[2]])
def test_threads_share_an_augmenter(geometry):
    augmenter = Augmenter(AugmentationConfig(rotate=1.0, noise=1.0, illumination=1.0), *geometry)
    given_ = some(augmenter.source_size())

    def sample(seed):
        return augmenter(*given_, np.random.default_rng(seed))

    serial = [sample(seed) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(sample, range(24)))
    assert all(equal(a, b) for a, b in zip(serial, parallel, strict=True))


def test_arrays_that_do_not_lie_on_each_other_are_refused():
    augmenter = Augmenter(AugmentationConfig(), 2, (8, 8), (1.0, 1.0))
    image = np.zeros((1, 12, 12), np.float32)
    with pytest.raises(
        ValueError, match=r"'cells' of shape \(12, 11\) does not lie on an image of size \(12, 12\)"
    ):
        augmenter(image, {"cells": np.zeros((12, 11), int)}, {}, np.random.default_rng(0))
    with pytest.raises(ValueError, match="is not \\(channels, 2 spatial axes\\)"):
        augmenter(image[0], {}, {}, np.random.default_rng(0))


def test_sizes_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="does not have 3 axes"):
        Augmenter(AugmentationConfig(), 3, (8, 8), (1.0, 1.0))
    with pytest.raises(ValueError, match="as many of one as of the other"):
        Augmenter(AugmentationConfig(), 3, (8, 8, 8), (1.0, 1.0))
    with pytest.raises(ValueError, match="must be above 0"):
        Augmenter(AugmentationConfig(), 2, (8, 8), (1.0, 0.0))


def test_parameters_of_another_number_of_channels_are_refused(only):
    augmenter = Augmenter(AugmentationConfig(), 2, (8, 8), (1.0, 1.0))
    params = only(2, gamma=(1.1, 1.2))
    image = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    with pytest.raises(ValueError, match="drawn for 2 channels and the image has 3"):
        augmenter.apply(params, image, {}, {})


def test_warming_up_loads_everything_without_the_network():
    warm_up(3)
    assert "napari_segtrain.data.augmentation.spatial_loops" in sys.modules
    warm_up(2)
    assert sys.modules["albumentations.check_version"].opener is None
