"""How much of a batch the network computes at a time, and what it becomes when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from napari_segtrain.data.loader import STAND_IN

from .team import Team
from .values import Batch


@dataclass(frozen=True)
class Load:
    """How a batch is computed: in how large parts, and whether features are kept.

    Neither changes what is learned but for rounding: the gradients of the parts add up to one step.

    Attributes
    ----------
    patches
        Patches in the network at a time; None for a whole batch.
    recompute
        Whether features are computed again in the backward pass (gradient checkpointing).
    """

    patches: int | None = None
    recompute: bool = False

    def parts(self, batch: Batch) -> list[Batch]:
        """Return the parts of a batch, in order, of at most `patches` each; a small batch as it is."""
        if self.patches is None or batch.size <= self.patches:
            return [batch]
        return list(_cut(batch, self.patches))

    def shares(self, batch: Batch, group: int = 1) -> list[tuple[Batch, float]]:
        """Return the parts of a batch, each with what its loss is divided by.

        The gradients of all parts of all batches then add up to that of the mean loss of these batches.

        Parameters
        ----------
        batch
            The batch.
        group
            Batches that share a step of the optimizer.
        """
        parts = self.parts(batch)
        if len(parts) == 1:
            return [(batch, group)]
        return [(part, group * batch.size / part.size) for part in parts]

    def shared_parts(self, batch: Batch, team: Team) -> list[Batch]:
        """Return as many parts as any process of a team has: beyond its own, ones that stand in for one."""
        parts = self.parts(batch)
        if self.patches is None or team.alone:
            return parts
        return parts + [_stand_in(parts[-1])] * (team.meet(len(parts)) - len(parts))

    def lighter(self, batch_size: int, *, can_recompute: bool) -> Load | None:
        """Return the next load that needs less memory, None when there is none.

        Halves of a batch cost hardly any time and come first; computing features again costs a third.

        Parameters
        ----------
        batch_size
            Patches of the batch that did not fit.
        can_recompute
            Whether the network can compute features again.
        """
        now = min(self.patches or batch_size, batch_size)
        if now > 1:
            return Load(now // 2, self.recompute)
        return Load(1, True) if can_recompute and not self.recompute else None

    def lighter_ones(self, batch_size: int) -> Iterator[Load]:
        """Yield the loads that need less memory, one after the other."""
        load = self.lighter(batch_size, can_recompute=True)
        while load is not None:
            yield load
            load = load.lighter(batch_size, can_recompute=True)

    def __str__(self) -> str:
        many = "whole batches" if self.patches is None else f"{self.patches} patches at a time"
        many = "one patch at a time" if self.patches == 1 else many
        return f"{many}, features computed again in the backward pass" if self.recompute else many


WHOLE = Load()
"""Whole batches, whose features are kept."""


def _stand_in(batch: Batch) -> Batch:
    """Return a single patch in which nothing is labelled."""
    tensors = {name: tensor[:1] for name, tensor in batch.tensors.items()}
    masks = {name: torch.zeros_like(t) for name, t in tensors.items() if name.endswith("_mask")}
    return Batch({**tensors, **masks, STAND_IN: torch.ones(1, dtype=torch.bool)}, batch.index)


def _cut(batch: Batch, size: int) -> Iterator[Batch]:
    for start in range(0, batch.size, size):
        part = slice(start, start + size)
        yield Batch({name: tensor[part] for name, tensor in batch.tensors.items()}, batch.index)
