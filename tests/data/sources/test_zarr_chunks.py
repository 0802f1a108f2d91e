"""Chunks that are decoded here are what Zarr reads, and what cannot be decoded here is left to Zarr."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

from napari_segtrain.config import DataError
from napari_segtrain.data import open_source
from napari_segtrain.data.sources.zarr_array import _folder
from napari_segtrain.data.sources.zarr_chunks import MOST_CHUNKS, chunk_files

SHAPE, CHUNKS = (7, 21, 24), (4, 8, 10)
V2 = {"zarr_format": 2}
PLAIN: dict[str, dict[str, Any]] = {
    "v3": {},
    "v3, raw": {"compressors": None},
    "v3, blosc": {"compressors": zarr.codecs.BloscCodec(cname="lz4")},
    "v3, gzip twice": {"compressors": [zarr.codecs.GzipCodec(), zarr.codecs.ZstdCodec()]},
    "v3, floats": {"dtype": "float32", "fill_value": np.nan},
    "v3, bool": {"dtype": "bool"},
    "v3, filled": {"fill_value": 7},
    "v3, flat keys": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    "v2": V2,
    "v2, raw": V2 | {"compressors": None},
    "v2, blosc": V2 | {"compressors": numcodecs.Blosc()},
    "v2, zlib": V2 | {"compressors": numcodecs.Zlib()},
    "v2, lz4": V2 | {"compressors": numcodecs.LZ4()},
    "v2, big-endian": V2 | {"dtype": ">u2"},
    "v2, not filled": V2 | {"fill_value": None},
}
OTHER: dict[str, dict[str, Any]] = {
    "v3, shards": {"shards": (8, 16, 20)},
    "v3, big-endian": {"serializer": zarr.codecs.BytesCodec(endian="big")},
    "v3, transposed": {"filters": zarr.codecs.TransposeCodec(order=(2, 0, 1))},
    "v3, with a checksum": {"compressors": zarr.codecs.Crc32cCodec()},
    "v2, columns first": V2 | {"order": "F"},
    "v2, differences": V2 | {"filters": [numcodecs.Delta(dtype="<u2")]},
    "v2, bzip2": V2 | {"compressors": numcodecs.BZ2()},
}


def store(path: Path | None, **options: Any) -> zarr.Array:
    """Write all but the last chunks of an array, and open it anew as far as that is possible."""
    options = {"dtype": "uint16", "shape": SHAPE, "chunks": CHUNKS} | options
    array = zarr.create_array({} if path is None else path, **options)
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE) * 7 % 65_521
    array[:, :16] = values[:, :16].astype(array.dtype)
    return array if path is None else zarr.open_array(path, mode="r")


def regions(count: int) -> list[tuple[slice, ...]]:
    rng = np.random.default_rng(0)
    bounds = [np.sort(rng.choice(n + 1, (count, 2)), axis=1) for n in SHAPE]
    return [tuple(slice(int(a), int(max(b, a))) for a, b in axes) for axes in zip(*bounds, strict=True)]


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_decoded_here_is_what_zarr_reads(name, tmp_path, monkeypatch) -> None:
    array = store(tmp_path / "a.zarr", **PLAIN[name])
    files = chunk_files(array, _folder(array))
    assert files is not None
    asked = []
    real = type(array).get_basic_selection
    monkeypatch.setattr(
        type(array), "get_basic_selection", lambda self, index: asked.append(index) or real(self, index)
    )
    whole = real(array, (slice(None),) * 3)
    for index in regions(25):
        block = files.read(index)
        np.testing.assert_array_equal(block, whole[index])
        assert block.dtype == whole.dtype
    few = (slice(0, 7), slice(2, 16), slice(5, 12))
    asked.clear()
    np.testing.assert_array_equal(files.read(few), whole[few])
    assert asked == []
    np.testing.assert_array_equal(files.read((slice(0, 7), slice(0, 21), slice(0, 24))), whole)
    assert len(asked) == 1, f"more than {MOST_CHUNKS} chunks are Zarr's"


@pytest.mark.parametrize("name", OTHER)
def test_what_is_not_common_is_left_to_zarr(name, tmp_path) -> None:
    array = store(tmp_path / "a.zarr", **OTHER[name])
    assert chunk_files(array, _folder(array)) is None
    source = open_source(array, ndim=3)
    assert source.joined_reads
    np.testing.assert_array_equal(
        source.read((slice(1, 3), slice(2, 21), slice(3, 9)))[0], array[1:3, 2:21, 3:9]
    )


def test_a_store_that_is_not_on_this_machine_is_left_to_zarr() -> None:
    array = store(None)
    assert chunk_files(array, _folder(array)) is None
    np.testing.assert_array_equal(open_source(array, ndim=3).read((slice(0, 4),) * 3)[0], array[:4, :4, :4])


def test_a_chunk_that_is_written_again_is_read_again(tmp_path) -> None:
    store(tmp_path / "a.zarr")
    source = open_source(tmp_path / "a.zarr", labels=True)
    box = (slice(0, 4), slice(16, 21), slice(0, 10))
    assert not source.read(box).any()
    zarr.open_array(tmp_path / "a.zarr", mode="r+")[0, 17, 3] = 5
    assert source.read(box).sum() == 5
    zarr.open_array(tmp_path / "a.zarr", mode="r+")[0, 17, 3] = 0
    assert not (tmp_path / "a.zarr" / "c/0/2/0").exists()
    assert not source.read(box).any()


@pytest.mark.parametrize("content", [b"", b"no chunk at all", b"\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00\x01"])
def test_a_damaged_chunk_is_reported(content: bytes, tmp_path) -> None:
    store(tmp_path / "a.zarr")
    (tmp_path / "a.zarr/c/0/0/0").write_bytes(content)
    source = open_source(tmp_path / "a.zarr")
    with pytest.raises(DataError, match=r"cannot be read at \[0:2, 0:2, 0:2\]; the file is damaged"):
        source.read((slice(0, 2),) * 3)
    assert source.read((slice(0, 2), slice(8, 10), slice(0, 2))).any()
