"""Auxiliary tasks: targets that are derived from a primary target on the fly and need no files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from .base import Config
from .errors import did_you_mean
from .fields import key
from .model import Interpolation, LossConfig
from .targets import TargetConfig, loss_list


class _AuxiliaryTask(Config):
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


class DistanceTransformTask(_AuxiliaryTask):
    """Distance to the source target's surface, in the units of the spacing."""

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


AuxiliaryTask = Annotated[DistanceTransformTask | SurfaceNormalsTask, Field(discriminator="type")]


def task_faults(tasks: Mapping[str, AuxiliaryTask], targets: Mapping[str, TargetConfig]) -> list[str]:
    """Return a sentence for each task whose name is taken, or whose source has no surface or is missing.

    Parameters
    ----------
    tasks
        Auxiliary tasks by name.
    targets
        The primary targets by name.
    """
    faults = []
    for name, task in tasks.items():
        where, source = f"auxiliary_tasks.{name}", targets.get(task.source_target)
        if name in targets:
            faults.append(f"{where}: a target has this name; give the task another one")
        if source is None:
            advice = did_you_mean(task.source_target, targets)
            faults.append(f"{where}.source_target: {task.source_target!r} is not a target. {advice}")
        elif source.kind == "regression":
            faults.append(
                f"{where}.source_target: {task.source_target!r} holds measured values, which have no "
                "surface; choose a binary, classes or instances target"
            )
    return faults
