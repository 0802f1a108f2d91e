"""What the engine can be told, each command declared once.

A command is one line of JSON on the engine's standard input; the key ``command`` names its type. What the
engine answers are the events of `napari_segtrain.runs.events`, one line each on its standard output.
Arrays never travel here: a command names files that both processes can open.
"""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, TypeAdapter, ValidationError

from napari_segtrain.config import Config, RunError
from napari_segtrain.runs.control import LabelChange, PreviewHint, StepRequest
from napari_segtrain.runs.event_values import Bounds

DataSpec = str | dict[str, Any]
"""A data folder, a file, or ``{"layers": [{"id": …, "image": spec, "labels": {target: spec}, …}]}``, to which
``"folder": …`` may add one."""


def _new_id() -> str:
    return uuid.uuid4().hex[:12]


class Command(Config):
    """Something the engine is asked to do."""

    def to_json(self) -> str:
        """Return the command as one line of JSON, without the line's end."""
        return self.model_dump_json()


class Train(Command):
    """Train a network. Refused while another job is active."""

    command: Literal["train"] = "train"
    job: str = Field(default_factory=_new_id)
    """Id that all events of this job carry."""
    config: dict[str, Any]
    """The experiment, as `ExperimentConfig.to_dict` gives it."""
    data: DataSpec | None = None
    """What to train on; None, only with `resume`, for what the run was trained on before."""
    project: str
    """Folder that holds the runs."""
    run_name: str | None = None
    """Name of the new run; chosen from the configuration when None."""
    resume: str | None = None
    """Folder or checkpoint of the run to go on with, instead of a new one. A pending run begins."""
    retry: bool = False
    """Train the run of `resume` from its begin, instead of going on; with its own configuration."""
    wait: bool = False
    """Wait for the end of a run that is active in the project, instead of being refused."""


class Predict(Command):
    """Apply a trained network. Refused while another job is active."""

    command: Literal["predict"] = "predict"
    job: str = Field(default_factory=_new_id)
    """Id that all events of this job carry."""
    model: str
    """A run folder or a checkpoint file."""
    data: DataSpec
    """Source specification of the image, or a file or folder."""
    output: DataSpec
    """Folder or Zarr store to write to."""
    targets: tuple[str, ...] = ()
    """Heads to predict; all when empty."""
    start: Bounds | None = None
    """First voxel of the block to predict, in array order (z,) y, x; None for the whole image."""
    stop: Bounds | None = None
    """One past its last voxel."""
    spacing: tuple[float, ...] | None = None
    """Size of a voxel on each spatial axis; that of the image's file when None."""
    inference: dict[str, Any] | None = None
    """The section `inference_config`; that of the run when None."""
    instances: bool = False
    """Separate instance targets into single objects."""
    device: str = "auto"
    """Where to compute, as in ``tr_setup.device``."""
    overwrite: bool = False
    """Replace a prediction that is at `output`; one of the same settings is continued otherwise."""
    keep_parts: bool = False
    """Keep what instances are made of beside them, so that they can be separated again."""


class PreviewTargets(Command):
    """Derive what a network would be taught in a region. Refused while another job is active."""

    command: Literal["preview_targets"] = "preview_targets"
    job: str = Field(default_factory=_new_id)
    """Id that all events of this job carry."""
    config: dict[str, Any]
    """The experiment, as `ExperimentConfig.to_dict` gives it."""
    data: DataSpec
    """Images and labels."""
    output: str
    """Folder for the arrays, which both processes can open."""
    hint: PreviewHint
    """What the user looks at."""


class PreviewAugmentation(Command):
    """Augment a patch a few times, as training would. Refused while another job is active."""

    command: Literal["preview_augmentation"] = "preview_augmentation"
    job: str = Field(default_factory=_new_id)
    """Id that all events of this job carry."""
    config: dict[str, Any]
    """The experiment, as `ExperimentConfig.to_dict` gives it."""
    data: DataSpec
    """Images and labels."""
    output: str
    """Folder for the arrays, which both processes can open."""
    hint: PreviewHint
    """What the user looks at."""
    number: int = 8
    """How many draws."""
    seed: int = 0
    """Another one gives other draws."""


class PreviewSplit(Command):
    """Decide what a training would use which part of the images for. Refused while another job is active."""

    command: Literal["preview_split"] = "preview_split"
    job: str = Field(default_factory=_new_id)
    """Id that all events of this job carry."""
    config: dict[str, Any]
    """The experiment, as `ExperimentConfig.to_dict` gives it."""
    data: DataSpec
    """Images and labels."""


class Diagnose(Command):
    """Ask the training doctor what speaks against a training. Refused while another job is active."""

    command: Literal["diagnose"] = "diagnose"
    job: str = Field(default_factory=_new_id)
    """Id that all events of this job carry."""
    config: dict[str, Any]
    """The experiment, as `ExperimentConfig.to_dict` gives it."""
    data: DataSpec
    """Images and labels."""


