"""The typed ends of links: what a node gets, and what it gives."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from napari_segtrain.config import Config, SegtrainError

Use = Literal["training", "inference", "both"]
"""Whether a port is wired to train, to predict, or to do either."""


class GraphError(SegtrainError):
    """A workflow graph cannot be what was asked for."""


class PortType(StrEnum):
    """What goes through a link.

    ``tensor``: an image, a prediction, labels, gradients. ``model``: the network itself. ``batch``: a loader
    of batches, or one batch of it. ``loss``: a loss function, or its value. ``optimizer``: what changes the
    weights. ``metrics``: numbers about a result. ``any``: whatever there is.
    """

    TENSOR = "tensor"
    MODEL = "model"
    BATCH = "batch"
    LOSS = "loss"
    OPTIMIZER = "optimizer"
    METRICS = "metrics"
    ANY = "any"

    def fits(self, other: PortType) -> bool:
        """Return whether a link may lead from one to the other: equal types, or one is `ANY`."""
        return self is other or PortType.ANY in (self, other)


class Port(Config):
    """One end that links can have.

    Attributes
    ----------
    name
        As files and messages call it.
    type
        What goes through it.
    required
        Whether an input must be connected before the graph can run; outputs never must.
    text
        One sentence for tooltips and the documentation.
    use
        Whether it is wired to train, to predict, or to do either.
    """

    name: str
    type: PortType
    required: bool = False
    text: str = ""
    use: Use = "both"

    @property
    def label(self) -> str:
        """Name and type as a tooltip shows them, such as ``"model (MODEL)"``."""
        return f"{self.name} ({self.type.name})"
