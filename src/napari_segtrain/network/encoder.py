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
        self.stem = ConvBlock(plan, plan.in_channels, plan.features[0], plan.kernel_sizes[0])
        stages: list[nn.Module] = []
        channels = plan.features[0]
        for features, blocks, kernel, stride in zip(
            plan.features, plan.blocks_per_stage, plan.kernel_sizes, plan.strides, strict=True
        ):
            layers: list[nn.Module] = []
            one = (1,) * plan.ndim
            first_stride = stride
            if plan.pooling != "strided":
                layers.append(pool(plan, stride, plan.pooling))
                first_stride = one
            layers.append(ResidualBlock(plan, channels, features, kernel, first_stride))
            layers += [ResidualBlock(plan, features, features, kernel, one) for _ in range(blocks - 1)]
            stages.append(nn.Sequential(*layers))
            channels = features
        self.stages = nn.ModuleList(stages)

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
