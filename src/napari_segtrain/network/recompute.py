"""Gradient checkpointing: features that are computed twice instead of being kept (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def apply(owner: nn.Module, part: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Compute a part of a network; autograd keeps what it needs."""
    return part(*inputs)


def recomputed(owner: nn.Module, part: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Compute a part of a network, of which only the inputs are kept: the backward pass computes it again.

    Random numbers are drawn as the first time, and the running statistics of `owner`, whose part it is, move
    once, so that gradients and weights are those of `apply`.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_rest(owner)

    result: Tensor = checkpoint(part, *inputs, use_reentrant=False, context_fn=contexts)
    return result


@contextmanager
def _statistics_rest(owner: nn.Module) -> Iterator[None]:
    """Let copies of the running statistics of batch normalisation move, in the place of the statistics."""
    norms = [module for module in owner.modules() if isinstance(module, _BatchNorm)]
    kept = [(norm, name, buffer) for norm in norms for name, buffer in norm.named_buffers(recurse=False)]
    for norm, name, buffer in kept:
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, name, buffer in kept:
            setattr(norm, name, buffer)
