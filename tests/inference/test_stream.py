import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.inference.blending import tile_weights
from napari_segtrain.inference.layout import BlockLayout, choose_block
from napari_segtrain.inference.stream import BlockStream, Outcome, is_constant, pad_tile
from napari_segtrain.inference.tiling import TileGrid


class Identity:
    """Predicts the image itself, and twice the image, times the weights."""

    def __init__(self, grid: TileGrid, blending: str, batch_size: int = 1) -> None:
        self.batch_size, self.channels, self.empty = batch_size, 2, None
        self.weights = tile_weights(grid.tile, blending)
        self.images = np.empty((batch_size, *grid.tile), np.float32)
        self.tiles = 0

    def load(self, slot: int, values: np.ndarray) -> None:
        self.images[slot] = values[0]

    def predict(self, count: int) -> np.ndarray:
        self.tiles += count
        weighted = self.images[:count] * self.weights
        return np.stack([weighted, 2 * weighted], axis=1)


def prepare(raw: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out, raw)


def stream(
    image: np.ndarray, layout: BlockLayout, model: Identity, blending: str, folder: Path | None = None
) -> tuple[BlockStream, np.ndarray]:
    result = np.full((2, *layout.grid.size), np.nan, np.float32)

    def write(where: tuple[slice, ...], block: np.ndarray) -> Callable[[], None]:
        values = block.copy()

        def job() -> None:
            assert np.isnan(result[(slice(None), *where)]).all(), "a block was written twice"
            result[(slice(None), *where)] = values

        return job

    read = lambda crop: image[(slice(None), *crop)].copy()  # noqa: E731
    return BlockStream(layout, blending, read, prepare, model, write, False, folder), result


