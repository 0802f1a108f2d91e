"""The frozen plan of a network: data facts and overrides in, every size decided out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Literal, Protocol

from pydantic import model_validator

from napari_segtrain.config import Config, ConfigError, NetworkConfig
from napari_segtrain.config.fields import key
from napari_segtrain.config.model import Architecture, Nonlinearity

from .topology import Topology, default_patch_size, plan_topology
from .topology import round_up as _round_up

BLOCKS: dict[str, tuple[int, ...]] = {"unet": (1, 3, 4, 6, 6), "vnet": (1, 2, 3, 3)}
"""Blocks of the encoder's stages, finest first, of each kind of network; the last number repeats."""
KERNEL = {"unet": 3, "vnet": 5}
"""Size of a kernel along an axis on which it looks at neighbours."""
NONLINEARITY: dict[str, Nonlinearity] = {"unet": "leaky_relu", "vnet": "prelu"}


class HeadLike(Protocol):
    """What the plan must know of a target's output."""

    @property
    def name(self) -> str:
        """Name of the output."""

    @property
    def decoder(self) -> str:
        """Name of the decoder that feeds it."""

    @property
    def out_channels(self) -> int:
        """Channels of the output."""


class HeadPlan(Config):
    """A 1×1 convolution that turns a decoder's features into one named output."""

    name: str = key(..., "Name", "Name of the output.")
    out_channels: int = key(..., "Channels", "Channels of the output.", ge=1)


class DecoderPlan(Config):
    """A decoder and the heads it feeds."""

    name: str = key(..., "Name", "Name of the decoder.")
    heads: tuple[HeadPlan, ...] = key(..., "Heads", "The outputs that are made from its features.")


class NetworkPlan(Config):
    """Everything that is needed to build the network again; stored in each checkpoint as ``model_config``.

    Sizes, kernels and strides are in array order ``(z,) y, x``; stages go from fine to coarse.
    """

    architecture: Architecture = key("unet", "Architecture", "Kind of network.")
    ndim: Literal[2, 3] = key(..., "Dimension", "Number of spatial axes.")
    in_channels: int = key(..., "Input channels", "Channels of the image.", ge=1)
    patch_size: tuple[int, ...] = key(..., "Patch size", "Training patch; every pooling divides it.")
    spacing: tuple[float, ...] = key(..., "Spacing", "Size of a voxel that the plan was made for.")
    features: tuple[int, ...] = key(..., "Features", "Channels of each stage.")
    blocks_per_stage: tuple[int, ...] = key(..., "Blocks", "Blocks of each encoder stage.")
    decoder_blocks: int | None = key(
        1, "Decoder blocks", "Convolutions of each decoder stage; None: as many as the encoder's."
    )
    kernel_sizes: tuple[tuple[int, ...], ...] = key(..., "Kernels", "Kernel of each stage.")
    strides: tuple[tuple[int, ...], ...] = key(..., "Strides", "Pooling before each stage.")
    norm: Literal["instance", "batch", "group", "none"] = key("instance", "Norm", "Feature norm.")
    nonlinearity: Nonlinearity = key("leaky_relu", "Nonlinearity", "Activation between convolutions.")
    dropout: float = key(0.0, "Dropout", "Share of feature maps switched off.")
    squeeze_excitation: bool = key(False, "Squeeze and excitation", "Channel gates in the blocks.")
    stochastic_depth: float = key(0.0, "Stochastic depth", "Chance to skip a block.")
    pooling: Literal["strided", "max", "average"] = key("strided", "Pooling", "Kind of pooling.")
    upsampling: Literal["transposed", "interpolate"] = key("transposed", "Upsampling", "Kind.")
    deep_supervision: bool = key(False, "Deep supervision", "Outputs at coarse stages.")
    decoders: tuple[DecoderPlan, ...] = key(..., "Decoders", "Decoders with their heads.")

    @property
    def divisor(self) -> tuple[int, ...]:
        """What every input's size must be divisible by, an axis each."""
        return Topology(self.kernel_sizes, self.strides).divisor

    @property
    def stages(self) -> int:
        """Number of resolutions."""
        return len(self.features)

    @model_validator(mode="after")
    def _entries_fit(self) -> NetworkPlan:
        per_stage = {
            "features": len(self.features),
            "blocks_per_stage": len(self.blocks_per_stage),
            "kernel_sizes": len(self.kernel_sizes),
            "strides": len(self.strides),
        }
        if len(set(per_stage.values())) != 1:
            given = ", ".join(f"{name} has {count}" for name, count in per_stage.items())
            raise ValueError(
                f"every stage needs one entry: {given}; give as many of each, or leave out what can follow "
                "from the others"
            )
        for name, entries in (("kernel_sizes", self.kernel_sizes), ("strides", self.strides)):
            if any(len(entry) != self.ndim for entry in entries):
                raise ValueError(f"{name} needs {self.ndim} numbers a stage, one an axis")
        even = next((k for kernel in self.kernel_sizes for k in kernel if k % 2 == 0), None)
        if even is not None:
            raise ValueError(
                f"kernel sizes must be odd, so that maps keep their size; instead of {even} take "
                f"{even - 1} or {even + 1}"
            )
        if any(s != 1 for s in self.strides[0]):
            raise ValueError(
                "the first stage works at full resolution: its stride is 1 along every axis, not "
                f"{_text(self.strides[0])}"
            )
        if not self.decoders:
            raise ValueError("a network needs at least one output")
        return self


