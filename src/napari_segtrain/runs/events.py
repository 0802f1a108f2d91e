"""Everything that a run or the engine announces, each event declared once.

An event is one line of JSON: on the engine's standard output, and in the run's `events.jsonl`. The key
``event`` names its type. Numbers that are not finite are written as null, never as a NaN token.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, TypeAdapter, ValidationError

from napari_segtrain.config import Config, RunError, TargetKind

from .event_values import Bounds, DoubtfulRegion, FittingSize, Number, PatchPlace, StepPicture
from .finding import Finding
from .states import RunState


class Event(Config):
    """Something that happened, at a time, in a job."""

    time: float = Field(default_factory=time.time)
    """Seconds since 1970-01-01 UTC at which it happened."""
    job: str | None = None
    """The job it belongs to, by the id that the command gave; None in a run without the engine."""

    def to_json(self) -> str:
        """Return the event as one line of JSON, without the line's end."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, line: str | bytes) -> Self:
        """Read an event of this class, or, called on `Event` itself, of any type.

        Raises
        ------
        RunError
            When the line is not JSON, or not such an event.
        """
        try:
            event = _ADAPTER.validate_json(line)
        except ValidationError as error:
            raise RunError(f"not an event: {error.errors()[0]['msg']}; the line is {line!r:.120}") from None
        if not isinstance(event, cls):
            raise RunError(f"a {type(event).__name__} event, not {cls.__name__}: {line!r:.120}")
        return event


# ---------------------------------------------------------------------------------------- engine


class Ready(Event):
    """The engine has imported what it needs; a job that is sent now starts at once."""

    event: Literal["ready"] = "ready"
    pid: int
    """The engine's process."""
    seconds: float
    """How long the imports took."""
    versions: dict[str, str]
    """Versions of the libraries that decide the result, by name."""


class Refused(Event):
    """A command could not be followed; the engine goes on as before."""

    event: Literal["refused"] = "refused"
    command: str | None
    """Name of the command; None when the line was not a command at all."""
    message: str
    """What was wrong and what to do."""


class EngineDied(Event):
    """The engine's process ended without having been told to; made by the supervisor, not the engine."""

    event: Literal["engine_died"] = "engine_died"
    exit_code: int | None
    """Its exit code; None when a signal ended it."""
    signal: str | None
    """Name of the signal that ended it, such as ``"SIGKILL"``."""
    message: str
    """What happened and what to do, for the user."""
    stderr: tuple[str, ...] = ()
    """The last lines it wrote to its standard error."""
    run: str | None = None
    """Folder of the run that was marked failed because of it."""


# -------------------------------------------------------------------------------------- training


class StatusChanged(Event):
    """A run moved to another state, which is already in its `run.json`."""

    event: Literal["status_changed"] = "status_changed"
    status: RunState
    """The state it has now."""
    message: str = ""
    """Why, when there is something to say."""


class Waiting(Event):
    """The job waits for the end of another run of the project; announced about once a second."""

    event: Literal["waiting"] = "waiting"
    message: str
    """``A training run is already active``, with the run and its process."""
    seconds: float
    """How long it has waited."""


class RunStarted(Event):
    """A run has its folder and is about to train; data and network are known."""

    event: Literal["run_started"] = "run_started"
    run_id: str
    """Id of the run, unique anywhere."""
    name: str
    """Name of the run, which is that of its folder."""
    path: str
    """The run folder."""
    num_epochs: int
    """Epochs at the end of the run."""
    first_epoch: int = 1
    """The first epoch that will be trained; above 1 when the run is resumed."""
    steps_per_epoch: int | None = None
    """Optimizer steps in one epoch."""
    device: str = ""
    """Where it computes, such as ``"cpu"`` or ``"cuda:0"``."""
    batch: str = ""
    """Patches in one step of the optimizer, and what makes their number, in words."""
    parameters: int | None = None
    """Trainable numbers in the network."""
    heads: tuple[str, ...] = ()
    """Names of the network's outputs, in order."""
    foreground: tuple[str, ...] = ()
    """Those of them that are foreground against background."""
    kinds: dict[str, TargetKind] = Field(default_factory=dict)
    """What each primary target is, by its name; told from the labels where the experiment leaves it open."""
    smaller: FittingSize | None = None
    """What to train with instead, should the system end the process because memory runs out."""


