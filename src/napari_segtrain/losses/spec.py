"""What a line of the table of losses says, and what follows: which outputs the loss can serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..config import did_you_mean
from .encodings import ENCODINGS, IN_WORDS, Meaning, triangle

ANY_ACTIVATION = frozenset({"sigmoid", "softmax", "none"})
NO_ACTIVATION = frozenset({"none"})

Channels = Callable[[int], tuple[int, int]]
"""Number of dimensions → fewest and most output channels."""


def any_number(ndim: int) -> tuple[int, int]:
    """Return the bounds of a loss that takes any number of channels."""
    return 1, 4096


def one(ndim: int) -> tuple[int, int]:
    """Return the bounds of a loss of one number a voxel."""
    return 1, 1


def several(ndim: int) -> tuple[int, int]:
    """Return the bounds of a loss that compares channels with each other."""
    return 2, 4096


def tensor(ndim: int) -> tuple[int, int]:
    """Return the bounds of a loss of symmetric tensors."""
    return triangle(ndim), triangle(ndim)


@dataclass(frozen=True)
class LossSpec:
    """One line of the table.

    Attributes
    ----------
    module, attribute
        Where the class is.
    summary
        One sentence for forms and the reference.
    compares
        What it can compare; it serves the encodings that can be compared as one of these.
    channels
        Fewest and most output channels in a dimension.
    activations
        What may turn raw output into the prediction; an activation leaves no negative numbers.
    """

    module: str
    attribute: str
    summary: str
    compares: frozenset[Meaning]
    channels: Channels = any_number
    activations: frozenset[str] = ANY_ACTIVATION

    @property
    def encodings(self) -> tuple[str, ...]:
        """The encodings that it can serve, in the order of their table."""
        return tuple(name for name, known in ENCODINGS.items() if known.meanings & self.compares)

    def is_incompatible(
        self, encoding: str, out_channels: int, ndim: int, activation: str | None = None
    ) -> Literal[False] | str:
        """Say in a sentence why this loss cannot serve a head, or False."""
        known = ENCODINGS.get(encoding)
        if known is None:
            return f"the encoding {encoding!r} of the output is unknown. {did_you_mean(encoding, ENCODINGS)}"
        if not known.meanings & self.compares:
            for_what = " or ".join(IN_WORDS[meaning] for meaning in IN_WORDS if meaning in self.compares)
            return f"it compares {for_what}, and the output is {known.words}"
        needed = known.channels(ndim) if known.channels else out_channels
        if out_channels != needed:
            return f"{known.words} in {ndim}D have {needed} channels, and the output has {out_channels}"
        fewest, most = self.channels(ndim)
        if not fewest <= out_channels <= most:
            wanted = f"at least {fewest}" if out_channels < fewest and most > fewest else str(most)
            plural = "" if wanted == "1" else "s"
            return f"it needs {wanted} channel{plural} in {ndim}D, and the output has {out_channels}"
        if activation is not None and activation not in self.activations:
            return (
                f"it compares numbers of either sign, and the activation {activation} leaves none below 0; "
                "set the activation to none"
            )
        return False