def make_plan(
    config: NetworkConfig,
    *,
    ndim: int,
    in_channels: int,
    patch_size: Sequence[int] | None,
    spacing: Sequence[float],
    shape: Sequence[int],
    heads: Sequence[HeadLike],
) -> NetworkPlan:
    """Decide the whole network from the data's facts and the user's overrides; pure.

    Parameters
    ----------
    config
        Section ``model_config``; what is not None there is kept.
    ndim
        2 or 3.
    in_channels
        Channels of the images.
    patch_size
        Wanted patch in voxels, array order; None chooses it from `shape` and `spacing`.
    spacing
        Size of a voxel in array order, physical units.
    shape
        Median spatial shape of the images.
    heads
        The outputs; those with the same `decoder` share it.

    Raises
    ------
    ConfigError
        When overrides contradict each other or the dimension.
    """
    for name, value in (("patch_size", patch_size), ("spacing", spacing)):
        if value is not None and len(value) != ndim:
            raise ConfigError(
                f"{name} {tuple(value)} has {len(value)} numbers, but the data is {ndim}D: "
                f"give {ndim} in array order {'z, y, x' if ndim == 3 else 'y, x'}"
            )
    wanted = tuple(patch_size) if patch_size is not None else default_patch_size(shape, spacing)
    topology = _topology(config, wanted, spacing)
    _check_strides(config, wanted, topology)
    stages = len(topology.strides)
    features = config.features or tuple(
        min(config.base_features * 2**stage, config.max_features) for stage in range(stages)
    )
    usual = BLOCKS[config.architecture]
    blocks = config.blocks_per_stage or tuple(usual[min(s, len(usual) - 1)] for s in range(stages))
    decoder_blocks = 1 if config.architecture == "unet" else None
    try:
        return NetworkPlan(
            architecture=config.architecture,
            ndim=ndim,
            in_channels=in_channels,
            patch_size=_round_up(wanted, topology.divisor),
            spacing=tuple(float(s) for s in spacing),
            features=features,
            blocks_per_stage=blocks,
            decoder_blocks=config.decoder_blocks or decoder_blocks,
            kernel_sizes=topology.kernel_sizes,
            strides=topology.strides,
            norm=config.norm,
            nonlinearity=config.nonlinearity or NONLINEARITY[config.architecture],
            dropout=config.dropout,
            squeeze_excitation=config.squeeze_excitation,
            stochastic_depth=config.stochastic_depth,
            pooling=config.pooling,
            upsampling=config.upsampling,
            deep_supervision=config.deep_supervision,
            decoders=_decoders(heads),
        )
    except ValueError as error:
        reasons = "; ".join(line["msg"].removeprefix("Value error, ") for line in error.errors())  # type: ignore[attr-defined]
        raise ConfigError(f"model_config: {reasons}") from None


