from __future__ import annotations

import json
import math
import signal
from enum import StrEnum
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_segtrain.config import RunError, TrSetup
from napari_segtrain.runs import atomic_writer, dump_json, plain, read_json, write_json, write_text
from napari_segtrain.runs.atomic import remove_leftovers

KILLED_WHILE_WRITING = """
import os, signal
from pathlib import Path
from napari_segtrain.runs.atomic import atomic_writer
with atomic_writer(Path({path!r})) as file:
    file.write(b"half of the new")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_in_the_middle_leaves_the_old_file(tmp_path: Path, python) -> None:
    path = tmp_path / "run.json"
    write_text(path, "old")
    process = python(KILLED_WHILE_WRITING.format(path=str(path)))
    assert process.wait() == -signal.SIGKILL
    assert path.read_text() == "old"
    leftovers = [file for file in tmp_path.iterdir() if file != path]
    assert len(leftovers) == 1, "the crash was meant to happen while the hidden file was there"
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_takes_the_place_of_the_old_at_once(tmp_path: Path) -> None:
    path, same_file = tmp_path / "run.json", tmp_path / "reader"
    write_text(path, "old")
    same_file.hardlink_to(path)
    write_text(path, "new")
    assert (path.read_text(), same_file.read_text()) == ("new", "old"), "the old file itself was written to"


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), atomic_writer(path) as file:
        file.write(b"new")
        1 / 0  # noqa: B018
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path: Path, small_files) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with small_files(1000), pytest.raises(RunError, match=r"cannot be written .*free some space"):
        write_text(path, "x" * 5000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"gone/a\.txt: cannot be written \(No such file"):
        write_text(tmp_path / "gone" / "a.txt", "x")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def without_nan(value):
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    return value


def refuse(token: str) -> None:
    raise AssertionError(f"{token} is not JSON")


@given(VALUES)
def test_json_reads_back_and_has_no_nan_token(value) -> None:
    assert json.loads(dump_json(value), parse_constant=refuse) == without_nan(value)


class Colour(StrEnum):
    RED = "red"


def test_plain_knows_the_types_that_metrics_and_settings_have() -> None:
    given_values = {
        "np": np.float32(0.5),
        "nan": np.float64("nan"),
        "int": np.int64(3),
        "bool": np.bool_(True),
        "zero_dimensions": np.array(2.5),
        "path": Path("a/b"),
        "enum": Colour.RED,
        "tuple": (1, 2),
        "config": TrSetup(seed=3),
        4: "key",
    }
    values = plain(given_values)
    assert values.pop("config")["seed"] == 3
    assert values == {
        "np": 0.5, "nan": None, "int": 3, "bool": True, "zero_dimensions": 2.5, "path": "a/b",
        "enum": "red", "tuple": [1, 2], "4": "key",
    }  # fmt: skip
    assert type(values["enum"]) is str


def test_plain_refuses_arrays() -> None:
    with pytest.raises(TypeError, match="ndarray has no form in JSON"):
        plain({"a": np.zeros(3)})


@pytest.mark.parametrize("text", ["", "{", "[1, 2", "\x80"])
def test_a_damaged_json_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "split.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match=r"split\.json: is not valid JSON"):
        read_json(path)


def test_json_files_round_trip(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1, None, "ü"]})
    assert read_json(tmp_path / "a.json") == {"a": [1, None, "ü"]}
    with pytest.raises(RunError, match="cannot be read"):
        read_json(tmp_path / "b.json")
