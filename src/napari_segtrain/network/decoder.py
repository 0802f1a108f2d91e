"""A decoder: from the encoder's features back to full resolution."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .blocks import ConvBlock, convolution, transposed_convolution
from .plan import NetworkPlan
from .recompute import apply, recomputed


class Interpolate(nn.Module):
    """A 1×1 convolution at the coarse resolution, then linear interpolation."""

    def __init__(self, plan: NetworkPlan, inputs: int, outputs: int, stride: Sequence[int]) -> None:
        super().__init__()
        one = (1,) * plan.ndim
        self.project = convolution(plan, inputs, outputs, one, one, bias=False)
        self.factor = tuple(float(s) for s in stride)
        self.mode = "bilinear" if plan.ndim == 2 else "trilinear"

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` enlarged by the stride."""
        return F.interpolate(
            self.project(x), scale_factor=list(self.factor), mode=self.mode, align_corners=False
        )


def upsampling(plan: NetworkPlan, inputs: int, outputs: int, stride: Sequence[int]) -> nn.Module:
    """Return the plan's way to enlarge maps by `stride`."""
    kind = transposed_convolution if plan.upsampling == "transposed" else Interpolate
    return kind(plan, inputs, outputs, stride)


class Decoder(nn.Module):
    """Upsampling, concatenation with the encoder's features, convolutions; a step for each pooling."""

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self.upsample = nn.ModuleList()
        self.blocks = nn.ModuleList()
        for stage in range(plan.stages - 2, -1, -1):
            self.upsample.append(self.make_upsampling(plan, stage))
            self.blocks.append(self.make_block(plan, stage))

    @staticmethod
    def make_upsampling(plan: NetworkPlan, stage: int) -> nn.Module:
        """Return what enlarges features to the resolution of a stage."""
        return upsampling(plan, plan.features[stage + 1], plan.features[stage], plan.strides[stage + 1])

    @staticmethod
    def make_block(plan: NetworkPlan, stage: int) -> nn.Module:
        """Return what makes the features of a stage, from those below and the encoder's."""
        here, kernel = plan.features[stage], plan.kernel_sizes[stage]
        return nn.Sequential(
            ConvBlock(plan, 2 * here, here, kernel),
            *(ConvBlock(plan, here, here, kernel) for _ in range((plan.decoder_blocks or 1) - 1)),
        )

    def forward(self, features: list[Tensor], *, again: bool = False) -> list[Tensor]:
        """Return decoded features, finest first, for every stage but the coarsest.

        Parameters
        ----------
        features
            The encoder's features, finest first. A network of a single stage has nothing to decode:
            its features are returned.
        again
            Compute what is inside a step again in the backward pass, instead of keeping it.
        """
        run = recomputed if again else apply
        x = features[-1]
        if not len(self.upsample):
            return [x]
        decoded: list[Tensor] = []
        for upsample, block, skip in zip(self.upsample, self.blocks, reversed(features[:-1]), strict=True):
            x = run(self, partial(_merge, upsample, block), x, skip)
            decoded.append(x)
        return decoded[::-1]


def _merge(upsample: nn.Module, block: nn.Module, x: Tensor, skip: Tensor) -> Tensor:
    """Return the features of a stage, from those below and the encoder's."""
    merged: Tensor = block(torch.cat((upsample(x), skip), dim=1))
    return merged
