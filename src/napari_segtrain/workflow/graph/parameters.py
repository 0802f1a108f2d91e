"""The parameters of nodes: keys of the experiment, each at the node that it is about.

In a training graph every key of the experiment is at exactly one node, so that graph and experiment are
translated into each other key by key. `of` takes title, description and bounds from the schema.
"""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import ValidationError, model_validator

from napari_segtrain.config import (
    AuxiliaryTask,
    Config,
    DatasetConfig,
    ExperimentConfig,
    InferenceConfig,
    LossConfig,
    NetworkConfig,
    Optimizer,
    Precision,
    Schedule,
)
from napari_segtrain.config.fields import key
from napari_segtrain.config.targets import loss_list
from napari_segtrain.config.validation import describe_errors

from .ports import GraphError

PATHS = ("data", "image", "config", "weights", "run", "project", "save_to")
"""Parameters that name files and folders."""
_SECTIONS = {field.alias or name: field for name, field in ExperimentConfig.model_fields.items()}


def of(section: str, name: str = "", description: str = "") -> Any:
    """Declare a parameter that is a key of the experiment.

    Parameters
    ----------
    section
        Section of the experiment, as the YAML file calls it.
    name
        The key; empty for the section as a whole.
    description
        For a section, which has none of its own.
    """
    field = _SECTIONS[section]
    if name:
        kind: Any = field.annotation
        field = kind.model_fields[name]
    declared = deepcopy(field)
    declared.alias = declared.validation_alias = declared.serialization_alias = None
    extra = declared.json_schema_extra if isinstance(declared.json_schema_extra, dict) else {}
    declared.description = description or declared.description
    declared.json_schema_extra = {**extra, "section": section, "key": name}
    return declared


def asked(name: str) -> Any:
    """Declare a parameter that is a key of `inference_config`, and empty where the run's own value counts."""
    declared = of("inference_config", name)
    declared.default = None
    declared.description = re.sub(r" Empty: [^.]*\.", "", declared.description) + " Empty: as in the run."
    return declared


class Parameters(Config):
    """Parameters of a node.

    Attributes
    ----------
    section
        Section of the experiment that inherited keys belong to; empty when none is inherited.
    """

    section: ClassVar[str] = ""

    @classmethod
    def places(cls) -> dict[str, tuple[str, str]]:
        """Return section and key (empty: the whole section) of each parameter that the experiment has too."""
        found = {}
        for name, field in cls.model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and "section" in extra:
                found[name] = (str(extra["section"]), str(extra["key"]))
            elif cls.section and name in _keys(cls.section):
                found[name] = (cls.section, name)
        return found

    def to_sections(self) -> dict[str, Any]:
        """Return what the parameters say of the experiment, as nested plain values by section."""
        values, sections = self.to_dict(), dict[str, Any]()
        for name, (section, part) in self.places().items():
            if part:
                sections.setdefault(section, {})[part] = values[name]
            else:
                sections[section] = values[name]
        return sections

    @classmethod
    def of_experiment(cls, experiment: ExperimentConfig, **others: Any) -> Self:
        """Return the parameters that an experiment says; `others` are those that it has no key for."""
        values = experiment.to_dict()
        said = {
            name: values[section][part] if part else values[section]
            for name, (section, part) in cls.places().items()
        }
        return cls.model_validate({**said, **others})

    def at_home(self) -> Self:
        """Return them with the home folder where a path begins with ``~``."""
        given = {name: Path(path) for name in PATHS if (path := getattr(self, name, None)) is not None}
        changes = {n: str(path.expanduser()) for n, path in given.items() if path.parts[:1] == ("~",)}
        return self.replace(**changes) if changes else self

    @model_validator(mode="after")
    def _as_the_experiment_checks(self) -> Self:
        """Refuse what the experiment's own validators refuse."""
        faults = []
        for section, values in self.to_sections().items():
            kind: Any = _SECTIONS[section].annotation
            if isinstance(kind, type) and issubclass(kind, Config):
                try:
                    kind.model_validate(values)
                except ValidationError as error:
                    faults += describe_errors(error, kind)
        if faults:
            raise ValueError("\n".join(faults))
        return self


def _keys(section: str) -> dict[str, Any]:
    kind: Any = _SECTIONS[section].annotation
    return dict(kind.model_fields)


class NoParameters(Parameters):
    """A node without parameters."""


