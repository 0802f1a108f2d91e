"""The residual-encoder U-Net."""

from __future__ import annotations

from torch import nn

from .blocks import ResidualBlock
from .decoder import Decoder
from .encoder import Encoder
from .multitask import MultiTaskNetwork


class MultiTaskUNet(MultiTaskNetwork):
    """A U-Net whose encoder is made of residual blocks (Isensee et al. 2024)."""

    encoder_type = Encoder
    decoder_type = Decoder

    @staticmethod
    def initialise(module: nn.Module) -> None:
        """Initialise as He et al. 2015; residual branches start at zero, so blocks start as identity."""
        MultiTaskNetwork.initialise(module)
        if isinstance(module, ResidualBlock):
            last = module.branch[1]
            norm = last[-1] if isinstance(last, nn.Sequential) else None
            if isinstance(norm, nn.GroupNorm | nn.BatchNorm2d | nn.BatchNorm3d):
                nn.init.zeros_(norm.weight)
