from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_segtrain.config import DataError
from napari_segtrain.data.sources import open_source
from napari_segtrain.inference import MemorySink, Outcome, Predictor, TiffSink, ZarrSink
from napari_segtrain.inference.resampling import Resampled, covering, resample
from napari_segtrain.runs.stores import store_state


def reader(array: np.ndarray) -> Callable:
    return lambda where: array[(slice(None), *where)]


@given(st.tuples(*[st.integers(1, 12)] * 3), st.tuples(*[st.integers(1, 20)] * 3), st.data())
@settings(deadline=None, max_examples=40)
def test_a_part_is_the_part_of_the_whole_and_a_constant_stays(
    size: tuple, new: tuple, data: st.DataObject
) -> None:
    array = np.random.default_rng(0).normal(size=(2, *size)).astype(np.float32)
    whole = resample(reader(array), 2, size, new, tuple(slice(0, n) for n in new))
    assert whole.shape == (2, *new)
    bounds = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in new]
    part = tuple(slice(a, b + 1) for a, b in bounds)
    looked: list[tuple[slice, ...]] = []

    def read(where: tuple[slice, ...]) -> np.ndarray:
        looked.append(where)
        return reader(array)(where)

    found = resample(read, 2, size, new, part)
    np.testing.assert_allclose(found, whole[(slice(None), *part)], atol=1e-5)
    assert looked == [covering(part, new, size)]
    ones = resample(reader(np.ones((1, *size), np.float32)), 1, size, new, part)
    np.testing.assert_allclose(ones, 1.0, rtol=1e-6)
    if size == new:
        np.testing.assert_array_equal(whole, array)


def test_a_ramp_stays_a_ramp_and_coarser_voxels_are_averages(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = np.arange(20, dtype=np.float32)[None, :, None] + 0.5 + np.zeros((1, 1, 6), np.float32)
    finer = resample(reader(ramp), 1, (20, 6), (50, 6), (slice(0, 50), slice(0, 6)))
    np.testing.assert_allclose(finer[0, 2:-2, 0], (np.arange(50) + 0.5)[2:-2] * 0.4, rtol=1e-5)
    stripes = np.zeros((1, 40, 1), np.float32)
    stripes[:, ::2] = 2.0
    coarser = resample(reader(stripes), 1, (40, 1), (10, 1), (slice(0, 10), slice(0, 1)))
    np.testing.assert_allclose(coarser[0, 1:-1, 0], 1.0, rtol=1e-5)  # and not 0 or 2, as picking voxels gives
    monkeypatch.setattr("napari_segtrain.inference.resampling._MOST_VOXELS", 50)
    read: list[int] = []

    def small(where: tuple[slice, ...]) -> np.ndarray:
        read.append(int(np.prod([w.stop - w.start for w in where])))
        return reader(ramp)(where)

    pieces = resample(small, 1, (20, 6), (50, 6), (slice(0, 50), slice(0, 6)))
    np.testing.assert_allclose(pieces, finer, rtol=1e-6)
    assert len(read) > 1 and max(read) <= 50


def test_whole_numbers_stay_whole_so_that_empty_parts_stay_empty() -> None:
    source = open_source(np.full((9, 11), 201, np.uint8), spacing=(1.0, 2.0))
    other = Resampled(source, (0.7, 0.7))
    assert other.shape == (13, 31) and other.dtype == np.uint8
    np.testing.assert_allclose(other.spacing, (9 / 13, 22 / 31))
    assert (other.read((slice(0, 13), slice(5, 31))) == 201).all()


@pytest.fixture
def network(fixed: type) -> torch.nn.Module:
    def direction(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x * 0 + 3, x * 0, x * 0 - 4], 1)

    return fixed(
        {"mask": lambda x: 20 * x - 10, "depth": lambda x: x, "normals": direction, "line": direction}
    )


@pytest.fixture
def predictor(network: torch.nn.Module, predictor_of: Callable, head: Callable) -> Predictor:
    heads = [
        head("mask", "binary"),
        head("depth", "distance_transform", scale=2.0),
        head("normals", "surface_normals", 3),
        head("line", "inplane_direction", 3),
    ]
    made = predictor_of(network, heads, ndim=3, patch=8, resample=True)
    made.spacing, made.unit = (1.0, 1.0, 1.0), "micrometer"
    return made


