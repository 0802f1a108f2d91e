"""How fast batches are made, with augmentation and auxiliary tasks, and what that is of a training step.

python benchmarks/loader.py [seconds]      # time for each measurement, 3
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data import gather_facts, make_split, open_layers
from napari_segtrain.data.loader import PatchLoader
from napari_segtrain.data.normalisation import Normalisation
from napari_segtrain.network import build_network, make_plan
from napari_segtrain.targets import TargetDeriver, resolve_heads

CASES = {
    "2D 256²": {"shape": (1024, 1024), "patch": (256, 256), "batch": 4, "kind": "instances"},
    "3D 64³": {"shape": (160, 160, 160), "patch": (64, 64, 64), "batch": 2, "kind": "binary"},
}


def data_for(shape: tuple[int, ...]) -> Any:
    """Make a noisy image of blobs and their instance labels."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), 5)
    labels = ndimage.label(smooth > smooth.std())[0].astype(np.int32)
    image = np.clip(90 + 60 * (labels > 0) + rng.normal(0, 20, shape), 0, 255).astype(np.uint8)
    return image, labels


def experiment(kind: str) -> ExperimentConfig:
    return ExperimentConfig.parse(
        {
            "model_config": {"base_features": 16, "decoders": "shared"},
            "dataset_config": {"targets": {"blobs": {"kind": kind}}},
            "auxiliary_tasks": {
                "distance": {"type": "distance_transform", "source_target": "blobs"},
                "normals": {"type": "surface_normals", "source_target": "blobs"},
            },
        }
    )


def rate(step: Callable[[], object], limit: float) -> tuple[float, float]:
    """Return wall and processor seconds of one call."""
    step()
    count, wall, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < limit:
        step()
        count += 1
    return (time.perf_counter() - wall) / count, (time.process_time() - processor) / count


def nothing(labels: Any, masks: Any, spacing: Any) -> dict[str, Any]:
    return {}


class Case:
    """A data set in memory, and everything that batches are made with."""

    def __init__(self, shape: tuple[int, ...], patch: tuple[int, ...], batch: int, kind: str) -> None:
        image, labels = data_for(shape)
        self.patch, self.batch, self.config = patch, batch, experiment(kind)
        self.data = open_layers([{"image": image, "labels": {"blobs": labels}}], self.config.dataset_config)
        self.split = make_split(self.data, 0.6, 0, patch)
        self.facts = gather_facts(self.data, self.config)
        self.heads = resolve_heads(self.config, self.facts)
        self.deriver = TargetDeriver(self.config, self.heads, self.facts)
        self.normalisation = Normalisation.fit(
            self.config.dataset_config.normalisation, self.data, self.split
        )

    def loader(self, derive: Any, augment: bool, workers: int = 0) -> PatchLoader:
        shared = (self.config, self.patch, self.normalisation, derive, self.batch)
        options = {"steps": 10**6, "num_workers": workers, "augment": augment, "facts": self.facts}
        return PatchLoader(self.data, self.split, "train", *shared, **options)

    def step(self) -> Callable[[], None]:
        """Return a training step of the bare network, on one batch in memory."""
        plan = make_plan(
            self.config.network,
            ndim=self.facts.ndim,
            in_channels=1,
            patch_size=self.patch,
            spacing=self.facts.spacing,
            shape=self.facts.shape,
            heads=self.heads,
        )
        network = build_network(plan)
        optimizer = torch.optim.AdamW(network.parameters(), fused=True)
        image = self.loader(self.deriver, True).batch(0)["image"]

        def step() -> None:
            optimizer.zero_grad()
            sum(output.square().mean() for output in network(image).values()).backward()
            optimizer.step()

        return step


def measure(case: Case, limit: float) -> list[str]:
    costs, speeds = [], []
    for derive, augment in ((nothing, False), (case.deriver, False), (case.deriver, True)):
        batches = iter(case.loader(derive, augment))
        costs.append(rate(lambda batches=batches: next(batches), limit)[1])
    for workers in (0, 1, 2):
        loader = case.loader(case.deriver, True, workers)
        batches = iter(loader)
        for _ in range(2 * workers + 1):
            next(batches)
        speeds.append(case.batch / rate(lambda batches=batches: next(batches), limit)[0])
        loader.close()
    share = costs[2] / rate(case.step(), limit)[1]
    cells = [f"{1000 * c / case.batch:12.1f}" for c in costs] + [f"{s:12.1f}" for s in speeds]
    return [*cells, f"{share:14.1%}"]


def main(limit: float) -> None:
    print(f"{'':10}{'ms a sample (cpu)':>36}{'samples/s with workers':>36}{'of a step':>14}")
    print(f"{'':10}{'crop':>12}{'+ targets':>12}{'+ augment':>12}{'0':>12}{'1':>12}{'2':>12}{'cpu':>14}")
    for name, settings in CASES.items():
        print(f"{name:10}" + "".join(measure(Case(**settings), limit)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)