def round_up(size: Sequence[int], plan: NetworkPlan) -> tuple[int, ...]:
    """Return the smallest size not below `size` that the network accepts."""
    return _round_up(size, plan.divisor)


def _topology(config: NetworkConfig, patch_size: Sequence[int], spacing: Sequence[float]) -> Topology:
    planned = plan_topology(patch_size, spacing, config.max_poolings)
    strides = config.strides or planned.strides
    wanted = len(config.features or config.blocks_per_stage or strides)
    if config.strides is None:
        _check_stages(config, patch_size, len(planned.strides))
        # As many stages as somebody listed entries for, though never more than the patch allows.
        strides = strides[:wanted]
    kernels = config.kernel_sizes
    if kernels is None:
        deepest = planned.kernel_sizes[-1]
        kernels = tuple(
            tuple(1 if size == 1 else KERNEL[config.architecture] for size in kernel)
            for kernel in (planned.kernel_sizes + (deepest,) * len(strides))[: len(strides)]
        )
    return Topology(kernels, strides)


def _check_stages(config: NetworkConfig, patch_size: Sequence[int], possible: int) -> None:
    """Refuse lists for more stages than the patch can be pooled into."""
    for name in ("features", "blocks_per_stage", "kernel_sizes"):
        listed = len(getattr(config, name) or ())
        if listed > possible:
            limit = "" if config.max_poolings is None else f" with max_poolings {config.max_poolings}"
            raise ConfigError(
                f"model_config.{name} has entries for {listed} stages, but a patch of {_text(patch_size)} is "
                f"pooled into {possible} at most{limit}: list {possible} or fewer, take a larger patch, or "
                "give model_config.strides"
            )


def _check_strides(config: NetworkConfig, patch_size: Sequence[int], topology: Topology) -> None:
    """Refuse strides that leave nothing of the patch; the planned ones never do."""
    if config.strides is None or any(len(stride) != len(patch_size) for stride in topology.strides):
        return
    axes = "zyx"[-len(patch_size) :]
    for axis, size, divisor in zip(axes, patch_size, topology.divisor, strict=True):
        if divisor > size:
            raise ConfigError(
                f"model_config.strides divide the patch by {divisor} along {axis}, where it has {size} "
                f"voxels: their product can be {size} at most. Take smaller strides, fewer stages, or a "
                "larger patch"
            )
    coarsest = [
        n // d for n, d in zip(_round_up(patch_size, topology.divisor), topology.divisor, strict=True)
    ]
    if set(coarsest) == {1}:
        raise ConfigError(
            f"model_config.strides leave a single voxel of a patch of {_text(patch_size)}, which cannot be "
            "normalised: take smaller strides, fewer stages, or a larger patch, so that 2 or more are left"
        )


def _text(numbers: Sequence[int]) -> str:
    return " × ".join(str(n) for n in numbers)


def _decoders(heads: Iterable[HeadLike]) -> tuple[DecoderPlan, ...]:
    order = {name: i for i, name in enumerate(dict.fromkeys(head.decoder for head in heads))}
    by_decoder = groupby(sorted(heads, key=lambda h: order[h.decoder]), key=lambda h: h.decoder)
    return tuple(
        DecoderPlan(
            name=name,
            heads=tuple(HeadPlan(name=head.name, out_channels=head.out_channels) for head in group),
        )
        for name, group in by_decoder
    )
