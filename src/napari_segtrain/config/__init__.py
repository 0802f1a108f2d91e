"""The experiment: one frozen value that is the YAML file, the command-line flags and the forms."""

from .augmentation import AugmentationConfig
from .auxiliary import (
    AuxiliaryTask,
    DistanceTransformTask,
    FlowsTask,
    InplaneDirectionTask,
    NearestComponentTask,
    StructureTensorTask,
    SurfaceNormalsTask,
)
from .base import Config
from .dataset import (
    DatasetConfig,
    MinMax,
    NoNormalisation,
    NormalisationConfig,
    Percentile,
    ZScore,
)
from .errors import (
    CancelledError,
    ConfigError,
    DataError,
    RunError,
    SegtrainError,
    TrainingError,
    did_you_mean,
    list_sentences,
    shapes_differ,
    wrong_axes,
)
from .experiment import ExperimentConfig
from .facts import DataFacts, TargetFacts
from .files import ExperimentLike, as_experiment, dump_config, load_config
from .inference import InferenceConfig
from .model import SHORT_LOSSES, Activation, Interpolation, LossConfig, NetworkConfig
from .optimizers import (
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    NAdam,
    Optimizer,
    Poly,
    RAdam,
    Schedule,
    Step,
    WarmupCosine,
)
from .setup import Precision, TrSetup
from .targets import TargetConfig, TargetKind
from .training import TrConfig

__all__ = [
    "SGD",
    "SHORT_LOSSES",
    "Activation",
    "Adam",
    "AdamW",
    "AugmentationConfig",
    "AuxiliaryTask",
    "CancelledError",
    "Config",
    "ConfigError",
    "Constant",
    "Cosine",
    "DataError",
    "DataFacts",
    "DatasetConfig",
    "DistanceTransformTask",
    "ExperimentConfig",
    "ExperimentLike",
    "FlowsTask",
    "InferenceConfig",
    "InplaneDirectionTask",
    "Interpolation",
    "LossConfig",
    "MinMax",
    "NAdam",
    "NearestComponentTask",
    "NetworkConfig",
    "NoNormalisation",
    "NormalisationConfig",
    "Optimizer",
    "Percentile",
    "Poly",
    "Precision",
    "RAdam",
    "RunError",
    "Schedule",
    "SegtrainError",
    "Step",
    "StructureTensorTask",
    "SurfaceNormalsTask",
    "TargetConfig",
    "TargetFacts",
    "TargetKind",
    "TrConfig",
    "TrSetup",
    "TrainingError",
    "WarmupCosine",
    "ZScore",
    "as_experiment",
    "did_you_mean",
    "dump_config",
    "list_sentences",
    "load_config",
    "shapes_differ",
    "wrong_axes",
]
