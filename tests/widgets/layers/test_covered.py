from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest

from napari_segtrain.widgets.layers.covered import Covered, cover, covered_of, part_from
from napari_segtrain.widgets.layers.results import OURS


@pytest.mark.parametrize("shape", [(13,), (9, 21), (4, 7, 19)])
def test_it_says_of_every_voxel_whether_it_was_covered(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    covered, expected = Covered(shape), np.zeros(shape, bool)
    for _ in range(6):
        ends = [sorted(random.choice(size + 1, 2, replace=False).tolist()) for size in shape]
        box = tuple(slice(a, b) for a, b in ends)
        np.testing.assert_array_equal(covered.read(box), expected[box])
        covered.add(box)
        expected[box] = True
        everything = tuple(slice(0, size) for size in shape)
        np.testing.assert_array_equal(covered.read(everything), expected)


def test_a_duplicate_keeps_what_was_covered_when_it_was_made() -> None:
    data = np.zeros((4, 9), np.uint8)
    layer = SimpleNamespace(metadata={OURS: {"preview": True}}, data=data)
    assert covered_of(layer) is None, "everything"
    first = Covered((4, 9))
    cover(layer, first)
    copy = SimpleNamespace(metadata=dict(layer.metadata), data=deepcopy(data))
    part_from(copy)
    first.add((slice(0, 2), slice(0, 9)))
    kept = covered_of(copy)
    assert covered_of(layer) is first and kept is not None
    assert not kept.read((slice(0, 4), slice(0, 9))).any()
    layer.data = np.zeros((5, 5), np.uint8)
    assert covered_of(layer) is None, "another array"
    cover(layer, None)
    assert layer.metadata == {OURS: {"preview": True}}
