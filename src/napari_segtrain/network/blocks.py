"""Convolution blocks, one set for 2D and 3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .plan import NetworkPlan

_CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_BATCH_NORM: dict[int, Any] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_DROPOUT: dict[int, Any] = {2: nn.Dropout2d, 3: nn.Dropout3d}
_AVERAGE: dict[int, Any] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
_MAXIMUM: dict[int, Any] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_NONLINEARITY: dict[str, Any] = {
    "leaky_relu": lambda channels: nn.LeakyReLU(0.01, inplace=True),
    "prelu": nn.PReLU,
    "relu": lambda channels: nn.ReLU(inplace=True),
    "gelu": lambda channels: nn.GELU(),
    "silu": lambda channels: nn.SiLU(inplace=True),
    "mish": lambda channels: nn.Mish(inplace=True),
}


def convolution(
    plan: NetworkPlan, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int], bias: bool
) -> nn.Module:
    """Return a convolution that keeps the size of its input but for the stride."""
    padding = tuple((k - 1) // 2 for k in kernel)
    module: nn.Module = _CONV[plan.ndim](
        inputs, outputs, tuple(kernel), tuple(stride), padding=padding, bias=bias
    )
    return module


def transposed_convolution(plan: NetworkPlan, inputs: int, outputs: int, stride: Sequence[int]) -> nn.Module:
    """Return a transposed convolution that enlarges by `stride` without overlap."""
    module: nn.Module = _TRANSPOSED[plan.ndim](inputs, outputs, tuple(stride), tuple(stride))
    return module


def normalisation(plan: NetworkPlan, channels: int) -> nn.Module:
    """Return the plan's feature normalisation.

    Instance normalisation is written as group normalisation with a group a channel: the same formula,
    and the faster kernel.
    """
    if plan.norm == "instance":
        return nn.GroupNorm(channels, channels)
    if plan.norm == "group":
        return nn.GroupNorm(_groups(channels), channels)
    if plan.norm == "batch":
        module: nn.Module = _BATCH_NORM[plan.ndim](channels)
        return module
    return nn.Identity()


def _groups(channels: int) -> int:
    return next(groups for groups in (8, 4, 2, 1) if channels % groups == 0)


def nonlinearity(plan: NetworkPlan, channels: int) -> nn.Module:
    """Return the plan's activation between convolutions; a PReLU learns a slope for each channel."""
    module: nn.Module = _NONLINEARITY[plan.nonlinearity](channels)
    return module


def pool(plan: NetworkPlan, stride: Sequence[int], kind: str) -> nn.Module:
    """Return average or maximum pooling by `stride`, or nothing where nothing is pooled."""
    if all(s == 1 for s in stride):
        return nn.Identity()
    table = _MAXIMUM if kind == "max" else _AVERAGE
    module: nn.Module = table[plan.ndim](tuple(stride), tuple(stride))
    return module


class ConvBlock(nn.Sequential):
    """Convolution, dropout, normalisation, nonlinearity."""

    def __init__(
        self,
        plan: NetworkPlan,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        stride: Sequence[int] | None = None,
        *,
        activate: bool = True,
    ) -> None:
        layers: list[nn.Module] = [
            convolution(plan, inputs, outputs, kernel, stride or (1,) * plan.ndim, bias=plan.norm == "none")
        ]
        if plan.dropout > 0:
            layers.append(_DROPOUT[plan.ndim](plan.dropout))
        layers.append(normalisation(plan, outputs))
        if activate:
            layers.append(nonlinearity(plan, outputs))
        super().__init__(*layers)


class SqueezeExcitation(nn.Module):
    """Channel gate: ``x · σ(W₂ relu(W₁ mean(x)))`` (Hu et al. 2018)."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        self.gate = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, channels), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of `x`, shape ``(B, C, *spatial)``."""
        gate: Tensor = self.gate(x.flatten(2).mean(2))
        return x * gate.reshape(*gate.shape, *([1] * (x.ndim - 2)))


class StochasticDepth(nn.Module):
    """Drop a sample's residual branch with probability `p` while training (Huang et al. 2016)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Zero whole samples of `x` and rescale the others."""
        if not self.training or self.p == 0:
            return x
        keep = torch.rand(x.shape[0], *([1] * (x.ndim - 1)), device=x.device) >= self.p
        return x * (keep.to(x.dtype) / (1 - self.p))


class ResidualBlock(nn.Module):
    """``φ(skip(x) + F(x))`` with two convolutions in ``F`` (He et al. 2016, variant D of He et al. 2019).

    The skip path pools by averaging and changes the channels by a 1×1 convolution where it must.
    """

    def __init__(
        self, plan: NetworkPlan, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int]
    ) -> None:
        super().__init__()
        branch: list[nn.Module] = [
            ConvBlock(plan, inputs, outputs, kernel, stride),
            ConvBlock(plan, outputs, outputs, kernel, activate=False),
        ]
        if plan.squeeze_excitation:
            branch.append(SqueezeExcitation(outputs))
        if plan.stochastic_depth > 0:
            branch.append(StochasticDepth(plan.stochastic_depth))
        self.branch = nn.Sequential(*branch)
        skip: list[nn.Module] = []
        if any(s != 1 for s in stride):
            skip.append(pool(plan, stride, "average"))
        if inputs != outputs:
            one = (1,) * plan.ndim
            skip += [convolution(plan, inputs, outputs, one, one, bias=False), normalisation(plan, outputs)]
        self.skip = nn.Sequential(*skip)
        self.activation = nonlinearity(plan, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of shape ``(B, outputs, *(spatial / stride))``."""
        out: Tensor = self.activation(self.branch(x) + self.skip(x))
        return out
