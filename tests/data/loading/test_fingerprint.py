"""Hashes that tell whether data is what it was, wherever and whenever it lies."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import zarr

from napari_segtrain.data import content_hash, fingerprint


@pytest.fixture(params=["whole", "looks"])
def store(request, tmp_path, monkeypatch):
    """A Zarr store that is read as a whole, or, as if it were large, in places."""
    if request.param == "looks":
        monkeypatch.setattr(fingerprint, "MOST_BYTES", 1000)
    array = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    zarr.create_array(store=str(tmp_path / "a.zarr"), data=array, chunks=(16, 16))
    return tmp_path / "a.zarr"


def test_a_copy_of_another_time_has_the_same_hash(store, tmp_path):
    shutil.copytree(store, tmp_path / "there" / "a.zarr")
    for file in (tmp_path / "there").rglob("*"):
        os.utime(file, (1, 1))
    assert content_hash(store) == content_hash(tmp_path / "there" / "a.zarr")


def test_a_changed_chunk_changes_the_hash(store):
    before = content_hash(store)
    array = zarr.open_array(str(store))
    array[:] = 255 - array[:]
    assert content_hash(store) != before


def test_a_missing_chunk_changes_the_hash(store):
    before = content_hash(store)
    next(file for file in store.rglob("*") if file.is_file() and file.name != "zarr.json").unlink()
    assert content_hash(store) != before


def test_nothing_has_no_hash(tmp_path):
    assert content_hash(tmp_path / "nothing") is None
