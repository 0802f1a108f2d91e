"""Means of the losses over an epoch, summed on the device so that no step waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .team import Team
from .values import LossValue

_FLUSH = 256
TOTAL = "loss"


class LossTally:
    """Adds up losses, weighted by the number of patches they are the mean of."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._sums: dict[str, float] = {}
        self._names: tuple[str, ...] = ()
        self._rows: list[Tensor] = []
        self._sizes: list[int] = []
        self._patches = 0
        self._seen: dict[str, bool | Tensor] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing was added since the last reset."""
        return not self._seen and not self._rows and not self._sums

    def add(self, value: LossValue, size: int) -> None:
        """Add the loss of one batch of `size` patches; nothing is copied from the device."""
        names = (TOTAL, *value.parts)
        if names != self._names or len(self._rows) >= _FLUSH:
            self._flush()
            self._names = names
        self._rows.append(torch.stack([value.total.detach(), *value.parts.values()]))
        self._sizes.append(size)
        self._patches += size
        for head, valid in value.valid.items():
            self._seen[head] = self._seen.get(head, False) | valid

    def _flush(self) -> None:
        if not self._rows:
            return
        rows = torch.stack(self._rows).cpu().double()
        weighted = (rows * torch.tensor(self._sizes, dtype=torch.float64)[:, None]).sum(0).tolist()
        for name, value in zip(self._names, weighted, strict=True):
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._rows, self._sizes = [], []

    def share(self, team: Team) -> None:
        """Add what the other processes counted, so that all have the same."""
        self._flush()
        others = team.gather((self._sums, self._patches, self.unseen()))
        self._sums = {name: sum(sums[name] for sums, _, _ in others) for name in self._sums}
        self._patches = sum(patches for _, patches, _ in others)
        self._seen = {head: not all(head in unseen for _, _, unseen in others) for head in self._seen}

    def means(self) -> dict[str, float]:
        """Return the mean a patch of each loss: ``"loss"`` for the total, and the names of its parts."""
        self._flush()
        return {name: value / self._patches for name, value in self._sums.items()}

    def unseen(self) -> list[str]:
        """Return the heads that had no labelled voxel in any batch."""
        return [head for head, seen in self._seen.items() if not bool(seen)]

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` goes on from, bit for bit."""
        return {
            "names": list(self._names),
            "sums": dict(self._sums),
            "rows": [row.cpu() for row in self._rows],
            "sizes": list(self._sizes),
            "patches": self._patches,
            "seen": {head: bool(seen) for head, seen in self._seen.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Go on from where another process was."""
        self._names = tuple(state["names"])
        self._sums = dict(state["sums"])
        self._rows = [row.to(device) for row in state["rows"]]
        self._sizes = list(state["sizes"])
        self._patches = int(state["patches"])
        self._seen = dict(state["seen"])
