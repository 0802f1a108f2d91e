"""Parts of a training that somebody else has made, such as the nodes of a workflow graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from .resolve import ResolvedExperiment
from .values import Optimization

if TYPE_CHECKING:
    from .data import SegtrainDataModule


@dataclass(frozen=True, eq=False)
class Given:
    """What a training is handed, made by the functions that it would call itself; None for what is not.

    Attributes
    ----------
    data
        The batches, made by `data_of`.
    resolved
        What the experiment means, as `network_of` returned it with the network.
    network
        What is trained, on its device.
    loss
        What is minimised.
    optimization
        What changes the weights of `network`, made by `initialize_optimizer` with the training's `Journey`.
    """

    data: SegtrainDataModule | None = None
    resolved: ResolvedExperiment | None = None
    network: nn.Module | None = None
    loss: nn.Module | None = None
    optimization: Optimization | None = None


NOTHING = Given()
