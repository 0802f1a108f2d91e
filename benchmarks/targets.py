"""Milliseconds that deriving targets takes a patch, on one core, against plain scipy and scikit-image.

python benchmarks/targets.py [rounds]      # 9; the ways take turns, so read the ratios
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.segmentation import find_boundaries

from napari_segtrain.config import DataFacts, ExperimentConfig
from napari_segtrain.targets import TargetDeriver, resolve_heads

Work = Callable[[], object]
TASKS = {
    "distance": {"type": "distance_transform", "source_target": "t"},
    "normals": {"type": "surface_normals", "source_target": "t"},
}


def blobs(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return foreground of about half the patch, and separate objects of about a quarter."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 4)
    return (smooth > 0).astype(np.uint8), ndimage.label(smooth > 0.7 * smooth.std())[0].astype(np.int32)


def ours(labels: np.ndarray, kind: str, tasks: dict[str, Any], labelled: float = 1.0) -> Work:
    config = ExperimentConfig.parse(
        {"dataset_config": {"targets": {"t": {"kind": kind}}}, "auxiliary_tasks": tasks}
    )
    spacing = (1.0,) * labels.ndim
    facts = DataFacts(ndim=labels.ndim, shape=labels.shape, spacing=spacing)
    derive = TargetDeriver(config, resolve_heads(config, facts), facts)
    mask = np.ones(labels.shape, bool)
    mask[: round((1 - labelled) * len(mask))] = False
    return lambda: derive({"t": labels}, {"t": mask}, spacing)


def signed(labels: np.ndarray) -> np.ndarray:
    inside = labels > 0
    return ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)


def plain_distance(labels: np.ndarray) -> Work:
    return lambda: signed(labels).clip(-16, 16).astype(np.float32)


def plain_normals(labels: np.ndarray) -> Work:
    def work() -> tuple[np.ndarray, np.ndarray]:
        field = signed(labels).astype(np.float32)
        slopes = np.stack(np.gradient(ndimage.gaussian_filter(field, 1.0)))
        return field.clip(-16, 16), slopes / np.maximum(np.linalg.norm(slopes, axis=0), 1e-6)

    return work


def plain_instances(labels: np.ndarray) -> Work:
    def work() -> tuple[np.ndarray, np.ndarray]:
        values = np.zeros(labels.shape, np.float32)
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            grown = tuple(
                slice(max(s.start - 1, 0), min(s.stop + 1, n)) for s, n in zip(box, labels.shape, strict=True)
            )
            own = labels[grown] == number
            depth = ndimage.distance_transform_edt(own)
            values[grown][own] = (depth / depth.max())[own]
        return find_boundaries(labels, mode="thick"), values

    return work


def milliseconds(works: dict[str, Work], rounds: int) -> dict[str, float]:
    """Return the median processor time of each, taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            start = time.process_time()
            work()
            taken[name].append((time.process_time() - start) * 1000)
    return {name: statistics.median(values) for name, values in taken.items()}


def main(rounds: int) -> None:
    print(f"{'cpu ms a patch':46}{'ours':>8}{'plain':>8}{'ratio':>8}")
    for shape in [(64, 64, 64), (256, 256)]:
        foreground, objects = blobs(shape)
        distance = {"distance": TASKS["distance"]}
        pairs = {
            "signed distance": (ours(foreground, "binary", distance), plain_distance(foreground)),
            "signed distance and normals": (ours(foreground, "binary", TASKS), plain_normals(foreground)),
            "… with unlabelled voxels": (ours(foreground, "binary", TASKS, 0.8), plain_normals(foreground)),
            "instances: foreground, boundary, depth": (
                ours(objects, "instances", {}),
                plain_instances(objects),
            ),
            "instances, and signed distance and normals": (ours(objects, "instances", TASKS), None),
        }
        works: dict[str, Work] = {}
        for name, (mine, plain) in pairs.items():
            works[f"{name}/ours"] = mine
            if plain is not None:
                works[f"{name}/plain"] = plain
        times = milliseconds(works, rounds)
        print("×".join(str(edge) for edge in shape))
        for name in pairs:
            mine, other = times[f"{name}/ours"], times.get(f"{name}/plain")
            rest = "" if other is None else f"{other:8.1f}{mine / other:8.2f}"
            print(f"  {name:44}{mine:8.1f}{rest}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
