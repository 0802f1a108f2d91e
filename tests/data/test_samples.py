from __future__ import annotations

import numpy as np
import pytest

from napari_segtrain.config import TargetConfig
from napari_segtrain.data.samples import coins, tubes_and_blobs


def test_coin_scribbles_are_sparse_and_never_wrong() -> None:
    sample = coins()
    scribbles, truth = sample.labels["foreground"], sample.truth["foreground"]
    assert scribbles.shape == sample.image.shape == truth.shape == (303, 384)
    assert set(np.unique(scribbles)) == {0, 1, 2}
    assert 0.01 < (scribbles > 0).mean() < 0.2
    assert not (truth[scribbles == 1] > 0).any(), "a background stroke runs over a coin"
    assert (truth[scribbles == 2] > 0).all(), "a coin stroke leaves its coin"
    untouched = set(np.unique(truth)) - {0} - set(np.unique(truth[scribbles == 2]))
    assert len(untouched) == 14, "most coins are left for the network to find"


def test_the_coins_truth_is_24_coins() -> None:
    truth = coins().truth["foreground"]
    areas = np.bincount(truth.ravel())[1:]
    assert len(areas) == 24
    assert areas.min() > 900
    assert areas.max() < 3500


@pytest.mark.parametrize("shape", [(48, 128, 128), (20, 64, 72)])
def test_volume_has_numbered_objects_that_the_image_shows(shape: tuple[int, int, int]) -> None:
    sample = tubes_and_blobs(shape, blobs=12, tubes=3)
    blobs, tubes = sample.labels["blobs"], sample.labels["tubes"]
    assert sample.image.shape == blobs.shape == tubes.shape == shape
    assert not ((blobs > 0) & (tubes > 0)).any()
    assert set(np.unique(tubes)) == {0, 1, 2, 3}
    assert len(np.unique(blobs)) > 5
    ground = sample.image[(blobs == 0) & (tubes == 0)].mean()
    assert sample.image[blobs > 0].mean() > 2 * ground
    assert sample.image[tubes > 0].mean() > 2 * ground


def test_volume_follows_its_seed() -> None:
    first, again, other = (tubes_and_blobs((20, 64, 64), blobs=6, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels["blobs"], again.labels["blobs"])
    assert not np.array_equal(first.image, other.image)


def test_samples_come_with_valid_targets() -> None:
    for sample in (coins(), tubes_and_blobs((20, 64, 64), blobs=4)):
        assert set(sample.targets) == set(sample.labels)
        for settings in sample.targets.values():
            TargetConfig.model_validate(settings)
