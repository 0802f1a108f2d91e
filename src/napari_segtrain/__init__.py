"""Paint labels in napari and get a trained network back.

`train` runs an experiment, `predict` applies a run or checkpoint to an array, `evaluate` scores a run.
Everything is loaded at first use: importing this package imports neither torch nor napari.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lazy_names import lazy

if TYPE_CHECKING:
    from .config import ExperimentConfig, SegtrainError, load_config
    from .workflow import evaluate, predict, train

__version__ = "0.1.0"

__all__ = [
    "ExperimentConfig",
    "SegtrainError",
    "__version__",
    "evaluate",
    "load_config",
    "predict",
    "train",
]

_ROOMS = {
    "ExperimentConfig": "config",
    "SegtrainError": "config",
    "load_config": "config",
    "evaluate": "workflow",
    "predict": "workflow",
    "train": "workflow",
}

__getattr__ = lazy(__name__, _ROOMS)


def __dir__() -> list[str]:
    return sorted(__all__)
