from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segtrain.config import DataError, MinMax, NoNormalisation, Percentile, ZScore
from napari_segtrain.data import intensity_statistics
from napari_segtrain.data import normalisation as module
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.data.records import Region, Split


def fit(config, dataset, *regions):
    return Normalisation.fit(config, dataset, Split(train=tuple(regions)))


@pytest.fixture
def random_images(dataset, record):
    rng = np.random.default_rng(3)
    images = [
        rng.integers(0, 4000, (2, 40, 50)).astype(np.uint16),
        rng.integers(0, 9, (2, 30, 20)).astype(np.uint16),
    ]
    images[0][1] += 700
    return images, dataset(*(record(f"i{k}", im, channels=True) for k, im in enumerate(images)))


def test_zscore_is_the_mean_and_deviation_of_all_training_voxels(random_images, whole_region):
    images, data = random_images
    fitted = fit(ZScore(), data, *(whole_region(r) for r in data.records.values()))
    together = np.concatenate([im.reshape(2, -1) for im in images], axis=1).astype(float)
    np.testing.assert_allclose(fitted.shift, together.mean(axis=1))
    np.testing.assert_allclose(1 / np.array(fitted.scale), together.std(axis=1))
    result = np.concatenate([fitted.apply(im).reshape(2, -1) for im in images], axis=1)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.mean(axis=1), 0, atol=1e-3)
    np.testing.assert_allclose(result.std(axis=1), 1, rtol=1e-4)


def test_only_training_regions_count(random_images):
    images, data = random_images
    fitted = fit(MinMax(), data, Region("i0", (5, 5), (10, 12)))
    inside = images[0][:, 5:10, 5:12]
    np.testing.assert_allclose(fitted.shift, inside.min(axis=(1, 2)))
    result = fitted.apply(inside)
    np.testing.assert_allclose([result.min(), result.max()], [0, 1], atol=1e-6)


def test_percentiles_become_0_and_1_and_the_rest_is_cut_off(dataset, record, whole_region):
    image = np.arange(10_000, dtype=np.float32).reshape(100, 100)
    rec = record("a", image)
    fitted = fit(Percentile(low=10, high=90), dataset(rec), whole_region(rec))
    low, high = np.percentile(image, (10, 90))
    np.testing.assert_allclose(
        fitted.apply(image[None])[0], np.clip((image - low) / (high - low), 0, 1), atol=1e-5
    )


def test_percentiles_that_coincide_fall_back_to_the_range(dataset, record, whole_region):
    image = np.zeros((50, 50), np.uint8)
    image[3, 4] = 200
    rec = record("a", image)
    result = fit(Percentile(), dataset(rec), whole_region(rec)).apply(image[None])
    assert result.max() == 1 and result.min() == 0


def test_none_changes_the_type_only(random_images, whole_region):
    images, data = random_images
    fitted = fit(NoNormalisation(), data, whole_region(data.records["i0"]))
    np.testing.assert_array_equal(fitted.apply(images[0]), images[0].astype(np.float32))


def test_blocks_of_any_size_give_the_same_fit(monkeypatch, random_images, whole_region):
    _, data = random_images
    regions = [whole_region(r) for r in data.records.values()]
    at_once = fit(ZScore(), data, *regions)
    monkeypatch.setattr(module, "BLOCK_VOXELS", 64)
    np.testing.assert_allclose(fit(ZScore(), data, *regions).scale, at_once.scale, rtol=1e-9)


def test_large_data_is_sampled_evenly_in_small_blocks(monkeypatch, dataset, record, whole_region):
    rng = np.random.default_rng(0)
    image = rng.normal(5, 2, (64, 64, 64)).astype(np.float32)
    rec = record("big", image, chunks=(8, 8, 8))
    monkeypatch.setattr(module, "MOST_VOXELS", 32 * 1024)
    monkeypatch.setattr(module, "BLOCK_VOXELS", 4096)
    fitted = fit(ZScore(), dataset(rec), whole_region(rec))
    assert rec.image.voxels_read <= 32 * 1024
    assert rec.image.largest <= 4096
    np.testing.assert_allclose(fitted.shift, 5, atol=0.1)
    assert fit(ZScore(), dataset(rec), whole_region(rec)) == fitted


