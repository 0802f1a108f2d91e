"""Puts the rooms together: training from data to run, prediction, scores, the demo."""

from napari_segtrain.training import resolve

from .demo import DemoResult, demo
from .prediction import Written, load_predictor, predict, predict_files, predict_layer
from .review import Review, complete_targets, review
from .run import RunFailedError, RunResult, resume, train
from .scoring import Evaluation, evaluate

__all__ = [
    "DemoResult",
    "Evaluation",
    "Review",
    "RunFailedError",
    "RunResult",
    "Written",
    "complete_targets",
    "demo",
    "evaluate",
    "load_predictor",
    "predict",
    "predict_files",
    "predict_layer",
    "resolve",
    "resume",
    "review",
    "train",
]
