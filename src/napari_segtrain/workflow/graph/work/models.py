"""What is known of a network that goes through a link: the link gives the network itself, and no more."""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakKeyDictionary

from torch import nn

from napari_segtrain.inference import Trained
from napari_segtrain.training import ResolvedExperiment

from ..ports import GraphError

_KNOWN: WeakKeyDictionary[nn.Module, tuple[Trained, ResolvedExperiment | None]] = WeakKeyDictionary()


def describe(trained: Trained, resolved: ResolvedExperiment | None = None) -> nn.Module:
    """Remember what a network is, for those that get it through a link, and return it.

    Parameters
    ----------
    trained
        The network with its outputs and its normalisation.
    resolved
        What it is trained with; None of one that came from a checkpoint.
    """
    network = trained.network
    # Without the network, which the table would keep alive.
    _KNOWN[network] = replace(trained, network=nn.Identity()), resolved
    return network


def described(network: nn.Module) -> tuple[Trained, ResolvedExperiment | None]:
    """Return what `describe` was told of a network.

    Raises
    ------
    GraphError
        When nothing is known of it.
    """
    if network not in _KNOWN:
        raise GraphError("this network has no plan: take one from a network node or a checkpoint loader")
    known, resolved = _KNOWN[network]
    return replace(known, network=network), resolved
