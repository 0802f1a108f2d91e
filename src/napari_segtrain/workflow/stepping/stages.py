"""The features of every stage of a network, taken while it predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from napari_segtrain.network import MultiTaskNetwork


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


@contextmanager
def watched(network: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Yield a dictionary that has the features ``(B, F, *spatial)`` of every stage after a forward pass."""
    features: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            features[name] = output.detach()

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in stage_modules(network).items()]
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()
