"""Scores of predictions: masks, objects, measured values, and reports of them."""

from .confusion import ConfusionMatrix
from .measured import ErrorSum, angle_errors, angles, angular_error, mae, value_errors
from .objects import (
    THRESHOLDS,
    MatchCounts,
    ObjectOverlaps,
    average_precision,
    object_overlaps,
)
from .overlap import OverlapCounts, class_counts, dice, iou, overlap_counts
from .report import Report, evaluate_image
from .scores import (
    ClassScores,
    DirectionScores,
    MaskScores,
    ObjectScores,
    Scores,
    ValueScores,
    score_classes,
    score_directions,
    score_mask,
    score_objects,
    score_values,
)
from .shape import SkeletonCounts, hausdorff95, skeleton_counts

__all__ = [
    "THRESHOLDS",
    "ClassScores",
    "ConfusionMatrix",
    "DirectionScores",
    "ErrorSum",
    "MaskScores",
    "MatchCounts",
    "ObjectOverlaps",
    "ObjectScores",
    "OverlapCounts",
    "Report",
    "Scores",
    "SkeletonCounts",
    "ValueScores",
    "angle_errors",
    "angles",
    "angular_error",
    "average_precision",
    "class_counts",
    "dice",
    "evaluate_image",
    "hausdorff95",
    "iou",
    "mae",
    "object_overlaps",
    "overlap_counts",
    "score_classes",
    "score_directions",
    "score_mask",
    "score_objects",
    "score_values",
    "skeleton_counts",
    "value_errors",
]
