"""Data folders: which file belongs to what, and what is lazy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from napari_segtrain.config import DataError, DatasetConfig
from napari_segtrain.data import Dataset, find_images, open_dataset, open_folder


def config(**values) -> DatasetConfig:
    return DatasetConfig.model_validate(values)


def value(dataset: Dataset, record: str, target: str, kind: str = "labels") -> int:
    """Return the largest value of the labels or the mask, by which tests tell files apart."""
    source = getattr(dataset.records[record], kind)[target]
    return int(source.read(tuple(slice(0, n) for n in source.shape)).max())


@pytest.mark.parametrize("ending", [".tif", ".zarr", ".npy"])
def test_images_labels_and_masks(make_folder, noise, ending: str) -> None:
    root = make_folder(
        {
            f"images/a{ending}": noise(16, 20),
            f"images/b{ending}": noise(18, 20),
            f"labels/a_cell{ending}": np.full((16, 20), 1, np.uint8),
            f"labels/a_wall{ending}": np.full((16, 20), 2, np.uint8),
            f"labels/b_cell{ending}": np.full((18, 20), 3, np.uint8),
            f"masks/a_cell{ending}": np.full((16, 20), 4, np.uint8),
            f"masks/a{ending}": np.full((16, 20), 5, np.uint8),
        }
    )
    dataset = open_dataset(root)
    assert dataset.faults == () and dataset.ndim == 2
    assert list(dataset.records) == ["a", "b"] and dataset.label_names == ("cell", "wall")
    assert {t: value(dataset, "a", t) for t in dataset.records["a"].labels} == {"cell": 1, "wall": 2}
    assert {t: value(dataset, "b", t) for t in dataset.records["b"].labels} == {"cell": 3}
    # a mask of the target goes before the one of the image
    assert {t: value(dataset, "a", t, "masks") for t in dataset.records["a"].masks} == {"cell": 4, "wall": 5}
    assert dataset.records["b"].masks == {}


def test_underscores_in_names_of_images_and_targets(make_folder) -> None:
    names = {"images/a": 0, "images/a_b": 0, "images/day_1_x": 0}
    names |= {"labels/a_cell_wall": 1, "labels/a_b_cell_wall": 2, "labels/day_1_x_cell_wall": 3}
    root = make_folder({f"{n}.npy": np.full((8, 9), v, np.uint8) for n, v in names.items()})
    dataset = open_folder(root)
    assert dataset.label_names == ("cell_wall",)
    assert [value(dataset, r, "cell_wall") for r in ("a", "a_b", "day_1_x")] == [1, 2, 3]


def test_a_configured_target_decides_what_a_name_means(make_folder) -> None:
    arrays = {n: np.full((8, 9), 1, np.uint8) for n in ("images/a.npy", "images/a_b.npy", "labels/a_b_c.npy")}
    root = make_folder(arrays)
    assert list(open_folder(root).records["a_b"].labels) == ["c"]  # the longest image name
    dataset = open_folder(root, config(targets={"b_c": {}}))
    assert list(dataset.records["a"].labels) == ["b_c"] and dataset.records["a_b"].labels == {}


def test_several_targets_read_one_label_file_by_value(make_folder, noise) -> None:
    root = make_folder({"images/a.tif": noise(16, 20), "labels/a_all.tif": noise(16, 20)})
    targets = {"nucleus": {"labels": "all", "values": [1]}, "wall": {"labels": "all", "values": [2]}}
    record = open_folder(root, config(targets=targets)).records["a"]
    assert record.labels["nucleus"] is record.labels["wall"]


def test_a_mask_can_be_named(make_folder, noise) -> None:
    root = make_folder(
        {
            "images/a.npy": noise(16, 20),
            "labels/a_cell.npy": noise(16, 20),
            "masks/a_field.npy": np.full((16, 20), 7, np.uint8),
            "masks/a.npy": np.full((16, 20), 8, np.uint8),
        }
    )
    dataset = open_folder(root, config(targets={"cell": {"mask": "field"}}))
    assert value(dataset, "a", "cell", "masks") == 7
    assert value(open_folder(root), "a", "cell", "masks") == 8


def test_labels_named_like_their_image(make_folder, noise, blobs) -> None:
    root = make_folder({"images/a.tif": noise(16, 20), "labels/a.tif": blobs(16, 20)})
    assert list(open_folder(root).records["a"].labels) == ["labels"]
    assert list(open_folder(root, config(targets={"cell": {}})).records["a"].labels) == ["cell"]


@pytest.mark.parametrize("ndim", [None, 2])
def test_a_stack_is_a_volume_or_planes(make_folder, noise, ndim) -> None:
    image, labels = noise(5, 16, 20), noise(5, 16, 20)
    mask = (noise(5, 16, 20) > 9).astype(np.uint8)
    root = make_folder({"images/s.tif": image, "labels/s_cell.tif": labels, "masks/s.tif": mask})
    dataset = open_folder(root, config(ndim=ndim))
    assert dataset.faults == ()
    if ndim is None:
        assert list(dataset.records) == ["s"] and dataset.ndim == 3
        return
    assert list(dataset.records) == [f"s[{k}]" for k in range(5)] and dataset.ndim == 2
    box = (slice(2, 9), slice(0, 20))
    for k, record in enumerate(dataset.records.values()):
        assert record.group == "s"
        np.testing.assert_array_equal(record.image.read(box)[0], image[k, 2:9])
        np.testing.assert_array_equal(record.labels["cell"].read(box)[0], labels[k, 2:9])
        np.testing.assert_array_equal(record.masks["cell"].read(box)[0], mask[k, 2:9])


def test_colours_and_their_labels(make_folder, noise, blobs) -> None:
    root = make_folder({"images/a.tif": noise(16, 20, 4), "labels/a_cell.tif": blobs(16, 20)})
    dataset = open_folder(root)
    assert dataset.records["a"].image.channels == 3 and dataset.faults == ()
    assert "transparency" in dataset.notes[0]


def test_vectors_are_labels_with_channels(make_folder, noise) -> None:
    flow = np.random.default_rng(0).normal(size=(2, 16, 20)).astype(np.float32)
    root = make_folder({"images/a.npy": noise(16, 20), "labels/a_flow.npy": flow})
    source = open_folder(root).records["a"].labels["flow"]
    np.testing.assert_array_equal(source.read((slice(0, 16), slice(0, 20))), flow)


def test_options_of_the_configuration_reach_the_images(make_folder) -> None:
    image = np.random.default_rng(0).integers(0, 99, (16, 2, 20), dtype=np.uint16)
    root = make_folder({"images/a.npy": image, "labels/a_cell.npy": image[:, 0]})
    dataset = open_folder(root, config(channel_axis=1, spacing=(0.5, 0.25)))
    record = dataset.records["a"]
    assert (record.image.channels, record.shape, record.spacing) == (2, (16, 20), (0.5, 0.25))
    assert record.labels["cell"].spacing == (0.5, 0.25) and dataset.faults == ()


def test_labels_without_levels_beside_a_coarse_level(make_folder) -> None:
    import zarr

    root = make_folder({"labels/a_cell.npy": np.ones((8, 10), np.uint8)})
    group = zarr.open_group(str(root / "images" / "a.zarr"), mode="w")
    for level in (0, 1):
        group.create_array(str(level), data=np.zeros((16 >> level, 20 >> level), np.uint8))
    dataset = open_folder(root, config(level=1))
    assert dataset.faults == () and dataset.records["a"].shape == (8, 10)


def test_formats_choose_among_files(make_folder, noise) -> None:
    root = make_folder(
        {"images/a.tif": noise(8, 9), "images/b.zarr": noise(8, 9), "labels/a_c.tif": noise(8, 9)}
    )
    assert list(open_folder(root).records) == ["a", "b"]
    assert list(open_folder(root, config(format="tif")).records) == ["a"]
    assert list(open_folder(root, config(format="zarr")).records) == ["b"]
    with pytest.raises(DataError, match="no image was found"):
        open_folder(make_folder({"images/a.tif": noise(8, 9)}, "other"), config(format="zarr"))


def test_saved_layers_of_napari(make_folder, noise, blobs) -> None:
    root = make_folder(
        {
            "cells.tif": noise(16, 20),
            "cells_nuclei.tif": blobs(16, 20),
            "cells_wall_2.zarr": blobs(16, 20),
            "cells_mask.tif": np.full((16, 20), 3, np.uint8),
            "cells_nuclei_mask.npy": np.full((16, 20), 4, np.uint8),
            "cells_depth.npy": np.zeros((16, 20), np.float32),
            "more.tif": noise(12, 13),
        }
    )
    dataset = open_folder(root)
    assert set(dataset.records) == {"cells", "more", "cells_depth"}  # numbers with a point are an image
    assert set(dataset.records["cells"].labels) == {"nuclei", "wall_2"}
    assert value(dataset, "cells", "nuclei", "masks") == 4 and value(dataset, "cells", "wall_2", "masks") == 3
    dataset = open_folder(root, config(format="napari", targets={"depth": {"kind": "regression"}}))
    assert list(dataset.records["cells"].labels) == ["depth"]


def test_every_opening_fault_is_in_one_list(make_folder, noise, blobs) -> None:
    root = make_folder(
        {
            "images/a.tif": noise(16, 20),
            "images/a.npy": noise(16, 20),
            "images/b.tif": noise(16, 20),
            "images/c.tif": noise(16, 20),
            "labels/a_cell.tif": blobs(16, 21),
            "labels/b_cell.tif": blobs(16, 20),
            "labels/b_cell.npy": blobs(16, 20),
            "labels/z_cell.tif": blobs(16, 20),
            "masks/b.tif": blobs(15, 20),
        }
    )
    (root / "images" / "broken.tif").write_bytes(b"II*\0")
    (root / "labels" / "c_cell.tif").write_bytes((root / "labels" / "b_cell.tif").read_bytes()[:100])
    (root / "split.json").write_text("{")
    dataset = open_folder(root)
    text = "\n".join(dataset.faults)
    for part in (
        "a.npy and a.tif are both the image a",
        "image 'a' has the shape (16, 20), but its labels 'cell' (16, 21)",
        "b_cell.npy and b_cell.tif both hold the labels 'cell' of b",
        "image 'b' has the shape (16, 20), but its mask (15, 20)",
        "broken.tif: not a readable TIFF file",
        "c_cell.tif: ",
        "split.json: not readable as JSON",
    ):
        assert part in text
    assert len(dataset.faults) == 7
    assert "z_cell.tif belongs to no image" in dataset.notes[0]
    assert list(dataset.records) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("arrays", "values", "message"),
    [
        ({}, {}, "no image was found"),
        ({"labels/a.npy": [[1]]}, {"format": "tif"}, "there is no folder images/"),
        ({"images/a.txt.npy": [[1]]}, {"format": "zarr"}, "files of format zarr end in .zarr|end in .zarr"),
    ],
)
def test_folders_without_images(make_folder, arrays, values, message) -> None:
    with pytest.raises(DataError, match=message):
        open_folder(make_folder(arrays), config(**values))


def test_what_is_not_a_data_folder(make_folder, noise, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_folder(tmp_path / "missing")
    root = make_folder({"images/a.tif": noise(8, 9), "images/b.zarr": noise(8, 9)})
    for single in ("a.tif", "b.zarr"):
        with pytest.raises(DataError, match="is a single image"):
            open_folder(root / "images" / single)
    with pytest.raises(DataError, match="a data set is a folder, "):
        open_dataset({"folder": "x"})


def test_opening_reads_no_voxels(make_folder, noise, blobs, monkeypatch) -> None:
    from napari_segtrain.data.sources import array, tiff

    root = make_folder({f"images/{k}.tif": noise(64, 64) for k in range(3)})
    for k in range(3):
        make_folder({f"labels/{k}_cell.tif": blobs(64, 64)})

    def refuse(*_: object) -> None:
        raise AssertionError("voxels were read")

    monkeypatch.setattr(array.ArraySource, "_fetch", refuse)
    monkeypatch.setattr(tiff, "_decode", refuse)
    assert open_folder(root).faults == ()


def test_images_are_found_without_their_labels(make_folder, noise, blobs) -> None:
    root = make_folder({"a.ome.tif": noise(8, 9), "a_1.tif": noise(8, 9), "s.zarr": noise(3, 8, 9)})
    assert list(find_images(root)) == ["a", "a_1", "s"]
    assert find_images(root / "s.zarr") == {"s": root / "s.zarr"}
    assert find_images(root / "a.ome.tif") == {"a": root / "a.ome.tif"}
    data = make_folder({"images/b.tif": noise(8, 9), "labels/b_c.tif": noise(8, 9)}, "layout")
    assert find_images(data) == {"b": data / "images" / "b.tif"}
    make_folder({"images/b.png.npy": noise(8, 9), "images/b.npy": noise(8, 9)}, "layout")
    with pytest.raises(DataError, match=r"b\.npy and b\.tif are both the image b"):
        find_images(data)
    with pytest.raises(DataError, match="no image was found"):
        find_images(make_folder({}, "empty"))
    with pytest.raises(DataError, match="there is nothing here"):
        find_images(root / "missing.tif")


def test_images_of_a_folder_of_saved_layers_are_found(make_folder, noise, blobs) -> None:
    names = ("a", "a_cell", "a_mask", "a_cell_mask", "a_depth", "a_b", "lonely_cell")
    root = make_folder({f"{name}.tif": noise(8, 9) for name in names})
    notes: list[str] = []
    found = find_images(root, config(targets={"cell": {}}), ["cell", "depth"], notes)
    assert list(found) == ["a", "a_b", "lonely_cell"]
    assert len(notes) == 1 and "a_cell.tif, a_cell_mask.tif, a_depth.tif, a_mask.tif" in notes[0]


def test_split_file_is_kept(make_folder, noise, blobs) -> None:
    root = make_folder({"images/a.npy": noise(8, 9), "labels/a_c.npy": blobs(8, 9)})
    content = {"train": [{"image": "a"}]}
    (root / "split.json").write_text(json.dumps(content))
    assert open_folder(root).split_file == content
    (root / "split.json").write_text("[]")
    assert "is a mapping with the keys" in open_folder(root).faults[0]
