"""Scores of predictions: masks, objects, measured values, and reports of them."""

from .confusion import ConfusionMatrix
from .figures import draw_confusions
from .index import INDEX, read_index
from .measured import ErrorSum, angle_errors, angles, angular_error, mae, value_errors
from .objects import (
    THRESHOLDS,
    MatchCounts,
    ObjectOverlaps,
    average_precision,
    object_overlaps,
)
from .overlap import OverlapCounts, class_counts, dice, iou, overlap_counts
from .page import REPORT, write_page
from .report import MAIN_SCORES, SEPARATING, Report, evaluate_image
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
    "INDEX",
    "MAIN_SCORES",
    "REPORT",
    "SEPARATING",
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
    "draw_confusions",
    "evaluate_image",
    "hausdorff95",
    "iou",
    "mae",
    "object_overlaps",
    "overlap_counts",
    "read_index",
    "score_classes",
    "score_directions",
    "score_mask",
    "score_objects",
    "score_values",
    "skeleton_counts",
    "value_errors",
    "write_page",
]
