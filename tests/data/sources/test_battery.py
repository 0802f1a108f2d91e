"""Every source passes the same examination: whatever region is read, it is what numpy would slice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_segtrain.config import DataError
from napari_segtrain.data import Source, open_source

SHAPES = {"plane": (1, 20, 24), "colours": (2, 20, 24), "volume": (1, 7, 20, 24), "channels": (3, 7, 20, 24)}


def image_of(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    values = np.arange(np.prod(shape)).reshape(shape) * 7 % 251
    return values.astype(dtype)


@st.composite
def regions(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[slice, ...]:
    bounds = [sorted(draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in shape]
    return tuple(slice(a, b) for a, b in bounds)


@pytest.mark.parametrize("kind", SHAPES)
def test_any_region_equals_numpy(writer, kind: str, tmp_path: Path) -> None:
    image = image_of(SHAPES[kind])
    spec, options = writer(tmp_path, image)
    source = open_source(spec, **options)
    assert isinstance(source, Source)
    assert (source.channels, *source.shape) == image.shape
    assert source.dtype == image.dtype and source.dtype.isnative
    assert len(source.chunks) == len(source.shape) == len(source.spacing)

    @settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(region=regions(image.shape[1:]))
    def examine(region: tuple[slice, ...]) -> None:
        block = source.read(region)
        np.testing.assert_array_equal(block, image[(slice(None), *region)])
        assert block.dtype == image.dtype

    examine()
    np.testing.assert_array_equal(source.read((slice(None),) * len(source.shape)), image)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int32", "uint64", "float32", "float64"])
def test_every_number_type_keeps_its_values(writer, dtype: str, tmp_path: Path) -> None:
    image = image_of((1, 9, 13), dtype)
    spec, options = writer(tmp_path, image)
    source = open_source(spec, **options)
    np.testing.assert_array_equal(source.read((slice(2, 9), slice(0, 5))), image[:, 2:9, :5])
    assert source.dtype.kind == np.dtype(dtype).kind or dtype == "bool"


def test_a_block_is_the_callers_own(writer, tmp_path: Path) -> None:
    image = image_of((1, 6, 20, 24))
    spec, options = writer(tmp_path, image.copy())
    source = open_source(spec, **options)
    full = (slice(0, 6), slice(0, 20), slice(0, 24))
    block = source.read(full)
    assert block.flags.c_contiguous and block.flags.writeable
    block[...] = 0
    np.testing.assert_array_equal(source.read(full), image)


def test_a_region_outside_is_refused(writer, tmp_path: Path) -> None:
    spec, options = writer(tmp_path, image_of((1, 20, 24)))
    source = open_source(spec, **options)
    for wrong in [(slice(0, 21), slice(0, 4)), (slice(-1, 4), slice(0, 4)), (slice(0, 4, 2), slice(0, 4))]:
        with pytest.raises(DataError, match="lies outside an axis of 20 voxels"):
            source.read(wrong)
    with pytest.raises(DataError, match="a region of 1 axes"):
        source.read((slice(0, 4),))


def test_threads_read_the_same(writer, tmp_path: Path) -> None:
    image = image_of((2, 12, 20, 24))
    spec, options = writer(tmp_path, image)
    source = open_source(spec, **options)
    gate = threading.Barrier(4)

    def read(start: int) -> bool:
        gate.wait()
        boxes = [(slice(k, k + 5), slice(2, 18), slice(3, 20)) for k in range(start, start + 4)]
        return all(np.array_equal(source.read(b), image[(slice(None), *b)]) for b in boxes)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(4)))


def test_large_compressed_tiffs_are_read_by_segments(
    writers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_segtrain.data.sources import tiff

    monkeypatch.setattr(tiff, "DECODE_WHOLE", 0)
    decoded: list[tuple[slice, ...]] = []
    real = tiff._Segments.fetch
    monkeypatch.setattr(
        tiff._Segments, "fetch", lambda self, index: decoded.append(index) or real(self, index)
    )
    image = image_of((1, 12, 40, 48))
    for name, each in (("tiff_deflate", (1, 40, 48)), ("tiff_tiled", (1, 16, 16))):
        path, options = writers[name](tmp_path, image)
        source = open_source(path, **options)
        assert source.chunks == each
        decoded.clear()
        for _ in range(3):
            block = source.read((slice(2, 5), slice(0, 10), slice(0, 16)))
            np.testing.assert_array_equal(block, image[:, 2:5, :10, :16])
        assert len(decoded) == 3  # three planes, each once, although read three times
