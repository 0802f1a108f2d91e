"""Folds of a cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segtrain.config import DataError
from napari_segtrain.data import make_folds, open_layers


def images(count: int):
    layer = np.ones((8, 8), np.uint8)
    return open_layers([{"id": f"i{k}", "image": layer, "labels": {"a": layer}} for k in range(count)])


@given(st.integers(2, 15), st.integers(2, 15), st.integers(0, 3))
def test_every_image_validates_once_and_is_trained_on_else(count: int, folds: int, seed: int) -> None:
    dataset = images(max(count, folds))
    splits = make_folds(dataset, folds, seed)
    assert len(splits) == folds
    validated = [region.record for split in splits for region in split.val]
    assert sorted(validated) == sorted(dataset.records)
    for split in splits:
        names = [{region.record for region in part} for part in (split.train, split.val)]
        assert names[0] | names[1] == set(dataset.records)
        assert not names[0] & names[1]
    sizes = [len(split.val) for split in splits]
    assert max(sizes) - min(sizes) <= 1
    assert make_folds(dataset, folds, seed) == splits


def test_another_seed_deals_anew() -> None:
    assert make_folds(images(12), 3, 0) != make_folds(images(12), 3, 1)


def test_planes_of_a_stack_are_cut_into_runs_with_a_gap() -> None:
    stack = np.ones((40, 8, 8), np.uint8)
    dataset = open_layers([{"id": "s", "image": stack, "labels": {"a": stack}, "ndim": 2}])
    order = {name: place for place, name in enumerate(dataset.records)}
    splits = make_folds(dataset, 4)
    assert sorted(order[r.record] for split in splits for r in split.val) == list(range(40))
    for split in splits:
        val, train = ([order[r.record] for r in part] for part in (split.val, split.train))
        assert val == list(range(val[0], val[-1] + 1))
        assert min(abs(t - v) for t in train for v in val) == 3


def test_too_few_images_for_so_many_folds() -> None:
    with pytest.raises(DataError, match="5 folds need as many labelled images, and 3 images have labels"):
        make_folds(images(3), 5)
