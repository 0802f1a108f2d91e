import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, dijkstra

from napari_segtrain.config import InferenceConfig
from napari_segtrain.inference import separate_instances
from napari_segtrain.inference.instances import Evidence, connected
from napari_segtrain.inference.near_seeds import near_seeds
from napari_segtrain.inference.stitching import separate_blocks


def by_definition(seeds: np.ndarray, foreground: np.ndarray, distance: float, spacing: tuple) -> np.ndarray:
    """Join seeds by all ways between all voxels of all seeds."""
    number = np.arange(seeds.size).reshape(seeds.shape)
    starts, ends, lengths = [], [], []
    for step in itertools.product((-1, 0, 1), repeat=seeds.ndim):
        if not any(step):
            continue
        here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, seeds.shape, strict=True))
        there = tuple(slice(max(0, s), n + min(0, s)) for s, n in zip(step, seeds.shape, strict=True))
        both = foreground[here] & foreground[there]
        starts.append(number[here][both])
        ends.append(number[there][both])
        edge = np.linalg.norm(np.multiply(step, spacing)) / min(spacing)
        lengths.append(np.full(both.sum(), round(1000 * edge)))
    ways = coo_array(
        (np.concatenate(lengths), (np.concatenate(starts), np.concatenate(ends))), (seeds.size,) * 2
    )
    places = np.flatnonzero(seeds)
    owners = seeds.reshape(-1)[places]
    near = dijkstra(ways.tocsr(), indices=places)[:, places] < round(1000 * distance)
    _, group = connected_components(near | (owners[:, None] == owners))
    table = np.zeros(seeds.max() + 1, np.int32)
    for one in range(1, len(table)):
        table[one] = owners[group == group[owners == one][0]].min()
    return table


@given(
    st.integers(0, 10**6),
    st.sampled_from([((14, 17), (1.0, 1.0)), ((14, 17), (2.5, 1.0)), ((5, 8, 9), (3.0, 0.7, 0.5))]),
    st.floats(0, 9).map(lambda value: round(value, 1)),
)
@settings(deadline=None, max_examples=25)
def test_seeds_are_joined_by_the_shortest_way_through_the_foreground(
    seed: int, space: tuple, distance: float
) -> None:
    (shape, spacing), random = space, np.random.default_rng(seed)
    foreground = random.random(shape) < 0.6
    seeds = connected(foreground & (random.random(shape) < 0.15))
    found = near_seeds(seeds, foreground, distance, spacing)
    if seeds.max() > 1 and distance > 0:
        np.testing.assert_array_equal(found, by_definition(seeds, foreground, distance, spacing))
    else:
        np.testing.assert_array_equal(found, np.arange(seeds.max() + 1))


@pytest.mark.parametrize("lead", [(), (5,)])
def test_a_distance_joins_the_pieces_of_an_object(lead: tuple[int, ...]) -> None:
    foreground = np.zeros((*lead, 9, 30), np.float32)
    foreground[..., 2:7, 1:27] = 1
    depth = np.zeros_like(foreground)
    depth[..., 4, 4], depth[..., 4, 10], depth[..., 4, 22] = 0.9, 0.8, 0.9
    settings = InferenceConfig(min_size=1)

    def count(distance: float, spacing: tuple | None = None) -> int:
        inference = settings.replace(seed_distance=distance)
        return int(separate_instances(foreground, None, depth, inference, spacing).max())

    assert [count(distance) for distance in (0, 6, 6.1, 12, 12.1)] == [3, 3, 2, 2, 1]
    # Along an axis of larger voxels fewer of them are as far.
    ones = (1.0,) * (foreground.ndim - 1)
    assert [count(distance, (*ones, 2.0)) for distance in (12, 12.1)] == [3, 2]
    # Through the foreground: what lies beside it, across a gap, is another object.
    foreground[..., 7:9] = depth[..., 7:9] = 0
    foreground[..., 14:20], depth[..., 4, 12] = 0, 0.9
    assert [count(distance) for distance in (0, 100)] == [4, 3]
    without = separate_instances(foreground, inference=settings.replace(seed_distance=100))
    assert without.max() == 3, "connected parts have no seeds"


@given(
    st.integers(0, 10**6),
    st.sampled_from([((40, 50), (1.0, 1.0)), ((40, 50), (3.0, 1.0)), ((16, 22, 24), (2.0, 1.0, 1.0))]),
    st.integers(8, 14),
    st.floats(1, 30),
)
@settings(deadline=None, max_examples=8)
def test_blocks_join_the_same_seeds_as_the_whole(seed: int, space: tuple, edge: int, distance: float) -> None:
    (shape, spacing), random = space, np.random.default_rng(seed)
    foreground = (random.random(shape) < 0.75).astype(np.float32)
    # No two alike: which of two equally deep voxels is flooded first is left open.
    depth = (random.permutation(int(np.prod(shape))) / np.prod(shape)).reshape(shape).astype(np.float32)
    inference = InferenceConfig(min_size=0, seed_threshold=0.97, seed_distance=distance)
    expected = separate_instances(foreground, None, depth, inference, spacing)
    result = np.full(shape, -1, np.int32)

    def write(where: tuple[slice, ...], values: np.ndarray) -> None:
        result[where] = values

    read = lambda where: Evidence(foreground[where], None, depth[where])  # noqa: E731
    with tempfile.TemporaryDirectory() as folder:
        block = (edge,) * len(shape)
        told: list[float] = []
        advance = lambda share: told.append(share) is None  # noqa: E731
        assert separate_blocks(read, write, shape, block, inference, Path(folder), advance, spacing)
    assert told == sorted(told) and told[-1] < 1
    # The same objects, voxel by voxel; their numbers may be others.
    pairs = np.unique(np.stack([expected.reshape(-1), result.reshape(-1)]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]
    alone = separate_instances(foreground, None, depth, inference.replace(seed_distance=0.0), spacing)
    assert expected.max() <= alone.max()
