from __future__ import annotations

import math

import numpy as np
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.data.blocks import iter_blocks
from napari_segtrain.data.sources import open_source
from napari_segtrain.data.written import WrittenChunks


@st.composite
def boxes(draw):
    ndim = draw(st.integers(2, 3))
    start = [draw(st.integers(0, 9)) for _ in range(ndim)]
    stop = [a + draw(st.integers(1, 12)) for a in start]
    chunks = [draw(st.integers(1, 7)) for _ in range(ndim)]
    return start, stop, chunks, draw(st.integers(1, 300))


@given(boxes())
@settings(deadline=None)
def test_blocks_cover_the_box_once_in_whole_chunks_within_the_limit(case):
    start, stop, chunks, limit = case
    seen = np.zeros(stop, int)
    for block in iter_blocks(start, stop, chunks, limit):
        seen[block] += 1
        assert math.prod(s.stop - s.start for s in block) <= max(limit, math.prod(chunks))
        for part, first, last, chunk in zip(block, start, stop, chunks, strict=True):
            assert part.start == first or part.start % chunk == 0
            assert part.stop == last or part.stop % chunk == 0
    inside = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    assert (seen[inside] == 1).all()
    assert seen.sum() == seen[inside].size


def test_blocks_grow_along_the_last_axis_first():
    blocks = iter_blocks((0, 0), (4, 100), (1, 10), 40)
    assert blocks[0] == (slice(0, 1), slice(0, 40))


def test_written_neighbours_are_read_in_one_call_up_to_a_limit(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(8, 24), chunks=(4, 4), dtype="u1", fill_value=0)
    array[0:4, 0:12] = 1
    array[0:4, 16:20] = 1
    array[4:8, 20:24] = 1
    chunks = WrittenChunks(open_source(tmp_path / "a.zarr"))
    blocks = iter_blocks((0, 0), (8, 24), (4, 4), 16)
    top, end = slice(0, 4), slice(20, 24)
    alone, empty = chunks.divide(blocks)
    assert alone == [(top, slice(at, at + 4)) for at in (0, 4, 8, 16)] + [(slice(4, 8), end)]
    assert len(alone) + len(empty) == len(blocks)
    joined, still = chunks.divide(blocks, 32)
    assert joined == [
        (top, slice(0, 8)),
        (top, slice(8, 12)),
        (top, slice(16, 20)),
        (slice(4, 8), end),
    ]
    assert still == empty
