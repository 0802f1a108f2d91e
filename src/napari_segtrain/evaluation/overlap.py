"""Agreement of masks and label maps, from counts that add up over images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class OverlapCounts:
    """Voxels that are foreground in both, only in the prediction, only in the truth.

    Counts of several images are added by ``+``.
    """

    both: int = 0
    only_predicted: int = 0
    only_true: int = 0

    def __add__(self, other: OverlapCounts) -> OverlapCounts:
        return OverlapCounts(
            self.both + other.both,
            self.only_predicted + other.only_predicted,
            self.only_true + other.only_true,
        )

    @property
    def union(self) -> int:
        """Voxels that are foreground in either."""
        return self.both + self.only_predicted + self.only_true

    @property
    def dice(self) -> float:
        """2·both / (true + predicted), Dice 1945, equal to the F1 score; 1 when there is no foreground."""
        return 2 * self.both / (self.union + self.both) if self.union else 1.0

    @property
    def iou(self) -> float:
        """Intersection over union, Jaccard 1912; 1 when there is no foreground."""
        return self.both / self.union if self.union else 1.0

    @property
    def precision(self) -> float:
        """Share of the predicted foreground that is right; 1 when nothing is predicted."""
        predicted = self.both + self.only_predicted
        return self.both / predicted if predicted else 1.0

    @property
    def recall(self) -> float:
        """Share of the true foreground that is found; 1 when there is none."""
        true = self.both + self.only_true
        return self.both / true if true else 1.0


def overlap_counts(truth: Array, prediction: Array, valid: Mask | None = None) -> OverlapCounts:
    """Compare two masks.

    Parameters
    ----------
    truth, prediction
        `(*spatial)`; everything but 0 is foreground.
    valid
        `(*spatial)`, True where the truth is known; None is everywhere.
    """
    true, predicted = known(truth, valid) != 0, known(prediction, valid) != 0
    both = int(np.count_nonzero(true & predicted))
    return OverlapCounts(both, int(np.count_nonzero(predicted)) - both, int(np.count_nonzero(true)) - both)


def class_counts(
    truth: Array,
    prediction: Array,
    classes: tuple[int, ...],
    valid: Mask | None = None,
) -> dict[int, OverlapCounts]:
    """Compare two label maps class by class.

    Parameters
    ----------
    truth, prediction
        Label values, `(*spatial)`.
    classes
        The label values to look at.
    valid
        `(*spatial)`, True where the truth is known.
    """
    true, predicted = known(truth, valid), known(prediction, valid)
    return {value: overlap_counts(true == value, predicted == value) for value in classes}


def dice(truth: Array, prediction: Array, valid: Mask | None = None) -> float:
    """Return the Dice coefficient of two masks; see `overlap_counts` and `OverlapCounts.dice`."""
    return overlap_counts(truth, prediction, valid).dice


def iou(truth: Array, prediction: Array, valid: Mask | None = None) -> float:
    """Return the intersection over union of two masks; see `overlap_counts` and `OverlapCounts.iou`."""
    return overlap_counts(truth, prediction, valid).iou


def known(values: Array, valid: Mask | None) -> Array:
    """Return the values at valid voxels.

    Raises
    ------
    ValueError
        When the shapes differ.
    """
    if valid is None:
        return values.reshape(-1)
    if valid.shape != values.shape:
        raise ValueError(f"the mask has shape {valid.shape}, the values {values.shape}")
    return np.asarray(values[valid])