@st.composite
def cases(draw: st.DrawFn) -> tuple[BlockLayout, str, int, int]:
    ndim = draw(st.integers(2, 3))
    edge = 24 if ndim == 3 else 60
    numbers = lambda low, high: draw(st.tuples(*[st.integers(low, high)] * ndim))  # noqa: E731
    shape = numbers(1, edge)
    tile = numbers(2, edge // 2)
    # Small steps make thousands of tiles; three quarters shared is enough to cover a voxel four times.
    overlap = draw(st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 0.75])] * ndim))
    bounds = [sorted(draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in shape]
    region = draw(st.sampled_from([None, tuple(slice(a, b + 1) for a, b in bounds)]))
    layout = BlockLayout(TileGrid(shape, tile, overlap, region), numbers(edge // 6, edge))
    return (
        layout,
        draw(st.sampled_from(["gaussian", "constant"])),
        draw(st.integers(1, 3)),
        draw(st.integers(0, 9)),
    )


@given(cases())
@settings(deadline=None, max_examples=60)
def test_identity_network_returns_the_input(case: tuple[BlockLayout, str, int, int]) -> None:
    layout, blending, batch, seed = case
    image = np.random.default_rng(seed).normal(size=(1, *layout.grid.shape))
    model = Identity(layout.grid, blending, batch)
    job, result = stream(image, layout, model, blending)
    done = job.run()
    expected = image[(0, *layout.grid.bounds)]
    np.testing.assert_allclose(result[0], expected, atol=3e-6)
    np.testing.assert_allclose(result[1], 2 * expected, atol=6e-6)
    assert model.tiles == len(layout.grid) == done.tiles
    assert done.outcome is Outcome.COMPLETED
    assert done.blocks == len(layout)


@given(cases(), st.data())
@settings(deadline=None, max_examples=40)
def test_pending_blocks_get_the_same_values_bit_for_bit(
    case: tuple[BlockLayout, str, int, int], data: st.DataObject
) -> None:
    layout, blending, batch, seed = case
    image = np.random.default_rng(seed).normal(size=(1, *layout.grid.shape))
    whole, expected = stream(image, layout, Identity(layout.grid, blending, batch), blending)
    whole.run()
    pending = np.array(data.draw(st.lists(st.booleans(), min_size=len(layout), max_size=len(layout))))
    pending = pending.reshape(layout.counts)
    model = Identity(layout.grid, blending, batch)
    part, result = stream(image, layout, model, blending)
    done = part.run(pending)
    for index in layout:
        core = (slice(None), *layout.core(index))
        if pending[index]:
            np.testing.assert_array_equal(result[core], expected[core])
        else:
            assert np.isnan(result[core]).all()
    touching = sum(bool(pending[layout.touched(tile.paste)].any()) for tile in layout.grid)
    assert model.tiles == touching == done.tiles


def test_sums_that_wait_on_disk_change_nothing_and_are_removed(tmp_path: Path) -> None:
    grid = TileGrid((40, 50, 30), (16, 16, 16), (0.5, 0.25, 0.5))
    layout = BlockLayout(grid, (16, 16, 16))
    image = np.random.default_rng(1).normal(size=(1, *grid.shape))
    in_memory, expected = stream(image, layout, Identity(grid, "gaussian"), "gaussian")
    in_memory.run()
    on_disk, result = stream(image, layout, Identity(grid, "gaussian"), "gaussian", tmp_path)
    on_disk.run()
    np.testing.assert_array_equal(result, expected)
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_volume(tmp_path: Path) -> None:
    """Twice the edge, eight times the volume: the stream's own peak stays within a tenth."""
    peaks = []
    for edge in (96, 192):
        grid = TileGrid((edge,) * 3, (16,) * 3, (0.5,) * 3)
        layout = BlockLayout(grid, choose_block(grid, (16,) * 3, bytes_per_voxel=24, budget=2**21))
        model = Identity(grid, "gaussian")
        read = lambda crop: np.zeros((1, *(c.stop - c.start for c in crop)), np.uint8)  # noqa: E731
        job = BlockStream(
            layout, "gaussian", read, prepare, model, lambda where, block: lambda: None, False, tmp_path
        )
        runs = []
        for _ in range(3):  # what the reading and writing threads hold at one moment varies with the machine
            tracemalloc.start()
            job.run()
            runs.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        peaks.append(min(runs))
        assert min(layout.counts) > 2, "the smaller volume must have blocks with neighbours on all sides"
    assert peaks[1] < 1.1 * peaks[0], peaks


def test_blocks_are_multiples_of_chunks_within_the_budget() -> None:
    for edge in (300, 600, 5000):
        grid = TileGrid((edge,) * 3, (64,) * 3, (0.5,) * 3)
        block = choose_block(grid, (64,) * 3, bytes_per_voxel=16, budget=96 * 2**20)
        assert all(b % 64 == 0 for b in block)
        assert np.prod([b + 32 for b in block]) * 16 <= 96 * 2**20
        assert min(block) >= 128
    small = TileGrid((30, 40), (16, 16), (0.5, 0.5))
    assert choose_block(small, (512, 512), 16, budget=0) == (30, 40)


def test_planes_of_a_stack_hand_nothing_over_along_the_stack() -> None:
    grid = TileGrid((5, 40, 40), (1, 16, 16), (0.0, 0.5, 0.5))
    layout = BlockLayout(grid, choose_block(grid, (1, 16, 16), 16, budget=100_000))
    for index in layout:
        assert layout.extent(index)[0] == layout.core(index)[0]


def test_cancel_ends_between_batches_and_tells_so() -> None:
    grid = TileGrid((64, 64), (16, 16), (0.5, 0.5))
    layout = BlockLayout(grid, (32, 32))
    model = Identity(grid, "constant")
    job, result = stream(np.ones((1, 64, 64)), layout, model, "constant")
    done = job.run(cancel=lambda: model.tiles >= 20)
    assert done.outcome is Outcome.CANCELLED
    assert model.tiles == 20
    assert 0 < done.blocks < len(layout)
    assert np.isnan(result).any() and not np.isnan(result).all()


def test_progress_rises_to_one_and_ends_with_nothing_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_segtrain.inference.stream._SECONDS_BETWEEN_REPORTS", 0.0)
    grid = TileGrid((64, 64), (16, 16), (0.5, 0.5))
    job, _ = stream(np.ones((1, 64, 64)), BlockLayout(grid, (32, 32)), Identity(grid, "constant"), "constant")
    reports: list[tuple[float, float | None]] = []
    job.run(progress=lambda fraction, left: reports.append((fraction, left)))
    fractions = [fraction for fraction, _ in reports]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert len(fractions) == len(grid) + 1
    assert reports[-1][1] == 0.0 and reports[0][1] > 0.0


def test_an_error_while_reading_or_writing_comes_out(tmp_path: Path) -> None:
    grid = TileGrid((64, 64), (16, 16), (0.5, 0.5))
    layout = BlockLayout(grid, (32, 32))

    def fail(*_: object) -> np.ndarray:
        raise OSError("disk is gone")

    model = Identity(grid, "constant")
    blocks = lambda where, block: fail  # noqa: E731
    for read, write in (
        (fail, lambda where, block: lambda: None),
        (lambda crop: np.ones((1, 64, 64)), blocks),
    ):
        with pytest.raises(OSError, match="disk is gone"):
            BlockStream(layout, "constant", read, prepare, model, write, False, tmp_path).run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", list(itertools.product((0, 17, 39), (0, 31))))
def test_a_single_voxel_makes_a_tile_not_constant(place: tuple[int, int]) -> None:
    values = np.full((2, 40, 32), 7, np.uint16)
    values[1] = 9
    assert is_constant(values)
    values[(1, *place)] = 10
    assert not is_constant(values)


def test_padding_reflects_and_copes_with_one_voxel() -> None:
    tile = next(iter(TileGrid((3, 1), (8, 4), (0.0, 0.0))))
    padded = pad_tile(np.array([[[1.0], [2.0], [3.0]]], np.float32), tile)
    assert padded.shape == (1, 8, 4)
    tile = next(iter(TileGrid((3, 2), (8, 4), (0.0, 0.0))))
    padded = pad_tile(np.array([[[1.0, 4], [2.0, 5], [3.0, 6]]], np.float32), tile)
    assert padded[0, :, 0].tolist() == [1, 2, 3, 2, 1, 2, 3, 2]