def smooth(*shape: int) -> np.ndarray:
    """A blob, 1 in its middle, that is much larger than a voxel."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    return np.exp(-2 * sum(a**2 for a in axes)).astype(np.float32)


@pytest.mark.parametrize("spacing", [(2.0, 0.5, 0.5), (2000.0, 500.0, 500.0)])
def test_predictions_are_made_at_the_networks_spacing_and_brought_back(
    predictor: Predictor, network: torch.nn.Module, spacing: tuple
) -> None:
    source = open_source(smooth(10, 40, 36), spacing=spacing)
    source.unit = "micrometer" if spacing[0] < 10 else "nanometer"
    sink = MemorySink()
    network.tiles = 0  # type: ignore[assignment]
    predictor.predict_source(source, sink)
    # 10 x 40 x 36 voxels of 2 x 0.5 x 0.5 are 20 x 20 x 18 of 1.
    assert network.tiles == len(predictor.grid((20, 20, 18)))
    assert {name: array.shape[1:] for name, array in sink.arrays.items()} == dict.fromkeys(
        ("mask", "depth", "normals", "line"), (10, 40, 36)
    )
    image = smooth(10, 40, 36)
    clear = np.abs(image - 0.5) > 0.04
    np.testing.assert_array_equal(sink.arrays["mask"][0][clear], (image > 0.5)[clear])
    # A length is in the unit of the training data, whatever the size of a voxel: it is not rescaled.
    np.testing.assert_allclose(sink.arrays["depth"][0], 2 * image, atol=0.12)
    np.testing.assert_allclose(sink.arrays["normals"][:, 5, 20, 20], [0.6, 0, -0.8], atol=1e-3)
    np.testing.assert_allclose(np.abs(sink.arrays["line"][:, 5, 20, 20]), [0.6, 0, 0.8], atol=1e-3)
    assert predictor.messages == []


def test_a_region_is_brought_back_to_its_place_and_the_same_everywhere(
    predictor: Predictor, tmp_path: Path
) -> None:
    source = open_source(smooth(10, 40, 36), spacing=(2.0, 0.5, 0.5))
    whole, part = MemorySink(), MemorySink()
    predictor.predict_source(source, whole)
    region = (slice(3, 9), slice(10, 40), slice(0, 21))
    predictor.predict_source(source, part, region)
    for name in ("depth", "normals"):
        np.testing.assert_allclose(part.arrays[name], whole.arrays[name][(slice(None), *region)], atol=1e-4)
    predictor.predict_source(source, ZarrSink(tmp_path / "out.zarr"))
    predictor.predict_source(source, TiffSink(tmp_path / "files", "a"))
    stored = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")
    np.testing.assert_allclose(stored["depth"][:], whole.arrays["depth"][0], atol=1e-5)
    assert stored["depth"].attrs["spacing"] == [2.0, 0.5, 0.5]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["files", "out.zarr"]


@pytest.mark.parametrize("end", ["predicting", "resampling"])
def test_an_interrupted_one_goes_on(
    end: str, predictor: Predictor, network: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_segtrain.inference.sinks.base.CHUNK_EDGE", {2: 8, 3: 8})
    predictor.memory = 0
    source = open_source(smooth(10, 20, 18), spacing=(2.0, 1.0, 1.0))
    expected = MemorySink()
    predictor.predict_source(source, expected)
    total, network.tiles = network.tiles, 0  # type: ignore[assignment]
    path = tmp_path / "out.zarr"
    between = tmp_path / ".out.zarr.unfinished" / "stacked.zarr"
    asked: list[int] = []

    def cancel() -> bool:
        if end == "predicting":
            return network.tiles >= total // 2
        asked.append(store_state(between) == "complete")
        return sum(asked) > 4

    first = predictor.predict_source(source, ZarrSink(path), cancel=cancel)
    assert first.outcome is Outcome.CANCELLED
    network.tiles = 0  # type: ignore[assignment]
    second = predictor.predict_source(source, ZarrSink(path))
    assert second.outcome is Outcome.COMPLETED
    assert (0 < network.tiles < total) if end == "predicting" else network.tiles == 0
    stored = zarr.open_group(str(path), mode="r")
    for name in ("mask", "depth"):
        np.testing.assert_array_equal(stored[name][:], expected.arrays[name][0])


def test_without_a_known_voxel_size_it_is_refused_and_with_the_same_one_nothing_changes(
    predictor: Predictor, noise: Callable
) -> None:
    image = noise(12, 14, 16)
    found = predictor.predict_array(image, spacing=(1.0, 1.005, 1.0))["depth"]
    predictor.inference = predictor.inference.replace(resample=False)
    np.testing.assert_array_equal(found, predictor.predict_array(image, spacing=(1.0, 1.0, 1.0))["depth"])
    predictor.inference = predictor.inference.replace(resample=True)
    predictor.spacing = None
    with pytest.raises(DataError, match="does not say the voxel size"):
        predictor.predict_array(image)


def test_planes_of_a_stack_are_resampled_in_the_plane(predictor_of: Callable, head: Callable) -> None:
    made = predictor_of({"grey": lambda x: x}, [head("grey")], patch=8, resample=True)
    made.spacing = (1.0, 1.0)
    stack = np.stack([smooth(20, 24) * k for k in range(3)])
    found = made.predict_array(stack, spacing=(9.0, 2.0, 2.0))["grey"][0]
    assert made.network.tiles == len(made.grid((3, 40, 48)))
    np.testing.assert_allclose(found, stack, atol=0.05)
