from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_segtrain.config import AugmentationConfig
from napari_segtrain.data.augmentation import (
    Augmenter,
    Gradient,
    IntensityParameters,
    MissingSlices,
    Noise,
    SliceLight,
)
from napari_segtrain.data.augmentation.frame import Frame
from napari_segtrain.data.augmentation.intensity import band, change_volume
from napari_segtrain.data.augmentation.plane import change_plane

CUBE = Frame((10, 12, 14), (1.0, 1.0, 1.0))
SQUARE = Frame((40, 48), (1.0, 1.0))
CHANGE = {2: change_plane, 3: change_volume}
frames = pytest.mark.parametrize("frame", [CUBE, SQUARE])


def patch(frame, channels=2, seed=0):
    noise = np.random.default_rng(seed).normal(size=(channels, *frame.patch_size))
    smooth = ndimage.gaussian_filter(noise, (0, *(1.0,) * frame.ndim)) * 3 + 5
    return smooth.astype(np.float32)


def change(frame, image, **params):
    return CHANGE[frame.ndim](frame, IntensityParameters(**params), image)


def channelwise(values):
    return np.asarray(values).reshape(-1, *(1,) * (values.ndim - 1))


ALL = {
    "blur": 0.7,
    "low_resolution": 1.6,
    "gamma": (1.3, 0.8),
    "contrast": (1.2, 0.9),
    "brightness": (0.2, -0.3),
    "noise": Noise((0.1, 0.2), 5),
}


@frames
def test_nothing_drawn_changes_nothing(frame):
    image = patch(frame)
    assert change(frame, image) is image


@frames
@pytest.mark.parametrize("name", ALL)
def test_each_changes_the_image_and_not_its_input(frame, name):
    image = patch(frame)
    before = image.copy()
    result = change(frame, image, **{name: ALL[name]})
    assert result.shape == image.shape
    assert result.dtype == np.float32
    assert not np.allclose(result, image, atol=1e-3)
    assert np.array_equal(image, before)


@frames
def test_a_constant_image_stays_as_it_is(frame):
    image = np.full((2, *frame.patch_size), 3.25, np.float32)
    light = Gradient(0.2, 30.0) if frame.ndim == 2 else SliceLight((1.2,) * 10, (0.4,) * 10)
    assert np.allclose(change(frame, image, illumination=light, **ALL), 3.25)


@frames
def test_ranges_of_any_size_are_served(frame):
    """The changes are relative to the patch: a rescaled patch gives the rescaled result."""
    image = patch(frame)
    result = change(frame, image, **ALL)
    for factor, shift in ((1e4, 2e4), (1e-4, 0.0)):
        scaled = change(frame, image * np.float32(factor) + np.float32(shift), **ALL)
        assert np.abs((scaled - shift) / factor - result).max() < 0.02 * np.ptp(result)


@pytest.mark.parametrize("frame", [CUBE, Frame((10, 12, 14), (2.0, 1.0, 0.5)), SQUARE])
def test_blur_is_a_gaussian_in_physical_units(frame):
    image = patch(frame)
    sigmas = (0, *frame.in_voxels(1.1))
    expected = ndimage.gaussian_filter(image, sigmas, mode="mirror", truncate=3.01)
    # The radius is rounded up here and to the nearest voxel there.
    assert np.abs(change(frame, image, blur=1.1) - expected).max() < 0.02


@frames
def test_gamma_is_a_power_of_the_range(frame):
    image = patch(frame)
    axes = tuple(range(1, image.ndim))
    low, high = image.min(axis=axes, keepdims=True), image.max(axis=axes, keepdims=True)
    gamma = np.array([1.4, 0.7]).reshape(-1, *(1,) * frame.ndim)
    expected = low + (high - low) * ((image - low) / (high - low)) ** gamma
    assert np.abs(change(frame, image, gamma=(1.4, 0.7)) - expected).max() < 0.01


@frames
def test_contrast_turns_about_the_mean_and_brightness_shifts(frame):
    image = patch(frame)
    axes = tuple(range(1, image.ndim))
    mean, std = image.mean(axis=axes, keepdims=True), image.std(axis=axes, keepdims=True)
    result = change(frame, image, contrast=(1.3,), brightness=(0.25,))
    assert np.allclose(result, (image - mean) * 1.3 + mean + 0.25 * std, atol=1e-3)


@frames
def test_noise_is_normal_independent_and_of_its_seed(frame):
    big = Frame(tuple(4 * n for n in frame.patch_size), frame.spacing)
    image = patch(big)
    added = change(big, image, noise=Noise((0.1, 0.3), 7)) - image
    std = image.reshape(2, -1).std(axis=1)
    flat = added.reshape(2, -1) / std[:, None]
    assert flat.std(axis=1) == pytest.approx([0.1, 0.3], rel=0.03)
    assert np.abs(flat.mean(axis=1)).max() < 0.01
    assert abs(np.corrcoef(flat)[0, 1]) < 0.03
    kurtosis = ((flat / flat.std(axis=1, keepdims=True)) ** 4).mean(axis=1)
    assert kurtosis == pytest.approx(3.0, abs=0.2)
    for axis in range(1, added.ndim):
        neighbours = np.moveaxis(added[0], axis - 1, 0)
        assert abs(np.corrcoef(neighbours[1:].ravel(), neighbours[:-1].ravel())[0, 1]) < 0.03
    assert np.array_equal(change(big, image, noise=Noise((0.1, 0.3), 7)) - image, added)
    other = change(big, image, noise=Noise((0.1, 0.3), 8)) - image
    assert abs(np.corrcoef(other[0].ravel(), added[0].ravel())[0, 1]) < 0.03


