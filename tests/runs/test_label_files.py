"""The newest labels of a run as OME-Zarr: only what changed is written, and what is there is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import zarr

from napari_segtrain.config import RunError
from napari_segtrain.runs import label_files
from napari_segtrain.runs.label_files import NEWEST, write_label_files, write_newest
from napari_segtrain.runs.label_store import LabelStore, StoredArray, block_place

BLOCK = (4, 4)


def stored(store: LabelStore, values: np.ndarray, record: str = "a", **what: Any) -> StoredArray:
    """Keep an array, (C, y, x), and return what is noted of it."""
    _, height, width = values.shape
    blocks: dict[str, str] = {}
    for number in range(-(-height // BLOCK[0]) * -(-width // BLOCK[1])):
        name = store.put(values[(slice(None), *block_place((height, width), BLOCK, number))])
        if name:
            blocks[str(number)] = name
    given: dict[str, Any] = {
        "record": record,
        "group": record,
        "kind": "labels",
        "name": "cell",
        "position": (),
        "stack": (),
        "channels": len(values),
        "shape": (height, width),
        "dtype": values.dtype.str,
        "spacing": (0.5, 0.25),
        "unit": "um",
        "block": BLOCK,
        "blocks": blocks,
    }
    return StoredArray(**given | what)


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return LabelStore(tmp_path)


def newest(store: LabelStore, name: str = "labels/a_cell.zarr") -> np.ndarray:
    return np.asarray(zarr.open_array(store.folder / NEWEST / name / "0")[:])


@pytest.mark.parametrize("channels", [1, 2])
def test_what_changed_is_written_and_nothing_else(store: LabelStore, channels: int) -> None:
    values = np.random.default_rng(0).integers(1, 5, (channels, 10, 9)).astype(np.int32)
    write_newest(store, [stored(store, values)])
    np.testing.assert_array_equal(newest(store), values if channels > 1 else values[0])
    values[:, 5, 5] = 9
    values[:, :4, :4] = 0  # erased: a block that is no longer named
    with patch.object(label_files, "_put", wraps=label_files._put) as put:
        write_newest(store, [stored(store, values)])
    assert sorted(call.args[2] for call in put.call_args_list) == [
        (slice(0, 4), slice(0, 4)),
        (slice(4, 8), slice(4, 8)),
    ]
    np.testing.assert_array_equal(newest(store), values if channels > 1 else values[0])
    with patch.object(label_files, "write_label_files") as write:
        write_newest(LabelStore(store.folder.parent), [stored(store, values)])
    write.assert_not_called()  # also by a training that goes on: the note is on the disk


def test_files_are_whole_after_a_process_was_killed_in_writing_them(store: LabelStore) -> None:
    first = np.random.default_rng(0).integers(1, 5, (1, 8, 8)).astype(np.uint8)
    second = first + 1
    write_newest(store, [stored(store, first)])
    written = label_files._put
    calls: list[Any] = []

    def killed(*arguments: Any) -> None:
        if calls:
            raise KeyboardInterrupt
        calls.append(arguments)
        written(*arguments)

    with patch.object(label_files, "_put", killed), pytest.raises(KeyboardInterrupt):
        write_newest(store, [stored(store, second)])
    assert (newest(store) != first[0]).any()
    write_newest(store, [stored(store, first)])  # undone meanwhile: nothing differs from what was noted
    np.testing.assert_array_equal(newest(store), first[0])


def test_a_file_that_somebody_deleted_or_that_has_another_size_is_made_anew(store: LabelStore) -> None:
    values = np.random.default_rng(0).integers(1, 5, (1, 8, 8)).astype(np.uint8)
    write_newest(store, [stored(store, values)])
    for path in (store.folder / NEWEST / "labels" / "a_cell.zarr" / "0").glob("**/*"):
        if path.is_file():
            path.unlink()
    values[0, 0, 0] = 9
    write_newest(store, [stored(store, values)])
    np.testing.assert_array_equal(newest(store), values[0])
    larger = np.pad(values, ((0, 0), (0, 3), (0, 0)))
    write_newest(store, [stored(store, larger)])
    np.testing.assert_array_equal(newest(store), larger[0])
    (store.folder / "newest.json").write_text("{")
    write_newest(store, [stored(store, values)])
    np.testing.assert_array_equal(newest(store), values[0])


def test_images_whose_names_differ_in_what_files_cannot_have_get_files_of_their_own(
    store: LabelStore, tmp_path: Path
) -> None:
    one, two = np.full((1, 4, 4), 1, np.uint8), np.full((1, 4, 4), 2, np.uint8)
    arrays = [stored(store, one, "a b"), stored(store, two, "a/b")]
    paths = write_label_files(store, arrays, tmp_path / "out")
    assert [path.name for path in paths] == ["a_b_cell.zarr", "a_b_cell_2.zarr"]
    assert [int(zarr.open_array(path / "0")[0, 0]) for path in paths] == [1, 2]


def test_a_stack_is_one_file_with_scale_and_unit(store: LabelStore) -> None:
    planes = np.random.default_rng(0).integers(0, 3, (3, 1, 8, 8)).astype(np.uint8)

    def stack() -> list[StoredArray]:
        return [
            stored(store, plane, f"s[{n}]", group="s", stack=(3,), position=(n,))
            for n, plane in enumerate(planes)
        ]

    write_newest(store, stack())
    planes[1, 0, 6, 6] = 7
    write_newest(store, stack())
    np.testing.assert_array_equal(newest(store, "labels/s_cell.zarr"), planes[:, 0])
    [scale] = zarr.open_group(store.folder / NEWEST / "labels" / "s_cell.zarr").attrs["ome"]["multiscales"]
    assert scale["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": [1.0, 0.5, 0.25]}]
    assert [axis["name"] for axis in scale["axes"]] == ["t", "y", "x"]
    assert scale["axes"][-1]["unit"] == "um"


def test_a_folder_that_cannot_be_written_is_said(store: LabelStore) -> None:
    store.folder.mkdir()
    (store.folder / NEWEST).write_text("in the way")
    with pytest.raises(RunError, match="newest: cannot be written"):
        write_newest(store, [stored(store, np.ones((1, 4, 4), np.uint8))])
