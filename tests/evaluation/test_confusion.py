"""Confusion matrices and classification reports, compared with scikit-learn's."""

import csv
import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import classification_report, confusion_matrix

from napari_segtrain.evaluation import ConfusionMatrix, score_classes, score_mask, score_objects


def labels(seed: int, values: tuple[int, ...], voxels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, prediction and where the truth is known; half of the prediction is right."""
    random = np.random.default_rng(seed)
    truth, other = random.choice(values, (2, voxels // 4, 4))
    prediction = np.where(random.random(truth.shape) < 0.5, truth, other)
    return truth, prediction, random.random(truth.shape) < 0.7


def assert_like_sklearn(
    found: ConfusionMatrix, truth: np.ndarray, prediction: np.ndarray, values: tuple[int, ...]
) -> None:
    names, table = list(found.classes), confusion_matrix(truth, prediction, labels=values)
    assert found.counts == tuple(map(tuple, table.tolist()))
    options = {"labels": values, "target_names": names, "zero_division": 0}
    expected = classification_report(truth, prediction, **options, output_dict=True)
    report = found.report()
    assert report.keys() == expected.keys()
    for name, row in expected.items():
        assert report[name] == pytest.approx(row)
    for digits in (2, 4):
        text = classification_report(truth, prediction, **options, digits=digits)
        # When no voxel is right, scikit-learn sums in floats, and prints counts of voxels as 3.0.
        assert found.report_text(digits) == re.sub(r"(\d+)\.0$", r"  \1", text, flags=re.MULTILINE)


@settings(max_examples=15)
@given(
    st.integers(0, 10**6),
    st.lists(st.integers(0, 300), min_size=2, max_size=6, unique=True).map(tuple),
    st.integers(1, 60),
)
def test_a_report_of_labelled_voxels_is_scikit_learns(seed: int, values: tuple[int, ...], size: int) -> None:
    truth, prediction, valid = labels(seed, values[:-1], 4 * size)
    valid[0, 0] = True
    truth[~valid] = 999  # which must not count
    scores = score_classes(truth, prediction, values, valid)
    assert scores.confusion is not None
    assert_like_sklearn(scores.confusion, truth[valid], prediction[valid], values)


def test_the_report_of_a_mask_and_of_objects_is_that_of_their_foreground() -> None:
    truth, prediction, valid = labels(1, (0, 0, 1, 2, 3), 400)
    for scores in (score_mask(truth, prediction, valid), score_objects(truth, prediction, valid)):
        matrix = scores.confusion
        assert matrix is not None and matrix.classes == ("background", "foreground")
        if isinstance(scores, type(score_mask(truth, prediction))):
            assert_like_sklearn(matrix, truth[valid] > 0, prediction[valid] > 0, (0, 1))


def test_matrices_add_up_and_without_a_voxel_everything_is_zero() -> None:
    values = (0, 3, 1)
    parts = [labels(seed, values, 80) for seed in range(3)]
    whole = ConfusionMatrix.of(
        *(np.concatenate(column) for column in list(zip(*parts, strict=True))[:2]), values
    )
    first, second, third = (ConfusionMatrix.of(truth, found, values) for truth, found, _ in parts)
    assert first + second + third == whole
    assert whole.shares.sum(axis=1) == pytest.approx([1, 1, 1])
    nothing = ConfusionMatrix.of(parts[0][0], parts[0][1], values, np.zeros((20, 4), bool))
    assert not np.any(nothing.shares)
    assert nothing.report()["accuracy"] == nothing.report()["weighted avg"]["recall"] == 0.0
    assert "support" in nothing.report_text()
    with pytest.raises(ValueError, match="cannot be added"):
        first + ConfusionMatrix.of(parts[0][0], parts[0][1], (0, 1))


def test_the_table_names_its_axes() -> None:
    matrix = ConfusionMatrix(("0", "1"), ((5, 2), (1, 9)))
    rows = list(csv.reader(io.StringIO(matrix.to_csv())))
    assert rows == [["true \\ predicted", "0", "1"], ["0", "5", "2"], ["1", "1", "9"]]
