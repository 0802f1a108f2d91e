import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.inference.blending import Normaliser, axis_weights, tile_weights
from napari_segtrain.inference.tiling import TileGrid, axis_starts

grids = st.integers(2, 3).flatmap(
    lambda n: st.builds(
        TileGrid,
        st.tuples(*[st.integers(1, 40)] * n),
        st.tuples(*[st.integers(1, 17)] * n),
        st.tuples(*[st.floats(0, 0.9)] * n),
    )
)


@given(grids)
@settings(deadline=None)
def test_tiles_cover_the_image_and_are_whole(grid: TileGrid) -> None:
    seen = np.zeros(grid.shape, int)
    tiles = list(grid)
    assert len(tiles) == len(grid)
    for tile in tiles:
        seen[tile.paste] += 1
        for crop, pad, keep, size in zip(tile.crop, tile.pad, tile.keep, grid.tile, strict=True):
            assert crop.stop - crop.start + sum(pad) == size
            assert keep.stop - keep.start == crop.stop - crop.start
    assert seen.min() >= 1


def test_last_tile_is_flush_with_the_end() -> None:
    assert axis_starts(100, 32, 0.5).tolist() == [0, 16, 32, 48, 64, 68]
    assert axis_starts(96, 32, 0.5).tolist() == [0, 16, 32, 48, 64]
    assert axis_starts(32, 32, 0.5).tolist() == [0]
    assert axis_starts(31, 32, 0.5).tolist() == [0]
    assert axis_starts(33, 32, 0.0).tolist() == [0, 1]


@given(grids, st.data())
@settings(deadline=None)
def test_a_region_has_the_tiles_of_the_whole_that_touch_it(grid: TileGrid, data: st.DataObject) -> None:
    bounds = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in grid.shape]
    region = tuple(slice(a, b + 1) for a, b in bounds)
    part = TileGrid(grid.shape, grid.tile, grid.overlap, region)
    inside = np.zeros(grid.shape, bool)
    inside[region] = True
    wanted = {tuple((c.start, c.stop) for c in t.crop) for t in grid if inside[t.crop].any()}
    assert {tuple((c.start, c.stop) for c in t.crop) for t in part} == wanted
    for tile in part:
        image = np.arange(inside.size).reshape(grid.shape)
        padded = np.pad(image[tile.crop], tile.pad)
        assert np.array_equal(padded[tile.keep], image[region][tile.paste])


@pytest.mark.parametrize(
    "arguments",
    [
        ((4, 4), (2,), (0.5, 0.5)),
        ((4, 4), (2, 2), (0.5, 1.0)),
        ((4, 0), (2, 2), (0.5, 0.5)),
        ((4, 4), (2, 2), (0.5, 0.5), (slice(0, 5), slice(0, 4))),
        ((4, 4), (2, 2), (0.5, 0.5), (slice(2, 2), slice(0, 4))),
        ((4, 4), (2, 2), (0.5, 0.5), (slice(0, 4, 2), slice(0, 4))),
        ((4, 4), (2, 2), (0.5, 0.5), (slice(0, 4),)),
    ],
)
def test_impossible_grids_are_refused(arguments: tuple) -> None:
    with pytest.raises(ValueError, match=r"shape|overlap|region"):
        TileGrid(*arguments)


@given(grids, st.sampled_from(["gaussian", "constant"]))
@settings(deadline=None)
def test_normaliser_is_the_sum_of_all_tiles_weights(grid: TileGrid, blending: str) -> None:
    total = np.zeros((1, *grid.shape))
    weights = tile_weights(grid.tile, blending)
    for tile in grid:
        total[(0, *tile.paste)] += weights[tile.keep]
    ours = total.astype(np.float32)
    Normaliser(grid, blending).apply(ours, tuple(slice(0, n) for n in grid.shape))
    np.testing.assert_allclose(ours, 1.0, rtol=1e-5)


def test_gaussian_weights_are_symmetric_positive_and_largest_in_the_middle() -> None:
    for size in (1, 2, 7, 64):
        weights = axis_weights(size, "gaussian")
        assert weights.max() == weights[(size - 1) // 2] == 1.0
        assert weights.min() > 0
        np.testing.assert_array_equal(weights, weights[::-1])
    ratio = axis_weights(65, "gaussian")[32 + 8] / axis_weights(65, "gaussian")[32]
    assert ratio == pytest.approx(np.exp(-0.5 * (8 / (65 / 8)) ** 2), rel=1e-6)
