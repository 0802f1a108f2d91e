"""The typed ends of links: what a node gets, and what it gives; and what is wrong with it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from napari_segtrain.config import Config, SegtrainError

Use = Literal["training", "inference", "both"]
"""Whether a port is wired to train, to predict, or to do either."""


class GraphError(SegtrainError):
    """A workflow graph cannot be what was asked for."""


class NodeError(GraphError):
    """A node failed; the message begins with its name.

    Attributes
    ----------
    node
        Its name.
    fitting
        What to train with instead when memory ran out; None when it was not that, or nothing fits.
    """

    def __init__(self, node: str, error: Exception) -> None:
        said = str(error) if isinstance(error, SegtrainError) else f"{type(error).__name__}: {error}"
        super().__init__(f"Node '{node}': {said}")
        self.node = node
        self.fitting = getattr(error, "fitting", None)


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


class Kind(StrEnum):
    """What of its type a port gives or takes, in words: a batch, for one, is no loader of batches."""

    PICTURE = "the image of an image layer"
    PREDICTED = "predictions of a predictor or a network"
    LABELLED = "the all_labels of a predictor"
    PREDICTION = "the prediction of a forward pass"
    GRADIENTS = "the gradients of a backward pass"
    NETWORK = "a network"
    TRAINING = "the train_loader of a data loader"
    VALIDATION = "the val_loader of a data loader"
    TEST = "the test_loader of a data loader"
    BATCH = "one batch, which prepare_batch gives"
    LOSS_FN = "a loss function"
    LOSS = "the loss that calculate_loss gives"
    OPTIMIZER = "an optimizer"
    NUMBERS = "numbers"


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
    kinds
        What of its type an output gives, or an input takes one of. A link needs equal types alone; a graph
        runs when the kinds of its links are equal, too. Empty: whatever there is.
    follows
        Input that an output passes on, or gives nothing without.
    """

    name: str
    type: PortType
    required: bool = False
    text: str = ""
    use: Use = "both"
    kinds: tuple[Kind, ...] = ()
    follows: str = ""

    @property
    def label(self) -> str:
        """Name and type as a tooltip shows them, such as ``"model (MODEL)"``."""
        return f"{self.name} ({self.type.name})"
