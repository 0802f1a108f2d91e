"""Losses of a batch that several processes share: sums go over the patches of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.autograd import Function

_joint: ContextVar[bool] = ContextVar("joint", default=False)
_before: ContextVar[Callable[[], object] | None] = ContextVar("before", default=None)


@contextmanager
def joint_batches(joined: bool = True, before: Callable[[], object] | None = None) -> Iterator[None]:
    """Compute losses of the batch that all processes hold together, each a part of it.

    Inside, every process has to compute the same losses in the same order, and gets the same values: those
    that one process would get of the joined batch. A patch with many labelled voxels therefore counts as
    much as it would there, whichever process it is on, and a process without any labelled voxel dilutes
    nothing. Gradients are such that their *mean* over the processes, which data-parallel training takes,
    is the gradient of that loss.

    Parameters
    ----------
    joined
        False changes nothing.
    before
        Called before each sum, in every process: what it raises keeps this one from waiting for others
        that will not come.
    """
    token, other = _joint.set(joined), _before.set(before)
    try:
        yield
    finally:
        _joint.reset(token)
        _before.reset(other)


def over_processes(values: Tensor) -> Tensor:
    """Return the sum of `values` over all processes inside `joint_batches`, else `values` themselves."""
    if not _joint.get():
        return values
    found: Tensor = _Sum.apply(values)  # type: ignore[no-untyped-call]
    return found


def fraction_over_processes(total: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return two scalars, each summed as by `over_processes`, in one message."""
    if not _joint.get():
        return total, weight
    total, weight = over_processes(torch.stack([total, weight])).unbind()
    return total, weight


class _Sum(Function):
    """The sum over processes; each of n gets n times the gradient, of which the mean is taken later."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        out = values.detach().clone().contiguous()
        if (before := _before.get()) is not None:
            before()
        torch.distributed.all_reduce(out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # All processes compute the same from the sum on, so that theirs is the gradient here too.
        return gradient * torch.distributed.get_world_size()
