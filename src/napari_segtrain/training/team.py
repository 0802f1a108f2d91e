"""The processes that train one network together, seen from one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed

from napari_segtrain.config import ConfigError

T = TypeVar("T")


class OthersOutOfMemoryError(MemoryError):
    """Memory ran out in another process of the team, so that this one has to begin anew with it."""

    def __init__(self) -> None:
        super().__init__("another of the processes that train together ran out of memory")


@dataclass(frozen=True)
class Team:
    """One of several processes; the first leads: it alone writes files, and is asked to stop.

    Every process calls the same methods in the same order, each of which waits for the others. Alone, they
    return what they are given. What they pass on are numbers of the processor's memory: no GPU is waited for.

    Attributes
    ----------
    rank, size
        Number of this process, and how many there are.
    local_rank, node_rank
        Number of this process among those of its machine, and number of the machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    node_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    def agree(self, *numbers: float) -> tuple[float, ...]:
        """Return the leader's numbers."""
        if self.alone:
            return numbers
        values = torch.tensor(numbers, dtype=torch.float64)
        torch.distributed.broadcast(values, 0)
        return tuple(values.tolist())

    def follow(self, value: Any) -> Any:
        """Return the leader's value."""
        if self.alone:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, 0, device=torch.device("cpu"))
        return values[0]

    def gather(self, value: T) -> list[T]:
        """Return every process's value, in their order."""
        if self.alone:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over the processes of a tensor in the processor's memory."""
        if self.alone:
            return values
        values = values.clone()
        torch.distributed.all_reduce(values)
        return values

    def meet(self, number: int = 0) -> int:
        """Return the largest of all processes' numbers, before something for which they need each other.

        Raises
        ------
        OthersOutOfMemoryError
            When one of them called `out_of_memory` instead.
        """
        if self.alone:
            return number
        failed, largest = self._largest(0, number)
        if failed:
            raise OthersOutOfMemoryError
        return largest

    def out_of_memory(self) -> None:
        """Tell the others at the next place where they `meet` that this process did not come so far."""
        if not self.alone:
            self._largest(1, 0)

    @staticmethod
    def _largest(*numbers: int) -> list[int]:
        values = torch.tensor(numbers)
        torch.distributed.all_reduce(values, torch.distributed.ReduceOp.MAX)
        return [int(value) for value in values]

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Give tensors on any device the mean over the processes, in place and without other memory."""
        if self.alone:
            return
        for work in [torch.distributed.all_reduce(tensor, async_op=True) for tensor in tensors]:
            work.wait()
        torch._foreach_div_(list(tensors), self.size)

    def own_seed(self, seed: int) -> int:
        """Return the seed for what is random in the network of this process; the leader's is `seed`."""
        if self.leads:
            return seed
        return int(np.random.SeedSequence([seed, self.rank]).generate_state(1)[0]) % 2**31


ALONE = Team()

PATIENCE = timedelta(hours=4)
"""How long processes wait for each other: one may index patches of a large volume for the first time."""


def check_processes(wanted: int, team: Team) -> None:
    """Refuse to train in another number of processes than those that share the batches.

    Raises
    ------
    ConfigError
        Says how to train in several.
    """
    if wanted != team.size:
        raise ConfigError(
            f"tr_setup: {wanted} processes are asked for, but the batches are made for {team.size}: train on "
            "several devices with segtrain train --devices N or napari_segtrain.train, which share them out"
        )


def connect(team: Team, device: torch.device, store: Any = None) -> None:
    """Let the processes of a team talk to each other; waits until all are there.

    Parameters
    ----------
    team
        This process's place.
    device
        Where this process computes; GPUs talk by NCCL, processors by gloo.
    store
        A `torch.distributed.Store` where they meet; None: where the environment says (``MASTER_ADDR``,
        ``MASTER_PORT``).
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Numbers in the processor's memory go by gloo, so that requests to stop never wait for a GPU.
    torch.distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        init_method="env://" if store is None else None,
        rank=team.rank,
        world_size=team.size,
        store=store,
        timeout=PATIENCE,
    )
