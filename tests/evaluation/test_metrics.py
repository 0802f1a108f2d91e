import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import f1_score, jaccard_score, mean_absolute_error, precision_score, recall_score

from napari_segtrain.evaluation import (
    THRESHOLDS,
    MatchCounts,
    angular_error,
    average_precision,
    class_counts,
    dice,
    iou,
    mae,
    object_overlaps,
    overlap_counts,
    value_errors,
)

shapes = st.sampled_from([(12, 13), (5, 6, 7)])
masks = shapes.flatmap(lambda s: st.tuples(*[hnp.arrays(bool, s)] * 3))
objects = shapes.flatmap(lambda s: st.tuples(*[hnp.arrays(np.int32, s, elements=st.integers(0, 5))] * 2))


@given(masks)
@settings(deadline=None)
def test_mask_scores_are_those_of_scikit_learn(arrays: tuple) -> None:
    truth, prediction, valid = arrays
    counts = overlap_counts(truth, prediction, valid)
    t, p = truth[valid], prediction[valid]
    given = {"y_true": t, "y_pred": p, "zero_division": 1.0}
    if t.size and (t.any() or p.any()):
        assert counts.dice == pytest.approx(f1_score(**given))
        assert counts.iou == pytest.approx(jaccard_score(t, p, zero_division=1.0))
        assert dice(truth, prediction, valid) == counts.dice and iou(truth, prediction, valid) == counts.iou
        assert counts.precision == pytest.approx(precision_score(**given))
        assert counts.recall == pytest.approx(recall_score(**given))
    else:
        assert counts.dice == counts.iou == 1.0


def test_pooled_counts_are_those_of_all_voxels_together() -> None:
    random = np.random.default_rng(0)
    pairs = [(random.random(n) > 0.6, random.random(n) > 0.4) for n in (5, 500, 50)]
    pooled = sum((overlap_counts(t, p) for t, p in pairs), start=overlap_counts(np.zeros(1), np.zeros(1)))
    together = overlap_counts(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
    assert pooled == together


def test_classes_are_compared_one_by_one() -> None:
    random = np.random.default_rng(1)
    truth, prediction = random.integers(1, 4, (2, 30, 30))
    valid = random.random((30, 30)) > 0.3
    counts = class_counts(truth, prediction, (1, 2, 3), valid)
    expected = f1_score(truth[valid], prediction[valid], average=None, labels=[1, 2, 3])
    np.testing.assert_allclose([counts[c].dice for c in (1, 2, 3)], expected)


def brute_force(truth: np.ndarray, prediction: np.ndarray, threshold: float) -> tuple[int, int, int]:
    """Try every assignment of true to predicted objects."""
    true, predicted = ([n for n in np.unique(a) if n] for a in (truth, prediction))
    fits = {
        (t, p)
        for t, p in itertools.product(true, predicted)
        if ((truth == t) & (prediction == p)).sum() / ((truth == t) | (prediction == p)).sum() >= threshold
    }

    def best(rest: list, free: frozenset) -> int:
        if not rest:
            return 0
        taken = (1 + best(rest[1:], free - {p}) for p in free if (rest[0], p) in fits)
        return max(best(rest[1:], free), *taken, 0)

    found = best(true, frozenset(predicted))
    return found, len(predicted) - found, len(true) - found


@given(objects, st.sampled_from([0.05, 0.1, 0.2, 0.5, 0.55, 0.75]))
@settings(deadline=None)
def test_matching_is_the_best_of_all_assignments(arrays: tuple, threshold: float) -> None:
    truth, prediction = arrays
    found, invented, missed = brute_force(truth, prediction, threshold)
    assert object_overlaps(truth, prediction).match(threshold) == MatchCounts(found, invented, missed)


@given(objects)
@settings(deadline=None)
def test_related_objects_match_as_brute_force_says(arrays: tuple) -> None:
    truth, change = arrays
    prediction = np.where(change == 0, 0, (truth * 7) % 11)
    found, invented, missed = brute_force(truth, prediction, 0.5)
    assert object_overlaps(truth, prediction).match(0.5) == MatchCounts(found, invented, missed)


def test_half_and_half_is_a_tie_that_one_of_them_wins() -> None:
    truth = np.array([[1, 1, 1, 1, 0, 2]])
    prediction = np.array([[3, 3, 9, 9, 0, 0]])
    assert object_overlaps(truth, prediction).match(0.5) == MatchCounts(found=1, invented=1, missed=1)
    assert average_precision(truth, prediction, (0.5, 0.6)) == {0.5: 1 / 3, 0.6: 0.0}


def test_average_precision_of_known_objects() -> None:
    truth = np.zeros((20, 40), int)
    truth[2:8, 2:8], truth[2:8, 12:18], truth[12:18, 2:8] = 5, 1000, 7_000_000
    prediction = np.zeros_like(truth)
    prediction[2:8, 2:8] = 1
    prediction[2:8, 12:16] = 2  # 24 of 36
    prediction[12:15, 30:33] = 3
    found = average_precision(truth, prediction)
    assert found[0.5] == found[0.65] == pytest.approx(2 / 4)
    assert found[0.7] == found[0.95] == pytest.approx(1 / 5)
    assert tuple(found) == THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    assert object_overlaps(truth, prediction).match(0.5).f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))


