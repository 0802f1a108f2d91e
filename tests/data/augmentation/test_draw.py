from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.config import AugmentationConfig
from napari_segtrain.data.augmentation import Gradient, SliceLight
from napari_segtrain.data.augmentation.draw import draw, draw_intensity, draw_spatial
from napari_segtrain.data.augmentation.elastic import basis
from napari_segtrain.data.augmentation.frame import Frame

CUBE = Frame((32, 32, 32), (1.0, 1.0, 1.0))
SLICES = Frame((16, 32, 32), (5.0, 1.0, 1.0))
SQUARE = Frame((64, 64), (1.0, 1.0))
frames = pytest.mark.parametrize("frame", [CUBE, SLICES, SQUARE])
REACHES = {
    "rotate": "rotation",
    "scale": "scaling",
    "shear": "shearing",
    **{n.removeprefix("max_"): n for n in AugmentationConfig.model_fields if n.startswith("max_")},
}
PROBABILITIES = ["flip", *REACHES]
FIELDS = {"illumination": "illumination", "missing_slices": "missing"}


def streams(count):
    return (np.random.default_rng(seed) for seed in range(count))


@frames
def test_probability_zero_is_never(frame):
    never = AugmentationConfig(**dict.fromkeys(PROBABILITIES, 0.0))
    for rng in streams(20):
        params = draw(never, frame, rng, 2)
        assert params.spatial.identity
        assert params.intensity.identity


@frames
@pytest.mark.parametrize("name", PROBABILITIES)
def test_probability_one_is_always_and_only_that(frame, name):
    config = AugmentationConfig(**dict.fromkeys(PROBABILITIES, 0.0)).replace(**{name: 1.0})
    for rng in streams(20):
        params = draw(config, frame, rng, 2)
        spatial, intensity = params.spatial, params.intensity
        happened = {
            "flip": all(spatial.flips),
            "rotate": bool(spatial.turns or any(spatial.angles)),
            "scale": spatial.scale != 1.0,
            "shear": bool(spatial.shears),
            "elastic": spatial.elastic is not None,
        } | {n: getattr(intensity, FIELDS.get(n, n)) is not None for n in PROBABILITIES[5:]}
        expected = name != "missing_slices" or frame.ndim == 3
        assert happened == {n: n == name and expected for n in PROBABILITIES}


@frames
def test_strength_scales_every_range(frame):
    """The same stream with a tenth of the strength gives a tenth of each change."""
    full = AugmentationConfig(**dict.fromkeys(PROBABILITIES, 1.0), rotation=90.0)
    for rng, weak_rng in zip(streams(20), streams(20), strict=True):
        strong = draw_intensity(full, frame, rng, 1)
        weak = draw_intensity(full.replace(strength=0.1), frame, weak_rng, 1)
        for name in ("gamma", "contrast"):
            assert np.log(getattr(weak, name)) == pytest.approx(np.log(getattr(strong, name)) / 10)
        assert weak.brightness == pytest.approx(np.divide(strong.brightness, 10))
        assert weak.noise.sigma == pytest.approx(np.divide(strong.noise.sigma, 10))
        assert weak.low_resolution - 1 == pytest.approx((strong.low_resolution - 1) / 10)
        assert weak.blur <= strong.blur
    limit = np.deg2rad(9.0)
    for rng in streams(20):
        spatial = draw_spatial(full.replace(strength=0.1), frame, rng)
        assert 0 < abs(spatial.angles[0]) <= limit
        assert abs(np.log(spatial.scale)) <= np.log(1.025)


@frames
def test_rotations_stay_within_their_angles(frame):
    config = AugmentationConfig(rotate=1.0, rotation=60.0)
    drawn = [draw_spatial(config, frame, rng).angles for rng in streams(200)]
    largest = np.rad2deg(np.abs(np.asarray(drawn)).max(axis=0))
    assert 50 < largest[0] <= 60
    if frame is CUBE:
        assert (largest[1:] <= 10).all()
        assert (largest[1:] > 8).all()
    elif frame is SLICES:
        assert (largest[1:] == 0).all()


