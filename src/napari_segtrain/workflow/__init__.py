"""Puts the rooms together: training from data to run, prediction, scores, the demo."""

from napari_segtrain.training import resolve

from .augmentation_preview import (
    AugmentationPreview,
    AugmentedPatch,
    preview_augmentation,
    share_augmentation_preview,
    write_augmentation_preview,
)
from .demo import DemoResult, demo
from .doctor import diagnose
from .label_next import Suggested, label_next, rank_layers
from .prediction import Written, load_predictor, predict, predict_files, predict_layer
from .review import Review, complete_targets, review
from .run import RunFailedError, RunResult, resume, retry, train
from .scoring import Evaluation, evaluate, write_report
from .split_preview import preview_split
from .target_preview import (
    DerivedTarget,
    TargetPreview,
    preview_targets,
    share_target_preview,
    write_target_preview,
)

__all__ = [
    "AugmentationPreview",
    "AugmentedPatch",
    "DemoResult",
    "DerivedTarget",
    "Evaluation",
    "Review",
    "RunFailedError",
    "RunResult",
    "Suggested",
    "TargetPreview",
    "Written",
    "complete_targets",
    "demo",
    "diagnose",
    "evaluate",
    "label_next",
    "load_predictor",
    "predict",
    "predict_files",
    "predict_layer",
    "preview_augmentation",
    "preview_split",
    "preview_targets",
    "rank_layers",
    "resolve",
    "resume",
    "retry",
    "review",
    "share_augmentation_preview",
    "share_target_preview",
    "train",
    "write_augmentation_preview",
    "write_report",
    "write_target_preview",
]
