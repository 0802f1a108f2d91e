from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_segtrain.widgets.layers import matched_objects
from napari_segtrain.widgets.layers.boxes import Box, volume
from napari_segtrain.widgets.layers.matched_objects import Overlaps, follow_objects

NUMBERS = arrays(np.int64, (6, 7), elements=st.sampled_from([0, 0, 1, 2, 5, 2**40]))


def counted(predicted: Any, painted: Any) -> Overlaps:
    overlaps = Overlaps()
    overlaps.add(np.asarray(predicted, np.int64), np.asarray(painted, np.int64))
    return overlaps


@settings(deadline=None, max_examples=200)
@given(NUMBERS, NUMBERS)
def test_more_than_half_of_the_smaller_one_is_shared_and_nothing_shares_more(
    predicted: np.ndarray, painted: np.ndarray
) -> None:
    pieces = Overlaps()
    for row in range(0, 6, 2):
        pieces.add(predicted[row : row + 2], painted[row : row + 2])
    for once in (False, True):
        found = pieces.matches(once=once)
        assert found == counted(predicted, painted).matches(once=once)
        for one, other in found.items():
            shared = ((predicted == one) & (painted == other)).sum()
            assert 2 * shared > min((predicted == one).sum(), (painted == other).sum())
            if not once:
                assert all(
                    ((predicted == one) & (painted == third)).sum() <= shared
                    or 2 * ((predicted == one) & (painted == third)).sum()
                    <= min((predicted == one).sum(), (painted == third).sum())
                    for third in np.unique(painted[painted > 0])
                )
    assert len(set(found.values())) == len(found)


def test_two_objects_inside_a_painted_one() -> None:
    overlaps = counted([[1, 1, 1, 2, 2]], [[7, 7, 7, 7, 7]])
    assert overlaps.matches(once=False) == {1: 7, 2: 7}
    assert overlaps.matches(once=True) == {1: 7}, "the one that shares most"


def test_half_of_a_scribble_is_no_reason() -> None:
    assert counted([[1, 1, 1, 2, 2, 2]], [[0, 0, 7, 7, 0, 0]]).matches(once=False) == {}


@pytest.mark.parametrize("most", [2**23, 0])
def test_objects_are_followed_out_of_a_region(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matched_objects, "_MOST_AROUND", most)
    predicted, painted = np.zeros((2, 1, 40, 40), np.int64)
    predicted[0, 10, 5:30] = 3
    predicted[0, 5:11, 29] = 3  # it turns upwards
    predicted[0, 35, 35] = 4
    painted[0, 5:9, 29] = 7
    read: list[Box] = []

    def both(box: Box) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        read.append(box)
        yield predicted[box], painted[box]

    region = (slice(0, 1), slice(8, 16), slice(0, 12))
    found = counted(predicted[region], painted[region])
    follow_objects(found, region, predicted.shape, (0, 1, 2), {3}, both)
    assert found.matches(once=False) == ({3: 7} if most else {})
    assert all(volume(box) for box in read)
    seen = np.zeros(predicted.shape, int)
    for box in (region, *read):
        seen[box] += 1
    assert seen.max() == 1, "nothing is counted twice"
    if not most:
        assert sum(map(volume, read)) <= 2 * (8 + 14), "a layer of voxels on every side"

    read.clear()
    follow_objects(found, region, predicted.shape, (0, 1, 2), set(), both)
    assert read == [], "nothing is followed"
