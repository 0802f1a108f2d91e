"""What the numbers of an output mean, and so which losses can compare them: one line an encoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Meaning = Literal[
    "masks",
    "classes",
    "fractions",
    "values",
    "distances",
    "directions",
    "inner directions",
    "unsigned directions",
    "tensors",
]
"""What a loss compares."""

IN_WORDS: dict[Meaning, str] = {
    "masks": "foreground against background",
    "classes": "classes",
    "fractions": "numbers between 0 and 1",
    "values": "measured values",
    "distances": "distances",
    "directions": "directions",
    "inner directions": "directions in the foreground",
    "unsigned directions": "directions without a sign",
    "tensors": "symmetric tensors",
}


@dataclass(frozen=True)
class Encoding:
    """How losses see one encoding of `targets.Head`.

    Attributes
    ----------
    words
        What the output is, for sentences.
    meanings
        As what its numbers can be compared.
    channels
        Number of dimensions → number of channels; None where any number is meaningful.
    """

    words: str
    meanings: frozenset[Meaning]
    channels: Callable[[int], int] | None = None


def components(ndim: int) -> int:
    """Return how many components a vector has."""
    return ndim


def triangle(ndim: int) -> int:
    """Return how many components a symmetric tensor has: its upper triangle."""
    return ndim * (ndim + 1) // 2


_MASK: frozenset[Meaning] = frozenset({"masks", "fractions", "values"})
_VECTOR: frozenset[Meaning] = frozenset({"values", "directions", "unsigned directions"})
_FIELD: frozenset[Meaning] = _VECTOR | {"inner directions"}

ENCODINGS: dict[str, Encoding] = {
    "binary": Encoding("foreground against background", _MASK),
    "boundary": Encoding("object boundaries", _MASK),
    "classes": Encoding("classes", frozenset({"classes"})),
    "regression": Encoding("measured values", _FIELD | {"distances", "tensors"}),
    "centre_distance": Encoding("normalised distances", frozenset({"fractions", "values"})),
    "distance_transform": Encoding("distances", frozenset({"values", "distances"})),
    "surface_normals": Encoding("directions", _FIELD, components),
    "nearest_component": Encoding("vectors", _VECTOR, components),
    "flows": Encoding("vectors", _FIELD, components),
    "inplane_direction": Encoding(
        "directions without a sign", frozenset({"unsigned directions"}), components
    ),
    "structure_tensor": Encoding("symmetric tensors", frozenset({"values", "tensors"}), triangle),
}
"""Encoding of a head (`targets.Head.encoding`) → how losses see it."""