def test_half_of_the_rotations_are_quarter_turns_where_the_patch_allows_them():
    config = AugmentationConfig(rotate=1.0)
    turned = [draw_spatial(config, SQUARE, rng).turns for rng in streams(400)]
    assert set(turned) == {0, 1, 2, 3}
    assert 0.4 < np.mean(np.asarray(turned) > 0) < 0.6
    for frame, changed in ((Frame((64, 48), (1.0, 1.0)), {}), (SQUARE, {"rotation": 80.0})):
        assert not any(draw_spatial(config.replace(**changed), frame, rng).turns for rng in streams(50))


@settings(deadline=None, max_examples=25)
@given(st.sampled_from([CUBE, SLICES, SQUARE]), st.integers(0, 2**32), st.floats(0.1, 3.0))
def test_deformations_never_fold(frame, seed, strength):
    config = AugmentationConfig(elastic=1.0, strength=strength)
    nodes = draw_spatial(config, frame, np.random.default_rng(seed)).elastic
    bases = [basis(k, n) for k, n in zip(nodes.shape[1:], frame.patch_size, strict=True)]
    letters = "abc"[: frame.ndim], "xyz"[: frame.ndim]
    pairs = ",".join(f"{a}{b}" for a, b in zip(*letters, strict=True))
    field = np.einsum(f"n{letters[0]},{pairs}->n{letters[1]}", nodes, *bases)
    gradient = np.stack([np.stack(np.gradient(f, *frame.spacing)) for f in field])
    jacobian = np.moveaxis(gradient, (0, 1), (-2, -1)) + np.eye(frame.ndim)
    assert np.linalg.det(jacobian).min() > 0
    assert np.abs(field).max() > 0
    if frame is SLICES:
        assert (field[0] == 0).all()


def test_channels_change_alike_or_each_in_its_way():
    config = AugmentationConfig(gamma=1.0)
    lengths = [len(draw_intensity(config, SQUARE, rng, 3).gamma) for rng in streams(100)]
    assert set(lengths) == {1, 3}
    assert {len(draw_intensity(config, SQUARE, rng, 1).gamma) for rng in streams(20)} == {1}


def test_light_is_uneven_over_a_plane_and_from_slice_to_slice():
    config = AugmentationConfig(illumination=1.0)
    assert isinstance(draw_intensity(config, SQUARE, np.random.default_rng(0), 1).illumination, Gradient)
    light = draw_intensity(config, SLICES, np.random.default_rng(0), 1).illumination
    assert isinstance(light, SliceLight)
    assert len(light.gains) == len(light.shifts) == 16
    assert len(set(light.gains)) == 16


@given(st.integers(1, 64), st.integers(0, 2**32), st.floats(0.1, 3.0))
def test_never_more_than_a_quarter_of_the_slices_go_missing(slices, seed, strength):
    config = AugmentationConfig(missing_slices=1.0, strength=strength)
    frame = Frame((slices, 8, 8), (1.0, 1.0, 1.0))
    missing = draw_intensity(config, frame, np.random.default_rng(seed), 1).missing
    if slices < 4:
        assert missing is None
    else:
        assert 1 <= len(missing.positions) == len(set(missing.positions)) <= slices / 4
        assert all(0 <= p < slices for p in missing.positions)


@given(st.integers(4, 9), st.integers(1, 40))
def test_b_splines_are_smooth_partitions_of_one(nodes, size):
    weights = basis(nodes, size)
    assert weights.shape == (nodes, size)
    assert np.allclose(weights.sum(axis=0), 1.0, atol=1e-6)
    assert (weights >= 0).all()
    # Linear precision: nodes on a line give the line.
    line = (np.arange(nodes) - 1) @ weights
    assert np.allclose(line, np.linspace(0, nodes - 3, size) if size > 1 else 0.0, atol=1e-5)
