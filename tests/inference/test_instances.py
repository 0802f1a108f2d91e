import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_segtrain.config import InferenceConfig
from napari_segtrain.data.sources import open_source
from napari_segtrain.inference import MemorySink, Outcome, TiffSink, ZarrSink, separate_instances
from napari_segtrain.inference.instances import Evidence
from napari_segtrain.inference.stitching import Merger, separate_blocks


def balls(shape: tuple[int, ...], radius: float, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return overlapping balls as one label a ball (nearest centre wins) and each one's normalised depth."""
    random = np.random.default_rng(seed)
    centres = random.uniform(0, shape, (count, len(shape)))
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    distance = np.stack([np.linalg.norm(grid - c, axis=-1) for c in centres])
    nearest = distance.argmin(0)
    labels = np.where(distance.min(0) < radius, nearest + 1, 0)
    return labels, np.clip(1 - distance.min(0) / radius, 0, 1).astype(np.float32)


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    pairs = np.unique(np.stack([a.reshape(-1), b.reshape(-1)]), axis=1)
    return len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


@pytest.mark.parametrize("shape", [(60, 70), (30, 34, 38)])
def test_touching_balls_are_separated(shape: tuple[int, ...]) -> None:
    centres = [
        tuple(n // 3 for n in shape),
        tuple(n // 3 + (8 if i == 0 else 6) for i, n in enumerate(shape)),
    ]
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    distance = np.stack([np.linalg.norm(grid - c, axis=-1) for c in centres])
    inside = np.clip(1 - distance.min(0) / 8, 0, 1).astype(np.float32)
    foreground = (distance.min(0) < 8).astype(np.float32)
    assert ndimage.label(foreground)[1] == 1
    truth = np.where(foreground > 0, distance.argmin(0) + 1, 0)
    found = separate_instances(foreground, distance=inside)
    assert found.dtype == np.int32 and found.max() == 2
    assert (found == truth).mean() > 0.99
    boundary = np.where(foreground * (np.abs(distance[0] - distance[1]) < 2.5) > 0, 1.0, 0.0).astype(
        np.float32
    )
    assert same_partition(separate_instances(foreground, boundary, inside) > 0, truth > 0)
    by_boundary = separate_instances(foreground, boundary)
    assert by_boundary.max() == 2 and (by_boundary == truth).mean() > 0.97


def test_without_boundary_and_distance_objects_are_connected_parts() -> None:
    foreground = np.array([[0.9, 0.9, 0.1, 0.6], [0.1, 0.1, 0.9, 0.2]])
    found = separate_instances(foreground, inference=InferenceConfig(min_size=1))
    assert found.tolist() == [[1, 1, 0, 2], [0, 0, 3, 0]]


def test_a_part_without_a_seed_is_an_object_and_small_ones_are_dropped() -> None:
    foreground = np.zeros((20, 40), np.float32)
    distance = np.zeros_like(foreground)
    foreground[2:10, 2:10] = foreground[2:10, 20:28] = foreground[15:18, 15:18] = 1
    distance[5:7, 5:7] = 0.9
    found = separate_instances(foreground, distance=distance, inference=InferenceConfig(min_size=10))
    assert np.unique(found).tolist() == [0, 1, 2]
    assert (found[2:10, 2:10] == 1).all() and (found[2:10, 20:28] == 2).all()
    assert found[16, 16] == 0
    all_kept = separate_instances(foreground, distance=distance, inference=InferenceConfig(min_size=0))
    assert np.unique(all_kept).tolist() == [0, 1, 2, 3]


def test_thresholds_decide() -> None:
    foreground = np.full((10, 10), 0.4, np.float32)
    assert separate_instances(foreground).max() == 0
    assert separate_instances(foreground, inference=InferenceConfig(threshold=0.3)).max() == 1
    ridge = np.full((10, 30), 0.45, np.float32)
    ridge[:, 5], ridge[:, 25] = 0.6, 0.6
    sure = np.ones_like(ridge)
    assert separate_instances(sure, distance=ridge).max() == 2
    assert separate_instances(sure, distance=ridge, inference=InferenceConfig(seed_threshold=0.4)).max() == 1


def test_nothing_gives_nothing() -> None:
    empty = np.zeros((8, 8), np.float32)
    assert separate_instances(empty, empty, empty).max() == 0


@given(st.integers(0, 10**6), st.sampled_from([(50, 60), (24, 26, 28)]), st.integers(12, 20), st.booleans())
@settings(deadline=None, max_examples=8)
def test_blocks_find_the_same_objects_as_the_whole(seed: int, shape: tuple, edge: int, noisy: bool) -> None:
    labels, depth = balls(shape, 9.0 if len(shape) == 2 else 7.0, 12, seed)
    foreground = (labels > 0).astype(np.float32)
    if noisy:  # small parts, seeds in pieces, parts without a seed
        random = np.random.default_rng(seed)
        foreground = np.where(random.random(shape) < 0.15, 1 - foreground, foreground)
        depth = depth + random.normal(0, 0.2, shape).astype(np.float32)
    inference = InferenceConfig(min_size=3)
    expected = separate_instances(foreground, distance=depth, inference=inference)
    result = np.full(shape, -1, np.int32)

    def write(where: tuple[slice, ...], values: np.ndarray) -> None:
        result[where] = values

    read = lambda where: Evidence(foreground[where], None, depth[where])  # noqa: E731
    with tempfile.TemporaryDirectory() as folder:
        block = (edge,) * len(shape)
        assert separate_blocks(read, write, shape, block, inference, Path(folder), lambda share: True)
    assert result.min() == 0 and len(np.unique(result)) == result.max() + 1
    # Which of two seeds takes a voxel at equal depth depends on the order of the flooding.
    assert len(np.unique(result)) == len(np.unique(expected))
    if not noisy:
        overlap = sum(np.bincount(expected[result == n]).max() for n in range(result.max() + 1))
        assert overlap / result.size > 0.99


def test_blockwise_work_can_be_cancelled(tmp_path: Path) -> None:
    evidence = np.ones((30, 30), np.float32)
    read = lambda where: Evidence(evidence[where])  # noqa: E731
    calls: list[float] = []

    def advance(share: float) -> bool:
        calls.append(share)
        return share < 0.5

    finished = separate_blocks(
        read, lambda *_: None, (30, 30), (10, 10), InferenceConfig(), tmp_path, advance
    )
    assert not finished and calls == sorted(calls) and calls[-1] < 0.6


def test_merger_joins_transitively() -> None:
    merger = Merger()
    assert merger.reserve(3) == 0 and merger.reserve(2) == 3
    merger.join(np.array([3, 1, 0]), np.array([4, 5, 2]))
    merger.join(np.array([5]), np.array([4]))
    assert merger.table().tolist() == [0, 1, 2, 1, 1, 1]


@pytest.fixture
def instance_predictor(predictor_of: Callable, head: Callable) -> Callable:
    """Image 0: foreground, image 1: depth, both given as channels."""

    def build(ndim: int, **inference: object) -> object:
        heads = [
            head("cells", "binary"),
            head("cells_distance", "centre_distance", target="cells", decoder="cells_distance"),
        ]
        outputs = {
            "cells": lambda x: (x[:, :1] - 0.5) * 40,
            "cells_distance": lambda x: torch.logit(x[:, 1:].clamp(1e-3, 1 - 1e-3)),
        }
        return predictor_of(outputs, heads, ndim=ndim, channels=2, instances=True, min_size=1, **inference)

    return build


@pytest.mark.parametrize("blockwise", [False, True])
def test_instances_of_every_sink(
    blockwise: bool, instance_predictor: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if blockwise:
        monkeypatch.setattr("napari_segtrain.inference.planes.WHOLE_VOXELS", 0)
    predictor = instance_predictor(3)
    predictor.memory = 0
    monkeypatch.setattr("napari_segtrain.inference.sinks.base.CHUNK_EDGE", {2: 16, 3: 16})
    labels, depth = balls((36, 40, 38), 8.0, 9, seed=3)
    source = open_source(np.stack([labels > 0, depth]).astype(np.float32), channel_axis=0, ndim=3)
    expected = separate_instances(labels > 0, distance=depth, inference=predictor.inference)
    memory = MemorySink()
    reports: list[float] = []
    result = predictor.predict_source(source, memory, progress=lambda share, left: reports.append(share))
    assert result.outcome is Outcome.COMPLETED and list(memory.arrays) == ["cells"]
    assert reports == sorted(reports) and reports[-1] == 1.0
    found = memory.arrays["cells"][0]
    assert found.max() == expected.max() > 4
    overlap = sum(np.bincount(expected[found == n]).max() for n in range(found.max() + 1))
    assert overlap / found.size > 0.995
    predictor.predict_source(source, ZarrSink(tmp_path / "out.zarr"))
    group = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")
    assert list(group.keys()) == ["cells"] and group["cells"].dtype == np.int32
    np.testing.assert_array_equal(group["cells"][:], found)
    sink = TiffSink(tmp_path, "a")
    predictor.predict_source(source, sink)
    np.testing.assert_array_equal(open_source(sink.path("cells")).read((slice(None),) * 3)[0], found)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a_cells.tif", "out.zarr"]


@pytest.mark.parametrize("blockwise", [False, True])
def test_objects_of_a_binary_target_alone(
    blockwise: bool, predictor_of: Callable, head: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if blockwise:
        monkeypatch.setattr("napari_segtrain.inference.planes.WHOLE_VOXELS", 0)
    foreground = balls((60, 64), 7.0, 9)[0] > 0
    outputs = {"mask": lambda x: (x - 0.5) * 40, "kinds": lambda x: torch.cat([x, 1 - x], 1)}
    heads = [head("mask", "binary"), head("kinds", "classes", 2)]
    predictor = predictor_of(outputs, heads, ndim=2, channels=1, instances=True, min_size=1)
    source = open_source(foreground.astype(np.float32), ndim=2)
    sink = MemorySink()
    predictor.predict_source(source, sink)
    expected = separate_instances(foreground.astype(np.float32), inference=predictor.inference)
    np.testing.assert_array_equal(sink.arrays["mask"][0], expected)
    assert expected.max() > 1 and not predictor.messages
    predictor.inference = predictor.inference.replace(targets=("kinds",))
    predictor.predict_source(source, MemorySink())
    assert "no objects are separated" in predictor.messages[0]


def test_instances_interrupted_between_prediction_and_separation(
    instance_predictor: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = instance_predictor(2)
    labels, depth = balls((60, 60), 9.0, 9)
    source = open_source(np.stack([labels > 0, depth]).astype(np.float32), channel_axis=0, ndim=2)
    path = tmp_path / "out.zarr"
    with monkeypatch.context() as patch:
        patch.setattr("napari_segtrain.inference.predictor.write_instances", lambda *_: False)
        assert predictor.predict_source(source, ZarrSink(path)).outcome is Outcome.CANCELLED
    predictor.network.tiles = 0
    again = predictor.predict_source(source, ZarrSink(path))
    assert again.outcome is Outcome.COMPLETED and predictor.network.tiles == 0
    assert zarr.open_group(str(path), mode="r")["cells"][:].max() > 4


@pytest.mark.parametrize("blockwise", [False, True])
def test_the_distance_between_seeds_counts_the_size_of_voxels(
    blockwise: bool, instance_predictor: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    if blockwise:
        monkeypatch.setattr("napari_segtrain.inference.planes.WHOLE_VOXELS", 0)
    depth = np.zeros((40, 60), np.float32)
    depth[20, 20] = depth[20, 30] = 0.9
    one = np.stack([np.ones_like(depth), depth])
    for shape, lead in (((40, 60), ()), ((3, 40, 60), (7.0,))):
        image = np.broadcast_to(one.reshape(2, *(1,) * len(lead), 40, 60), (2, *shape))
        counts = []
        for distance in (10.0, 10.5, 20.0, 20.5):
            predictor = instance_predictor(2, seed_distance=distance)
            source = open_source(image, channel_axis=0, ndim=len(shape), spacing=(*lead, 0.25, 0.5))
            sink = MemorySink()
            predictor.predict_source(source, sink)
            counts.append(int(sink.arrays["cells"].max()) / (shape[0] if lead else 1))
        assert counts == [2, 2, 2, 1]


def test_planes_of_a_stack_are_separate_images(instance_predictor: Callable) -> None:
    predictor = instance_predictor(2)
    labels, depth = balls((40, 40), 9.0, 4)
    one = np.stack([labels > 0, depth]).astype(np.float32)
    stack = np.stack([one, one[:, ::-1], one * 0], axis=1)
    sink = MemorySink()
    predictor.predict_source(open_source(stack, channel_axis=0, ndim=3), sink)
    found = sink.arrays["cells"][0]
    first = separate_instances(labels > 0, distance=depth, inference=predictor.inference)
    np.testing.assert_array_equal(found[0], first)
    assert found[1][found[1] > 0].min() == first.max() + 1
    assert np.array_equal(found[1] > 0, found[0][::-1] > 0) and found[2].max() == 0
