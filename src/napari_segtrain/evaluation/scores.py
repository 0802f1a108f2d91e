"""Scores of one output: what was counted, and the numbers that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np

from .confusion import ConfusionMatrix
from .measured import ErrorSum, angle_errors, value_errors
from .objects import THRESHOLDS, MatchCounts, object_overlaps
from .overlap import Array, Mask, OverlapCounts, class_counts, overlap_counts
from .shape import SkeletonCounts, hausdorff95, skeleton_counts


class Scores(Protocol):
    """Counts of an image, or of several that were added."""

    @property
    def voxels(self) -> int:
        """How many labelled voxels were looked at."""

    @property
    def confusion(self) -> ConfusionMatrix | None:
        """Which class was taken for which; None of what has no classes."""

    @property
    def curve(self) -> list[dict[str, float]]:
        """Scores over IoU thresholds; empty of what has no objects."""

    def __add__(self, other: Self) -> Self:
        """Return the counts of both."""

    def values(self) -> dict[str, float | int | None]:
        """Return the scores by name; None where there is nothing to score."""


@dataclass(frozen=True)
class MaskScores:
    """Of a foreground mask.

    Attributes
    ----------
    counts
        Voxels.
    distances
        HD95 of each image; None when surfaces were not looked at.
    skeletons
        Voxels of skeletons; None when they were not looked at.
    """

    voxels: int
    counts: OverlapCounts
    distances: tuple[float | None, ...] | None = None
    skeletons: SkeletonCounts | None = None

    def __add__(self, other: MaskScores) -> MaskScores:
        skeletons = None
        if self.skeletons is not None and other.skeletons is not None:
            skeletons = self.skeletons + other.skeletons
        distances = _joined(self.distances, other.distances)
        return MaskScores(self.voxels + other.voxels, self.counts + other.counts, distances, skeletons)

    @property
    def confusion(self) -> ConfusionMatrix | None:
        """Background and foreground."""
        return ConfusionMatrix.of_mask(self.counts, self.voxels)

    @property
    def curve(self) -> list[dict[str, float]]:
        """Nothing: there are no objects."""
        return []

    def values(self) -> dict[str, float | int | None]:
        """Return dice, iou, precision, recall, and where they were looked at hd95 and cldice."""
        names = ("dice", "iou", "precision", "recall")
        found: dict[str, float | int | None] = {
            name: getattr(self.counts, name) if self.voxels else None for name in names
        }
        if self.distances is not None:
            found["hd95"] = _mean(self.distances)
        if self.skeletons is not None:
            found["cldice"] = self.skeletons.cl_dice if self.voxels else None
        return found


@dataclass(frozen=True)
class ClassScores:
    """Of a map of classes.

    Attributes
    ----------
    counts
        By the class's label value, background first.
    right
        Voxels of which the class is right.
    matrix
        Which class was taken for which.
    distances
        HD95 of each image by the class's label value; None when surfaces were not looked at.
    """

    voxels: int
    counts: Mapping[int, OverlapCounts]
    right: int
    matrix: ConfusionMatrix | None = None
    distances: Mapping[int, tuple[float | None, ...]] | None = None

    def __add__(self, other: ClassScores) -> ClassScores:
        known = [*self.counts, *(value for value in other.counts if value not in self.counts)]
        none = OverlapCounts()
        counts = {value: self.counts.get(value, none) + other.counts.get(value, none) for value in known}
        matrix = None
        if self.matrix is not None and other.matrix is not None:
            matrix = self.matrix + other.matrix
        distances = None
        if self.distances is not None and other.distances is not None:
            both = self.distances, other.distances
            distances = {value: both[0].get(value, ()) + both[1].get(value, ()) for value in known}
        return ClassScores(self.voxels + other.voxels, counts, self.right + other.right, matrix, distances)

    @property
    def confusion(self) -> ConfusionMatrix | None:
        """The `matrix`."""
        return self.matrix

    @property
    def curve(self) -> list[dict[str, float]]:
        """Nothing: there are no objects."""
        return []

    def values(self) -> dict[str, float | int | None]:
        """Return dice, iou, hd95, means over the foreground classes that occur; those of each; accuracy."""
        names = ("dice", "iou") if self.distances is None else ("dice", "iou", "hd95")
        if not self.voxels:
            return dict.fromkeys((*names, "accuracy"))
        foreground = [counts for counts in list(self.counts.values())[1:] if counts.union]
        found: dict[str, float | int | None] = {
            name: float(np.mean([getattr(counts, name) for counts in foreground])) if foreground else 1.0
            for name in ("dice", "iou")
        }
        distances = {value: _mean(seen) for value, seen in (self.distances or {}).items()}
        if self.distances is not None:
            found["hd95"] = _mean([distances[value] for value in list(self.counts)[1:] if value in distances])
        found["accuracy"] = self.right / self.voxels
        for value, counts in self.counts.items():
            found[f"dice_{value}"] = counts.dice if counts.union else None
            found[f"iou_{value}"] = counts.iou if counts.union else None
            if value in distances:
                found[f"hd95_{value}"] = distances[value]
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
    distances
        HD95 of the foreground of each image; None when surfaces were not looked at.
    """

    voxels: int
    counts: OverlapCounts
    matches: Mapping[float, MatchCounts] = field(default_factory=dict)
    distances: tuple[float | None, ...] | None = None

    def __add__(self, other: ObjectScores) -> ObjectScores:
        matches = {
            t: self.matches.get(t, MatchCounts()) + other.matches.get(t, MatchCounts())
            for t in {**self.matches, **other.matches}
        }
        distances = _joined(self.distances, other.distances)
        return ObjectScores(self.voxels + other.voxels, self.counts + other.counts, matches, distances)

    @property
    def confusion(self) -> ConfusionMatrix | None:
        """What is in an object against what is not."""
        return ConfusionMatrix.of_mask(self.counts, self.voxels)

    @property
    def curve(self) -> list[dict[str, float]]:
        """AP, F1, and objects found, invented and missed, at each IoU threshold."""
        return [
            {
                "iou": threshold,
                "ap": match.average_precision,
                "f1": match.f1,
                "found": match.found,
                "invented": match.invented,
                "missed": match.missed,
            }
            for threshold, match in self.matches.items()
        ]

    def values(self) -> dict[str, float | int | None]:
        """Return dice, iou, hd95 of the foreground, ap50, ap75, map (mean over thresholds), f1, counts."""
        shape: dict[str, float | int | None] = {}
        if self.distances is not None:
            shape["hd95"] = _mean(self.distances)
        if not self.voxels:
            return {**dict.fromkeys(("dice", "iou")), **shape, **dict.fromkeys(("ap50", "ap75", "map", "f1"))}
        half = self.matches[0.5]
        return {
            "dice": self.counts.dice,
            "iou": self.counts.iou,
            **shape,
            "ap50": half.average_precision,
            "ap75": self.matches[0.75].average_precision,
            "map": float(np.mean([self.matches[t].average_precision for t in THRESHOLDS])),
            "f1": half.f1,
            "objects": half.found + half.missed,
            "predicted_objects": half.found + half.invented,
        }


