"""Milliseconds that a loss and its gradient take, and what that is of a small U-Net's training step.

python benchmarks/losses.py [rounds]      # 5
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch

from napari_segtrain.config import NetworkConfig
from napari_segtrain.losses import LOSSES, create
from napari_segtrain.network import build_network, make_plan


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    work()
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append((time.process_time() - start) * 1000)
    return statistics.median(taken)


def network_step(batch: int, shape: tuple[int, ...]) -> Callable[[], object]:
    """Return forward and backward of the 16-feature network with one head."""

    class Head:
        name, decoder, out_channels = "t", "t", 1

    plan = make_plan(
        NetworkConfig(base_features=16),
        ndim=len(shape),
        in_channels=1,
        patch_size=shape,
        spacing=(1.0,) * len(shape),
        shape=shape,
        heads=[Head()],
    )
    network = build_network(plan).train()
    image = torch.randn(batch, 1, *shape)
    return lambda: network(image)["t"].sum().backward()


def loss_step(name: str, batch: int, shape: tuple[int, ...]) -> tuple[str, Callable[[], object]]:
    """Return what the loss compares, and one evaluation with its gradient."""
    spec = LOSSES[name]
    encoding = (
        "classes" if spec.channels[0] == 2 and "classes" in spec.encodings else sorted(spec.encodings)[0]
    )
    channels = 4 if encoding == "classes" else len(shape) if name == "CosineSimilarityLoss" else 1
    prediction = torch.randn(batch, channels, *shape, requires_grad=True)
    target = torch.rand(batch, channels, *shape).round()
    if encoding == "classes":
        target = torch.randint(0, channels, (batch, 1, *shape))
    mask = torch.rand(batch, 1, *shape) > 0.1
    loss = create(name, **({"eikonal": True} if name == "SignedDistanceLoss" else {}))
    return f"{channels} channels", lambda: loss(prediction, target, mask).backward()


def main(rounds: int) -> None:
    torch.set_num_threads(1)
    for batch, shape in [(1, (64, 64, 64)), (4, (256, 256))]:
        network = milliseconds(network_step(batch, shape), max(rounds // 2, 1))
        print(
            f"{batch} × {'×'.join(map(str, shape))}: forward and backward of the network {network:.0f} cpu ms"
        )
        for name in LOSSES:
            what, work = loss_step(name, batch, shape)
            taken = milliseconds(work, rounds)
            print(f"  {name:24}{what:>12}{taken:8.1f} ms{100 * taken / network:7.2f} %")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
