"""Optimizers and learning-rate schedules, one small tagged class each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Config
from .fields import key


class _Optimizer(Config):
    lr: float = key(
        1e-3,
        "Learning rate",
        "Step size of the optimizer at the start of the schedule.",
        ge=0.0,
        le=10.0,
        level="common",
    )
    weight_decay: float = key(
        1e-2, "Weight decay", "Pulls the weights towards zero; 0 switches it off.", ge=0.0, le=1.0
    )


class AdamW(_Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019)."""

    name: Literal["AdamW"] = "AdamW"


class Adam(_Optimizer):
    """Adam (Kingma & Ba 2015)."""

    name: Literal["Adam"] = "Adam"
    weight_decay: float = key(0.0, "Weight decay", "L2 penalty on the weights.", ge=0.0, le=1.0)


class NAdam(_Optimizer):
    """Adam with Nesterov momentum (Dozat 2016)."""

    name: Literal["NAdam"] = "NAdam"
    weight_decay: float = key(0.0, "Weight decay", "L2 penalty on the weights.", ge=0.0, le=1.0)


class RAdam(_Optimizer):
    """Rectified Adam (Liu et al. 2020)."""

    name: Literal["RAdam"] = "RAdam"
    weight_decay: float = key(0.0, "Weight decay", "L2 penalty on the weights.", ge=0.0, le=1.0)


class SGD(_Optimizer):
    """Stochastic gradient descent with Nesterov momentum, as nnU-Net trains."""

    name: Literal["SGD"] = "SGD"
    lr: float = key(
        1e-2, "Learning rate", "Step size at the start of the schedule.", ge=0.0, le=10.0, level="common"
    )
    weight_decay: float = key(3e-5, "Weight decay", "L2 penalty on the weights.", ge=0.0, le=1.0)
    momentum: float = key(0.99, "Momentum", "Share of the last step that is kept.", ge=0.0, lt=1.0)
    nesterov: bool = key(True, "Nesterov", "Look ahead along the momentum before the gradient.")


Optimizer = Annotated[AdamW | Adam | NAdam | RAdam | SGD, Field(discriminator="name")]


class Cosine(Config):
    """Cosine annealing from the learning rate to `min_factor` of it, a step at a time."""

    name: Literal["cosine"] = "cosine"
    min_factor: float = key(
        0.0, "Final factor", "Share of the learning rate that is left at the end.", ge=0.0, le=1.0
    )


class WarmupCosine(Config):
    """Linear rise over the first epochs, then cosine annealing."""

    name: Literal["warmup_cosine"] = "warmup_cosine"
    warmup_epochs: float = key(1.0, "Warm-up", "Length of the linear rise from zero.", unit="epochs", gt=0.0)
    min_factor: float = key(
        0.0, "Final factor", "Share of the learning rate that is left at the end.", ge=0.0, le=1.0
    )


class Poly(Config):
    """Polynomial decay ``(1 - step / steps) ** exponent`` (DeepLab, nnU-Net)."""

    name: Literal["poly"] = "poly"
    exponent: float = key(0.9, "Exponent", "Shape of the decay; 1 is a straight line.", gt=0.0, le=5.0)


class Step(Config):
    """Multiply by `factor` every `every` epochs."""

    name: Literal["step"] = "step"
    every: int = key(30, "Every", "Epochs between two drops.", unit="epochs", ge=1)
    factor: float = key(0.1, "Factor", "What the learning rate is multiplied by.", gt=0.0, lt=1.0)


class Constant(Config):
    """The learning rate stays as it is."""

    name: Literal["constant"] = "constant"


Schedule = Annotated[Cosine | WarmupCosine | Poly | Step | Constant, Field(discriminator="name")]