@frames
def test_low_resolution_loses_fine_detail_and_keeps_the_coarse(frame):
    stripes = np.indices(frame.patch_size).sum(axis=0) % 2
    ramp = np.indices(frame.patch_size)[-1] / 4
    image = np.stack([stripes, ramp]).astype(np.float32)
    fine, coarse = change(frame, image, low_resolution=2.0)
    assert np.abs(np.diff(fine, axis=-1)).mean() < 0.5 * np.abs(np.diff(stripes, axis=-1)).mean()
    assert np.abs(coarse - ramp).max() < 0.6


def test_low_resolution_leaves_a_coarse_axis():
    frame = Frame((10, 12, 14), (4.0, 1.0, 1.0))
    image = np.zeros((1, *frame.patch_size), np.float32)
    image[:] = (np.arange(10) % 2)[:, None, None]
    assert np.allclose(change(frame, image, low_resolution=2.0), image)


@given(st.integers(1, 40), st.floats(0.0, 4.0), st.floats(1.0, 5.0))
def test_bands_keep_the_mean_level_and_stay_inside(size, sigma, factor):
    first, weights = band(size, sigma, factor)
    assert np.allclose(weights.sum(axis=0), 1.0, atol=1e-5)
    assert first.min() >= 0
    assert (first + weights.shape[0]).max() <= size


@settings(deadline=None)
@given(st.sampled_from([(0.2, 0), (1, 1), (1, 2), (1, 0)]), st.integers(0, 99))
def test_slices_change_as_a_whole(case, seed):
    ratio, axis = case
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 5.0
    frame = Frame((8, 8, 8), tuple(spacing))
    rng = np.random.default_rng(seed)
    gains, shifts = rng.uniform(0.8, 1.2, 8), rng.uniform(-0.3, 0.3, 8)
    image = patch(frame)
    light = SliceLight(tuple(gains), tuple(shifts))
    result = change(frame, image, illumination=light, contrast=(1.0 + ratio / 10,))
    shape = [1, 1, 1, 1]
    shape[axis + 1] = 8
    mean, std = (f(image, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.std))
    expected = (image - mean) * (1.0 + ratio / 10) * gains.reshape(shape) + mean + std * shifts.reshape(shape)
    assert np.allclose(result, expected, atol=1e-3)


@pytest.mark.parametrize("spacing", [(5.0, 1.0, 1.0), (1.0, 1.0, 5.0)])
@pytest.mark.parametrize("others", [{}, {"gamma": (1.2,)}, {"blur": 0.8}])
def test_missing_slices_are_blank_and_labels_stay(only, spacing, others):
    size = (8, 8, 8)
    frame = Frame(size, spacing)
    augmenter = Augmenter(AugmentationConfig(), 3, size, spacing)
    params = only(3, missing=MissingSlices((2, 5), 0.0), **others)
    image = patch(frame)
    label = np.arange(512).reshape(size)
    result, labels, masks = augmenter.apply(params, image, {"a": label}, {"a": np.ones(size, bool)})
    along = np.moveaxis(result, frame.slice_axis + 1, 0)
    untouched = np.moveaxis(change(frame, image, **others), frame.slice_axis + 1, 0)
    for position in range(8):
        if position in (2, 5):
            assert (np.ptp(along[position], axis=(1, 2)) == 0).all()
        else:
            assert np.array_equal(along[position], untouched[position])
    assert np.array_equal(labels["a"], label)
    assert masks["a"].all()


@pytest.mark.parametrize(("angle", "axis"), [(0.001, 1), (90.001, 0)])
def test_a_gradient_brightens_one_side_of_a_plane(angle, axis):
    image = np.zeros((1, 20, 20), np.float32)
    image[0, ::2, ::2] = 1.0
    result = change(Frame((20, 20), (1.0, 1.0)), image, illumination=Gradient(0.3, angle))[0]
    bright = result[::2, ::2].mean(axis=1 - axis)
    assert sorted([bright[0], bright[-1]]) == pytest.approx([0.7, 1.3], abs=0.04)
    assert np.abs(result[1::2]).max() < 1e-6


def test_noise_at_the_ends_of_the_range_is_not_cut_off():
    """albumentations cuts at 0 and 1: a patch at the ends of its range must not lose half of its noise."""
    image = np.zeros((1, 64, 64), np.float32)
    image[0, :, 32:] = 1.0
    added = change(Frame((64, 64), (1.0, 1.0)), image, noise=Noise((0.2,), 3)) - image
    assert abs(added.mean()) < 0.01
    assert added.std() == pytest.approx(0.1, rel=0.05)
    assert (added < 0).mean() == pytest.approx(0.5, abs=0.03)
