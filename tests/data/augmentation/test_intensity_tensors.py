"""Intensities by torch are those by the processor's loops, but for rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_segtrain.config import AugmentationConfig
from napari_segtrain.data.augmentation import (
    Augmenter,
    IntensityChange,
    IntensityParameters,
    MissingSlices,
    Noise,
    SliceLight,
)
from napari_segtrain.data.augmentation.frame import Frame

CUBE = Frame((10, 12, 14), (1.0, 1.0, 1.0))
FRAMES = (
    CUBE,
    Frame((6, 20, 16), (5.0, 1.0, 1.0)),
    Frame((12, 10, 6), (1.0, 1.0, 4.0)),
    Frame((1, 9, 2), (1.0,) * 3),
)


def patch(frame, channels=2, seed=0):
    noise = np.random.default_rng(seed).normal(size=(channels, *frame.patch_size))
    smooth = ndimage.gaussian_filter(noise, (0, 1.0, 1.0, 1.0)) * 3 + 5
    return smooth.astype(np.float32)


def light(frame):
    slices = frame.patch_size[frame.slice_axis]
    rng = np.random.default_rng(1)
    return SliceLight(tuple(rng.uniform(0.7, 1.3, slices)), tuple(rng.normal(0, 0.3, slices)))


EACH = {
    "nothing": lambda _: {},
    "blur": lambda _: {"blur": 1.3},
    "least blur": lambda _: {"blur": 0.1},
    "low resolution": lambda _: {"low_resolution": 1.7},
    "blur and low resolution": lambda _: {"blur": 4.0, "low_resolution": 3.0},
    "gamma": lambda _: {"gamma": (1.6, 0.4)},
    "contrast": lambda _: {"contrast": (1.3,)},
    "brightness": lambda _: {"brightness": (0.4, -0.2)},
    "illumination": lambda frame: {"illumination": light(frame)},
    "noise": lambda _: {"noise": Noise((0.3, 0.1), 2**62 - 1)},
    "missing slices": lambda _: {"missing": MissingSlices((0,), 1.0)},
    "all": lambda frame: {
        "blur": 0.6,
        "low_resolution": 1.4,
        "gamma": (0.7,),
        "contrast": (1.2, 0.8),
        "brightness": (0.1,),
        "illumination": light(frame),
        "noise": Noise((0.2,), 5),
        "missing": MissingSlices((0,), 0.5),
    },
}


def both(frame, params, image):
    change = IntensityChange(frame, params)
    tensor = torch.from_numpy(image.copy())
    result = change.on_tensor(tensor)
    assert torch.equal(tensor, torch.from_numpy(image)), "the input stays as it is"
    return change.on_array(image), result.numpy()


def assert_close(results, image):
    by_loops, by_torch = results
    assert by_torch.dtype == np.float32
    assert by_torch.shape == by_loops.shape
    for one, other, before in zip(by_loops, by_torch, image, strict=True):
        # A hundred steps of float32 in the range of a channel: the order of sums and the mean differ.
        assert np.abs(one - other).max() <= 1e-5 * max(np.ptp(before), np.abs(before).max())


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: str(frame.patch_size))
@pytest.mark.parametrize("name", EACH)
def test_each_change_is_that_of_the_loops(frame, name):
    image = patch(frame)
    assert_close(both(frame, IntensityParameters(**EACH[name](frame)), image), image)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(FRAMES), st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_what_is_drawn_means_the_same(frame, seed, channels):
    config = AugmentationConfig(
        strength=2.0,
        **dict.fromkeys(("noise", "blur", "gamma", "contrast", "brightness", "illumination"), 0.6),
        low_resolution=0.5,
        missing_slices=0.5,
    )
    augmenter = Augmenter(config, 3, frame.patch_size, frame.spacing)
    params = augmenter.draw(np.random.default_rng(seed), channels)
    image = patch(frame, channels, seed)
    assert_close(both(frame, params.intensity, image), image)


@pytest.mark.parametrize("name", EACH)
def test_a_channel_of_one_colour_stays_as_the_loops_leave_it(name):
    image = patch(CUBE)
    image[1] = -3.25
    results = both(CUBE, IntensityParameters(**EACH[name](CUBE)), image)
    assert_close(results, image)
    assert np.allclose(results[1][1], -3.25)


def test_large_values_with_a_small_spread_keep_it():
    image = (patch(CUBE) + 3e4).astype(np.float32)
    by_loops, by_torch = both(CUBE, IntensityParameters(**EACH["all"](CUBE)), image)
    assert np.abs(by_loops - by_torch).max() < 0.02
    assert by_torch.std() == pytest.approx(by_loops.std(), rel=1e-3)


def test_nothing_drawn_returns_the_image_itself():
    image = torch.zeros(1, *CUBE.patch_size)
    assert IntensityChange(CUBE, IntensityParameters()).on_tensor(image) is image


def test_parameters_for_other_channels_are_refused():
    with pytest.raises(ValueError, match="drawn for 3 channels and the image has 2"):
        IntensityChange(CUBE, IntensityParameters(contrast=(1.0, 1.1, 1.2))).on_tensor(
            torch.zeros(2, 10, 12, 14)
        )
