"""Agreement of instance labels: which true object was found by which predicted one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from .overlap import Array, Mask

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""IoU thresholds 0.5, 0.55, … 0.95, over which the mean average precision is taken."""

_MOST_DIRECT = 1 << 22
"""Object numbers below this index a table; larger ones are sorted first."""


@dataclass(frozen=True)
class MatchCounts:
    """Objects found, invented and missed at one IoU threshold; ``+`` adds the counts of several images."""

    found: int = 0
    invented: int = 0
    missed: int = 0

    def __add__(self, other: MatchCounts) -> MatchCounts:
        return MatchCounts(
            self.found + other.found, self.invented + other.invented, self.missed + other.missed
        )

    @property
    def average_precision(self) -> float:
        """TP / (TP + FP + FN), as in StarDist and the Data Science Bowl 2018; 1 without any object."""
        total = self.found + self.invented + self.missed
        return self.found / total if total else 1.0

    @property
    def f1(self) -> float:
        """2·TP / (2·TP + FP + FN); 1 without any object."""
        total = 2 * self.found + self.invented + self.missed
        return 2 * self.found / total if total else 1.0


@dataclass(frozen=True)
class ObjectOverlaps:
    """Intersection over union of all pairs of objects that overlap at all.

    Attributes
    ----------
    true, predicted
        How many objects there are.
    pairs
        True and predicted object of each pair, from 0, `(2, pairs)`.
    iou
        Of each pair.
    """

    true: int
    predicted: int
    pairs: npt.NDArray[np.int64]
    iou: npt.NDArray[np.float64]

    def match(self, threshold: float) -> MatchCounts:
        """Match objects one to one, as many pairs with an IoU of at least `threshold` as possible.

        Above 0.5 no object can reach the threshold with two others, so pairs are simply counted; else it
        is a bipartite matching (Hopcroft and Karp 1973).
        """
        enough = self.iou >= threshold
        if threshold > 0.5:
            found = int(np.count_nonzero(enough))
        else:
            rows, columns = self.pairs[:, enough]
            graph = csr_array((np.ones(len(rows)), (rows, columns)), shape=(self.true, self.predicted))
            found = int(np.count_nonzero(maximum_bipartite_matching(graph, perm_type="column") >= 0))
        return MatchCounts(found, self.predicted - found, self.true - found)


def object_overlaps(truth: Array, prediction: Array, valid: Mask | None = None) -> ObjectOverlaps:
    """Compare the objects of two instance label maps.

    Parameters
    ----------
    truth, prediction
        Object numbers, `(*spatial)`; 0 and below is background.
    valid
        `(*spatial)`, True where the truth is known. An object with less than half of its voxels there is
        left out, whether true or predicted; of the others only the part there counts.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if truth.shape != prediction.shape or (valid is not None and valid.shape != truth.shape):
        raise ValueError(
            f"truth {truth.shape}, prediction {prediction.shape} and mask "
            f"{None if valid is None else valid.shape} differ in shape"
        )
    true, true_count = _compact(truth, valid)
    predicted, predicted_count = _compact(prediction, valid)
    true_size = np.bincount(true, minlength=true_count + 1)
    predicted_size = np.bincount(predicted, minlength=predicted_count + 1)
    covered = (true > 0) & (predicted > 0)
    width = predicted_count + 1
    codes, both = np.unique(true[covered] * width + predicted[covered], return_counts=True)
    pairs = np.stack(np.divmod(codes, width))
    union = true_size[pairs[0]] + predicted_size[pairs[1]] - both
    return ObjectOverlaps(true_count, predicted_count, pairs - 1, both / union)


def average_precision(
    truth: Array,
    prediction: Array,
    thresholds: Sequence[float] = THRESHOLDS,
    valid: Mask | None = None,
) -> dict[float, float]:
    """Return the average precision of instance labels at each IoU threshold.

    Parameters
    ----------
    truth, prediction, valid
        See `object_overlaps`.
    thresholds
        IoU thresholds, 0 < t ≤ 1.
    """
    overlaps = object_overlaps(truth, prediction, valid)
    return {threshold: overlaps.match(threshold).average_precision for threshold in thresholds}


def _compact(labels: Array, valid: Mask | None) -> tuple[npt.NDArray[np.int64], int]:
    """Return numbers 1, 2, … of the objects that lie mostly in the valid part, at its voxels; else 0."""
    if labels.size and labels.dtype.kind in "bui" and labels.min() >= 0 and labels.max() < _MOST_DIRECT:
        place, values = labels.reshape(-1).astype(np.int64), np.arange(int(labels.max()) + 1)
    else:
        values, place = np.unique(labels, return_inverse=True)
        place = place.reshape(-1)
    size = np.bincount(place, minlength=len(values))
    keep = (values > 0) & (size > 0)
    if valid is not None:
        place = place[valid.reshape(-1)]
        keep &= 2 * np.bincount(place, minlength=len(values)) >= size
    number = np.where(keep, np.cumsum(keep), 0)
    return number[place], int(keep.sum())
