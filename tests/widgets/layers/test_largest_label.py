from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from napari_segtrain.widgets.layers import largest_label
from napari_segtrain.widgets.layers.largest_label import LargestLabel, blocks_of

pytestmark = pytest.mark.gui


class Spied:
    """An array that remembers how many voxels were read."""

    def __init__(self, array: Any) -> None:
        self.array, self.dtype, self.shape, self.read = array, array.dtype, array.shape, 0

    def __getitem__(self, box: Any) -> Any:
        found = self.array[box]
        self.read += found.size
        return found


def ask(known: LargestLabel, ignored: int = 0) -> tuple[int | None, int]:
    """Return the largest label and how many voxels were read for it."""
    look = known.look(ignored)
    spied = Spied(look.data)
    object.__setattr__(look, "data", spied)
    found = look.read(lambda _: True)
    if found is not None:
        known.keep(look, found)
    return found, spied.read


@pytest.fixture
def stored(viewer: Any, tmp_path: Path) -> Any:
    array = zarr.create_array(tmp_path / "a.zarr", data=np.zeros((40, 50), np.uint8), chunks=(10, 10))
    array[3, 4] = 6
    return viewer.add_labels(array)


def test_only_what_was_edited_is_read_again(viewer: Any, stored: Any) -> None:
    known = LargestLabel(viewer, stored)
    assert ask(known) == (6, 2000)
    assert ask(known) == (6, 0)
    stored.visible = False
    stored.visible = True
    assert ask(known) == (6, 0)
    stored.data_setitem((np.array([7, 8]), np.array([9, 9])), 12)
    assert ask(known) == (12, 2)
    stored.undo()
    assert ask(known) == (12, 2), "a number that was taken back is not used again"
    look = known.look(0)
    stored.data_setitem((np.array([1]), np.array([1])), 20)
    known.keep(look, 12)
    assert ask(known) == (20, 1), "an edit while a worker reads"
    look = known.look(0)
    stored.data = np.full((30, 30), 3, np.uint8)
    known.keep(look, 20)
    assert ask(known) == (3, 900), "another array"
    known.close()


def test_what_a_script_wrote_into_memory_is_read(viewer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(largest_label, "_AT_ONCE", 500)
    labels = viewer.add_labels(np.zeros((40, 50), np.uint8))
    known = LargestLabel(viewer, labels)
    assert ask(known) == (0, 2000)
    labels.data[5, 5] = 4
    labels.refresh()
    assert ask(known) == (4, 2000)
    assert known.look(0).anew().read(lambda share: share < 0.5) is None, "ended"


def test_the_unlabelled_value_does_not_count(viewer: Any) -> None:
    painted = np.full((10, 10), 255, np.uint8)
    painted[2] = 5
    known = LargestLabel(viewer, viewer.add_labels(painted))
    assert ask(known) == (255, 100)
    assert ask(known, 255) == (5, 100)
    assert ask(known, 255) == (5, 0)


@pytest.mark.parametrize("chunks", [None, (1, 8, 8), (3, 100, 100)])
def test_blocks_are_whole_chunks(
    chunks: tuple[int, ...] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(largest_label, "_AT_ONCE", 1000)
    array: Any = np.zeros((5, 30, 41), np.uint8)
    if chunks is not None:
        array = zarr.create_array(tmp_path / "a.zarr", data=array, chunks=chunks)
    seen = np.zeros(array.shape, int)
    for block in blocks_of(array):
        seen[block] += 1
        if chunks is not None:
            assert all(side.start % size == 0 for side, size in zip(block, chunks, strict=True))
        assert math.prod(s.stop - s.start for s in block) <= max(1000, math.prod(chunks or ()))
    assert (seen == 1).all()
