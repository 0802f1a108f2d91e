"""Training: the seven steps, the Lightning module, data, trainer, callbacks, and the experiment."""

from .building import (
    complete_targets,
    journey_of,
    loss_of,
    network_of,
    planned_split,
    prepare_data,
    resolve_again,
)
from .callbacks import Preview
from .data import SegtrainDataModule
from .debug_picture import DebugPatch, ShownHead, render
from .ema import AveragedWeights
from .errors import NonFiniteLossError, OutOfMemoryError, StopRequested
from .experiment import NEEDED, Experiment
from .fit import FitResult, device_explained, refuse_too_large
from .given import NOTHING, Given
from .metrics import build_metrics, metric_names
from .module import SegmentationModule
from .monitor import Monitor
from .named_loss import NamedLoss
from .optimizers import build_optimizer
from .randomness import seed_everything
from .resolve import ResolvedExperiment, resolve, too_late
from .schedules import Journey, Stopwatch
from .steps import (
    backward_pass,
    calculate_loss,
    define_model,
    forward_pass,
    initialize_optimizer,
    optimizer_step,
    prepare_batch,
    zero_gradients,
)
from .taken_apart import Parts, take_apart
from .team import ALONE, Team, connect
from .trainer import build_callbacks, build_trainer
from .values import (
    Batch,
    Gradients,
    LossValue,
    Optimization,
    Prediction,
    StepInfo,
    StepOrderError,
)

__all__ = [
    "ALONE",
    "NEEDED",
    "NOTHING",
    "AveragedWeights",
    "Batch",
    "DebugPatch",
    "Experiment",
    "FitResult",
    "Given",
    "Gradients",
    "Journey",
    "LossValue",
    "Monitor",
    "NamedLoss",
    "NonFiniteLossError",
    "Optimization",
    "OutOfMemoryError",
    "Parts",
    "Prediction",
    "Preview",
    "ResolvedExperiment",
    "SegmentationModule",
    "SegtrainDataModule",
    "ShownHead",
    "StepInfo",
    "StepOrderError",
    "StopRequested",
    "Stopwatch",
    "Team",
    "backward_pass",
    "build_callbacks",
    "build_metrics",
    "build_optimizer",
    "build_trainer",
    "calculate_loss",
    "complete_targets",
    "connect",
    "define_model",
    "device_explained",
    "forward_pass",
    "initialize_optimizer",
    "journey_of",
    "loss_of",
    "metric_names",
    "network_of",
    "optimizer_step",
    "planned_split",
    "prepare_batch",
    "prepare_data",
    "refuse_too_large",
    "render",
    "resolve",
    "resolve_again",
    "seed_everything",
    "take_apart",
    "too_late",
    "zero_gradients",
]
