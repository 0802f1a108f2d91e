"""Damaged files, laziness, and the cache."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from napari_segtrain.config import DataError
from napari_segtrain.data import FORMATS, open_source
from napari_segtrain.data.sources.cache import BlockCache, fetch_chunks, shared_cache
from napari_segtrain.data.sources.table import Format


def _read(path: Path, **options) -> np.ndarray:
    source = open_source(path, **options)
    return source.read(tuple(slice(0, n) for n in source.shape))


@pytest.mark.parametrize("kind", ["tiff", "tiff_deflate", "tiff_tiled", "ome_tiff", "imagej"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.97])
def test_a_truncated_tiff_is_an_error_on_opening_or_reading(writers, kind, kept, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 60_000, (1, 5, 64, 64), dtype=np.uint16)
    path, _ = writers[kind](tmp_path, noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=str(path)):
        _read(path)


@pytest.mark.parametrize("segments", [False, True])
def test_a_damaged_tiff_names_file_and_place(segments: bool, writers, tmp_path, monkeypatch) -> None:
    from napari_segtrain.data.sources import tiff

    if segments:
        monkeypatch.setattr(tiff, "DECODE_WHOLE", 0)
    noise = np.random.default_rng(0).integers(0, 60_000, (1, 5, 64, 64), dtype=np.uint16)
    path, _ = writers["tiff_deflate"](tmp_path, noise)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    source = open_source(path)
    with pytest.raises(DataError, match=r"cannot be read at \[0:5, 0:64, 0:64\]; the file is damaged"):
        source.read((slice(0, 5), slice(0, 64), slice(0, 64)))


@pytest.mark.parametrize("kind", ["zarr2", "zarr3", "sharded"])
def test_a_damaged_zarr_is_an_error(writers, kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 60_000, (1, 16, 16), dtype=np.uint16)
    spec, options = writers[kind](tmp_path, noise)
    path = Path(spec["path"] if isinstance(spec, dict) else spec)
    chunk = max(
        (f for f in path.rglob("*") if f.is_file() and f.name[:1].isdigit()), key=lambda f: f.stat().st_size
    )
    chunk.write_bytes(chunk.read_bytes()[:7])
    with pytest.raises(DataError, match="cannot be read at"):
        _read(path, **options)


def test_unreadable_files_say_what_to_do(tmp_path: Path) -> None:
    cases = {
        "a.tif": "not a readable TIFF",
        "a.npy": "not a readable .npy",
        "a.png": "not a readable picture",
        "a.zarr": "not a readable Zarr",
        "a.xyz": "an unknown file format",
        "folder": "a folder that is no Zarr store",
    }
    for name, message in cases.items():
        path = tmp_path / name
        if name in ("a.zarr", "folder"):
            path.mkdir()
        else:
            path.write_bytes(b"nothing that can be read")
        with pytest.raises(DataError, match=message):
            open_source(path)
    with pytest.raises(DataError, match="does not exist"):
        open_source(tmp_path / "missing.tif")


def test_zarr_groups_without_an_image_say_what_is_in_them(tmp_path: Path) -> None:
    import zarr

    group = zarr.open_group(str(tmp_path / "g.zarr"), mode="w")
    with pytest.raises(DataError, match="with nothing in it"):
        open_source(tmp_path / "g.zarr")
    group.create_array("raw", data=np.zeros((4, 4), np.uint8))
    assert open_source(tmp_path / "g.zarr").shape == (4, 4)
    group.create_array("other", data=np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match="with other, raw in it"):
        open_source(tmp_path / "g.zarr")
    assert open_source(tmp_path / "g.zarr" / "raw").shape == (4, 4)
    levels = zarr.open_group(str(tmp_path / "levels.zarr"), mode="w")
    for number in range(2):
        levels.create_array(str(number), data=np.zeros((8 >> number, 8 >> number), np.uint8))
    assert open_source(tmp_path / "levels.zarr", level=1).shape == (4, 4)


def test_a_memory_map_that_is_gone_or_too_small(tmp_path: Path) -> None:
    spec = {"kind": "memmap", "path": str(tmp_path / "l.raw"), "shape": [4, 8], "dtype": "<u2"}
    with pytest.raises(DataError, match="does not exist"):
        open_source(spec)
    (tmp_path / "l.raw").write_bytes(bytes(63))
    with pytest.raises(DataError, match="63 bytes are there, 64 are needed"):
        open_source(spec)
    (tmp_path / "l.raw").write_bytes(bytes(64))
    source = open_source(spec)
    writer = np.memmap(tmp_path / "l.raw", np.uint16, "r+", shape=(4, 8))
    writer[2, 3] = 7  # a stroke of another process
    assert source.read((slice(2, 3), slice(3, 4))).item() == 7
    with pytest.raises(DataError, match="needs the shape and the dtype"):
        open_source({"kind": "memmap", "path": str(tmp_path / "l.raw"), "shape": [4, 8]})


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_terabyte_costs_no_memory(zarr_format: int, tmp_path: Path) -> None:
    import zarr

    shape = (10_000, 10_000, 10_000)
    path = tmp_path / "huge.zarr"
    array = zarr.create_array(
        str(path), shape=shape, chunks=(64, 64, 64), dtype=np.uint8, zarr_format=zarr_format, fill_value=0
    )
    array[5000:5064, 5000:5064, 5000:5064] = 3
    open_source(path)  # what the libraries themselves need is not counted
    tracemalloc.start()
    try:
        source = open_source(path, labels=True)
        block = source.read((slice(4990, 5010),) * 3)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20
    assert source.shape == shape and block.max() == 3 and block.min() == 0
    written = source.written_boxes()
    assert len(written) == 8  # 5000 is no multiple of 64
    assert written[0] == (slice(4992, 5056),) * 3


def test_only_written_chunks_are_listed(tmp_path: Path) -> None:
    import zarr

    path = tmp_path / "l.zarr"
    array = zarr.create_array(str(path), shape=(2, 40, 40), chunks=(1, 8, 8), shards=(1, 16, 16), dtype="u2")
    array[1, 20, 30] = 1
    assert open_source(path, channel_axis=0).written_boxes() == [(slice(16, 32), slice(16, 32))]
    filled = zarr.create_array(
        str(tmp_path / "f.zarr"), shape=(40, 40), chunks=(8, 8), dtype="u2", fill_value=5
    )
    assert open_source(filled).written_boxes() is None
    assert open_source(np.zeros((4, 4))).written_boxes() is None


def test_pictures(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    from PIL import Image

    rng = np.random.default_rng(0)
    for mode, shape in {"L": (9, 7), "RGB": (9, 7, 3), "RGBA": (9, 7, 4), "LA": (9, 7, 2)}.items():
        pixels = rng.integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(pixels, mode=None).save(tmp_path / f"{mode}.png")
        colours = pixels[..., None] if pixels.ndim == 2 else pixels
        used = colours[..., : 3 if len(mode) > 2 else 1]
        np.testing.assert_array_equal(_read(tmp_path / f"{mode}.png"), np.moveaxis(used, -1, 0))
    deep = rng.integers(0, 60_000, (9, 7, 3), dtype=np.uint16)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    np.testing.assert_array_equal(_read(tmp_path / "deep.png"), np.moveaxis(deep, -1, 0))
    grey = rng.integers(0, 60_000, (9, 7), dtype=np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey16.png")
    np.testing.assert_array_equal(_read(tmp_path / "grey16.png")[0], grey)
    Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "a.jpg")
    assert _read(tmp_path / "a.jpg").shape == (3, 16, 16)
    palette = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode=None).convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "p.png")
    assert _read(tmp_path / "p.png", labels=True)[0].tolist() == [[0, 1], [2, 1]]
    assert _read(tmp_path / "p.png").shape == (3, 2, 2)


def test_a_missing_package_is_named() -> None:
    assert all(f.is_incompatible() is False for f in FORMATS)
    odd = Format("Odd", "odd:open", (".odd",), ("no_such_package",), "pip install odd")
    assert odd.is_incompatible() == "Odd needs the package no_such_package: pip install odd"
    with pytest.raises(DataError, match="pip install odd"):
        odd.open("x", None)  # type: ignore[arg-type]


def test_the_cache_is_bounded_and_forgets_the_oldest() -> None:
    cache = BlockCache(3 * 800)
    loads: list[str] = []

    def block(key: str) -> np.ndarray:
        return cache.get(key, lambda: loads.append(key) or np.zeros(100))

    for key in "abcab":
        block(key)
    assert loads == list("abc")
    block("d")  # c was not used for longest
    block("a")
    assert loads == list("abcd") and cache.nbytes == 2400
    block("c")
    assert loads == list("abcdc") and cache.nbytes <= cache.max_bytes
    cache.get("large", lambda: np.zeros(1000))
    assert cache.nbytes <= cache.max_bytes


def test_threads_that_want_one_block_load_it_once_and_errors_do_not_stick() -> None:
    cache = BlockCache(10_000)
    loads: list[int] = []

    def load() -> np.ndarray:
        loads.append(1)
        if len(loads) == 1:
            raise OSError("disk asleep")
        return np.zeros(10)

    with pytest.raises(OSError, match="asleep"):
        cache.get("k", load)
    with ThreadPoolExecutor(8) as pool:
        blocks = list(pool.map(lambda _: cache.get("k", load), range(32)))
    assert len(loads) == 2
    assert all(block is blocks[0] for block in blocks) and not blocks[0].flags.writeable


def test_chunks_are_decoded_once() -> None:
    array = np.arange(35 * 22).reshape(35, 22)
    decoded: list[tuple[slice, ...]] = []

    def fetch(index: tuple[slice, ...]) -> np.ndarray:
        decoded.append(index)
        return array[index]

    for box in [(slice(3, 20), slice(0, 22)), (slice(3, 20), slice(5, 6)), (slice(0, 0), slice(0, 3))]:
        part = fetch_chunks(
            box, key=object(), chunks=(8, 8), shape=array.shape, dtype=array.dtype, fetch=fetch
        )
        np.testing.assert_array_equal(part, array[box])
    assert len(decoded) == 9 + 3
    assert shared_cache().nbytes <= shared_cache().max_bytes


@pytest.mark.parametrize("kind", ["zarr2", "zarr3", "sharded"])
def test_labels_that_are_kept_still_show_what_is_painted(
    writers, kind: str, tmp_path: Path, monkeypatch
) -> None:
    import zarr

    spec, _ = writers[kind](tmp_path, np.ones((1, 12, 16, 16), np.uint16))
    path = spec["path"] if isinstance(spec, dict) else str(spec)
    decoded: list[tuple[slice, ...]] = []
    real = zarr.Array.__getitem__
    monkeypatch.setattr(zarr.Array, "__getitem__", lambda s, i: decoded.append(i) or real(s, i))
    source = open_source(path, labels=True, cache=True)
    plane = (slice(3, 4), slice(0, 16), slice(0, 16))
    assert source.read(plane).max() == 1
    count = len(decoded)
    source.read((slice(2, 3), *plane[1:]))  # another plane of the same chunks
    assert len(decoded) == count
    for value in (5, 6, 7):
        zarr.open(path, mode="r+")[0, 3, 5, 6] = value
        assert source.read(plane).max() == value
