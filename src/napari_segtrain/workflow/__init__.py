"""Puts the rooms together: training from data to run, prediction, scores, the demo.

Names load with their first use: `workflow.graph`, which the viewer's process uses, loads no torch.
"""

from typing import TYPE_CHECKING

from ..lazy_names import lazy

if TYPE_CHECKING:
    from napari_segtrain.training import complete_targets, resolve

    from .augmentation_preview import (
        AugmentationPreview,
        AugmentedPatch,
        preview_augmentation,
        share_augmentation_preview,
        write_augmentation_preview,
    )
    from .demonstration import DemoResult, demo
    from .doctor import diagnose
    from .prediction import Written, load_predictor, predict, predict_files, predict_layer
    from .reviewing import Review, review
    from .run import RunResult, resume, retry, train
    from .run_end import RunFailedError
    from .scoring import Evaluation, evaluate, write_report
    from .split_preview import preview_split
    from .stepping import StepSession, step_through
    from .suggestions import Suggested, label_next, rank_layers
    from .target_preview import (
        DerivedTarget,
        TargetPreview,
        preview_targets,
        share_target_preview,
        write_target_preview,
    )

_FILES = {
    "augmentation_preview": (
        "AugmentationPreview",
        "AugmentedPatch",
        "preview_augmentation",
        "share_augmentation_preview",
        "write_augmentation_preview",
    ),
    "demonstration": ("DemoResult", "demo"),
    "doctor": ("diagnose",),
    "prediction": ("Written", "load_predictor", "predict", "predict_files", "predict_layer"),
    "reviewing": ("Review", "review"),
    "run": ("RunResult", "resume", "retry", "train"),
    "run_end": ("RunFailedError",),
    "scoring": ("Evaluation", "evaluate", "write_report"),
    "split_preview": ("preview_split",),
    "stepping": ("StepSession", "step_through"),
    "suggestions": ("Suggested", "label_next", "rank_layers"),
    "target_preview": (
        "DerivedTarget",
        "TargetPreview",
        "preview_targets",
        "share_target_preview",
        "write_target_preview",
    ),
    ".training": ("complete_targets", "resolve"),
}
"""Module, relative to this room, and the public names that it has; none is called as its module."""

__getattr__ = lazy(__name__, {name: file for file, names in _FILES.items() for name in names})


__all__ = [
    "AugmentationPreview",
    "AugmentedPatch",
    "DemoResult",
    "DerivedTarget",
    "Evaluation",
    "Review",
    "RunFailedError",
    "RunResult",
    "StepSession",
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
    "step_through",
    "train",
    "write_augmentation_preview",
    "write_report",
    "write_target_preview",
]