class LabelNext(Command):
    """Rank the regions that should be labelled next. Refused while another job is active."""

    command: Literal["label_next"] = "label_next"
    job: str = Field(default_factory=_new_id)
    """Id that all events of this job carry."""
    model: str
    """A run folder, also of a run in training, or a checkpoint file."""
    data: DataSpec
    """Images, and the labels they have."""
    targets: tuple[str, ...] = ()
    """Targets that count; all when empty."""
    number: int = 20
    """How many regions at most."""
    device: str = "auto"
    """Where to compute, as in ``tr_setup.device``."""


class StepThrough(Command):
    """Define a network and wait for `TakeStep`, until `Stop`. Refused while another job is active."""

    command: Literal["step_through"] = "step_through"
    job: str = Field(default_factory=_new_id)
    """Id that all events of this job carry."""
    config: dict[str, Any]
    """The experiment, as `ExperimentConfig.to_dict` gives it."""
    data: DataSpec
    """Images and labels."""
    output: str
    """Folder for arrays to look at, which both processes can open."""


class TakeStep(Command):
    """Ask something of the training that is stepped through; its answer is a `StepTaken`."""

    command: Literal["take_step"] = "take_step"
    job: str
    """The job that is meant: without effect when it has ended."""
    request: StepRequest
    """What is asked for."""


class Halt(Command):
    """Let what was asked of the training that is stepped through end early; the job goes on."""

    command: Literal["halt"] = "halt"
    job: str
    """The job that is meant."""


class RunGraph(Command):
    """Run a workflow graph; only nodes whose inputs changed since the graph before run again.

    Refused while another job is active.
    """

    command: Literal["run_graph"] = "run_graph"
    job: str = Field(default_factory=_new_id)
    """Id that all events of this job carry."""
    graph: dict[str, Any]
    """The graph, as `graph_to_dict` gives it."""
    show: tuple[tuple[str, str], ...] = ()
    """Node and output of each that is announced with a `NodeOutput`."""
    output: str
    """Folder for the arrays of these, which both processes can open."""
    only: tuple[str, ...] = ()
    """Nodes that are wanted, with what they need; all when empty."""
    again: bool = False
    """Run every node, whatever is known from before."""
    layers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Source specification of open image layers, by name."""
    data: dict[str, DataSpec] = Field(default_factory=dict)
    """What a data loader reads in the place of its folder, by the name of its node."""


class Pause(Command):
    """Let the job wait after the batch it is in."""

    command: Literal["pause"] = "pause"


class Resume(Command):
    """Let a paused job go on."""

    command: Literal["resume"] = "resume"


class Stop(Command):
    """End the job after the batch it is in, with a checkpoint; the engine stays."""

    command: Literal["stop"] = "stop"
    job: str | None = None
    """The job that is meant, so that a late Stop does not end the next one; None for whichever runs."""


class LabelsChanged(Command):
    """Labels were painted; their new values are in the shared arrays already."""

    command: Literal["labels_changed"] = "labels_changed"
    changes: tuple[LabelChange, ...]


class Preview(Command):
    """The user looks at a block now; previews predict it first."""

    command: Literal["preview"] = "preview"
    hint: PreviewHint | None
    """The block; None for nothing in particular."""


class Shutdown(Command):
    """End the job as `Stop` does, then the engine's process."""

    command: Literal["shutdown"] = "shutdown"


Job = (
    Train
    | Predict
    | PreviewTargets
    | PreviewAugmentation
    | PreviewSplit
    | Diagnose
    | LabelNext
    | StepThrough
    | RunGraph
)
"""A command that takes its time: one at a time, with an id that its events carry, and an end."""

AnyCommand = Job | TakeStep | Halt | Pause | Resume | Stop | LabelsChanged | Preview | Shutdown

_ADAPTER: TypeAdapter[AnyCommand] = TypeAdapter(Annotated[AnyCommand, Discriminator("command")])


class CommandError(RunError):
    """A line is not a command; `name` and `job` say whose line it was, as far as it can be told."""

    def __init__(self, message: str, name: str | None, job: str | None) -> None:
        super().__init__(message)
        self.name = name
        self.job = job


def parse_command(line: str | bytes) -> AnyCommand:
    """Read a command from a line of JSON.

    Raises
    ------
    CommandError
        When the line is not JSON, names no known command, or a value is not allowed.
    """
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        place = f" ({where})" if where else ""
        name, job = _whose(line)
        raise CommandError(
            f"not a command: {fault['msg']}{place}; the line is {line!r:.200}", name, job
        ) from None


def _whose(line: str | bytes) -> tuple[str | None, str | None]:
    try:
        values = json.loads(line)
    except ValueError:
        return None, None
    if not isinstance(values, dict):
        return None, None
    name, job = values.get("command"), values.get("job")
    return name if isinstance(name, str) else None, job if isinstance(job, str) else None