class EpochStarted(Event):
    """Training of an epoch begins."""

    event: Literal["epoch_started"] = "epoch_started"
    epoch: int
    """Counted from 1."""
    num_epochs: int
    """Epochs at the end of the run."""


class BatchDone(Event):
    """One step of the optimizer is done."""

    event: Literal["batch_done"] = "batch_done"
    epoch: int
    """Counted from 1."""
    step: int
    """Steps since the start of the run, counted from 1."""
    loss: Number
    """The weighted sum of all losses."""
    parts: dict[str, Number] = Field(default_factory=dict)
    """Each loss by ``"<head>/<loss>"``, and each head's sum by ``"<head>"``, before the target's weight."""
    learning_rate: Number = None
    """Learning rate of this step."""


class EpochDone(Event):
    """An epoch is trained, and validated where it was due; its row is in `metrics.json`."""

    event: Literal["epoch_done"] = "epoch_done"
    epoch: int
    """Counted from 1."""
    num_epochs: int
    """Epochs at the end of the run."""
    row: dict[str, Number]
    """The row of `metrics.json`: ``train_loss``, ``val_loss``, ``val_<target>_dice``, …"""


class Progress(Event):
    """How far the job is, in words and as a fraction."""

    event: Literal["progress"] = "progress"
    fraction: float = Field(ge=0.0, le=1.0)
    """Part that is done, 0 to 1."""
    seconds_left: Number = None
    """Expected time to the end; None while it cannot be known."""
    text: str = ""
    """What is being done, such as ``"Epoch 3 of 50"``."""
    scoring: bool = False
    """Whether the training is over, and its network is being scored."""


class PreviewReady(Event):
    """A prediction of the network as it is now lies in shared files, ready to be shown."""

    event: Literal["preview_ready"] = "preview_ready"
    record: str
    """Id of the image (in napari: of the layer) it predicts."""
    head: str
    """The output of the network; with ``~part`` behind it, what instances can be made of, 0 … 1."""
    array: dict[str, Any]
    """Where it lies, as a source specification: ``{"kind": "memmap", "path": …, "shape": …, …}``."""
    start: Bounds
    """First voxel of the block that is new, in the image."""
    stop: Bounds
    """One past its last voxel."""
    epoch: int
    """Epoch the network was in; 0 before the first is done."""


class DebugPicture(Event):
    """A picture of image, ground truth and prediction of a validation patch is on the disk."""

    event: Literal["debug_picture"] = "debug_picture"
    path: str
    """The file: PNG, of volumes GIF. The next picture takes its place."""
    epoch: int
    """Epoch whose validation it shows, counted from 1."""


class LabelsApplied(Event):
    """Painted labels have reached the training: later batches use them."""

    event: Literal["labels_applied"] = "labels_applied"
    record: str
    """Id of the image whose labels changed."""
    target: str
    """The target they belong to."""
    start: Bounds
    """First voxel of the block that changed."""
    stop: Bounds
    """One past its last voxel."""


class Checkpoint(Event):
    """A checkpoint is complete on the disk."""

    event: Literal["checkpoint"] = "checkpoint"
    path: str
    """The file."""
    kind: Literal["best", "last", "numbered"]
    """Whether it is ``best.ckpt``, ``last.ckpt`` or that of an epoch."""
    epoch: int
    """Completed epochs it holds."""
    monitor: str | None = None
    """Name of the monitored value."""
    value: Number = None
    """The monitored value at that epoch."""


class Paused(Event):
    """The job waits, because somebody asked it to."""

    event: Literal["paused"] = "paused"


class Resumed(Event):
    """The job goes on after a pause."""

    event: Literal["resumed"] = "resumed"


class Warned(Event):
    """Something the user should know; the job goes on."""

    event: Literal["warned"] = "warned"
    message: str
    """What it is and what to do, for the user."""
    finding: Finding | None = None
    """What the training doctor found, with a remedy where there is one; None when it was not the doctor."""


