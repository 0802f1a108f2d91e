"""Section `model_config`: the network; every key that is empty is chosen by the plan."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from .base import Config
from .fields import key

Architecture = Literal["unet", "vnet"]
Nonlinearity = Literal["leaky_relu", "prelu", "relu", "gelu", "silu", "mish"]


class NetworkConfig(Config):
    """Overrides of the automatically configured network.

    Attribute `network` of `ExperimentConfig`; the YAML section is called ``model_config``.
    """

    architecture: Architecture = key(
        "unet",
        "Architecture",
        "unet: a U-Net with a residual encoder. vnet: a V-Net (Milletari et al. 2016), whose stages are "
        "residual on both sides, with kernels of 5 and PReLU.",
        level="common",
    )
    weights: str | None = key(
        None,
        "Begin with",
        "Run folder or checkpoint whose weights the network begins with (fine-tuning): its encoder has to be "
        "the same, outputs that it does not have are new. Empty: random weights, which follow from the seed.",
    )
    in_channels: int | None = key(
        None, "Input channels", "Channels of the image. Empty: as the data has.", unit="channels", ge=1
    )
    features: tuple[PositiveInt, ...] | None = key(
        None,
        "Features",
        "Channels of each stage, finest first. Empty: min(base_features · 2^stage, max_features).",
        unit="channels",
    )
    base_features: int = key(
        32,
        "Base features",
        "Channels of the first stage; 16 is about three times faster and fits small machines.",
        unit="channels",
        ge=4,
        le=256,
        level="common",
    )
    max_features: int = key(
        320, "Most features", "No stage has more channels than this.", unit="channels", ge=4, le=2048
    )
    max_poolings: int | None = key(
        None,
        "Most poolings",
        "Largest number of poolings along one axis. Empty: as the patch size allows.",
        ge=0,
        le=10,
    )
    blocks_per_stage: tuple[PositiveInt, ...] | None = key(
        None,
        "Encoder blocks",
        "Residual blocks of each encoder stage, in a V-Net convolutions. Empty: 1, 3, 4, and 6 from there "
        "on; in a V-Net 1, 2, and 3 from there on.",
        unit="blocks",
    )
    decoder_blocks: int | None = key(
        None,
        "Decoder blocks",
        "Convolutions of each decoder stage. Empty: 1, in a V-Net as many as the encoder's stage has.",
        unit="blocks",
        ge=1,
        le=8,
    )
    kernel_sizes: tuple[tuple[PositiveInt, ...], ...] | None = key(
        None, "Kernels", "Kernel size of each stage, an odd number an axis. Empty: planned.", unit="px"
    )
    strides: tuple[tuple[PositiveInt, ...], ...] | None = key(
        None,
        "Strides",
        "Pooling of each stage, a number an axis; the first stage has 1. Empty: planned.",
        unit="px",
    )
    norm: Literal["instance", "batch", "group", "none"] = key(
        "instance", "Norm layer", "What normalises the features after a convolution."
    )
    nonlinearity: Nonlinearity | None = key(
        None,
        "Nonlinearity",
        "The activation between convolutions. Empty: leaky_relu, in a V-Net prelu, which learns its slopes.",
    )
    dropout: float = key(
        0.0, "Dropout", "Share of feature maps that is switched off while training.", ge=0.0, lt=1.0
    )
    squeeze_excitation: bool = key(
        False, "Squeeze-excitation", "Weigh the channels of a block by a small gate (Hu et al. 2018)."
    )
    stochastic_depth: float = key(
        0.0, "Stochastic depth", "Chance to skip a residual block while training.", ge=0.0, lt=1.0
    )
    pooling: Literal["strided", "max", "average"] = key("strided", "Pooling", "How a stage is made smaller.")
    upsampling: Literal["transposed", "interpolate"] = key(
        "transposed",
        "Upsampling",
        "How maps grow again: a transposed convolution, or interpolation and a 1×1 convolution.",
    )
    decoders: Literal["separate", "shared"] = key(
        "separate",
        "Decoders",
        "separate: a decoder for every target and auxiliary task. shared: one decoder with a head for each, "
        "which is faster.",
        level="common",
    )
    deep_supervision: bool = key(
        False, "Deep supervision", "Compute the losses at coarser stages of the decoder too."
    )


Activation = Literal["sigmoid", "softmax", "none"]
Interpolation = Literal["nearest", "linear"]


SHORT_LOSSES = {"mse": "MSELoss", "mae": "L1Loss", "huber": "SmoothL1Loss"}
"""Losses by the names that everybody knows."""


class LossConfig(Config):
    """One term of a target's loss."""

    name: str = key(
        ...,
        "Loss",
        "Name of the loss, such as BCEDiceLoss; mse, mae and huber are short for MSELoss, L1Loss and "
        "SmoothL1Loss.",
        level="common",
    )
    weight: float = key(1.0, "Weight", "Factor of this term.", ge=0.0, level="common")
    kwargs: dict[str, float | int | bool | str | None] = Field(
        default_factory=dict,
        title="Settings",
        description="Keyword arguments of the loss.",
        json_schema_extra={"unit": "", "level": "advanced"},
    )
    start_epoch: int = key(0, "From epoch", "The term counts from this epoch on.", unit="epochs", ge=0)

    @field_validator("name")
    @classmethod
    def _short_names_stand_for_losses(cls, name: str) -> str:
        return SHORT_LOSSES.get(name, name)
