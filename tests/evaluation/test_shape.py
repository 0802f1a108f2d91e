"""Distances of surfaces against closed forms, and agreement of skeletons."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from napari_segtrain.evaluation import hausdorff95, score_classes, score_mask, skeleton_counts
from napari_segtrain.evaluation.shape import surface

NDIMS = pytest.mark.parametrize("ndim", [2, 3])


@NDIMS
def test_two_half_spaces_are_as_far_apart_as_their_planes(ndim: int) -> None:
    place = np.indices((30,) + (9,) * (ndim - 1))[0]
    spacing = (2.5,) + (1.0,) * (ndim - 1)
    assert hausdorff95(place < 10, place < 17, spacing) == pytest.approx(7 * 2.5)
    assert hausdorff95(place < 10, place < 10, spacing) == 0.0


def ball(centre: float, radius: float, spacing: tuple[float, ...], size: float) -> np.ndarray:
    axes = (np.arange(0, size, step) for step in spacing)
    grid = np.meshgrid(*axes, indexing="ij")
    middle = [centre, *[size / 2] * (len(spacing) - 1)]
    return sum((g - c) ** 2 for g, c in zip(grid, middle, strict=True)) <= radius**2


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 1.0, 0.5), (0.5, 0.5)])
def test_shifted_balls_have_the_percentile_of_the_closed_form(spacing: tuple[float, ...]) -> None:
    """A point of one sphere in direction u is | |p − shift| − radius | from the other."""
    radius, shift, size = 14.0, 5.0, 44.0
    random = np.random.default_rng(0).normal(size=(20000, len(spacing)))
    points = radius * random / np.linalg.norm(random, axis=1, keepdims=True)
    points[:, 0] -= shift
    expected = np.percentile(np.abs(np.linalg.norm(points, axis=1) - radius), 95)
    masks = [ball(size / 2 + move, radius, spacing, size) for move in (-shift / 2, shift / 2)]
    assert hausdorff95(*masks, spacing) == pytest.approx(expected, abs=0.8 * max(spacing))


def test_it_is_the_larger_of_two_percentiles_of_nearest_distances() -> None:
    random = np.random.default_rng(3)
    truth, prediction = random.random((2, 12, 13, 14)) < 0.15
    valid, spacing = random.random(truth.shape) < 0.8, (3.0, 1.0, 0.7)
    edges = []
    for mask in (truth, prediction):
        edge = np.zeros(mask.shape, bool)
        edge[tuple(surface(mask, valid).T)] = True
        edges.append(edge)
    far = [distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    expected = max(np.percentile(far[1][edges[0]], 95), np.percentile(far[0][edges[1]], 95))
    assert hausdorff95(truth, prediction, spacing, valid) == pytest.approx(expected)


def test_a_few_far_voxels_do_not_count() -> None:
    truth = np.zeros((40, 40), bool)
    truth[5:25, 5:25] = True
    stray = truth.copy()
    stray[39, 39] = True
    assert hausdorff95(truth, stray, (1, 1)) == 0.0


def test_cases_without_a_surface_are_defined() -> None:
    nothing, square = np.zeros((3, 4), bool), np.zeros((3, 4), bool)
    square[1, 1:3] = True
    everything = np.ones((3, 4), bool)
    spacing = (4.0, 4.0)
    assert hausdorff95(nothing, nothing, spacing) == 0.0
    assert hausdorff95(square, nothing, spacing) == hausdorff95(nothing, square, spacing) == 20.0
    assert hausdorff95(everything, everything, spacing) is None, "the border of an image is no surface"
    assert hausdorff95(square, square, spacing, nothing) is None
    assert hausdorff95(square, square, spacing, square) is None, "that of what is labelled is none either"


def test_surfaces_lie_between_labelled_voxels() -> None:
    mask = np.zeros((1, 6), bool)
    mask[0, 2:] = True
    valid = np.ones((1, 6), bool)
    assert surface(mask, valid).tolist() == [[0, 2]]
    valid[0, 1] = False
    assert surface(mask, valid).tolist() == []


@NDIMS
def test_a_gap_in_a_tube_costs_its_share_of_the_skeleton(ndim: int) -> None:
    truth = np.zeros((9,) * (ndim - 1) + (100,), bool)
    truth[(slice(3, 6),) * (ndim - 1)] = True
    broken = truth.copy()
    broken[..., 40:60] = False
    counts = skeleton_counts(truth, broken)
    assert counts.predicted_right == counts.predicted
    assert counts.true_found / counts.true == pytest.approx(0.8, abs=0.03)
    share = counts.true_found / counts.true
    assert counts.cl_dice == pytest.approx(2 * share / (1 + share))
    assert skeleton_counts(truth, truth).cl_dice == 1.0
    assert skeleton_counts(truth, ~truth & False).cl_dice == 0.0
    assert skeleton_counts(truth & False, truth & False).cl_dice == 1.0
    valid = np.ones(truth.shape, bool)
    valid[..., 30:70] = False
    assert skeleton_counts(truth, broken, valid).cl_dice > counts.cl_dice


def test_scores_have_them_when_the_size_of_a_voxel_is_known() -> None:
    truth, prediction = np.zeros((2, 20, 20), int)
    truth[4:12, 4:12], prediction[4:12, 6:14] = 1, 1
    assert "hd95" not in score_mask(truth, prediction).values()
    found = score_mask(truth, prediction, None, (1.0, 3.0))
    assert found.values()["hd95"] == pytest.approx(6.0)
    assert found.values()["cldice"] == 1.0, "the middle of each lies in the other"
    twice = found + score_mask(truth, truth, None, (1.0, 3.0))
    assert twice.values()["hd95"] == pytest.approx(3.0)
    truth[15:18, 15:18] = 2
    classes = score_classes(truth, prediction, (0, 1, 2, 3), None, (1.0, 1.0)).values()
    assert classes["hd95_1"] == pytest.approx(2.0)
    assert classes["hd95_2"] == pytest.approx(np.hypot(20, 20)), "it was missed"
    assert classes["hd95"] == pytest.approx((2.0 + np.hypot(20, 20)) / 2)
    assert "hd95_3" not in classes, "it does not occur"