class Diagnosed(Event):
    """The training doctor has looked at an experiment and its data; nothing was trained."""

    event: Literal["diagnosed"] = "diagnosed"
    findings: tuple[Finding, ...]
    """What it found, the worst first."""


class Scored(Event):
    """A part of the data is scored with the best weights; everything found is in the run's ``evaluation``."""

    event: Literal["scored"] = "scored"
    split: Literal["train", "val", "test"]
    """The part."""
    scores: dict[str, dict[str, Number]]
    """The main scores by name, by output."""
    images: int
    """How many images were looked at."""
    share: float = 1.0
    """Share of the part's voxels that was looked at."""
    path: str = ""
    """The file with all scores."""


class Finished(Event):
    """The end of a job; every job has exactly one, and it is its last event."""

    event: Literal["finished"] = "finished"
    status: Literal[RunState.COMPLETED, RunState.FAILED, RunState.INTERRUPTED]
    """How it ended."""
    reason: str
    """A `FinishReason`."""
    message: str = ""
    """What happened and what to do, for the user; empty when all went well."""
    path: str | None = None
    """The run folder, or what a prediction was written to."""
    traceback: str | None = None
    """Where a fault of the program lies; None for faults in what the user gave."""
    fitting: FittingSize | None = None
    """What to train with instead, after an end for lack of memory (or after the process was killed, which
    mostly is the same); None when nothing smaller would fit."""


# ------------------------------------------------------------------------------------ prediction


class PredictProgress(Event):
    """A part of the prediction is done."""

    event: Literal["predict_progress"] = "predict_progress"
    fraction: float = Field(ge=0.0, le=1.0)
    """Part that is done, 0 to 1."""
    seconds_left: Number = None
    """Expected time to the end; None while it cannot be known."""
    record: str | None = None
    """The image that is being predicted, when there are several."""


