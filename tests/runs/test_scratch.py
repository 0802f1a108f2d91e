from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_segtrain.config import DataError, RunError
from napari_segtrain.runs import ProcessId
from napari_segtrain.runs import scratch as scratch_module
from napari_segtrain.runs.scratch import Scratch, open_memmap

ADD_ONE = """
import json
from napari_segtrain.runs.scratch import open_memmap
array = open_memmap(json.loads({spec!r}), writable=True)
array[1, 2:4] += 1
print(array[0, 0], flush=True)
"""


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "scratch")


@given(
    data=st.data(),
    dtype=st.sampled_from(["bool", "uint8", "int16", ">u4", "float32", "float64"]),
    order=st.sampled_from(["C", "F"]),
)
def test_what_is_added_is_what_others_map(tmp_path_factory, data, dtype: str, order: str) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))
    array = np.asarray(data.draw(hnp.arrays(dtype, shape)), order=order)
    scratch = Scratch(tmp_path_factory.getbasetemp() / "shared")
    spec = json.loads(json.dumps(scratch.add("layer", array, channel_axis=0)))
    mapped = open_memmap(spec)
    assert mapped.dtype == array.dtype
    np.testing.assert_array_equal(mapped, array)
    assert not mapped.flags.writeable
    scratch.remove()


def test_big_arrays_are_written_in_slabs(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch_module, "_SLAB", 100)
    array = np.arange(7 * 30, dtype=np.uint16).reshape(7, 30)[:, ::-1]
    np.testing.assert_array_equal(open_memmap(scratch.add("a", array)), array)


def test_a_stroke_is_seen_through_a_map_that_was_made_before(scratch: Scratch) -> None:
    spec = scratch.add("labels", np.zeros((4, 6, 8), np.int32))
    seen = open_memmap(spec)
    scratch.write_block("labels", (1, 2, 3), np.full((2, 3, 4), 7, np.int32))
    expected = np.zeros((4, 6, 8))
    expected[1:3, 2:5, 3:7] = 7
    np.testing.assert_array_equal(seen, expected)


def test_another_process_sees_and_changes_the_same_array(scratch: Scratch, python) -> None:
    spec = scratch.add("labels", np.zeros((3, 5), np.uint8))
    scratch.write_block("labels", (0, 0), np.array([[9]], np.uint8))
    process = python(ADD_ONE.format(spec=json.dumps(spec)))
    assert process.stdout.readline() == "9\n"
    assert process.wait() == 0
    assert scratch.array("labels")[1].tolist() == [0, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("start", "shape"), [((0, 0), (2, 7)), ((-1, 0), (1, 1)), ((3, 0), (2, 1)), ((0,), (1,)), ((0, 0), (1,))]
)
def test_a_block_outside_is_refused(scratch: Scratch, start: tuple[int, ...], shape: tuple[int, ...]) -> None:
    scratch.add("labels", np.zeros((4, 6)))
    with pytest.raises(DataError, match=r"does not lie in 'labels', which has the shape \(4, 6\)"):
        scratch.write_block("labels", start, np.ones(shape))
    assert not scratch.array("labels").any()


def test_a_full_disk_is_an_error_and_not_a_crash(scratch: Scratch, small_files) -> None:
    with small_files(1000):
        for make in (
            lambda: scratch.add("a", np.ones((100, 100))),
            lambda: scratch.reserve("b", (100, 100), np.float32),
        ):
            with pytest.raises(RunError, match=r"cannot be written .*free some space"):
                make()
    assert list(scratch.folder.iterdir()) == []
    with pytest.raises(RunError, match="holds no array 'a'"):
        scratch.array("a")


def test_reserved_space_is_zero_and_taken(scratch: Scratch) -> None:
    spec = scratch.reserve("preview", (2, 64, 64), np.float32, channel_axis=0)
    assert Path(spec["path"]).stat().st_blocks * 512 >= 2 * 64 * 64 * 4
    array = scratch.array("preview")
    assert array.shape == (2, 64, 64)
    assert not array.any()
    array[1] = 0.5
    assert open_memmap(spec)[1].min() == 0.5


def test_an_array_may_be_replaced_by_another_shape(scratch: Scratch) -> None:
    old = open_memmap(scratch.add("a", np.ones((50, 50))))
    new = open_memmap(scratch.add("a", np.zeros((2, 2))))
    assert new.shape == (2, 2)
    assert old.sum() == 2500, "a map of the old file must not lose its ground"


def test_a_file_that_was_there_before_is_not_truncated_under_its_readers(scratch: Scratch) -> None:
    old = open_memmap(scratch.add("a", np.ones((50, 50))))
    Scratch(scratch.folder).add("a", np.zeros((2, 2)))
    assert old.sum() == 2500


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array(["a"]), "numbers and booleans can"),
        (np.array([None]), "numbers and"),
        (np.zeros((0, 3)), "holds nothing"),
    ],
)
def test_arrays_that_cannot_be_shared(scratch: Scratch, array: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        scratch.add("a", array)


@pytest.mark.parametrize("name", ["a/b", "..", ".x"])
def test_names_that_leave_the_folder(scratch: Scratch, name: str) -> None:
    with pytest.raises(ValueError, match="file"):
        scratch.add(name, np.zeros(3))


def test_a_file_of_another_size_is_refused(scratch: Scratch) -> None:
    spec = scratch.add("a", np.zeros(10, np.uint8))
    with pytest.raises(RunError, match=r"has 10 bytes where an array of shape \(20,\) and type uint8 has 20"):
        open_memmap({**spec, "shape": [20]})
    scratch.remove()
    with pytest.raises(RunError, match="cannot be opened"):
        open_memmap(spec)


def test_folders_of_dead_processes_are_cleared_away(tmp_path: Path) -> None:
    mine, dead = Scratch.create(tmp_path), Scratch.create(tmp_path)
    mine.add("a", np.zeros(3))
    here = ProcessId.here()
    (dead.folder / "owner.json").write_text(here.replace(started=here.started - 1000).model_dump_json())
    third = Scratch.create(tmp_path)
    run = Scratch(tmp_path / "runs" / "a" / "scratch")
    run.tidy()
    assert dead.folder.is_dir(), "a run's own folder lies beside no others"
    third.tidy()
    assert sorted((tmp_path / ".scratch").iterdir()) == sorted([mine.folder, third.folder])
    third.remove()
    mine.close()
    assert mine.array("a").tolist() == [0, 0, 0]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made"):
        Scratch(tmp_path / "file" / "scratch")