class _Measured:
    """What has neither classes nor objects."""

    @property
    def confusion(self) -> ConfusionMatrix | None:
        """Nothing: there are no classes."""
        return None

    @property
    def curve(self) -> list[dict[str, float]]:
        """Nothing: there are no objects."""
        return []


@dataclass(frozen=True)
class ValueScores(_Measured):
    """Of measured values, in their own units."""

    voxels: int
    errors: ErrorSum

    def __add__(self, other: ValueScores) -> ValueScores:
        return ValueScores(self.voxels + other.voxels, self.errors + other.errors)

    def values(self) -> dict[str, float | int | None]:
        """Return the mean absolute error and the root of the mean squared one."""
        return {"mae": self.errors.mean, "rmse": self.errors.root_mean_square}


@dataclass(frozen=True)
class DirectionScores(_Measured):
    """Of unit vectors."""

    voxels: int
    errors: ErrorSum

    def __add__(self, other: DirectionScores) -> DirectionScores:
        return DirectionScores(self.voxels + other.voxels, self.errors + other.errors)

    def values(self) -> dict[str, float | int | None]:
        """Return the mean angle in degrees."""
        return {"angular_error": self.errors.mean}


def score_mask(
    truth: Array, prediction: Array, valid: Mask | None = None, spacing: Sequence[float] | None = None
) -> MaskScores:
    """Score a mask, `(*spatial)`; see `overlap_counts`.

    With `spacing`, the size of a voxel, surfaces (`hausdorff95`) and skeletons (`skeleton_counts`) too.
    """
    counts = overlap_counts(truth, prediction, valid)
    if spacing is None:
        return MaskScores(_voxels(truth, valid), counts)
    distance = hausdorff95(truth, prediction, spacing, valid)
    skeletons = skeleton_counts(truth, prediction, valid)
    return MaskScores(_voxels(truth, valid), counts, (distance,), skeletons)


def score_classes(
    truth: Array,
    prediction: Array,
    classes: Sequence[int],
    valid: Mask | None = None,
    spacing: Sequence[float] | None = None,
) -> ClassScores:
    """Score label values, `(*spatial)`; `classes` are those that exist, background first.

    With `spacing`, the size of a voxel, the surfaces of every class that occurs too (`hausdorff95`).
    """
    counts = class_counts(truth, prediction, tuple(classes), valid)
    matrix = ConfusionMatrix.of(truth, prediction, classes, valid)
    right = sum(c.both for c in counts.values())
    distances = None
    if spacing is not None:
        distances = {
            value: (hausdorff95(truth == value, prediction == value, spacing, valid),)
            for value in classes
            if counts[value].union
        }
    return ClassScores(_voxels(truth, valid), counts, right, matrix, distances)


def score_objects(
    truth: Array, prediction: Array, valid: Mask | None = None, spacing: Sequence[float] | None = None
) -> ObjectScores:
    """Score object numbers, `(*spatial)`; see `object_overlaps`, and `score_mask` for `spacing`."""
    overlaps = object_overlaps(truth, prediction, valid)
    matches = {threshold: overlaps.match(threshold) for threshold in THRESHOLDS}
    counts = overlap_counts(truth > 0, prediction > 0, valid)
    distances = None
    if spacing is not None:
        distances = (hausdorff95(truth > 0, prediction > 0, spacing, valid),)
    return ObjectScores(_voxels(truth, valid), counts, matches, distances)


def score_values(truth: Array, prediction: Array, valid: Mask | None = None) -> ValueScores:
    """Score measured values, `(C, *spatial)`; see `value_errors`."""
    return ValueScores(_voxels(truth[0], valid), value_errors(truth, prediction, valid))


def score_directions(
    truth: Array, prediction: Array, valid: Mask | None = None, *, signed: bool = True
) -> DirectionScores:
    """Score vectors, `(ndim, *spatial)`; see `angles`."""
    errors = angle_errors(truth, prediction, valid, signed=signed)
    return DirectionScores(_voxels(truth[0], valid), errors)


def _joined(
    one: tuple[float | None, ...] | None, other: tuple[float | None, ...] | None
) -> tuple[float | None, ...] | None:
    return None if one is None or other is None else one + other


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is defined; None when nothing is."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _voxels(truth: Array, valid: Mask | None) -> int:
    return truth.size if valid is None else int(np.count_nonzero(valid))
