import itertools

import numpy as np
import pytest
import torch

from napari_segtrain.data.sources import open_source
from napari_segtrain.inference import CellSink, Measure, rank_regions
from napari_segtrain.inference.regions import window_sums

UNSURE, MIRRORS = Measure("a", "unsure"), Measure("a", "mirrors")


def everywhere(where, target):
    return np.ones([part.stop - part.start for part in where], bool)


def whole(shape):
    return tuple(slice(0, n) for n in shape)


def filled(values, size, measures=(UNSURE,), may=everywhere, block=(7, 5), record="im"):
    """Return the cells of `(measures, *image)`, written block by block."""
    sink = CellSink(record, whole(values.shape[1:]), size, measures, may)
    steps = [range(0, n, b) for n, b in zip(values.shape[1:], block, strict=True)]
    for corner in itertools.product(*steps):
        ends = zip(corner, block, values.shape[1:], strict=True)
        where = tuple(slice(c, min(c + b, n)) for c, b, n in ends)
        sink.write(where, {"doubt": values[(slice(None), *where)]})
    return sink.cells


@pytest.mark.parametrize("window", [(1, 1), (3, 2), (5, 6)])
def test_sums_over_windows(window):
    values = np.random.default_rng(0).random((5, 6))
    found = window_sums(values, window)
    for i, j in np.ndindex(found.shape):
        assert found[i, j] == pytest.approx(values[i : i + window[0], j : j + window[1]].sum())


def test_cells_add_up_however_blocks_fall():
    values = np.random.default_rng(1).random((2, 31, 45)).astype(np.float32)
    cells = filled(values, (8, 10), (UNSURE, MIRRORS))
    assert cells.cell == (2, 3)
    assert cells.sums.sum() == pytest.approx(values.sum(dtype=np.float64))
    assert cells.sums[1, 3, 4] == pytest.approx(values[1, 6:8, 12:15].sum())
    other = filled(values, (8, 10), (UNSURE, MIRRORS), block=(31, 45))
    np.testing.assert_allclose(cells.sums, other.sums)


def test_the_most_doubtful_regions_come_first_and_do_not_overlap():
    values = np.zeros((1, 64, 64), np.float32)
    values[0, 8:16, 40:48] = 0.9
    values[0, 40:48, 8:16] = 0.5
    values[0, 10:14, 44:52] = 1.0
    found = rank_regions([filled(values, (8, 8), block=(64, 16))], 4)
    assert (found[0].start, found[0].stop) == ((8, 40), (16, 48))
    assert found[1].start == (40, 8)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    for one, other in itertools.combinations(found, 2):
        sides = zip(one.start, one.stop, other.start, other.stop, strict=True)
        assert any(b <= c or d <= a for a, b, c, d in sides)
    assert found == rank_regions([filled(values, (8, 8), block=(64, 16))], 4)


def test_labelled_voxels_are_free_of_doubt():
    values = np.ones((1, 32, 32), np.float32)

    def right_half(where, target):
        may = np.zeros([part.stop - part.start for part in where], bool)
        may[:, max(0, 16 - where[1].start) :] = True
        return may

    found = rank_regions([filled(values, (16, 16), may=right_half)], 9)
    # What is left beside the labels is worth less than a region without any.
    assert [(one.start, one.score) for one in found] == [((0, 16), 1.0), ((16, 16), 1.0)]
    assert rank_regions([filled(values, (16, 16), may=lambda w, t: ~everywhere(w, t))], 9) == []


def test_several_images_and_reasons_are_ranked_together():
    first, second = np.full((2, 16, 16), 0.1, np.float32), np.full((2, 16, 16), 0.1, np.float32)
    first[0, :8, :8] = 0.9
    second[1, 8:, 8:] = 0.6
    cells = [filled(v, (8, 8), (UNSURE, MIRRORS), record=n) for v, n in ((first, "A"), (second, "B"))]
    best, next_best = rank_regions(cells, 2)
    assert (best.record, best.reason, best.start) == ("A", "unsure", (0, 0))
    assert (next_best.record, next_best.reason, next_best.start) == ("B", "mirrors", (8, 8))
    assert next_best.doubts == pytest.approx({"unsure": 0.1, "mirrors": 0.6})
    assert rank_regions(cells, 1, "mirrors")[0].record == "B"


def test_images_get_regions_in_proportion_to_their_doubt():
    worst, half, known = (np.full((1, 32, 32), v, np.float32) for v in (0.8, 0.39, 0.0))
    cells = [filled(v, (8, 8), record=n) for v, n in ((known, "C"), (half, "B"), (worst, "A"))]
    found = rank_regions(cells, 6)
    assert [one.record for one in found] == ["A", "A", "B", "A", "A", "B"]
    assert [one.score for one in found[1:3]] == pytest.approx([0.8, 0.39]), "scores stay what was measured"
    assert len(rank_regions(cells, 100)) == 32, "an image without doubt has none"


def test_what_is_beside_a_region_counts_half():
    values = np.zeros((1, 8, 64), np.float32)
    values[0, :, :24] = 0.8
    values[0, :, 40:48] = 0.5
    found = rank_regions([filled(values, (8, 8), block=(8, 64))], 4)
    assert [one.start for one in found[:3]] == [(0, 0), (0, 16), (0, 40)]
    assert found[3].start == (0, 8)


def test_an_image_smaller_than_a_region_is_one_region():
    cells = filled(np.ones((1, 5, 40), np.float32), (16, 16), block=(5, 40))
    assert [(one.start, one.stop) for one in rank_regions([cells], 3)] == [
        ((0, 0), (5, 16)),
        ((0, 16), (5, 32)),
    ]


def test_a_volume_is_ranked_in_little_memory(predictor_of, head):
    """Doubt of any network goes through the prediction of volumes, and only cells of it are kept."""
    values = np.zeros((40, 48, 56), np.float32)
    values[16:32, 8:24, 32:48] = 1.0
    predictor = predictor_of({"doubt": torch.clone}, [head("doubt")], ndim=3, overlap=0.25)
    sink = CellSink("v", whole(values.shape), (16, 16, 16), [UNSURE], everywhere)
    predictor.predict_source(open_source(values, ndim=3), sink)
    assert sink.cells.sums.shape == (1, 10, 12, 14)
    [best] = rank_regions([sink.cells], 1)
    assert (best.start, best.stop) == ((16, 8, 32), (32, 24, 48))
    assert best.score == pytest.approx(1.0, abs=1e-4)
    part = (slice(20, 40), slice(0, 48), slice(8, 56))
    sink = CellSink("v", part, (12, 16, 16), [UNSURE], everywhere)
    predictor.predict_source(open_source(values, ndim=3), sink, part)
    [best] = rank_regions([sink.cells], 1)
    assert (best.start, best.stop) == ((20, 8, 32), (32, 24, 48))
