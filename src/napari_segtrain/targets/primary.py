"""The heads of a primary target."""

from __future__ import annotations

from ..config import Activation, ConfigError, DataFacts, LossConfig, TargetConfig
from .head import Encoding, Head
from .kinds import class_values, facts_of


def primary_heads(name: str, target: TargetConfig, facts: DataFacts) -> list[Head]:
    """Return the heads of a target whose kind is decided: one, or three of an instance target.

    Raises
    ------
    ConfigError
        When labels and settings contradict each other.
    """
    if target.kind == "classes" or (target.kind == "binary" and _wants_two(target)):
        return [_classes_head(name, target, facts)]
    if target.kind == "regression":
        return [_regression_head(name, target, facts)]
    if target.out_channels not in (None, 1):
        raise ConfigError(
            f"target {name!r}: out_channels is {target.out_channels}, but a {target.kind} target has one "
            "channel. Leave it empty, or set kind to classes"
        )
    if target.activation == "softmax":
        raise ConfigError(
            f"target {name!r}: softmax needs classes to choose from; use sigmoid for kind {target.kind}"
        )
    foreground = _head(name, name, "binary", 1, target.activation or "sigmoid", target)
    if target.kind == "binary":
        return [foreground]
    return [
        foreground,
        _head(f"{name}_boundary", name, "boundary", 1, "sigmoid", target),
        Head(
            name=f"{name}_distance",
            target=name,
            decoder=name,
            encoding="centre_distance",
            out_channels=1,
            activation="sigmoid",
            losses=(LossConfig(name="WeightedSmoothL1Loss", kwargs={"beta": 0.1}),),
            weight=target.weight,
            ds_interpolation="linear",
        ),
    ]


def _wants_two(target: TargetConfig) -> bool:
    return target.out_channels == 2 or (target.activation == "softmax" and target.out_channels is None)


def _classes_head(name: str, target: TargetConfig, facts: DataFacts) -> Head:
    if target.kind == "binary":
        count = 2
    else:
        known = class_values(name, target, facts_of(name, target, facts))
        count = len(known) or target.out_channels or max(2, facts.in_channels)
    if count < 2:
        raise ConfigError(
            f"target {name!r}: kind classes needs at least two classes, and there is one. Set kind to "
            "binary, or list the label values of all classes in values"
        )
    return _head(name, name, "classes", count, target.activation or "softmax", target)


def _regression_head(name: str, target: TargetConfig, facts: DataFacts) -> Head:
    known = facts_of(name, target, facts)
    if known is not None and target.out_channels not in (None, known.channels):
        raise ConfigError(
            f"target {name!r}: out_channels is {target.out_channels}, but its labels have {known.channels} "
            "channels. Leave out_channels empty"
        )
    channels = target.out_channels or (known.channels if known else facts.in_channels)
    activation = target.activation or "none"
    largest = known.max_value if known else 0.0
    scale = largest if activation == "none" and largest > 0 else 1.0
    loss = LossConfig(name="MaskedMSELoss", weight=1.0 / scale**2)
    return Head(
        name=name,
        target=name,
        decoder=name,
        encoding="regression",
        out_channels=channels,
        activation=activation,
        losses=target.losses or (loss,),
        weight=target.weight,
        ds_interpolation=target.ds_interpolation,
        scale=scale,
    )


def _head(
    name: str, source: str, encoding: Encoding, channels: int, activation: Activation, target: TargetConfig
) -> Head:
    if activation == "none":
        # Losses of regions get raw output anyway; masks, objects and scores need probabilities.
        activation = "softmax" if encoding == "classes" else "sigmoid"
    default = "DiceCELoss" if activation == "softmax" else "BCEDiceLoss"
    return Head(
        name=name,
        target=source,
        decoder=source,
        encoding=encoding,
        out_channels=channels,
        activation=activation,
        losses=target.losses or (LossConfig(name=default),),
        weight=target.weight,
        ds_interpolation=target.ds_interpolation,
    )
