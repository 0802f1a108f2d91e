"""What a network costs before it is run: parameters, memory, time."""

from __future__ import annotations

import time
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from .build import build_network
from .multitask import MultiTaskNetwork
from .plan import NetworkPlan

_OPTIMIZER_COPIES = 3
"""Gradient and the two moments of Adam, each as large as the weights."""


def _outputs(network: MultiTaskNetwork, x: Tensor) -> list[Tensor]:
    values: list[Tensor] = []
    for value in network(x).values():
        values += value if isinstance(value, list) else [value]
    return values


def _meta(plan: NetworkPlan, batch_size: int) -> tuple[MultiTaskNetwork, Tensor]:
    with torch.device("meta"):
        network = build_network(plan)
        return network, torch.empty(batch_size, plan.in_channels, *plan.patch_size)


def count_parameters(plan: NetworkPlan) -> int:
    """Return the number of trainable numbers."""
    network, _ = _meta(plan, 1)
    return sum(p.numel() for p in network.parameters())


@lru_cache(maxsize=256)
def estimate_memory(
    plan: NetworkPlan, batch_size: int, *, training: bool = True, recompute: bool = False
) -> int:
    """Return the bytes that a step needs in float32, beyond what the program itself takes.

    The network runs on tensors without storage; what autograd would keep for the backward pass is
    counted, each storage once. Weights, gradients and the optimizer's moments are added, and the two
    largest maps for what a convolution works with.

    Parameters
    ----------
    plan
        The network; its patch size is the input.
    batch_size
        Patches a step.
    training
        False counts a forward pass: weights and the encoder's features that the decoder waits for.
    recompute
        Features are computed again in the backward pass: the inputs of each stage are kept, and with them
        what one stage computes: about a fifth of what the network would keep in the largest one.
    """
    network, x = _meta(plan, batch_size)
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    if not training:
        return int(weights + 6 * batch_size * plan.features[0] * _prod(plan.patch_size) * 4)
    activations, largest, outputs = _kept(network, x)
    if recompute:
        network.checkpointing = True
        activations = _kept(network, x)[0] + activations // 4
    return int(weights * (1 + _OPTIMIZER_COPIES) + activations + 2 * outputs + 2 * largest)


def _kept(network: MultiTaskNetwork, x: Tensor) -> tuple[int, int, int]:
    """Return the bytes that autograd keeps beside the weights, of the largest map, and of the outputs."""
    weights = {p.untyped_storage()._cdata for p in network.parameters()}
    kept: dict[int, int] = {}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        outputs = _outputs(network, x)
    size = sum(o.numel() * o.element_size() for o in outputs)
    return sum(kept.values()), max(kept.values(), default=0), size


def _prod(values: tuple[int, ...]) -> int:
    product = 1
    for value in values:
        product *= value
    return product


@lru_cache(maxsize=16)
def count_flops(plan: NetworkPlan, batch_size: int = 1) -> int:
    """Return the floating-point operations of one forward pass."""
    network, x = _meta(plan, batch_size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x)
    return int(counter.get_total_flops())


@lru_cache(maxsize=4)
def _matrix_speed(device: str) -> float:
    """Return floating-point operations a second of a matrix product on `device`, the best of three."""
    size = 768 if device == "cpu" else 4096
    a = torch.rand(size, size, device=device)
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        product = a @ a
        float(product[0, 0])
        best = min(best, time.perf_counter() - start)
    return float(2 * size**3 / best)


def step_seconds(plan: NetworkPlan, batch_size: int, device: str = "cpu") -> float:
    """Estimate the seconds of one training step.

    A backward pass costs two forward passes, and eager convolutions reach about half of the speed of a
    matrix product, which is measured here in a few milliseconds.
    """
    return 3 * count_flops(plan, batch_size) / (0.5 * _matrix_speed(device))
