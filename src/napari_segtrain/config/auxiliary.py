"""Auxiliary tasks: targets that are derived from a primary target on the fly and need no files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, field_validator

from .base import Config
from .errors import did_you_mean
from .fields import key
from .model import Interpolation, LossConfig
from .targets import TargetConfig, loss_list


class _AuxiliaryTask(Config):
    reach: ClassVar[str | None] = None
    """The key that says how far from a surface the task looks, where it has one."""

    source_target: str = key(
        ...,
        "Source target",
        "The primary target whose labels this task is derived from.",
        level="common",
    )
    loss_weight: float = key(1.0, "Weight", "Factor of this task in the total loss.", ge=0.0, level="common")
    losses: tuple[LossConfig, ...] = key(
        tuple, "Losses", "The terms of this task's loss. Empty: the default of the task."
    )
    out_channels: int | None = key(
        None,
        "Output channels",
        "Follows from the task and the dimension; another number is refused.",
        unit="channels",
        ge=1,
        le=64,
    )
    ds_interpolation: Interpolation = key(
        "linear", "Coarse targets", "How the derived target is made smaller for deep supervision."
    )

    @field_validator("losses", mode="before")
    @classmethod
    def _names_are_losses(cls, value: Any) -> Any:
        return loss_list(value)

    def within(self, length: float) -> Self:
        """Return the task with `length`, in the units of the spacing, for a reach that was left empty."""
        if self.reach is None or getattr(self, self.reach) is not None:
            return self
        return self.replace(**{self.reach: length})


class DistanceTransformTask(_AuxiliaryTask):
    """Distance to the source target's surface, in the units of the spacing."""

    reach: ClassVar[str | None] = "clip"
    type: Literal["distance_transform"] = "distance_transform"
    distance_type: Literal["signed", "inside", "outside"] = key(
        "signed",
        "Distance",
        "signed: negative inside, positive outside. inside or outside: zero on the other side.",
        level="common",
    )
    clip: float | None = key(
        None,
        "Farthest distance",
        "Distances are cut off here. Empty: a quarter of the patch's smallest edge.",
        unit="physical units of the spacing",
        gt=0.0,
    )


class SurfaceNormalsTask(_AuxiliaryTask):
    """Outward unit normals of the source target's surface, components in array order."""

    reach: ClassVar[str | None] = "band"
    type: Literal["surface_normals"] = "surface_normals"
    smoothing: float = key(
        1.0,
        "Smoothing",
        "Standard deviation of the gaussian that the distance is smoothed with before its gradient is taken.",
        unit="px",
        ge=0.0,
        le=10.0,
    )
    band: float | None = key(
        None,
        "Band",
        "Normals are learned this close to the surface. Empty: a quarter of the patch's smallest edge.",
        unit="physical units of the spacing",
        gt=0.0,
    )


class NearestComponentTask(_AuxiliaryTask):
    """Vector from every voxel to the nearest component of the source target, zero inside components."""

    reach: ClassVar[str | None] = "band"
    type: Literal["nearest_component"] = "nearest_component"
    band: float | None = key(
        None,
        "Band",
        "Vectors are learned this close to a component. Empty: a quarter of the patch's smallest edge.",
        unit="physical units of the spacing",
        gt=0.0,
    )


class _TensorTask(_AuxiliaryTask):
    compute_from: Literal["sdt", "binary"] = key(
        "sdt",
        "Computed from",
        "sdt: the signed distance, whose slopes are known far from the surface too. binary: the foreground "
        "mask, whose slopes are at its edge.",
        level="common",
    )
    grad_sigma: float = key(
        1.0,
        "Gradient smoothing",
        "Standard deviation of the gaussian that the field is smoothed with before its gradient is taken.",
        unit="px",
        ge=0.0,
        le=10.0,
    )
    tensor_sigma: float = key(
        2.0,
        "Neighbourhood",
        "Standard deviation of the gaussian weights with which the neighbourhood's gradients count.",
        unit="px",
        ge=0.0,
        le=10.0,
    )


class StructureTensorTask(_TensorTask):
    """Structure tensor of the source target: in which directions its surface runs nearby, and how much."""

    type: Literal["structure_tensor"] = "structure_tensor"


class InplaneDirectionTask(_TensorTask):
    """Direction in which the source target's surface bends least: along a fibre, or in a sheet."""

    type: Literal["inplane_direction"] = "inplane_direction"
    ds_interpolation: Interpolation = key(
        "nearest",
        "Coarse targets",
        "How the derived target is made smaller for deep supervision: only nearest, for directions without a "
        "sign have no mean.",
    )

    @field_validator("ds_interpolation")
    @classmethod
    def _no_mean(cls, value: Interpolation) -> Interpolation:
        if value != "nearest":
            raise ValueError("directions have no sign here, so that a mean of two may cancel; use nearest")
        return value


class FlowsTask(_AuxiliaryTask):
    """Unit vectors towards the centre of the object that a voxel belongs to."""

    type: Literal["flows"] = "flows"


AuxiliaryTask = Annotated[
    DistanceTransformTask
    | SurfaceNormalsTask
    | StructureTensorTask
    | InplaneDirectionTask
    | NearestComponentTask
    | FlowsTask,
    Field(discriminator="type"),
]


TASK_TYPES: dict[str, type[AuxiliaryTask]] = {
    model.model_fields["type"].default: model for model in get_args(get_args(AuxiliaryTask)[0])
}
"""Every kind of task by the name that the YAML file gives it."""


def task_faults(tasks: Mapping[str, AuxiliaryTask], targets: Mapping[str, TargetConfig] | None) -> list[str]:
    """Return a sentence for each task whose name is taken, or whose source has no surface or is missing.

    Parameters
    ----------
    tasks
        Auxiliary tasks by name.
    targets
        The primary targets by name; None while they are not known.
    """
    faults = []
    for name, task in tasks.items():
        where, source = f"auxiliary_tasks.{name}", (targets or {}).get(task.source_target)
        if targets and name in targets:
            faults.append(f"{where}: a target has this name; give the task another one")
        if source is None and task.source_target in tasks:
            faults.append(f"{where}.source_target: {_not_painted(task.source_target, tasks)}")
        elif targets is None:
            continue
        elif source is None:
            advice = did_you_mean(task.source_target, targets)
            faults.append(f"{where}.source_target: {task.source_target!r} is not a target. {advice}")
        elif source.kind == "regression":
            faults.append(
                f"{where}.source_target: {task.source_target!r} holds measured values, which have no "
                "surface; choose a binary, classes or instances target"
            )
    return faults


def _not_painted(source: str, tasks: Mapping[str, AuxiliaryTask]) -> str:
    """Say that a source is an auxiliary task itself, and what to name instead."""
    chain = [source]
    while (following := tasks[chain[-1]].source_target) in tasks:
        if following in chain:
            ring = " from ".join(map(repr, [*chain[chain.index(following) :], following]))
            return f"tasks cannot be derived from each other in a circle ({ring}); name a target"
        chain.append(following)
    return (
        f"{source!r} is an auxiliary task, and tasks are derived from painted labels. "
        f"Did you mean {following!r}, its own source?"
    )
