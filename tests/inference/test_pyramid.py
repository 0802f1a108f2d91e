from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from napari_segtrain.data.sources import open_source
from napari_segtrain.inference import Job, Predictor, ZarrSink
from napari_segtrain.inference.sinks.pyramid import level_factors


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_segtrain.inference.sinks.base.CHUNK_EDGE", {2: 16, 3: 16})
    monkeypatch.setattr("napari_segtrain.inference.sinks.pyramid.CHUNK_EDGE", {2: 16, 3: 16})
    monkeypatch.setattr("napari_segtrain.inference.predictor.MEMORY_BUDGET", 0)


@pytest.mark.parametrize(
    ("size", "spacing", "ndim", "factors"),
    [
        ((40, 50), (1.0, 1.0), 2, [(2, 2), (4, 4)]),
        ((16, 16), (1.0, 1.0), 2, []),
        ((99, 40, 50), (1.0, 1.0, 1.0), 2, [(1, 2, 2), (1, 4, 4)]),  # planes of a stack stay apart
        ((16, 64, 64), (4.0, 1.0, 1.0), 3, [(1, 2, 2), (1, 4, 4)]),
        ((20, 64, 64), (2.0, 1.0, 1.0), 3, [(1, 2, 2), (2, 4, 4)]),  # z waits until the others are as coarse
        ((1, 40, 20), (1.0, 1.0, 1.0), 3, [(1, 2, 2), (1, 4, 4)]),
    ],
)
def test_axes_are_halved_until_they_fit_into_a_chunk_and_voxels_become_even(
    size: tuple, spacing: tuple, ndim: int, factors: list
) -> None:
    job = Job(size, spacing, "pixel", (0,) * len(size), ndim, dict, dict)
    assert level_factors(job) == factors


@pytest.fixture
def predictor(predictor_of: Callable, head: Callable) -> Predictor:
    outputs = {
        "mask": lambda x: x,
        "depth": lambda x: x,
        "normals": lambda x: torch.cat([x * 0 + 1, x * 0, x * 0], 1),
    }
    heads = [head("mask", "binary"), head("depth"), head("normals", "surface_normals", 3)]
    return predictor_of(outputs, heads, ndim=3, overlap=0.0)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_has_smaller_versions_in_their_place(
    predictor: Predictor, noise: Callable, tmp_path: Path, zarr_format: int
) -> None:
    source = open_source(noise(20, 37, 44), spacing=(2.0, 0.5, 0.5))
    source.unit = "micrometer"
    region = (slice(2, 20), slice(0, 37), slice(4, 44))
    path = tmp_path / "out.zarr"
    predictor.predict_source(source, ZarrSink(path, zarr_format=zarr_format), region)  # type: ignore[arg-type]
    group = zarr.open_group(str(path), mode="r")
    assert sorted(name for name, _ in group.arrays()) == ["depth", "mask", "normals"]
    depth, mask = group["depth"][:], group["mask"][:]
    attributes = dict(group.attrs)
    images = attributes["multiscales"] if zarr_format == 2 else attributes["ome"]["multiscales"]
    assert [image["name"] for image in images] == ["mask", "depth", "normals"]
    assert [image["type"] for image in images] == ["nearest", "mean", "mean"]
    # A voxel of z is four of x: only x and y are halved, until they are as coarse.
    for image in images:
        several = int(image["name"] == "normals")
        scales = []
        for number, dataset in enumerate(image["datasets"]):
            scale, shift = (
                next(t[kind] for t in dataset["coordinateTransformations"] if t["type"] == kind)[several:]
                for kind in ("scale", "translation")
            )
            scales.append(scale)
            # The first voxel's middle lies in the middle of those that it stands for.
            first = np.array(scale) / 2 + shift
            assert np.allclose(
                first - np.array([4.0, 0.0, 2.0]), np.array(scale) / 2 + (np.array(scale) - scales[0]) / 2
            )
            array = group[dataset["path"]]
            assert array.shape[several:] == tuple(
                -(-n // f) for n, f in zip((18, 37, 40), np.array(scale) / scales[0], strict=True)
            ), number
            assert len(image["axes"]) == array.ndim and array.attrs["spacing"] == scale
        assert scales == [[2.0, 0.5, 0.5], [2.0, 1.0, 1.0], [2.0, 2.0, 2.0], [4.0, 4.0, 4.0]][: len(scales)]
        assert len(scales) >= 3
    np.testing.assert_array_equal(group["levels/mask/1"][:], mask[:, ::2, ::2])
    padded = np.pad(depth, [(0, 0), (0, 1), (0, 0)], mode="edge")
    expected = padded.reshape(18, 19, 2, 20, 2).mean((2, 4))
    np.testing.assert_allclose(group["levels/depth/1"][:], expected, atol=1e-6)
    np.testing.assert_array_equal(group["levels/normals/2"][0], 1.0)
    for level in range(3):
        opened = open_source(path, level=level)
        assert opened.spacing == (2.0, 0.5 * 2**level, 0.5 * 2**level) and opened.unit == "micrometer"
        np.testing.assert_array_equal(
            opened.read(tuple(slice(0, n) for n in opened.shape))[0], mask[:, :: 2**level, :: 2**level]
        )


def test_scaled_numbers_are_averaged_and_rounded(
    predictor: Predictor, noise: Callable, tmp_path: Path
) -> None:
    predictor.inference = predictor.inference.replace(output="uint8", targets=("mask",))
    predictor.predict_source(open_source(noise(17, 34, 33)), ZarrSink(tmp_path / "out.zarr"))
    group = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")
    smaller, mask = group["levels/mask/1"][:], group["mask"][:].astype(np.float64)
    assert smaller.dtype == np.uint8
    np.testing.assert_allclose(
        smaller[:8, :, :16], mask[:16, :, :32].reshape(8, 2, 17, 2, 16, 2).mean((1, 3, 5)), atol=0.51
    )
    assert group["levels/mask/1"].attrs["limits"] == [0.0, 1.0]


def test_a_store_that_was_left_while_it_was_made_smaller_is_finished(
    predictor: Predictor, noise: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(noise(20, 37, 44))
    path = tmp_path / "out.zarr"

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("napari_segtrain.inference.sinks.zarr_store.shrink", killed)
        predictor.predict_source(source, ZarrSink(path))
    network = predictor.network
    network.tiles = 0  # type: ignore[assignment]
    predictor.predict_source(source, ZarrSink(path))
    assert network.tiles == 0
    group = zarr.open_group(str(path), mode="r")
    assert group.attrs["segtrain"]["complete"] is True
    np.testing.assert_array_equal(group["levels/mask/1"][:], group["mask"][::2, ::2, ::2])
