"""The V-Net: residual stages, strided down convolutions, PReLU (Milletari et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from .blocks import (
    ConvBlock,
    SqueezeExcitation,
    StochasticDepth,
    convolution,
    nonlinearity,
    normalisation,
    pool,
)
from .decoder import Decoder, upsampling
from .encoder import Encoder
from .multitask import MultiTaskNetwork
from .plan import NetworkPlan


class ResidualStage(nn.Module):
    """``φ(x + F(x))`` with all convolutions of a stage in ``F``: the residual function of the paper.

    Parameters
    ----------
    plan
        The network.
    inputs, outputs
        Channels. Where they differ, as in the first stage, the channels of the input are repeated.
    blocks
        Convolutions.
    kernel
        Their size, an axis each.
    """

    def __init__(
        self, plan: NetworkPlan, inputs: int, outputs: int, blocks: int, kernel: Sequence[int]
    ) -> None:
        super().__init__()
        self.outputs = outputs
        channels = [inputs, *[outputs] * blocks]
        branch: list[nn.Module] = [
            ConvBlock(plan, channels[n], outputs, kernel, activate=n < blocks - 1) for n in range(blocks)
        ]
        if plan.squeeze_excitation:
            branch.append(SqueezeExcitation(outputs))
        if plan.stochastic_depth > 0:
            branch.append(StochasticDepth(plan.stochastic_depth))
        self.branch = nn.Sequential(*branch)
        self.activation = nonlinearity(plan, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape ``(B, outputs, *spatial)``."""
        known = x
        if x.shape[1] != self.outputs:
            times = -(-self.outputs // x.shape[1])
            known = x.repeat(1, times, *(1,) * (x.ndim - 2))[:, : self.outputs]
        out: Tensor = self.activation(known + self.branch(x))
        return out


def down(plan: NetworkPlan, inputs: int, outputs: int, stride: Sequence[int]) -> list[nn.Module]:
    """Return a convolution whose kernel is its stride; with another pooling, that and a 1×1 convolution."""
    one, bias = (1,) * plan.ndim, plan.norm == "none"
    if plan.pooling == "strided":
        return [convolution(plan, inputs, outputs, stride, stride, bias)]
    return [pool(plan, stride, plan.pooling), convolution(plan, inputs, outputs, one, one, bias)]


def activated(plan: NetworkPlan, layers: Sequence[nn.Module], channels: int) -> nn.Sequential:
    """Return layers with a normalisation and a nonlinearity after them."""
    return nn.Sequential(*layers, normalisation(plan, channels), nonlinearity(plan, channels))


class VNetEncoder(Encoder):
    """A residual stage at each resolution, with strided convolutions between them."""

    @staticmethod
    def make_stem(plan: NetworkPlan) -> nn.Module:
        """Return nothing: the first stage gets the image."""
        return nn.Identity()

    @staticmethod
    def make_stage(plan: NetworkPlan, stage: int) -> nn.Module:
        """Return what makes the features of a resolution, 0 is the finest, from those before it."""
        features, blocks, kernel = (
            plan.features[stage],
            plan.blocks_per_stage[stage],
            plan.kernel_sizes[stage],
        )
        if stage == 0:
            return ResidualStage(plan, plan.in_channels, features, blocks, kernel)
        smaller = activated(
            plan, down(plan, plan.features[stage - 1], features, plan.strides[stage]), features
        )
        return nn.Sequential(smaller, ResidualStage(plan, features, features, blocks, kernel))


class VNetDecoder(Decoder):
    """Up convolution, the encoder's features beside it, a residual stage of both; a step for each pooling.

    A stage has as many convolutions as the encoder's, unless the plan says how many.
    """

    @staticmethod
    def make_upsampling(plan: NetworkPlan, stage: int) -> nn.Module:
        """Return what enlarges features to the resolution of a stage."""
        here, below = plan.features[stage], MultiTaskVNet.decoded_widths(plan)[stage + 1]
        return activated(plan, [upsampling(plan, below, here, plan.strides[stage + 1])], here)

    @staticmethod
    def make_block(plan: NetworkPlan, stage: int) -> nn.Module:
        """Return what makes the features of a stage, from those below and the encoder's."""
        width, blocks = 2 * plan.features[stage], plan.decoder_blocks or plan.blocks_per_stage[stage]
        return ResidualStage(plan, width, width, blocks, plan.kernel_sizes[stage])


class MultiTaskVNet(MultiTaskNetwork):
    """A V-Net, which adds the input of each stage to what its convolutions make of it.

    References
    ----------
    Milletari, Navab, Ahmadi 2016, 3DV, 565-571. Features are normalised as the plan says, which the paper
    did not do yet.
    """

    encoder_type = VNetEncoder
    decoder_type = VNetDecoder

    @staticmethod
    def decoded_widths(plan: NetworkPlan) -> tuple[int, ...]:
        """Return the channels of what a decoder returns, finest first; the coarsest are the encoder's."""
        return (*(2 * features for features in plan.features[:-1]), plan.features[-1])
