"""An exponential moving average of the weights, which validates and predicts in their place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class AveragedWeights:
    """Keeps ``average ← d · average + (1 - d) · weights`` after every step of the optimizer.

    The decay d rises from small values, ``min(decay, (1 + n) / (10 + n))`` after n updates, so that the
    first average is not the random start. Buffers, such as the statistics of a batch norm, are copied.

    Parameters
    ----------
    network
        On its device already.
    decay
        Largest d, 0 < d < 1.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = network
        self.decay = decay
        self.updates = 0
        self._swapped = False
        self._average = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self._names = [name for name, value in network.named_parameters() if value.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights as they are now."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        parameters = dict(self.network.named_parameters())
        average = [self._average[name] for name in self._names]
        torch._foreach_lerp_(average, [parameters[name].detach() for name in self._names], 1.0 - decay)
        for name, value in self.network.named_buffers():
            if name in self._average:
                self._average[name].copy_(value)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the network the averaged weights, and back its own, bit for bit, at the end.

        Inside another such block this changes nothing.
        """
        if self._swapped:
            yield
            return
        self._swap()
        self._swapped = True
        try:
            yield
        finally:
            self._swap()
            self._swapped = False

    def _swap(self) -> None:
        for name, value in self._tensors():
            value.data, self._average[name] = self._average[name], value.data

    def _tensors(self) -> list[tuple[str, Tensor]]:
        named = [*self.network.named_parameters(), *self.network.named_buffers()]
        return [(name, value) for name, value in named if name in self._average]

    def weights(self) -> dict[str, Tensor]:
        """Return the averaged state dict of the network."""
        if self._swapped:
            return dict(self.network.state_dict())
        return dict(self._average)

    def own_weights(self) -> dict[str, Tensor]:
        """Return the network's own state dict, also while the average is applied."""
        return dict(self._average) if self._swapped else dict(self.network.state_dict())

    def load(self, weights: dict[str, Tensor], updates: int) -> None:
        """Go on from a saved average."""
        for name, value in weights.items():
            self._average[name].copy_(value)
        self.updates = updates