class _Data(Parameters):
    data: str | None = key(
        None,
        "Data",
        "Folder with images/ and labels/, or a folder of layers that napari saved. Empty: not chosen yet.",
        level="common",
    )
    layers: tuple[str, ...] = key(
        tuple,
        "Layers",
        "Image layers that are open in napari, in the place of a folder. What is painted for them is on "
        "the layers <image>_<target>, or on those that the targets name.",
        level="common",
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.data is not None and self.layers:
            raise ValueError("data and layers are both given: give a folder, or layers of napari")
        return self


class DataLoaderParameters(DatasetConfig, _Data):
    """What is trained on, and how patches are taken from it."""

    section: ClassVar[str] = "dataset_config"

    patch_size: tuple[int, ...] | None = of("tr_config", "patch_size")
    batch_size: int | None = of("tr_config", "batch_size")
    steps_per_epoch: int | None = of("tr_config", "steps_per_epoch")
    val_steps: int | None = of("tr_config", "val_steps")
    train_split: float = of("tr_setup", "train_split")
    folds: int | None = of("tr_setup", "folds")
    fold: int = of("tr_setup", "fold")
    seed: int = of("tr_setup", "seed")
    num_workers: int | None = of("tr_setup", "num_workers")
    auxiliary_tasks: dict[str, AuxiliaryTask] = of(
        "auxiliary_tasks", description="Targets that are derived from a painted one, by name."
    )


class ImageLayerParameters(Parameters):
    """An image."""

    image: str | None = key(
        None,
        "Image",
        "Name of an image layer that is open in napari, or path of an image, a Zarr array or a folder of "
        "images. Empty: not chosen yet.",
        level="common",
    )


class NetworkParameters(NetworkConfig, Parameters):
    """A network, and the weights that it begins with."""

    section: ClassVar[str] = "model_config"

    weights: str | None = key(
        None,
        "Weights",
        "Run folder or checkpoint whose weights the network begins with; where nothing trains it, its plan "
        "and targets come from there too. Empty: new weights, to be trained.",
        level="common",
    )


class UNetParameters(NetworkParameters):
    """A U-Net, and the weights that it begins with."""

    architecture: Literal["unet"] = key("unet", "Architecture", "A U-Net with a residual encoder.")


class VNetParameters(NetworkParameters):
    """A V-Net, and the weights that it begins with."""

    architecture: Literal["vnet"] = key(
        "vnet", "Architecture", "A V-Net (Milletari et al. 2016), residual on both sides."
    )


class NetworkFileParameters(Parameters):
    """A network as a file describes it."""

    config: str | None = key(
        None,
        "Configuration",
        "YAML file of an experiment; its section model_config is built. Empty: not chosen yet.",
        level="common",
    )
    weights: str | None = key(
        None,
        "Weights",
        "Run folder or checkpoint whose weights the network gets. Empty: those that the file names, else new "
        "weights, to be trained.",
    )

    def chosen(self) -> str:
        """Return the file.

        Raises
        ------
        GraphError
            When none is chosen.
        """
        if self.config is None:
            raise GraphError("Parameter 'config' is not set: give the YAML file of an experiment")
        return self.config


class LossParameters(Parameters):
    """What is minimised."""

    losses: tuple[LossConfig, ...] = key(
        tuple,
        "Losses",
        "Terms of the loss of every target. Empty: as each target says, else the default of its kind.",
        level="common",
    )
    loss_on_label_only: bool = of("tr_config", "loss_on_label_only")

    @model_validator(mode="before")
    @classmethod
    def _names_are_losses(cls, values: Any) -> Any:
        if isinstance(values, dict) and "losses" in values:
            return values | {"losses": loss_list(values["losses"])}
        return values


class OptimizerParameters(Parameters):
    """How the weights change."""

    optimizer: Optimizer = of("tr_config", "optimizer")
    scheduler: Schedule = of("tr_config", "scheduler")


class TrainerParameters(Parameters):
    """A training from its start to a finished run."""

    project: str = key(
        "segtrain_project",
        "Project",
        "Folder that gets the run, in runs/. It is made when missing.",
        level="common",
    )
    model_name: str = of("tr_setup", "model_name")
    run_name: str | None = of("tr_setup", "run_name")
    num_epochs: int = of("tr_config", "num_epochs")
    max_time: float | None = of("tr_config", "max_time")
    device: str = of("tr_setup", "device")
    devices: int | None = of("tr_setup", "devices")
    num_nodes: int = of("tr_setup", "num_nodes")
    strategy: Literal["auto", "ddp"] = of("tr_setup", "strategy")
    precision: Precision = of("tr_setup", "precision")
    compile: Literal["auto", "on", "off"] = of("tr_setup", "compile")
    micro_batch: int | None = of("tr_config", "micro_batch")
    gradient_checkpointing: bool = of("tr_config", "gradient_checkpointing")
    gradient_clip: float = of("tr_config", "gradient_clip")
    accumulate: int = of("tr_config", "accumulate")
    ema_decay: float = of("tr_config", "ema_decay")
    val_every: int = of("tr_config", "val_every")
    monitor: str = of("tr_config", "monitor")
    mode: Literal["min", "max"] = of("tr_config", "mode")
    early_stopping: int = of("tr_config", "early_stopping")
    keep_checkpoints: int = of("tr_config", "keep_checkpoints")
    debug_pictures: int = of("tr_config", "debug_pictures")
    keep_labels: bool = of("tr_config", "keep_labels")
    keep_labels_up_to: float = of("tr_config", "keep_labels_up_to")
    evaluate_after: Literal["all", "held_out", "none"] = of("tr_config", "evaluate_after")
    evaluate_patches: int | None = of("tr_config", "evaluate_patches")
    inference_config: InferenceConfig = of(
        "inference_config", description="How the run predicts when nothing else is said."
    )


class CheckpointParameters(Parameters):
    """A network that was trained before."""

    run: str | None = key(
        None, "Run", "Run folder, or a checkpoint file. Empty: not chosen yet.", level="common"
    )
    checkpoint: Literal["best", "last"] = key(
        "best", "Checkpoint", "Which weights of a run; a checkpoint file has but one.", level="common"
    )

    def chosen(self) -> tuple[str, Literal["best", "last"]]:
        """Return the run, and which of its checkpoints.

        Raises
        ------
        GraphError
            When no run is chosen.
        """
        if self.run is None:
            raise GraphError("Parameter 'run' is not set: give a run folder or checkpoint")
        return self.run, self.checkpoint


class PredictorParameters(Parameters):
    """How a network predicts; what is empty is as the network's run says."""

    device: str = of("tr_setup", "device")
    overlap: float | None = asked("overlap")
    tile_size: tuple[int, ...] | None = asked("tile_size")
    blending: Literal["gaussian", "constant"] | None = asked("blending")
    mirroring: bool | None = asked("mirroring")
    batch_size: int | None = asked("batch_size")
    skip_empty: bool | None = asked("skip_empty")
    resample: bool | None = asked("resample")
    strategy: Literal["auto", "standard", "mixed", "distributed"] | None = asked("strategy")
    targets: tuple[str, ...] | None = asked("targets")
    output: Literal["labels", "probabilities", "uint8"] | None = asked("output")
    instances: bool | None = asked("instances")
    threshold: float | None = asked("threshold")
    seed_threshold: float | None = asked("seed_threshold")
    seed_distance: float | None = asked("seed_distance")
    min_size: int | None = asked("min_size")
    save_to: str | None = key(
        None, "Save to", "Folder that gets the predictions as files. Empty: none are written.", level="common"
    )

    def to_sections(self) -> dict[str, Any]:
        """Return what the parameters say of the experiment; nothing of what is as in the run."""
        sections = super().to_sections()
        said = {name: value for name, value in sections["inference_config"].items() if value is not None}
        return sections | {"inference_config": said}


class RepeatParameters(Parameters):
    """How often the steps before a node are taken."""

    num_epochs: int = of("tr_config", "num_epochs")
    rounds: int | None = key(
        None,
        "Rounds",
        "How often the steps are taken, with the next batch each time. Empty: once for every batch of the "
        "epochs.",
        unit="rounds",
        ge=1,
        le=1_000_000_000,
        level="common",
    )


class InitializeParameters(OptimizerParameters):
    """Step 1: what changes the weights, and where they are."""

    device: str = of("tr_setup", "device")
    precision: Precision = of("tr_setup", "precision")
    compile: Literal["auto", "on", "off"] = of("tr_setup", "compile")


class BatchParameters(Parameters):
    """Step 2: which batch."""

    batch_index: int = key(
        0,
        "Batch",
        "Position in the epoch, from 0. A repetition begins here and goes on from epoch to epoch.",
        ge=0,
        level="common",
    )


class BackwardParameters(Parameters):
    """Step 6: what happens to gradients that are there."""

    accumulate: bool = key(
        False, "Add gradients", "Add to the gradients that are there instead of refusing to.", level="common"
    )


class StepParameters(Parameters):
    """Step 7: the limit of the gradient."""

    gradient_clip: float = of("tr_config", "gradient_clip")
