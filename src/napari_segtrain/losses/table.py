"""Every loss by name, with what it can serve; reading it loads no torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from ..config import ConfigError, did_you_mean

if TYPE_CHECKING:
    from .base import Loss

ONE_OR_NOTHING = frozenset({"binary", "boundary"})
FRACTIONS = ONE_OR_NOTHING | {"centre_distance"}
CLASSES = frozenset({"classes"})
VALUES = frozenset({"regression", "centre_distance", "distance_transform", "surface_normals"})

_IN_WORDS = {
    "binary": "foreground against background",
    "boundary": "object boundaries",
    "classes": "classes",
    "regression": "measured values",
    "centre_distance": "normalised distances",
    "distance_transform": "distances",
    "surface_normals": "directions",
}


@dataclass(frozen=True)
class LossSpec:
    """One line of the table.

    Attributes
    ----------
    module, attribute
        Where the class is.
    summary
        One sentence for forms and the reference.
    encodings
        What it can compare.
    channels
        Fewest and most output channels.
    """

    module: str
    attribute: str
    summary: str
    encodings: frozenset[str]
    channels: tuple[int, int] = (1, 4096)

    def is_incompatible(self, encoding: str, out_channels: int, ndim: int) -> Literal[False] | str:
        """Say in a sentence why this loss cannot serve a head, or False."""
        if encoding not in self.encodings:
            for_what = ", ".join(sorted(_IN_WORDS[known] for known in self.encodings))
            return f"it compares {for_what}, and the output is {_IN_WORDS.get(encoding, encoding)}"
        fewest, most = self.channels
        if out_channels < fewest:
            return f"it needs at least {fewest} channels, and the output has {out_channels}"
        if out_channels > most:
            return f"it takes {most} channel{'s' if most > 1 else ''}, and the output has {out_channels}"
        if encoding == "surface_normals" and out_channels != ndim:
            return f"directions in {ndim}D have {ndim} channels, and the output has {out_channels}"
        return False


_REGION = FRACTIONS | CLASSES
_OVERLAP = ONE_OR_NOTHING | CLASSES
_MEASURED = VALUES | ONE_OR_NOTHING

LOSSES: dict[str, LossSpec] = {
    "SoftDiceLoss": LossSpec(
        "overlap", "SoftDiceLoss", "1 - Dice overlap of the probabilities with the labels.", _OVERLAP
    ),
    "DiceLoss": LossSpec(
        "overlap", "DiceLoss", "Dice with squared probabilities in the denominator (V-Net).", _OVERLAP
    ),
    "TverskyLoss": LossSpec(
        "overlap", "TverskyLoss", "Overlap that weighs false positives and false negatives.", _OVERLAP
    ),
    "BCEWithLogitsLoss": LossSpec(
        "entropy", "BCEWithLogitsLoss", "Binary cross-entropy of every voxel and channel.", _REGION
    ),
    "CrossEntropyLoss": LossSpec(
        "entropy", "CrossEntropyLoss", "Cross-entropy over the classes.", CLASSES, (2, 4096)
    ),
    "FocalLoss": LossSpec(
        "entropy", "FocalLoss", "Cross-entropy that looks at what is still wrong.", _OVERLAP
    ),
    "BCEDiceLoss": LossSpec(
        "combined", "BCEDiceLoss", "Binary cross-entropy plus soft Dice, voxels and regions.", _OVERLAP
    ),
    "DiceCELoss": LossSpec(
        "combined", "DiceCELoss", "Cross-entropy plus soft Dice over the classes.", CLASSES, (2, 4096)
    ),
    "MSELoss": LossSpec("values", "MSELoss", "Mean squared error.", _MEASURED),
    "MaskedMSELoss": LossSpec("values", "MSELoss", "Mean squared error of the labelled voxels.", _MEASURED),
    "L1Loss": LossSpec("values", "L1Loss", "Mean absolute error.", _MEASURED),
    "SmoothL1Loss": LossSpec(
        "values", "SmoothL1Loss", "Squared error where small, absolute error where large.", _MEASURED
    ),
    "WeightedSmoothL1Loss": LossSpec(
        "values",
        "WeightedSmoothL1Loss",
        "Smooth L1 that counts objects, or the neighbourhood of the surface, more.",
        _MEASURED,
    ),
    "CosineSimilarityLoss": LossSpec(
        "directions",
        "CosineSimilarityLoss",
        "1 - cosine of the angle between predicted and true direction.",
        frozenset({"surface_normals", "regression"}),
        (2, 4096),
    ),
    "SignedDistanceLoss": LossSpec(
        "distances",
        "SignedDistanceLoss",
        "Smooth L1 near the surface, and a gradient of length 1 (eikonal equation).",
        frozenset({"distance_transform", "regression"}),
        (1, 1),
    ),
}
"""Name in the configuration → where its class is and what it serves."""


def loss_names(encoding: str | None = None, out_channels: int = 1, ndim: int = 2) -> list[str]:
    """Return the names of all losses, or of those that can serve an output.

    Parameters
    ----------
    encoding
        What the output means (`targets.Head.encoding`); None for all losses.
    out_channels, ndim
        Of the output; used with `encoding`.
    """
    if encoding is None:
        return list(LOSSES)
    return [n for n, spec in LOSSES.items() if not spec.is_incompatible(encoding, out_channels, ndim)]


def check_loss(name: str, encoding: str, out_channels: int, ndim: int) -> Literal[False] | str:
    """Say in a sentence why a loss cannot serve a head.

    Parameters
    ----------
    name
        Name of the loss.
    encoding, out_channels
        Of the head.
    ndim
        Spatial axes.

    Returns
    -------
    False or str
        False when it can; else the sentence that dock and command line show.
    """
    spec = LOSSES.get(name)
    if spec is None:
        return f"loss {name!r} is unknown. {did_you_mean(name, LOSSES)}"
    reason = spec.is_incompatible(encoding, out_channels, ndim)
    if not reason:
        return False
    others = ", ".join(loss_names(encoding, out_channels, ndim)) or "none"
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
    spec = LOSSES[name]
    kind: type[Loss] = getattr(import_module(f".{spec.module}", __package__), spec.attribute)
    settings = inspect.signature(kind).parameters
    for key in kwargs:
        if key not in settings:
            raise ConfigError(
                f"{name} has no setting {key!r}. "
                + (did_you_mean(key, settings) if settings else "It takes none.")
            )
    try:
        return kind(**kwargs)
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in kwargs.items())
        raise ConfigError(f"{name}({given}): {error}") from None


def describe_losses() -> Mapping[str, str]:
    """Return the summary of every loss by name."""
    return {name: spec.summary for name, spec in LOSSES.items()}
