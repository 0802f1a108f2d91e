"""The shared residual encoder."""

from __future__ import annotations

from torch import Tensor, nn

from .blocks import ConvBlock, ResidualBlock, pool
from .plan import NetworkPlan
from .recompute import apply, recomputed


class Encoder(nn.Module):
    """A stem and a stack of residual blocks for each stage."""

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self.stem = self.make_stem(plan)
        self.stages = nn.ModuleList(self.make_stage(plan, stage) for stage in range(plan.stages))

    @staticmethod
    def make_stem(plan: NetworkPlan) -> nn.Module:
        """Return what comes before the first stage."""
        return ConvBlock(plan, plan.in_channels, plan.features[0], plan.kernel_sizes[0])

    @staticmethod
    def make_stage(plan: NetworkPlan, stage: int) -> nn.Module:
        """Return what makes the features of a resolution, 0 is the finest, from those before it."""
        features, kernel, stride = plan.features[stage], plan.kernel_sizes[stage], plan.strides[stage]
        before = plan.features[max(0, stage - 1)]
        layers: list[nn.Module] = []
        one = (1,) * plan.ndim
        first_stride = stride
        if plan.pooling != "strided":
            layers.append(pool(plan, stride, plan.pooling))
            first_stride = one
        layers.append(ResidualBlock(plan, before, features, kernel, first_stride))
        blocks = plan.blocks_per_stage[stage]
        layers += [ResidualBlock(plan, features, features, kernel, one) for _ in range(blocks - 1)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor, *, again: bool = False) -> list[Tensor]:
        """Return the features of every stage, finest first.

        Parameters
        ----------
        x
            Images, (B, C, *spatial).
        again
            Compute what is inside a stage again in the backward pass, instead of keeping it.
        """
        run = recomputed if again else apply
        features = []
        x = run(self.stem, self.stem, x)
        for stage in self.stages:
            x = run(stage, stage, x)
            features.append(x)
        return features
