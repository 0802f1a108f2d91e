from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_segtrain.widgets.layers.boxes import around, edited_boxes, joined, volume, whole


def box(*sides: tuple[int, int]) -> Any:
    return tuple(slice(*side) for side in sides)


class Part:
    def __init__(self, *slices: slice) -> None:
        self.slice_key = slices


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ([Part(slice(2, 5), slice(1, 4))], [box((2, 5), (1, 4))]),
        ([Part(slice(None), slice(7, 99))], [box((0, 12), (7, 12))]),
        (
            [Part(slice(2, 5), slice(1, 4)), Part(slice(7, 8), slice(0, 2))],
            [box((2, 5), (1, 4)), box((7, 8), (0, 2))],
        ),
        ([((np.array([3, 9]), np.array([4, 4])), np.array([0, 0]), 1)], [box((3, 10), (4, 5))]),
        ([((np.array([-1]), np.array([4])), np.array([0]), 1)], [box((11, 12), (4, 5))]),
        ([((np.array([], int), np.array([], int)), np.array([]), 1)], []),
        ([], []),
    ],
)
def test_the_boxes_of_an_edit(edit: Any, expected: Any) -> None:
    assert edited_boxes(edit, (12, 12)) == expected


def test_dabs_of_a_small_stroke_are_one_box() -> None:
    dabs = [box((n, n + 5), (2 * n, 2 * n + 5)) for n in range(0, 40, 2)]
    assert joined(dabs) == [box((0, 43), (0, 81))]
    assert joined([]) == []


def test_a_stroke_through_a_volume_stays_a_chain() -> None:
    dabs = [box(*[(n, n + 10)] * 3) for n in range(0, 500, 2)]
    chain = joined(dabs)
    assert len(chain) < 30
    assert sum(map(volume, chain)) < 0.02 * 510**3
    reached = np.zeros((510,) * 3, bool)
    for part in chain:
        reached[part] = True
    assert all(reached[dab].all() for dab in dabs)


def test_slabs_of_a_whole_are_the_whole() -> None:
    slabs = [box((z, z + 10), (0, 300), (0, 300)) for z in range(0, 100, 10)]
    assert joined(slabs) == [whole((100, 300, 300))]


def test_the_box_around_what_changed() -> None:
    changed = np.zeros((4, 5, 6), bool)
    place = box((10, 14), (0, 5), (100, 106))
    assert around(changed, place) is None
    changed[1, 2, 3] = changed[3, 2, 5] = True
    assert around(changed, place) == box((11, 14), (2, 3), (103, 106))
