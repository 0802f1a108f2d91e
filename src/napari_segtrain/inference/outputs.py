"""What a prediction writes: names, channels, types, and the way from probabilities to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from napari_segtrain.config import ConfigError, InferenceConfig, did_you_mean
from napari_segtrain.targets import Head

from .activation import channel_ranges

PARTS = ("boundary", "centre_distance")
"""Encodings that belong to an instance target; nobody asks for them by themselves."""

_NOT_SEPARABLE = (
    "no objects are separated: none of the predicted outputs is a target of the kind instances or binary; "
    "predict one, or leave inference_config.instances out"
)

Form = Literal["mask", "classes", "numbers", "lines", "part", "instances"]


@dataclass(frozen=True)
class Output:
    """One array that a prediction writes.

    Attributes
    ----------
    name
        Name of the array, layer or file.
    form
        mask: 1 where the probability exceeds `threshold`, else 0, in every channel. classes: the label
        value of the likeliest class. numbers: as they are. lines: unit vectors without a sign, the main
        direction of summed tensors. part: numbers in half precision that `instances` are made of and that
        are not kept. instances: object numbers.
    channels
        Channels of the array; 1 is stored without a channel axis in files.
    source
        Channels of the stacked predictions that it is made of; None for instances.
    values
        Label value of every class.
    threshold
        Foreground begins above it.
    limits
        Numbers between these are stored as 0 … 255, those beyond as the limit itself; the same everywhere
        in a volume, so that `low + stored / 255 · (high - low)` restores them. None stores them as they are.
    """

    name: str
    form: Form
    channels: int
    source: slice | None
    values: tuple[int, ...] = ()
    threshold: float = 0.5
    limits: tuple[float, float] | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array."""
        if self.form == "classes":
            low, high = min(self.values), max(self.values)
            candidates = (np.uint8, np.uint16) if low >= 0 else ()
            return next((np.dtype(t) for t in candidates if high <= np.iinfo(t).max), np.dtype(np.int32))
        if self.limits is not None:
            return np.dtype(np.uint8)
        kinds = {"mask": "uint8", "part": "float16", "instances": "int32"}
        return np.dtype(kinds.get(self.form, "float32"))

    def encode(self, stacked: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Return the array of a block, `(channels, *block)`, from all predictions, `(C, *block)`.

        The result shares no memory with `stacked`.
        """
        own = stacked[self.source]
        if self.form == "mask":
            return (own > self.threshold).view(np.uint8)
        if self.form == "classes":
            return np.asarray(self.values, self.dtype)[likeliest(own)][None]
        if self.form == "lines":
            from napari_segtrain.targets.tensor_kernels import eigenvectors

            everywhere = np.ones(own.shape[1:], np.bool_)
            own = eigenvectors(own, everywhere, 0.0, largest=True)[0]
        if self.limits is not None:
            low, high = map(np.float32, self.limits)
            share = (np.clip(own, low, high) - low) * np.float32(255.0 / (high - low))
            return (share + np.float32(0.5)).astype(np.uint8)
        return own.astype(self.dtype)


def likeliest(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """Return the first channel with the largest value, `(*spatial)`, of `(C, *spatial)`."""
    best = probabilities[0].copy()
    index = np.zeros(best.shape, np.uint16)
    for channel in range(1, len(probabilities)):
        larger = probabilities[channel] > best
        index[larger] = channel
        np.maximum(best, probabilities[channel], out=best)
    return index


@dataclass(frozen=True)
class InstanceParts:
    """The outputs that an instance target is made of, by name.

    Attributes
    ----------
    foreground
        Probability of foreground; also the name of the target.
    boundary
        Probability of the boundary between objects, or None.
    distance
        Distance from the border, 1 in the middle of each object, or None.
    """

    foreground: str
    boundary: str | None
    distance: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """All names that are there."""
        return tuple(n for n in (self.foreground, self.boundary, self.distance) if n is not None)


def instance_parts(heads: Sequence[Head]) -> dict[str, InstanceParts]:
    """Return the parts of every instance target among `heads`, by the target's name."""
    found = {}
    for head in heads:
        if head.name != head.target or head.encoding != "binary":
            continue
        by_encoding = {h.encoding: h.name for h in heads if h.target == head.target and h.encoding in PARTS}
        if by_encoding:
            found[head.name] = InstanceParts(
                head.name, by_encoding.get("boundary"), by_encoding.get("centre_distance")
            )
    return found


def separable(heads: Sequence[Head], chosen: Sequence[Head]) -> dict[str, InstanceParts]:
    """Return what the objects of chosen outputs are made of, by the target's name.

    Those of instance targets. Where none is chosen, the objects are the connected parts of binary targets:
    beside an instance target, a binary one is what it says, a mask.

    Parameters
    ----------
    heads
        All outputs of the network.
    chosen
        Those that are predicted.
    """
    available = instance_parts(heads)
    if found := {head.name: available[head.name] for head in chosen if head.name in available}:
        return found
    return {
        head.name: InstanceParts(head.name, None, None)
        for head in chosen
        if head.name == head.target and head.encoding == "binary"
    }


@dataclass(frozen=True)
class OutputPlan:
    """Which heads are predicted and what is written of them.

    Attributes
    ----------
    heads
        Heads whose channels are stacked, in order.
    outputs
        The arrays; those of form "part" are temporary.
    instances
        Parts of the targets that are to be separated, by output name; see `separable`.
    notes
        What of the wish cannot be fulfilled, in sentences.
    """

    heads: tuple[Head, ...]
    outputs: tuple[Output, ...]
    instances: Mapping[str, InstanceParts]
    notes: tuple[str, ...] = ()

    @property
    def streamed(self) -> tuple[Output, ...]:
        """What is written block by block while predicting."""
        return tuple(output for output in self.outputs if output.form != "instances")

    @property
    def kept(self) -> tuple[Output, ...]:
        """What the user gets."""
        return tuple(output for output in self.outputs if output.form != "part")


def raw_outputs(heads: Sequence[Head], names: Sequence[str] | None) -> OutputPlan:
    """Plan that every chosen head is written as it is after the activation, float32.

    Raises
    ------
    ConfigError
        When a name is not an output.
    """
    chosen = _choose(heads, names, everything=True)
    ranges = channel_ranges(chosen)
    outputs = tuple(Output(h.name, _numbers(h), h.out_channels, ranges[h.name]) for h in chosen)
    return OutputPlan(tuple(chosen), outputs, {})


def plan_outputs(
    heads: Sequence[Head],
    inference: InferenceConfig,
    values: Mapping[str, tuple[int, ...]],
    *,
    with_parts: bool = False,
) -> OutputPlan:
    """Decide what is written for every chosen target and auxiliary task.

    Parameters
    ----------
    heads
        All outputs of the network.
    inference
        Chosen names, form of the output, whether instances are separated.
    values
        Label value of every class, background first, of the targets that have classes.
    with_parts
        Write beside a foreground what its instances can be made of, without separating them.

    Notes
    -----
    With ``output: labels`` a target of classes is written in the label values that were painted, so that
    a prediction can be laid over the labels, corrected and trained on again; scribbles whose 0 means
    unlabelled therefore predict values from 1 on. A binary target is written as 0 and 1 whatever was
    painted, as a mask. Distances, normals and measured values are numbers in every case.

    Raises
    ------
    ConfigError
        When a name is not an output.
    """
    chosen = _choose(heads, inference.targets, everything=False)
    wanted: dict[str, InstanceParts] = {}
    if with_parts:
        available = instance_parts(heads)
        wanted = {head.name: available[head.name] for head in chosen if head.name in available}
    elif inference.instances:
        wanted = separable(heads, chosen)
    parts = {name for found in wanted.values() for name in found.names}
    separated = {} if with_parts else wanted
    used = [head for head in heads if head in chosen or head.name in parts]
    ranges = channel_ranges(used)
    outputs: list[Output] = []
    for head in used:
        part = ranges[head.name]
        if head in chosen and head.name not in separated:
            outputs.append(_output(head, part, inference, values.get(head.name, ())))
        if head.name in parts:
            outputs.append(Output(f"{head.name}~part", "part", head.out_channels, part))
        if head.name in separated:
            outputs.append(Output(head.name, "instances", 1, None))
    notes = (_NOT_SEPARABLE,) if inference.instances and not with_parts and not separated else ()
    return OutputPlan(tuple(used), tuple(outputs), separated, notes)


def value_limits(head: Head) -> tuple[float, float] | None:
    """Return between which numbers a head's predictions lie by what they are; None for measured values.

    Probabilities and normalised distances 0 and 1, components of directions -1 and 1, distances and vectors
    to the nearest object their cut-off, tensors 1.25 times the trace on a straight edge.
    """
    if head.activation in ("sigmoid", "softmax"):
        return 0.0, head.scale
    if head.unit:
        return -1.0, 1.0
    reach = {"distance_transform": 2.0, "nearest_component": 2.0, "structure_tensor": 1.25}.get(head.encoding)
    return None if reach is None else (-reach * head.scale, reach * head.scale)


def _numbers(head: Head) -> Form:
    return "lines" if head.kind == "line" else "numbers"


def _output(head: Head, part: slice, inference: InferenceConfig, values: tuple[int, ...]) -> Output:
    channels, name = head.out_channels, head.name
    if inference.output == "uint8":
        return Output(name, _numbers(head), channels, part, limits=value_limits(head))
    if head.kind != "segmentation" or head.encoding == "centre_distance":
        return Output(name, _numbers(head), channels, part)
    if inference.output == "probabilities":
        return Output(name, "numbers", channels, part)
    if channels > 1 and head.encoding == "classes":
        known = values if len(values) == channels else tuple(range(channels))
        return Output(name, "classes", 1, part, values=known)
    return Output(name, "mask", channels, part, threshold=inference.threshold)


def _choose(heads: Sequence[Head], names: Sequence[str] | None, everything: bool) -> list[Head]:
    if names is None:
        return [head for head in heads if everything or head.encoding not in PARTS]
    by_name = {head.name: head for head in heads}
    for name in names:
        if name not in by_name:
            raise ConfigError(
                f"inference_config.targets: {name!r} is not an output of this network. "
                f"{did_you_mean(name, by_name)}"
            )
    return [head for head in heads if head.name in names]
