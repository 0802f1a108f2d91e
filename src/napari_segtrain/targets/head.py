"""One output of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ..config import Activation, ConfigError, Interpolation, LossConfig, did_you_mean

Encoding = Literal[
    "binary",
    "classes",
    "regression",
    "boundary",
    "centre_distance",
    "distance_transform",
    "surface_normals",
    "structure_tensor",
    "inplane_direction",
    "nearest_component",
    "flows",
]
HeadKind = Literal["segmentation", "scalar", "vector", "line", "tensor"]

_KINDS: dict[str, HeadKind] = {
    "binary": "segmentation",
    "classes": "segmentation",
    "boundary": "segmentation",
    "surface_normals": "vector",
    "structure_tensor": "tensor",
    "inplane_direction": "line",
    "nearest_component": "vector",
    "flows": "vector",
}


def kind_of(encoding: str) -> HeadKind:
    """Return what the channels of an encoding are; see `Head.kind`."""
    return _KINDS.get(encoding, "scalar")


@dataclass(frozen=True)
class Head:
    """One named output of the network and how it is learned.

    Attributes
    ----------
    name
        Key in batches and predictions; name of layers and files.
    target
        Primary target that it is derived from; equal to `name` for the main head of a target.
    decoder
        The decoder that feeds it; ``"shared"`` when there is one decoder for all.
    encoding
        What the numbers mean.
    out_channels
        Channels of the raw output.
    activation
        What turns raw output into a prediction.
    losses
        Terms of the loss, never empty.
    weight
        Factor in the total loss.
    ds_interpolation
        How the target is made smaller for deep supervision.
    scale
        Prediction = activation(raw output) · scale. Distances and measured values are far from 1 in
        their own units; the factor lets the network output numbers of the order of 1 all the same.
    """

    name: str
    target: str
    decoder: str
    encoding: Encoding
    out_channels: int
    activation: Activation
    losses: tuple[LossConfig, ...]
    weight: float = 1.0
    ds_interpolation: Interpolation = "nearest"
    scale: float = 1.0

    @property
    def kind(self) -> HeadKind:
        """What the channels are.

        ``segmentation``: probabilities. ``scalar``: values. ``vector``: components in array order. ``line``:
        those of a direction without a sign. ``tensor``: the upper triangle of a symmetric tensor, in array
        order.
        """
        return kind_of(self.encoding)

    @property
    def unit(self) -> bool:
        """Whether vectors have length 1 by definition, so that their direction is all that they say."""
        return self.encoding in ("surface_normals", "inplane_direction", "flows")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able values, for checkpoints."""
        values = asdict(self)
        values["losses"] = [loss.to_dict() for loss in self.losses]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Head:
        """Rebuild a head from `to_dict`.

        Raises
        ------
        ConfigError
            When keys are missing or unknown, or the encoding is.
        """
        values = dict(values)
        try:
            losses = tuple(LossConfig.model_validate(loss) for loss in values.pop("losses"))
            head = cls(losses=losses, **values)
        except (KeyError, TypeError) as error:
            raise ConfigError(f"a head's description is damaged: {error}") from None
        if head.encoding not in get_args(Encoding):
            raise ConfigError(
                f"head {head.name!r} has the encoding {head.encoding!r}. "
                + did_you_mean(str(head.encoding), get_args(Encoding))
            )
        return head
