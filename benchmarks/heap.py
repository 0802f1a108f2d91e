"""What it saves to keep the memory of a step for the next one: time with it as a share of time without.

    python benchmarks/heap.py [--threads N] [--blocks N]

Forward pass, backward pass and optimizer step of the default networks, in turns within one process. A ratio
below 1 is a gain; it is larger the more expensive the system's new pages are, as in virtual machines.
"""

import argparse
import os
import resource
import statistics
import time
from contextlib import nullcontext

os.environ.setdefault("GOMP_SPINCOUNT", "1000")
import torch

from napari_segtrain.config import LossConfig, NetworkConfig
from napari_segtrain.data.heap import memory_kept
from napari_segtrain.network import build_network, make_plan
from napari_segtrain.targets import Head

SIZES = {"2d": (4, (256, 256), 16), "3d": (1, (64, 96, 96), 16), "3d cube": (2, (64, 64, 64), 32)}
"""Batch, patch and features of the first stage."""


def measure(name: str, blocks: int, steps: int) -> None:
    """Train in turns, and print the ratio."""
    batch, patch, features = SIZES[name]
    config = NetworkConfig.model_validate({"base_features": features, "blocks_per_stage": [1] * 4})
    losses = (LossConfig(name="BCEDiceLoss"),)
    plan = make_plan(
        config,
        ndim=len(patch),
        in_channels=1,
        patch_size=patch,
        spacing=(1.0,) * len(patch),
        shape=patch,
        heads=[Head("cells", "cells", "cells", "binary", 1, "sigmoid", losses)],
    )
    network = build_network(plan)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    image = torch.randn(batch, 1, *patch)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.stack([output.square().mean() for output in network(image).values()]).sum().backward()
        optimizer.step()

    seconds: dict[bool, list[float]] = {True: [], False: []}
    faults: dict[bool, int] = {}
    for block in range(2 * blocks):
        kept = block % 2 == 1
        with memory_kept() if kept else nullcontext():
            step()
            step()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(steps):
                start = time.perf_counter()
                step()
                seconds[kept].append(time.perf_counter() - start)
            faults[kept] = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // steps
    plain, kept_ = (1000 * statistics.median(seconds[kept]) for kept in (False, True))
    print(
        f"{name:10}{plain:10.1f}{kept_:10.1f}{kept_ / plain:8.2f}{faults[False]:12d}{faults[True]:8d}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=None, help="of torch")
    parser.add_argument("--blocks", type=int, default=4, help="of steps with and without")
    parser.add_argument("--steps", type=int, default=4, help="of a block")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{'ms a step':10}{'returned':>10}{'kept':>10}{'ratio':>8}{'pages a step':>12}{'kept':>8}")
    for name in SIZES:
        measure(name, options.blocks, options.steps)


if __name__ == "__main__":
    main()
