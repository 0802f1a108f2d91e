"""Where a run's data is, and that copies of layers live as long as the run needs them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_segtrain.config import RunError
from napari_segtrain.runs import RunFolder, RunState, read_data, write_data
from napari_segtrain.runs.scratch import Scratch, open_memmap


@pytest.fixture
def shared(tmp_path: Path) -> Scratch:
    """What a viewer shares: an image, and labels that two targets are learned from."""
    scratch = Scratch.create(tmp_path)
    scratch.add("image", np.arange(12, dtype=np.uint8).reshape(3, 4))
    scratch.add("labels", np.zeros((3, 4), np.uint8))
    return scratch


def layers(shared: Scratch) -> dict[str, Any]:
    image, labels = (shared._specs[name] for name in ("image", "labels"))
    return {"layers": [{"id": "a", "image": image, "labels": {"x": labels, "y": labels}}]}


def first(data: dict[str, Any]) -> dict[str, Any]:
    return data["layers"][0]


def test_copies_of_layers_outlive_the_viewer(running: RunFolder, shared: Scratch) -> None:
    write_data(running, layers(shared))
    # The viewer goes on writing strokes into its own files until it is gone.
    shared.write_block("labels", (1, 1), np.full((2, 2), 7, np.uint8))
    shared.remove()
    data = first(read_data(running))
    np.testing.assert_array_equal(open_memmap(data["image"]), np.arange(12).reshape(3, 4))
    assert open_memmap(data["labels"]["x"]).sum() == 28
    assert data["labels"]["x"] == data["labels"]["y"], "a layer is kept once"
    assert len(list(running.scratch.rglob("*.raw"))) == 2


def test_copies_move_with_the_project(running: RunFolder, shared: Scratch, tmp_path: Path) -> None:
    write_data(running, layers(shared))
    moved = running.path.rename(tmp_path / "elsewhere")
    assert open_memmap(first(read_data(RunFolder.open(moved)))["image"])[2, 3] == 11


def test_without_links_the_files_are_copied(
    running: RunFolder, shared: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", unsupported)
    write_data(running, layers(shared))
    shared.remove()
    assert open_memmap(first(read_data(running))["image"])[2, 3] == 11


def test_a_full_disk_is_said(
    running: RunFolder, shared: Scratch, small_files, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.add("image", np.zeros((100, 100)))
    monkeypatch.setattr(os, "link", lambda *args, **kwargs: (_ for _ in ()).throw(OSError(95, "none")))
    with small_files(5000), pytest.raises(RunError, match=r"cannot be written .*free some space"):
        write_data(running, layers(shared))


def test_new_copies_take_the_place_of_the_old(running: RunFolder, shared: Scratch, tmp_path: Path) -> None:
    write_data(running, layers(shared))
    again = Scratch.create(tmp_path)
    for name, value in (("image", 5), ("labels", 1)):
        again.add(name, np.full((3, 4), value, np.uint8))
    write_data(running, layers(again))
    assert open_memmap(first(read_data(running))["image"]).min() == 5
    assert len(list(running.scratch.glob("layers-*"))) == 1


@pytest.mark.parametrize(
    ("state", "checkpoint", "kept"),
    [
        (RunState.COMPLETED, True, False),
        (RunState.INTERRUPTED, True, True),
        (RunState.INTERRUPTED, False, True),
        (RunState.FAILED, True, True),
        (RunState.FAILED, False, False),
    ],
)
def test_copies_stay_while_the_run_can_go_on(
    running: RunFolder, shared: Scratch, state: RunState, checkpoint: bool, kept: bool
) -> None:
    write_data(running, layers(shared))
    Scratch(running.scratch / "preview").add("0", np.zeros(3))
    if checkpoint:
        (running.checkpoints / "last.ckpt").touch()
    running.set_state(state, reason="error")
    assert running.resumable is kept
    assert [path.name.partition("-")[0] for path in running.scratch.iterdir()] == ["layers"] * kept
    if kept:
        assert open_memmap(first(read_data(running))["image"])[2, 3] == 11
    else:
        with pytest.raises(RunError, match=r"copies of them are gone.*--input DATA"):
            read_data(running)


def test_what_lies_elsewhere_is_left_there(running: RunFolder, tmp_path: Path, monkeypatch) -> None:
    np.arange(6, dtype=np.uint8).tofile(tmp_path / "own.raw")
    monkeypatch.chdir(tmp_path)
    spec = {"kind": "memmap", "path": "own.raw", "shape": [2, 3], "dtype": "|u1"}
    remote = {"kind": "zarr", "path": "s3://bucket/a.zarr"}
    write_data(running, {"layers": [{"id": "a", "image": spec, "labels": {"x": remote}}]})
    monkeypatch.chdir("/")
    found = first(read_data(running))
    assert found["image"] == {**spec, "path": str(tmp_path / "own.raw")}
    assert found["labels"]["x"] == remote
    running.set_state(RunState.COMPLETED, reason="all_epochs")
    assert open_memmap(first(read_data(running))["image"])[1, 2] == 5


def test_a_folder_is_only_noted(running: RunFolder) -> None:
    write_data(running, "/data/cells")
    assert read_data(running) == "/data/cells"
    assert list(running.scratch.iterdir()) == []


def test_data_that_no_file_names(running: RunFolder) -> None:
    with pytest.raises(RunError, match="on data that no file names"):
        read_data(running)
