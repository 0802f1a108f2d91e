"""Scores of one output: what was counted, and the numbers that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np

from .measured import ErrorSum, angle_errors, value_errors
from .objects import THRESHOLDS, MatchCounts, object_overlaps
from .overlap import Array, Mask, OverlapCounts, class_counts, overlap_counts


class Scores(Protocol):
    """Counts of an image, or of several that were added."""

    @property
    def voxels(self) -> int:
        """How many labelled voxels were looked at."""

    def __add__(self, other: Self) -> Self:
        """Return the counts of both."""

    def values(self) -> dict[str, float | int | None]:
        """Return the scores by name; None where there is nothing to score."""


@dataclass(frozen=True)
class MaskScores:
    """Of a foreground mask."""

    voxels: int
    counts: OverlapCounts

    def __add__(self, other: MaskScores) -> MaskScores:
        return MaskScores(self.voxels + other.voxels, self.counts + other.counts)

    def values(self) -> dict[str, float | int | None]:
        """Return dice, iou, precision and recall."""
        names = ("dice", "iou", "precision", "recall")
        return {name: getattr(self.counts, name) if self.voxels else None for name in names}


@dataclass(frozen=True)
class ClassScores:
    """Of a map of classes.

    Attributes
    ----------
    counts
        By the class's label value, background first.
    right
        Voxels of which the class is right.
    """

    voxels: int
    counts: Mapping[int, OverlapCounts]
    right: int

    def __add__(self, other: ClassScores) -> ClassScores:
        known = [*self.counts, *(value for value in other.counts if value not in self.counts)]
        none = OverlapCounts()
        counts = {value: self.counts.get(value, none) + other.counts.get(value, none) for value in known}
        return ClassScores(self.voxels + other.voxels, counts, self.right + other.right)

    def values(self) -> dict[str, float | int | None]:
        """Return dice and iou, means over the foreground classes that occur; both of each class; accuracy."""
        if not self.voxels:
            return {"dice": None, "iou": None, "accuracy": None}
        foreground = [counts for counts in list(self.counts.values())[1:] if counts.union]
        found: dict[str, float | int | None] = {
            name: float(np.mean([getattr(counts, name) for counts in foreground])) if foreground else 1.0
            for name in ("dice", "iou")
        }
        found["accuracy"] = self.right / self.voxels
        for value, counts in self.counts.items():
            found[f"dice_{value}"] = counts.dice if counts.union else None
            found[f"iou_{value}"] = counts.iou if counts.union else None
        return found


@dataclass(frozen=True)
class ObjectScores:
    """Of instance labels: of their foreground, and of the objects.

    Attributes
    ----------
    counts
        Of everything that is in an object against everything that is not.
    matches
        By IoU threshold.
    """

    voxels: int
    counts: OverlapCounts
    matches: Mapping[float, MatchCounts] = field(default_factory=dict)

    def __add__(self, other: ObjectScores) -> ObjectScores:
        matches = {
            t: self.matches.get(t, MatchCounts()) + other.matches.get(t, MatchCounts())
            for t in {**self.matches, **other.matches}
        }
        return ObjectScores(self.voxels + other.voxels, self.counts + other.counts, matches)

    def values(self) -> dict[str, float | int | None]:
        """Return dice and iou of the foreground, ap50, ap75, map (mean over thresholds), f1, counts."""
        if not self.voxels:
            return dict.fromkeys(("dice", "iou", "ap50", "ap75", "map", "f1"))
        half = self.matches[0.5]
        return {
            "dice": self.counts.dice,
            "iou": self.counts.iou,
            "ap50": half.average_precision,
            "ap75": self.matches[0.75].average_precision,
            "map": float(np.mean([self.matches[t].average_precision for t in THRESHOLDS])),
            "f1": half.f1,
            "objects": half.found + half.missed,
            "predicted_objects": half.found + half.invented,
        }


@dataclass(frozen=True)
class ValueScores:
    """Of measured values, in their own units."""

    voxels: int
    errors: ErrorSum

    def __add__(self, other: ValueScores) -> ValueScores:
        return ValueScores(self.voxels + other.voxels, self.errors + other.errors)

    def values(self) -> dict[str, float | int | None]:
        """Return the mean absolute error and the root of the mean squared one."""
        return {"mae": self.errors.mean, "rmse": self.errors.root_mean_square}


@dataclass(frozen=True)
class DirectionScores:
    """Of unit vectors."""

    voxels: int
    errors: ErrorSum

    def __add__(self, other: DirectionScores) -> DirectionScores:
        return DirectionScores(self.voxels + other.voxels, self.errors + other.errors)

    def values(self) -> dict[str, float | int | None]:
        """Return the mean angle in degrees."""
        return {"angular_error": self.errors.mean}


def score_mask(truth: Array, prediction: Array, valid: Mask | None = None) -> MaskScores:
    """Score a mask, `(*spatial)`; see `overlap_counts`."""
    return MaskScores(_voxels(truth, valid), overlap_counts(truth, prediction, valid))


def score_classes(
    truth: Array,
    prediction: Array,
    classes: Sequence[int],
    valid: Mask | None = None,
) -> ClassScores:
    """Score label values, `(*spatial)`; `classes` are those that exist, background first."""
    counts = class_counts(truth, prediction, tuple(classes), valid)
    return ClassScores(_voxels(truth, valid), counts, sum(c.both for c in counts.values()))


def score_objects(truth: Array, prediction: Array, valid: Mask | None = None) -> ObjectScores:
    """Score object numbers, `(*spatial)`; see `object_overlaps`."""
    overlaps = object_overlaps(truth, prediction, valid)
    matches = {threshold: overlaps.match(threshold) for threshold in THRESHOLDS}
    return ObjectScores(_voxels(truth, valid), overlap_counts(truth > 0, prediction > 0, valid), matches)


def score_values(truth: Array, prediction: Array, valid: Mask | None = None) -> ValueScores:
    """Score measured values, `(C, *spatial)`; see `value_errors`."""
    return ValueScores(_voxels(truth[0], valid), value_errors(truth, prediction, valid))


def score_directions(
    truth: Array, prediction: Array, valid: Mask | None = None, *, signed: bool = True
) -> DirectionScores:
    """Score vectors, `(ndim, *spatial)`; see `angles`."""
    errors = angle_errors(truth, prediction, valid, signed=signed)
    return DirectionScores(_voxels(truth[0], valid), errors)


def _voxels(truth: Array, valid: Mask | None) -> int:
    return truth.size if valid is None else int(np.count_nonzero(valid))
