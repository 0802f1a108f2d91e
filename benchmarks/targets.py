"""Milliseconds that deriving targets takes a patch, on one core, against plain scipy and scikit-image.

python benchmarks/targets.py [rounds]      # 9; the ways take turns, so read the ratios

The last line of each size says what distance, normals, structure tensor and direction together take of a
training step of a small network, which is the least that a step can cost (limit 10 %).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.segmentation import find_boundaries

from losses import milliseconds as median_of
from losses import network_step
from napari_segtrain.config import DataFacts, ExperimentConfig
from napari_segtrain.targets import TargetDeriver, resolve_heads

Work = Callable[[], object]
TASKS = {
    "distance": {"type": "distance_transform", "source_target": "t"},
    "normals": {"type": "surface_normals", "source_target": "t"},
    "tensor": {"type": "structure_tensor", "source_target": "t"},
    "direction": {"type": "inplane_direction", "source_target": "t"},
    "nearest": {"type": "nearest_component", "source_target": "t"},
    "flows": {"type": "flows", "source_target": "t"},
}
ALL = "distance, normals, tensor, direction"
FOUR = ("distance", "normals", "tensor", "direction")


def some(*names: str) -> dict[str, Any]:
    return {name: TASKS[name] for name in names}


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


def tensor_of(field: np.ndarray) -> np.ndarray:
    """Return the structure tensor as matrices, (*spatial, ndim, ndim)."""
    ndim = field.ndim
    orders = np.eye(ndim, dtype=int)
    slopes = [ndimage.gaussian_filter(field, 1.0, order=tuple(order)) for order in orders]
    tensor = np.empty((*field.shape, ndim, ndim), np.float32)
    for row in range(ndim):
        for column in range(row, ndim):
            smooth = ndimage.gaussian_filter(slopes[row] * slopes[column], 2.0)
            tensor[..., row, column] = tensor[..., column, row] = smooth
    return tensor


def plain_tensor(labels: np.ndarray) -> Work:
    return lambda: tensor_of(signed(labels).astype(np.float32))


def plain_direction(labels: np.ndarray) -> Work:
    return lambda: np.linalg.eigh(tensor_of(signed(labels).astype(np.float32)))[1][..., 0]


def plain_nearest(labels: np.ndarray) -> Work:
    def work() -> np.ndarray:
        places = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
        return (places - np.indices(labels.shape)).astype(np.float32)

    return work


def plain_flows(labels: np.ndarray) -> Work:
    def work() -> np.ndarray:
        flows = np.zeros((labels.ndim, *labels.shape), np.float32)
        for number, box in enumerate(ndimage.find_objects(labels), start=1):
            own = labels[box] == number
            places = np.argwhere(own)
            away = places.mean(axis=0) - places
            flows[(slice(None), *box)][:, own] = (
                away / np.maximum(np.linalg.norm(away, axis=1), 1e-6)[:, None]
            ).T
        return flows

    return work


def all_of(*works: Work) -> Work:
    return lambda: [work() for work in works]


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
        binary = partial(ours, foreground, "binary")
        pairs = {
            "signed distance": (binary(some("distance")), plain_distance(foreground)),
            "signed distance and normals": (binary(some("distance", "normals")), plain_normals(foreground)),
            "… with unlabelled voxels": (
                binary(some("distance", "normals"), 0.8),
                plain_normals(foreground),
            ),
            "structure tensor": (binary(some("tensor")), plain_tensor(foreground)),
            "in-plane direction": (binary(some("direction")), plain_direction(foreground)),
            "nearest component": (binary(some("nearest")), plain_nearest(foreground)),
            "instances: foreground, boundary, depth": (
                ours(objects, "instances", {}),
                plain_instances(objects),
            ),
            "… and flows": (
                ours(objects, "instances", some("flows")),
                all_of(plain_instances(objects), plain_flows(objects)),
            ),
            ALL: (
                binary(some(*FOUR)),
                all_of(*(plain(foreground) for plain in (plain_normals, plain_tensor, plain_direction))),
            ),
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
        step = median_of(network_step(1, shape), max(rounds // 3, 1))
        share = times[f"{ALL}/ours"] / step
        print(f"  {ALL}: {100 * share:.1f} % of a step of {step:.0f} ms (limit 10 %)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
