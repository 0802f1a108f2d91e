"""Every loss by name, with what it can serve; reading it loads no torch."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..config import ConfigError, did_you_mean
from .encodings import Meaning
from .spec import NO_ACTIVATION, LossSpec, one, several, tensor

if TYPE_CHECKING:
    from .base import Loss


def _compares(*meanings: Meaning) -> frozenset[Meaning]:
    return frozenset(meanings)


_REGIONS = _compares("masks", "classes")
_VALUES = _compares("values")
_CLASSES = _compares("classes")

LOSSES: dict[str, LossSpec] = {
    "SoftDiceLoss": LossSpec(
        "overlap", "SoftDiceLoss", "1 - Dice overlap of the probabilities with the labels.", _REGIONS
    ),
    "DiceLoss": LossSpec(
        "overlap", "DiceLoss", "Dice with squared probabilities in the denominator (V-Net).", _REGIONS
    ),
    "TverskyLoss": LossSpec(
        "overlap", "TverskyLoss", "Overlap that weighs false positives and false negatives.", _REGIONS
    ),
    "clDice": LossSpec(
        "skeleton", "ClDiceLoss", "Overlap of skeletons: keeps thin structures connected.", _REGIONS
    ),
    "BCEWithLogitsLoss": LossSpec(
        "entropy",
        "BCEWithLogitsLoss",
        "Binary cross-entropy of every voxel and channel.",
        _compares("fractions", "classes"),
    ),
    "CrossEntropyLoss": LossSpec(
        "entropy", "CrossEntropyLoss", "Cross-entropy over the classes.", _CLASSES, several
    ),
    "FocalLoss": LossSpec(
        "entropy", "FocalLoss", "Cross-entropy that looks at what is still wrong.", _REGIONS
    ),
    "BCEDiceLoss": LossSpec(
        "combined", "BCEDiceLoss", "Binary cross-entropy plus soft Dice, voxels and regions.", _REGIONS
    ),
    "DiceCELoss": LossSpec(
        "combined", "DiceCELoss", "Cross-entropy plus soft Dice over the classes.", _CLASSES, several
    ),
    "MSELoss": LossSpec("values", "MSELoss", "Mean squared error.", _VALUES),
    "MaskedMSELoss": LossSpec("values", "MSELoss", "Mean squared error of the labelled voxels.", _VALUES),
    "L1Loss": LossSpec("values", "L1Loss", "Mean absolute error.", _VALUES),
    "SmoothL1Loss": LossSpec(
        "values", "SmoothL1Loss", "Squared error where small, absolute error where large.", _VALUES
    ),
    "WeightedSmoothL1Loss": LossSpec(
        "values",
        "WeightedSmoothL1Loss",
        "Smooth L1 that counts objects, or the neighbourhood of the surface, more.",
        _VALUES,
    ),
    "CosineSimilarityLoss": LossSpec(
        "directions",
        "CosineSimilarityLoss",
        "1 - cosine of the angle between predicted and true direction.",
        _compares("directions"),
        several,
        NO_ACTIVATION,
    ),
    "SignInvariantCosineLoss": LossSpec(
        "directions",
        "SignInvariantCosineLoss",
        "1 - cosine of the angle between two lines: a direction and its opposite are the same.",
        _compares("unsigned directions"),
        several,
        NO_ACTIVATION,
    ),
    "NormalSmoothnessLoss": LossSpec(
        "smoothness",
        "NormalSmoothnessLoss",
        "Keeps directions near the mean around them; add it to a loss that looks at the target.",
        _compares("inner directions"),
        several,
        NO_ACTIVATION,
    ),
    "SignedDistanceLoss": LossSpec(
        "distances",
        "SignedDistanceLoss",
        "Smooth L1 near the surface, and a gradient of length 1 (eikonal equation).",
        _compares("distances"),
        one,
        NO_ACTIVATION,
    ),
    "EigenvalueLoss": LossSpec(
        "tensors",
        "EigenvalueLoss",
        "Squared error of eigenvalues, whatever their directions; add it to a loss of the components.",
        _compares("tensors"),
        tensor,
        NO_ACTIVATION,
    ),
}
"""Name in the configuration → where its class is and what it serves."""


def loss_names(
    encoding: str | None = None, out_channels: int = 1, ndim: int = 2, activation: str | None = None
) -> list[str]:
    """Return the names of all losses, or of those that can serve an output.

    Parameters
    ----------
    encoding
        What the output means (`targets.Head.encoding`); None for all losses.
    out_channels, ndim, activation
        Of the output; used with `encoding`. Without an activation any will do.
    """
    if encoding is None:
        return list(LOSSES)
    output = (encoding, out_channels, ndim, activation)
    return [name for name, spec in LOSSES.items() if not spec.is_incompatible(*output)]


def check_loss(
    name: str, encoding: str, out_channels: int, ndim: int, activation: str | None = None
) -> Literal[False] | str:
    """Say in a sentence why a loss cannot serve a head.

    Parameters
    ----------
    name
        Name of the loss.
    encoding, out_channels
        Of the head.
    ndim
        Spatial axes.
    activation
        Of the head; None does not ask for it.

    Returns
    -------
    False or str
        False when it can; else the sentence that dock and command line show: the reason, and which losses
        can.
    """
    spec = LOSSES.get(name)
    if spec is None:
        return f"loss {name!r} is unknown. {did_you_mean(name, LOSSES)}"
    reason = spec.is_incompatible(encoding, out_channels, ndim, activation)
    if not reason:
        return False
    others = ", ".join(loss_names(encoding, out_channels, ndim, activation)) or "none"
    return f"{name} cannot be used: {reason}. Losses that can: {others}"


def create(name: str, **kwargs: Any) -> Loss:
    """Build a loss from its name.

    Parameters
    ----------
    name
        A key of `LOSSES`.
    **kwargs
        Settings of the loss.

    Raises
    ------
    ConfigError
        When the name or a setting is unknown, or a setting's value is not allowed.
    """
    if name not in LOSSES:
        raise ConfigError(f"loss {name!r} is unknown. {did_you_mean(name, LOSSES)}")
    kind = _loss_type(name)
    settings = inspect.signature(kind, eval_str=True).parameters
    for key, value in kwargs.items():
        if key not in settings:
            raise ConfigError(
                f"{name} has no setting {key!r}. "
                + (did_you_mean(key, settings) if settings else "It takes none.")
            )
        wanted = _wanted(value, settings[key].annotation)
        if wanted:
            raise ConfigError(f"{name}: {key} must be {wanted}, and is {value!r}")
    try:
        return kind(**kwargs)
    except ValueError as error:
        given = ", ".join(f"{key}={value!r}" for key, value in kwargs.items())
        raise ConfigError(f"{name}({given}): {error}") from None


def loss_settings(name: str) -> dict[str, Any]:
    """Return every setting of a loss with its default, in the order of its documentation."""
    settings = inspect.signature(_loss_type(name)).parameters
    return {key: setting.default for key, setting in settings.items()}


def _loss_type(name: str) -> type[Loss]:
    spec = LOSSES[name]
    kind: type[Loss] = getattr(import_module(f".{spec.module}", __package__), spec.attribute)
    return kind


def _wanted(value: Any, annotation: Any) -> str | None:
    """Say what a setting takes when `value` is none of it; None when it is."""
    kinds = get_args(annotation) or (annotation,)
    if value is None and types.NoneType in kinds:
        return None
    empty = ", or empty" if types.NoneType in kinds else ""
    if bool in kinds:
        return None if isinstance(value, bool) else "true or false" + empty
    if int in kinds:
        return None if isinstance(value, int) and not isinstance(value, bool) else "a whole number" + empty
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return None if number else "a finite number" + empty


def describe_losses() -> Mapping[str, str]:
    """Return the summary of every loss by name."""
    return {name: spec.summary for name, spec in LOSSES.items()}
