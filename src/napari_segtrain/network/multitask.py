"""What all networks share: an encoder, decoders, named heads."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from napari_segtrain.config import ConfigError

from .blocks import convolution
from .decoder import Decoder
from .encoder import Encoder
from .plan import NetworkPlan, round_up


class MultiTaskNetwork(nn.Module):
    """One pass of the encoder serves all targets; each decoder feeds its heads.

    Parameters
    ----------
    plan
        Every size of the network.

    Attributes
    ----------
    checkpointing
        Compute the features of each stage again in the backward pass, instead of keeping them.
    """

    encoder_type: ClassVar[type[Encoder]]
    decoder_type: ClassVar[type[Decoder]]

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self.plan = plan
        self.memory_format: torch.memory_format | None = None
        self.checkpointing = False
        kind = type(self)
        self.encoder = kind.encoder_type(plan)
        self.decoders = nn.ModuleDict(
            {_module_key(decoder.name): kind.decoder_type(plan) for decoder in plan.decoders}
        )
        supervised = plan.stages - 1 if plan.deep_supervision else 1
        widths = self.decoded_widths(plan)[: max(1, supervised)]
        one = (1,) * plan.ndim
        self.heads = nn.ModuleDict(
            {
                _module_key(head.name): nn.ModuleList(
                    convolution(plan, width, head.out_channels, one, one, bias=True) for width in widths
                )
                for decoder in plan.decoders
                for head in decoder.heads
            }
        )
        self.apply(self.initialise)

    @staticmethod
    def decoded_widths(plan: NetworkPlan) -> tuple[int, ...]:
        """Return the channels of what a decoder returns, finest first."""
        return plan.features

    @staticmethod
    def initialise(module: nn.Module) -> None:
        """Initialise convolutions as He et al. 2015."""
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def use_channels_last(self) -> None:
        """Keep weights and features channels-last, which compiled convolutions are faster with."""
        self.memory_format = torch.channels_last if self.plan.ndim == 2 else torch.channels_last_3d
        self.to(memory_format=self.memory_format)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Return the raw output (no activation) of every head.

        Parameters
        ----------
        x
            Images, shape ``(B, C, *spatial)``; the plan's `divisor` divides the spatial size.

        Returns
        -------
        dict
            Name to a tensor ``(B, out_channels, *spatial)``. While training with deep supervision, name
            to a list of tensors, finest first, each coarser one divided by its stage's strides.
        """
        self._check_size(x)
        if self.memory_format is not None:
            x = x.to(memory_format=self.memory_format)
        again = self.checkpointing and torch.is_grad_enabled()
        features = self.encoder(x, again=again)
        outputs: dict[str, Any] = {}
        coarse_too = self.plan.deep_supervision and self.training
        for decoder in self.plan.decoders:
            decoded = self.decoders[_module_key(decoder.name)](features, again=again)
            for head in decoder.heads:
                layers = list(self.heads[_module_key(head.name)].children())
                maps = [layer(f) for layer, f in zip(layers, decoded, strict=False)]
                outputs[head.name] = maps if coarse_too else maps[0]
        return outputs

    def _check_size(self, x: Tensor) -> None:
        size = tuple(int(s) for s in x.shape[2:])
        fitting = round_up(size, self.plan) if len(size) == self.plan.ndim else ()
        if x.shape[1] != self.plan.in_channels or size != fitting:
            raise ConfigError(
                f"the network cannot take an input of shape {tuple(x.shape)}: it wants (batch, "
                f"{self.plan.in_channels}, {self.plan.ndim} axes divisible by {self.plan.divisor})"
                + (f"; pad to {fitting}" if fitting and size != fitting else "")
            )


def _module_key(name: str) -> str:
    """Return a name that torch accepts for a submodule: no dots, none of its own attributes."""
    return "_" + name.replace(".", "·")