def test_sampled_percentiles_are_close(monkeypatch, dataset, record, whole_region):
    image = np.random.default_rng(0).uniform(0, 1, (256, 256)).astype(np.float32)
    rec = record("a", image)
    monkeypatch.setattr(intensity_statistics, "MOST_VALUES", 5000)
    fitted = fit(Percentile(low=5, high=95), dataset(rec), whole_region(rec))
    np.testing.assert_allclose(fitted.shift, 0.05, atol=0.02)


@given(
    hnp.arrays(np.float32, (1, 7, 9), elements=st.floats(-1e4, 1e4, width=32)),
    st.sampled_from(["uint8", "int16", "uint32", "float64", "float32"]),
)
@settings(deadline=None, max_examples=50)
def test_apply_is_shift_then_scale_for_any_type_and_leaves_the_input(values, dtype):
    image = np.abs(values).astype(dtype) if dtype.startswith("u") else values.astype(dtype)
    before = image.copy()
    result = Normalisation(name="zscore", shift=(100.5,), scale=(0.01,)).apply(image)
    np.testing.assert_allclose(result, (image.astype(np.float64) - 100.5) * 0.01, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(image, before)


def test_large_integers_keep_their_differences():
    image = np.array([[[2_000_000_000, 2_000_000_001]]], np.int32)
    fitted = Normalisation(name="zscore", shift=(2_000_000_000.0,), scale=(1.0,))
    np.testing.assert_array_equal(fitted.apply(image), [[[0, 1]]])


def test_it_survives_a_checkpoint_that_is_loaded_safely(tmp_path, random_images, whole_region):
    images, data = random_images
    fitted = fit(Percentile(), data, whole_region(data.records["i0"]))
    torch.save({"normalisation": fitted.to_dict()}, tmp_path / "c.pt")
    loaded = torch.load(tmp_path / "c.pt", weights_only=True)["normalisation"]
    again = Normalisation.from_dict(json.loads(json.dumps(loaded)))
    assert again == fitted
    np.testing.assert_array_equal(again.apply(images[0]), fitted.apply(images[0]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_refused_with_their_place(dataset, record, whole_region, value):
    image = np.ones((6, 7, 8), np.float32)
    image[2, 3, 4] = value
    rec = record("bad", image, chunks=(2, 7, 8))
    with pytest.raises(DataError, match=r"'bad'.*1 value.*first at \(2, 3, 4\)"):
        fit(ZScore(), dataset(rec), whole_region(rec))


def test_constant_images_are_refused_and_a_constant_channel_is_ignored(dataset, record, whole_region, caplog):
    image = np.stack([np.full((9, 9), 255, np.uint8), np.arange(81, dtype=np.uint8).reshape(9, 9)])
    flat = record("flat", image[:1], channels=True)
    with pytest.raises(DataError, match="constant"):
        fit(ZScore(), dataset(flat), whole_region(flat))
    both = record("both", image, channels=True)
    fitted = fit(ZScore(), dataset(both), whole_region(both))
    assert "channel 0 is constant" in caplog.text
    result = fitted.apply(image)
    assert (result[0] == 0).all()
    assert result[1].std() == pytest.approx(1, rel=1e-5)


def test_other_channels_than_the_fitted_are_refused(dataset, record, whole_region):
    with pytest.raises(DataError, match=r"3 channel.*fitted on 1"):
        Normalisation().apply(np.zeros((3, 4, 4)))
    one, two = record("one", np.eye(8)), record("two", np.zeros((2, 8, 8)), channels=True)
    with pytest.raises(DataError, match="'two' has 2 channel"):
        fit(ZScore(), dataset(one, two), whole_region(one), whole_region(two))
    with pytest.raises(DataError, match="no training image"):
        fit(ZScore(), dataset(one))
