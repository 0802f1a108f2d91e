import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr

from napari_segtrain.config import RunError
from napari_segtrain.data.sources import open_source
from napari_segtrain.inference import MemorySink, Outcome, Predictor, TiffSink, ZarrSink

EDGE = 40


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks and blocks, with images that are quick to predict."""
    monkeypatch.setattr("napari_segtrain.inference.sinks.base.CHUNK_EDGE", {2: 16, 3: 16})
    monkeypatch.setattr("napari_segtrain.inference.predictor.MEMORY_BUDGET", 0)


@pytest.fixture
def network(fixed: type) -> torch.nn.Module:
    def normals(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, x + 1, x - 1], 1)

    # A tile's mean makes the values depend on which tiles were used.
    return fixed({"mask": lambda x: x - x.mean((2, 3, 4), keepdim=True), "normals": normals})


@pytest.fixture
def predictor(network: torch.nn.Module, predictor_of: Callable, head: Callable) -> Predictor:
    heads = [head("mask", "binary"), head("normals", "surface_normals", 3)]
    return predictor_of(network, heads, ndim=3, output="probabilities")


@pytest.fixture
def source(noise: Callable) -> object:
    source = open_source(noise(EDGE, EDGE, EDGE), spacing=(2.0, 0.5, 0.5))
    source.unit = "micrometer"
    return source


@pytest.fixture
def expected(predictor: Predictor, source: object) -> dict[str, np.ndarray]:
    sink = MemorySink()
    predictor.predict_source(source, sink)
    return sink.arrays


def test_zarr_holds_the_same_as_memory_with_metadata(
    predictor: Predictor, source: object, expected: dict, tmp_path: Path
) -> None:
    path = tmp_path / "out.zarr"
    result = predictor.predict_source(source, ZarrSink(path))
    assert result.outcome is Outcome.COMPLETED and result.blocks == 27
    group = zarr.open_group(str(path), mode="r")
    np.testing.assert_array_equal(group["mask"][:], expected["mask"][0])
    np.testing.assert_array_equal(group["normals"][:], expected["normals"])
    assert group["mask"].chunks == (16, 16, 16) and group["normals"].chunks == (1, 16, 16, 16)
    multiscales = group.attrs["ome"]["multiscales"]
    assert group.attrs["ome"]["version"] == "0.5"
    assert multiscales[0]["datasets"][0] == {
        "path": "mask",
        "coordinateTransformations": [{"type": "scale", "scale": [2.0, 0.5, 0.5]}],
    }
    assert multiscales[1]["axes"][0] == {"name": "c", "type": "channel"}
    assert multiscales[1]["axes"][3] == {"name": "x", "type": "space", "unit": "micrometer"}
    kept = group.attrs["segtrain"]
    assert kept["complete"] is True and kept["settings"]["inference_config"]["overlap"] == 0.5
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]
    opened = open_source(path)
    assert opened.spacing == (2.0, 0.5, 0.5) and opened.unit == "micrometer"


def test_zarr_2_has_metadata_of_ome_0_4(
    predictor: Predictor, source: object, expected: dict, tmp_path: Path
) -> None:
    path = tmp_path / "out.zarr"
    predictor.predict_source(source, ZarrSink(path, zarr_format=2))
    group = zarr.open_group(str(path), mode="r", zarr_format=2)
    np.testing.assert_array_equal(group["mask"][:], expected["mask"][0])
    assert group.attrs["multiscales"][0]["version"] == "0.4"
    assert open_source(path).spacing == (2.0, 0.5, 0.5)


def test_a_region_is_put_in_its_place(
    predictor: Predictor, source: object, expected: dict, tmp_path: Path
) -> None:
    region = (slice(8, 40), slice(0, 21), slice(3, 30))
    predictor.predict_source(source, ZarrSink(tmp_path / "part.zarr"), region)
    group = zarr.open_group(str(tmp_path / "part.zarr"), mode="r")
    # Blocks lie elsewhere, so sums are made in another order.
    np.testing.assert_allclose(group["mask"][:], expected["mask"][(0, *region)], atol=1e-6)
    transforms = group.attrs["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert transforms[1] == {"type": "translation", "translation": [16.0, 0.0, 1.5]}


@pytest.mark.parametrize("end", ["cancelled", "killed"])
def test_an_interrupted_prediction_goes_on_at_the_next_block(
    end: str, predictor: Predictor, network: torch.nn.Module, source: object, expected: dict, tmp_path: Path
) -> None:
    path = tmp_path / "out.zarr"
    network.tiles = 0
    total = len(predictor.grid(source.shape))
    if end == "cancelled":
        first = predictor.predict_source(source, ZarrSink(path), cancel=lambda: network.tiles >= total // 2)
        assert first.outcome is Outcome.CANCELLED
    else:
        network.fail_after = total // 2
        with pytest.raises(KeyboardInterrupt):
            predictor.predict_source(source, ZarrSink(path))
        network.fail_after = None
        record = tmp_path / ".out.zarr.unfinished" / "blocks.jsonl"
        with record.open("a") as file:
            file.write("[[0, 1")  # the process died while writing this line
    written = len((tmp_path / ".out.zarr.unfinished" / "blocks.jsonl").read_text().splitlines())
    assert written > 3
    assert zarr.open_group(str(path), mode="r").attrs["segtrain"]["complete"] is False
    network.tiles = 0
    sink = ZarrSink(path)
    second = predictor.predict_source(source, sink)
    assert second.blocks == 27 - (written - (end == "killed"))
    assert 0 < network.tiles < total
    assert sink.complete
    group = zarr.open_group(str(path), mode="r")
    np.testing.assert_array_equal(group["mask"][:], expected["mask"][0])
    np.testing.assert_array_equal(group["normals"][:], expected["normals"])
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_a_finished_store_is_left_alone_and_another_prediction_refused(
    predictor: Predictor, network: torch.nn.Module, source: object, tmp_path: Path
) -> None:
    path = tmp_path / "out.zarr"
    predictor.predict_source(source, ZarrSink(path))
    network.tiles = 0
    assert predictor.predict_source(source, ZarrSink(path)).blocks == 0
    assert network.tiles == 0
    predictor.inference = predictor.inference.replace(overlap=0.25)
    with pytest.raises(RunError, match=r"overlap 0.5, now 0.25.*--overwrite"):
        predictor.predict_source(source, ZarrSink(path))
    predictor.predict_source(source, ZarrSink(path, overwrite=True))
    assert network.tiles == len(predictor.grid(source.shape))


@pytest.mark.parametrize("moment", ["new.zarr", "out.zarr"])
def test_a_process_killed_while_it_makes_the_store_leaves_nothing_in_the_way(
    moment: str, predictor: Predictor, source: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.zarr"
    predictor.predict_source(source, ZarrSink(path))
    old = dict(zarr.open_group(str(path), mode="r").attrs)
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if self.name == moment:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", killed)
        predictor.predict_source(source, ZarrSink(path, overwrite=True))
    # The old one is there as a whole, or none is.
    assert not path.exists() if moment == "new.zarr" else dict(zarr.open_group(str(path)).attrs) == old
    assert predictor.predict_source(source, ZarrSink(path)).blocks == (27 if moment == "new.zarr" else 0)
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_something_else_is_never_overwritten(predictor: Predictor, source: object, tmp_path: Path) -> None:
    zarr.create_group(str(tmp_path / "mine.zarr")).create_array("x", shape=(2,), dtype="u1")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    (tmp_path / "file.zarr").write_text("mine")
    for name in ("mine.zarr", "notes", "file.zarr"):
        with pytest.raises(RunError, match="left alone"):
            predictor.predict_source(source, ZarrSink(tmp_path / name, overwrite=True))
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_said(predictor: Predictor, source: object, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for sink in (ZarrSink(tmp_path / "file" / "out.zarr"), TiffSink(tmp_path / "file", "a")):
        with pytest.raises(RunError, match="cannot be written"):
            predictor.predict_source(source, sink)


def test_tiff_files_appear_when_complete(
    predictor: Predictor, network: torch.nn.Module, source: object, expected: dict, tmp_path: Path
) -> None:
    network.tiles = 0
    sink = TiffSink(tmp_path / "out", "embryo")
    predictor.predict_source(source, sink, cancel=lambda: network.tiles > 20)
    assert list((tmp_path / "out").iterdir()) == []
    sink = TiffSink(tmp_path / "out", "embryo")
    predictor.predict_source(source, sink)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["embryo_mask.tif", "embryo_normals.tif"]
    np.testing.assert_array_equal(tifffile.imread(sink.path("mask")), expected["mask"][0])
    np.testing.assert_array_equal(tifffile.imread(sink.path("normals")), expected["normals"])
    with tifffile.TiffFile(sink.path("normals")) as file:
        assert file.series[0].axes == "CZYX"
        assert json.dumps("overlap")[1:-1] in file.ome_metadata
    opened = open_source(sink.path("normals"))
    assert opened.spacing == (2.0, 0.5, 0.5) and opened.channels == 3 and opened.unit == "micrometer"


def test_stacks_of_planes_go_to_files_too(
    predictor_of: Callable, head: Callable, noise: Callable, tmp_path: Path
) -> None:
    predictor = predictor_of({"mask": lambda x: x}, [head("mask", "binary")], batch_size=2)
    stack = noise(5, 40, 23)
    predictor.predict_source(open_source(stack), ZarrSink(tmp_path / "out.zarr"))
    written = zarr.open_group(str(tmp_path / "out.zarr"), mode="r")["mask"]
    assert written.chunks == (1, 16, 16)
    # Blending rounds, so only what is not at the threshold itself is compared.
    clear = np.abs(stack) > 1e-5
    np.testing.assert_array_equal(written[:][clear], (stack > 0)[clear])
