"""The features of every stage of a network, taken while it predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from napari_segtrain.network import MultiTaskNetwork

MOST = 32
"""Features of a stage that are kept."""


def stage_modules(network: nn.Module) -> dict[str, nn.Module]:
    """Return what computes the features of each stage, by the stage's name, in the order of computation.

    Stages of the encoder are counted from the finest on, from 1; those of a decoder go back to it.
    """
    if not isinstance(network, MultiTaskNetwork):
        return {}
    found = {f"encoder {number}": stage for number, stage in enumerate(network.encoder.stages, start=1)}
    plans = network.plan.decoders
    for plan, decoder in zip(plans, network.decoders.values(), strict=True):
        title = "decoder" if len(plans) == 1 else f"decoder of {plan.name}"
        blocks = list(decoder.get_submodule("blocks").children())
        found |= {f"{title} {len(blocks) - place}": block for place, block in enumerate(blocks)}
    return found


@dataclass(frozen=True)
class Watched:
    """What the stages of a network gave in a forward pass, by their names.

    Attributes
    ----------
    features
        The first ones of each stage, at most `MOST`, ``(B, F, *spatial)`` in the processor's memory: those of
        all stages would keep as much of the network's as a backward pass.
    widths
        How many there are.
    """

    features: dict[str, Tensor] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)


@contextmanager
def watched(network: nn.Module) -> Iterator[Watched]:
    """Yield what has the features of every stage after a forward pass."""
    found = Watched()

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            found.features[name] = output.detach()[:, :MOST].cpu()
            found.widths[name] = output.shape[1]

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in stage_modules(network).items()]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
