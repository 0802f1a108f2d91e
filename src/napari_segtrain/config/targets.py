"""One target: what is painted, and what the network shall output for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import field_validator, model_validator

from .base import Config
from .fields import key
from .model import Activation, Interpolation, LossConfig

TargetKind = Literal["binary", "classes", "instances", "regression"]


def loss_list(value: Any) -> Any:
    """Accept one loss, or names, where loss objects are expected: ``"A"``, ``"A,B"``, ``["A", {...}]``."""
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        return tuple({"name": item} if isinstance(item, str) else item for item in value)
    return value


class TargetConfig(Config):
    """A primary target, learned from painted labels.

    Labels are read as follows. `unlabelled` is the value that no loss and no metric looks at. When it
    is 0 (the default of painted scribbles), the smallest other value is background; otherwise 0 is
    background. `values` overrides which label values are which class.
    """

    kind: TargetKind | None = key(
        None,
        "Kind",
        "binary: foreground against background. classes: one of several classes. instances: separate "
        "objects with a number each. regression: a measured value. Empty: told from the labels.",
        level="common",
    )
    labels: str | None = key(
        None,
        "Labels",
        "Name of the label files or layer when it is not the target's name: several targets can read "
        "one label file.",
    )
    values: tuple[int, ...] | None = key(
        None,
        "Values",
        "Label values in class order, background first; for a binary target the values that are "
        "foreground. Empty: all values.",
    )
    out_channels: int | None = key(
        None,
        "Output channels",
        "Channels that the network outputs for this target; the key may be spelt channels. Empty: follows "
        "from the kind and the labels; without either as many as the input has.",
        unit="channels",
        ge=1,
        le=4096,
    )
    activation: Activation | None = key(
        None,
        "Activation",
        "What turns the output into a prediction: sigmoid; softmax for classes that exclude each other; none "
        "for measured values (labels become probabilities with none too). Losses of logits get raw output "
        "in any case. Empty: follows from the kind.",
    )
    losses: tuple[LossConfig, ...] = key(
        tuple, "Losses", "The terms of this target's loss. Empty: the default of the kind.", level="common"
    )
    weight: float = key(1.0, "Weight", "Factor of this target in the total loss.", ge=0.0, level="common")
    unlabelled: int | None = key(
        None,
        "Unlabelled value",
        "The label value that means nothing was painted here. Empty: every voxel is labelled, unless "
        "a mask says otherwise.",
        level="common",
    )
    mask: str | None = key(
        None,
        "Mask",
        "Name of the mask files or layer that say where the labels count. Empty: files in masks/ "
        "with the target's or the image's name, where there are any.",
        level="common",
    )
    ds_interpolation: Interpolation = key(
        "nearest", "Coarse labels", "How labels are made smaller for deep supervision."
    )

    @model_validator(mode="before")
    @classmethod
    def _channels_are_output_channels(cls, values: Any) -> Any:
        """Take the key `channels` for `out_channels`; either may be there and empty."""
        if not isinstance(values, Mapping) or "channels" not in values:
            return values
        known = dict(values)
        spelt = known.pop("channels")
        if spelt is not None and known.get("out_channels") not in (None, spelt):
            raise ValueError(
                f"channels is {spelt} and out_channels {known['out_channels']}; give one of them"
            )
        return known | ({} if spelt is None else {"out_channels": spelt})

    @field_validator("losses", mode="before")
    @classmethod
    def _names_are_losses(cls, value: Any) -> Any:
        return loss_list(value)

    @model_validator(mode="after")
    def _activation_fits(self) -> TargetConfig:
        if self.activation == "softmax" and self.out_channels == 1:
            raise ValueError(
                "activation softmax needs at least 2 output channels; use sigmoid for one channel"
            )
        return self