def test_objects_outside_the_known_part_do_not_count() -> None:
    truth = np.zeros((10, 30), int)
    truth[2:8, 2:8] = 1
    prediction = truth.copy()
    prediction[2:8, 20:26] = 2
    valid = np.ones(truth.shape, bool)
    assert object_overlaps(truth, prediction, valid).match(0.5) == MatchCounts(1, 1, 0)
    valid[:, 22:] = False  # a third of the invented object is in the known part
    assert object_overlaps(truth, prediction, valid).match(0.5) == MatchCounts(1, 0, 0)
    valid[:, 5:] = True
    valid[:, :5] = False  # half of the true object is unknown, in truth and prediction alike
    assert object_overlaps(truth, prediction, valid).match(0.9) == MatchCounts(1, 1, 0)


def test_no_objects_are_a_perfect_score_and_shapes_must_agree() -> None:
    empty = np.zeros((4, 4), int)
    assert set(average_precision(empty, empty).values()) == {1.0}
    assert set(average_precision(empty, empty + 1).values()) == {0.0}
    assert object_overlaps(empty, empty).match(0.5).f1 == 1.0
    with pytest.raises(ValueError, match="differ in shape"):
        object_overlaps(empty, np.zeros((4, 5), int))
    with pytest.raises(ValueError, match="mask has shape"):
        dice(empty, empty, np.zeros((2, 2), bool))


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_mean_absolute_error_is_that_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, prediction = random.normal(size=(2, 2, 8, 9))
    valid = random.random((8, 9)) > 0.5
    expected = mean_absolute_error(truth[:, valid].T, prediction[:, valid].T)
    assert mae(truth, prediction, valid) == pytest.approx(expected)
    errors = value_errors(truth, prediction, valid)
    assert errors.root_mean_square == pytest.approx(np.sqrt(((truth - prediction)[:, valid] ** 2).mean()))
    assert mae(truth, prediction, np.zeros_like(valid)) is None
    halves = value_errors(truth[:, :4], prediction[:, :4]) + value_errors(truth[:, 4:], prediction[:, 4:])
    assert halves.mean == pytest.approx(mae(truth, prediction))


@pytest.mark.parametrize("degrees", [0.0, 1e-4, 30.0, 90.0, 135.0, 180.0])
@pytest.mark.parametrize("ndim", [2, 3])
def test_angle_between_turned_vectors(degrees: float, ndim: int) -> None:
    random = np.random.default_rng(0)
    a = random.normal(size=(ndim, 50))
    a /= np.linalg.norm(a, axis=0)
    b = random.normal(size=(ndim, 50))
    b -= (a * b).sum(0) * a
    b /= np.linalg.norm(b, axis=0)
    turned = 3.0 * (np.cos(np.radians(degrees)) * a + np.sin(np.radians(degrees)) * b)
    assert angular_error(0.5 * a, turned) == pytest.approx(degrees, abs=1e-9, rel=1e-6)
    assert angular_error(a, np.zeros_like(a)) == pytest.approx(90.0)
    assert angular_error(a, turned, np.zeros(50, bool)) is None