class PredictDone(Event):
    """One image is predicted and its results can be opened."""

    event: Literal["predict_done"] = "predict_done"
    record: str | None = None
    """Id of the image, or of the layer."""
    outputs: dict[str, dict[str, Any]]
    """Source specification of each result, by head (instances by ``"<target>_instances"``)."""
    start: Bounds | None = None
    """First voxel of the block that was predicted, in the image; None for all of it."""
    seconds: float
    """How long it took."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What the prediction was made with: checkpoint, weights, `inference_config`, versions, date."""
    limits: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Of results that are scaled to 0 … 255, the numbers that these stand for."""


class TargetsReady(Event):
    """The targets of a region are derived and lie in shared files; nothing was trained."""

    event: Literal["targets_ready"] = "targets_ready"
    record: str
    """Id of the image."""
    start: Bounds
    """First voxel of the region, in the image."""
    stop: Bounds
    """One past its last voxel."""
    spacing: tuple[float, ...]
    """Size of a voxel in array order."""
    heads: dict[str, dict[str, Any]]
    """What each output would be taught: as what it is described to a network (see `targets.Head`)."""
    values: dict[str, dict[str, Any]]
    """Source specification of each target, ``(C, *spatial)``, by head."""
    valid: dict[str, dict[str, Any]]
    """Source specification of where each is known, ``(*spatial)`` bool, by head."""


class AugmentationReady(Event):
    """A patch and random draws of its augmentation lie in shared files; nothing was trained."""

    event: Literal["augmentation_ready"] = "augmentation_ready"
    record: str
    """Id of the image."""
    start: Bounds
    """First voxel of the patch, in the image; negative where the image is smaller than the patch."""
    stop: Bounds
    """One past its last voxel."""
    image: dict[str, Any]
    """Source specification of the images ``(N, C, *patch)``, normalised; the first is the patch as it is."""
    labels: dict[str, dict[str, Any]]
    """Source specification of the labels ``(N, *patch)`` or ``(N, C, *patch)``, by target."""
    words: tuple[tuple[str, ...], ...]
    """For each of the N what was done, a few words for each change."""


class SplitReady(Event):
    """It is known which parts of the images a training would use for what; nothing was trained."""

    event: Literal["split_ready"] = "split_ready"
    split: dict[str, list[dict[str, Any]]]
    """Boxes of images by part: the content of a ``split.json``."""
    words: tuple[str, ...]
    """The same for the user, a line each."""


class RegionsRanked(Event):
    """It is known which regions should be labelled next."""

    event: Literal["regions_ranked"] = "regions_ranked"
    regions: tuple[DoubtfulRegion, ...]
    """The regions, best first."""
    epoch: int | None = None
    """Epoch of the network that was asked; None where that is not known."""
    words: str = ""
    """Why there are fewer than were asked for; empty when there are not."""


# ----------------------------------------------------------------------------- training by steps


class StepTaken(Event):
    """A training that is stepped through has answered a request; it waits for the next one."""

    event: Literal["step_taken"] = "step_taken"
    action: str
    """What was asked for (see `StepRequest`), or ``"define_model"`` when there is something to ask for."""
    next: tuple[str, ...] = ()
    """What can be asked for now; the next step, where one is legal, is the first."""
    words: str = ""
    """What was done, or why not, for the user."""
    refused: bool = False
    """Whether it was not done; nothing has changed then."""
    epoch: int = 0
    """The epoch, from 0."""
    batch: int = 0
    """The batch in the epoch, from 0."""
    batches: int = 0
    """Batches of an epoch."""
    step: int = 0
    """Steps of the optimizer so far."""
    loss: Number = None
    """Loss of the batch, None while there is none."""
    norm: Number = None
    """Norm of the gradient before clipping, None while there is none."""
    learning_rate: Number = None
    """Learning rate of the next step, or of the step that was taken."""
    stages: tuple[str, ...] = ()
    """Stages of the network that can be looked at."""
    patches: tuple[PatchPlace, ...] = ()
    """Where the patches of the batch come from, before they were augmented."""
    spacing: tuple[float, ...] = ()
    """Size of a voxel in array order."""
    unit: str = "pixel"
    """Unit of `spacing`."""
    pictures: tuple[StepPicture, ...] = ()
    """What can be looked at; of a group that is named here nothing else is current any more."""


# ------------------------------------------------------------------------------ workflow graphs


class NodeStatus(Event):
    """A node of a workflow graph is somewhere else, or farther."""

    event: Literal["node_status"] = "node_status"
    node: str
    """Its name."""
    status: Literal["waiting", "running", "done", "cached", "skipped", "failed", "cancelled"]
    """``cached``: nothing had to be done for it; ``skipped``: nobody asked for it."""
    fraction: Number = None
    """Finished share of its work, 0 … 1; None where that is not known."""
    message: str = ""
    """What it does, or why it failed, for the user."""
    seconds: float = 0.0
    """How long it took, of one that is done."""


class NodeOutput(Event):
    """What an output of a node gave lies in shared files."""

    event: Literal["node_output"] = "node_output"
    node: str
    """Its name."""
    port: str
    """Name of the output."""
    arrays: dict[str, dict[str, Any]]
    """Source specification of each array ``(*spatial)`` or ``(C, *spatial)``, by a name for its layer; of a
    batch with its patches in front."""
    told: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By the same names, where they are known: ``record``, the image that the array lies in, the ``node``
    that gave it, its ``start`` there, ``spacing`` and ``unit``; ``shown_as``, ``"labels"`` or ``"image"``;
    ``stacked``, true of patches one behind the other, of which the first lies there."""
    numbers: dict[str, Any] = Field(default_factory=dict)
    """What is not an array, such as scores, as plain values."""


AnyEvent = (
    Ready | Refused | EngineDied | StatusChanged | Waiting | RunStarted | EpochStarted | BatchDone | EpochDone
    | Progress | PreviewReady | DebugPicture | LabelsApplied | Checkpoint | Paused | Resumed | Warned
    | Diagnosed | Scored | Finished | PredictProgress | PredictDone | TargetsReady | AugmentationReady
    | SplitReady | RegionsRanked | StepTaken | NodeStatus | NodeOutput
)  # fmt: skip

_ADAPTER: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Discriminator("event")])

Emit = Callable[[Event], None]
"""What a job gets to announce its events with; safe to call from any thread, never raises."""


def ignore(event: Event) -> None:
    """Take an event and tell nobody: the `Emit` of a caller who does not listen."""
