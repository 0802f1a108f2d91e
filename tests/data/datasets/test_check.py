"""Every fault in one list, before training starts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_segtrain.config import DataError, DatasetConfig, ExperimentConfig
from napari_segtrain.data import check_dataset, open_folder, open_layers


def config(**values) -> DatasetConfig:
    return DatasetConfig.model_validate(values)


def check(image, labels=None, mask=None, settings: DatasetConfig | None = None):
    spec = {"id": "i", "image": image, "labels": {} if labels is None else {"a": labels}}
    return check_dataset(open_layers([spec | ({} if mask is None else {"masks": {"a": mask}})], settings))


def only(report, part: str) -> None:
    """Expect one error and no more, with `part` in it."""
    assert len(report.errors) == 1, report
    assert part in report.errors[0]
    assert not report.ok
    with pytest.raises(DataError) as error:
        report.raise_for_errors()
    assert str(error.value) == report.errors[0]


def test_good_data_has_no_faults(noise, blobs) -> None:
    report = check(noise(16, 20), blobs(16, 20))
    assert report.ok and report.warnings == () and str(report) == "no faults"
    report.raise_for_errors()


def test_shapes(noise, blobs) -> None:
    report = check(noise(16, 20), blobs(16, 21))
    only(report, "image 'i' has the shape (16, 20), but its labels 'a' (16, 21)")
    only(check(noise(16, 20), blobs(16, 20), blobs(15, 20)), "its mask 'a' (15, 20)")
    only(check(noise(5, 16, 20), blobs(4, 16, 20), settings=config(ndim=2)), "its labels 'a' (4, 16, 20)")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_intensities_that_are_no_numbers(noise, blobs, dtype, bad) -> None:
    image = noise(16, 20).astype(dtype)
    image[3, 4] = bad
    only(check(image, blobs(16, 20)), "image 'i' holds values that are not numbers")
    only(check(np.full((16, 20), bad, dtype), blobs(16, 20)), "not numbers")


def test_intensities_beyond_32_bits(noise, blobs) -> None:
    only(check(noise(16, 20).astype(np.float64) * 1e300, blobs(16, 20)), "too large for 32 bits")
    assert check(noise(16, 20).astype(np.float64) * 1e30, blobs(16, 20)).ok


def test_constant_images(noise, blobs) -> None:
    only(check(np.full((16, 20), 7, np.uint16), blobs(16, 20)), "image 'i' is constant (every voxel is 7)")
    image = noise(16, 20, 3)
    image[..., 2] = 0
    report = check(image, blobs(16, 20))
    assert report.ok and report.warnings == ("image 'i': channel 2 is constant.",)


def test_no_labels_at_all(noise) -> None:
    only(check(noise(16, 20)), "no labels were found")


def test_labels_under_a_wrong_name_are_told_with_the_missing_ones(make_folder, noise, blobs) -> None:
    root = make_folder({"images/a.npy": noise(16, 20), "labels/painted_a.npy": blobs(16, 20)})
    errors = check_dataset(open_folder(root)).errors
    assert "no labels were found" in errors[0]
    assert "painted_a.npy belongs to no image" in errors[1]


def test_negative_labels_have_to_be_explained(noise, blobs) -> None:
    labels = blobs(16, 20).astype(np.int16)
    labels[0, 0] = -1
    for kind in (None, "binary", "classes", "instances"):
        report = check(noise(16, 20), labels, settings=config(targets={"a": {"kind": kind}}))
        only(report, "hold the value -1, which is neither background nor an object")
        assert "dataset_config.targets.a.unlabelled" in report.errors[0]
    for words in (
        {"unlabelled": -1},
        {"kind": "classes", "values": [-1, 0, 1, 2, 3]},
        {"kind": "regression"},
    ):
        assert check(noise(16, 20), labels, settings=config(targets={"a": words})).ok


def test_labels_that_are_no_numbers(noise, blobs) -> None:
    labels = blobs(16, 20).astype(np.float32)
    labels[0, 0] = np.nan
    for kind in (None, "binary", "instances"):
        report = check(noise(16, 20), labels, settings=config(targets={"a": {"kind": kind}}))
        only(report, "i: labels 'a' hold values that are not numbers")
    # Of measured values they are the unlabelled ones.
    assert check(noise(16, 20), labels, settings=config(targets={"a": {"kind": "regression"}})).ok


def test_labels_without_background_are_noted(noise, blobs) -> None:
    ones = np.ones((16, 20), np.uint8)
    report = check(noise(16, 20), ones)
    assert report.ok and "every labelled voxel is foreground" in report.warnings[0]
    assert check(noise(16, 20), (blobs(16, 20) > 0).astype(np.uint8)).warnings == ()


def test_nothing_is_painted(noise) -> None:
    empty = np.zeros((16, 20), np.uint8)
    only(
        check(noise(16, 20), empty, settings=config(targets={"a": {"unlabelled": 0}})), "no voxel is labelled"
    )
    only(check(noise(16, 20), empty), "the labels hold background only")
    only(check(noise(16, 20), empty + 1, mask=empty), "the mask leaves none over")


def test_instance_numbers_beyond_what_a_label_image_holds(noise, blobs) -> None:
    labels = blobs(16, 20).astype(np.int64)
    labels[0, 0] = 2**31
    only(check(noise(16, 20), labels), "hold the value 2147483648; the largest allowed is 2147483647")
    labels[0, 0] = -(2**31)
    only(check(noise(16, 20), labels), "the smallest allowed is -2147483647")
    labels[0, 0] = 2**31 - 1
    assert check(noise(16, 20), labels).ok


def test_labels_that_do_not_fit_their_kind(noise) -> None:
    heat = np.random.default_rng(0).normal(size=(16, 20)).astype(np.float32)
    assert check(noise(16, 20), heat).ok  # taken for a measured value
    only(
        check(noise(16, 20), heat, settings=config(targets={"a": {"kind": "binary"}})),
        "are not whole numbers",
    )
    colours = np.ones((3, 16, 20), np.uint8)
    report = check(noise(16, 20), colours, settings=config(targets={"a": {"kind": "instances"}}))
    assert "have 3 channels, but kind instances needs one number" in report.errors[0]


def test_values_and_targets_that_are_nowhere(noise, blobs) -> None:
    settings = config(targets={"a": {"kind": "binary", "values": [1, 5]}})
    report = check(noise(16, 20), blobs(16, 20), settings=settings)
    assert report.ok and "the value 5 of its values is nowhere" in report.warnings[0]
    report = check(noise(16, 20), blobs(16, 20), settings=config(targets={"b": {}, "a": {}}))
    only(report, "target 'b': no labels called 'b' were found")


def test_a_folder_with_many_faults_lists_all_of_them(make_folder, noise, blobs) -> None:
    nan = np.full((16, 20), np.nan, np.float32)
    root = make_folder(
        {
            "images/good.npy": noise(16, 20),
            "labels/good_x.npy": blobs(16, 20),
            "images/bare.npy": noise(16, 20),
            "images/empty.npy": noise(16, 20),
            "labels/empty_x.npy": np.zeros((16, 20), np.uint8),
            "images/nan.npy": nan,
            "labels/nan_x.npy": blobs(16, 20),
            "images/shape.npy": noise(16, 20),
            "labels/shape_x.npy": blobs(20, 16),
            "images/colour.npy": noise(16, 20, 3),
            "labels/colour_x.npy": blobs(16, 20),
            "images/deep.npy": noise(6, 16, 20),
            "labels/deep_x.npy": blobs(6, 16, 20),
        }
    )
    (root / "images" / "broken.tif").write_bytes(b"II*\0")
    (root / "split.json").write_text(
        json.dumps({"train": ["good", "bare"], "val": ["nowhere"], "test": ["broken"]})
    )
    report = check_dataset(open_folder(root))
    text = "\n".join(report.errors)
    for part in (
        "broken.tif: not a readable TIFF",
        "image 'shape' has the shape (16, 20), but its labels 'x' (20, 16)",
        "image 'nan' holds values that are not numbers",
        "is a plane (16, 20) and 'deep' a volume (6, 16, 20)",
        "image 'colour' has 3 channel(s), the others have 1",
        "val names the image 'nowhere'",
        "train names bare without labels",
    ):
        assert part in text
    assert len(report.errors) == 7
    assert "without labels: bare, shape; not trained on" in "\n".join(report.warnings)
    assert "empty labels (background only) on empty" in "\n".join(report.warnings)
    with pytest.raises(DataError, match="7 faults\n- "):
        report.raise_for_errors()


@pytest.mark.parametrize("kind", ["labels", "masks", "images"])
def test_damage_that_only_reading_shows_is_reported(make_folder, noise, blobs, kind: str) -> None:
    root = make_folder(
        {"images/a.zarr": noise(64, 64), "labels/a_x.zarr": blobs(64, 64), "masks/a_x.zarr": blobs(64, 64)}
    )
    for chunk in (root / kind).rglob("c/0/*"):
        chunk.write_bytes(b"\0")
    only(
        check_dataset(open_folder(root)),
        f"{kind}/a{'' if kind == 'images' else '_x'}.zarr: cannot be read at",
    )


def test_what_the_experiment_asks_of_the_data(noise, blobs) -> None:
    spec = {"id": "i", "image": noise(16, 20), "labels": {"cell": blobs(16, 20)}}
    values = {
        "tr_config": {"patch_size": [32, 16]},
        "model_config": {"in_channels": 2},
        "auxiliary_tasks": {"d": {"type": "distance_transform", "source_target": "cells"}},
    }
    report = check_dataset(open_layers([spec]), ExperimentConfig.model_validate(values))
    assert "model_config.in_channels is 2, but the images have 1" in report.errors[0]
    assert "'cells' is not a target. Did you mean 'cell'" in report.errors[1]
    assert report.warnings == ("smaller than the patch size 32,16, and padded to it: i.",)
    values = {"tr_config": {"patch_size": [8, 8, 8]}}
    only(
        check_dataset(open_layers([spec]), ExperimentConfig.model_validate(values)),
        "has 3 numbers, but the data is 2D",
    )


def test_many_images_are_counted_not_listed(noise) -> None:
    specs = [{"id": f"i{k}", "image": noise(8, 9)} for k in range(9)]
    specs.append({"id": "last", "image": noise(8, 9), "labels": {"a": noise(8, 9)}})
    assert "i0, i1, i2, i3, i4 and 4 more" in check_dataset(open_layers(specs)).warnings[0]


def test_a_record_twice_is_an_error(noise, blobs) -> None:
    specs = [{"id": "a", "image": noise(8, 9), "labels": {"x": blobs(8, 9)}}] * 2
    only(check_dataset(open_layers(specs)), "two images have this name")


def test_names_that_mean_something_else(noise, blobs) -> None:
    spec = {"image": noise(8, 9), "labels": {"image": blobs(8, 9)}}
    only(
        check_dataset(open_layers([spec])),
        "labels called 'image' were found, but a target cannot have this name",
    )
    settings = config(targets={"cell": {"labels": "image"}})
    assert check_dataset(open_layers([spec], settings)).ok


def test_colours_in_place_of_labels_are_said(noise) -> None:
    report = check(noise(16, 20), np.moveaxis(noise(16, 20, 3), -1, 0))
    assert report.ok and "have 3 channels and are taken for measured values" in report.warnings[0]


def test_an_image_that_cannot_be_opened_is_not_missing_in_the_split_too(make_folder, noise, blobs) -> None:
    root = make_folder({"images/a.npy": noise(8, 9), "labels/a_x.npy": blobs(8, 9)})
    (root / "images" / "b.npy").write_bytes(b"")
    (root / "split.json").write_text(json.dumps({"train": ["a"], "val": ["b"], "test": ["np"]}))
    errors = check_dataset(open_folder(root)).errors
    assert len(errors) == 2
    assert "b.npy: not a readable .npy file" in errors[0] and "test names the image 'np'" in errors[1]


def test_masks_that_serve_nothing_and_masks_that_are_nowhere(make_folder, noise, blobs) -> None:
    arrays = {f"images/{name}.npy": noise(8, 9) for name in ("a", "b", "bare")}
    arrays |= {f"labels/{name}_cell_wall.npy": blobs(8, 9) for name in ("a", "b")}
    arrays |= {f"masks/{name}_cell_wall.npy": np.ones((8, 9), np.uint8) for name in ("a", "bare")}
    report = check_dataset(open_folder(make_folder(arrays)))
    assert report.ok
    text = "\n".join(report.warnings)
    assert "masks of bare (cell_wall) have no labels that they belong to; not used" in text
    assert (
        "target 'cell_wall' has a mask on some images, but none on b: there its labels count everywhere"
        in text
    )
    settings = config(targets={"cell_wall": {"mask": "cell_wal"}})
    root = make_folder(arrays)
    only(
        check_dataset(open_folder(root, settings)),
        "no masks called 'cell_wal' were found. Did you mean 'cell_wall'?",
    )


def test_labels_of_two_types_and_labels_taken_for_measured_values(noise, blobs) -> None:
    heat = np.linspace(0, 1, 72, dtype=np.float32).reshape(8, 9)
    specs = [
        {"id": "whole", "image": noise(8, 9), "labels": {"a": blobs(8, 9)}},
        {"id": "broken", "image": noise(8, 9), "labels": {"a": heat}},
    ]
    only(check_dataset(open_layers(specs)), "labels 'a' are whole numbers on whole, but not on broken")
    assert check_dataset(open_layers(specs, config(targets={"a": {"kind": "regression"}}))).warnings == ()
    report = check_dataset(open_layers(specs[1:]))
    assert report.ok and "are taken for measured values (kind regression)" in report.warnings[0]
    ones = {"id": "f", "image": noise(8, 9), "labels": {"a": (heat > 0.5).astype(np.float32)}}
    assert check_dataset(open_layers([ones])).warnings == ()


def test_values_outside_the_classes_are_named_with_their_images(noise) -> None:
    labels = np.zeros((8, 9), np.uint8)
    labels[:4] = 1
    odd = labels.copy()
    odd[0, 0], odd[0, 1] = 7, 255
    specs = [
        {"id": i, "image": noise(8, 9), "labels": {"a": values}}
        for i, values in (("good", labels), ("odd", odd))
    ]

    def warned(targets) -> tuple[str, ...]:
        specs_ = [spec | {"labels": dict.fromkeys(targets, spec["labels"]["a"])} for spec in specs]
        return check_dataset(open_layers(specs_, config(targets=targets))).warnings

    listed = {"kind": "classes", "values": [0, 1], "unlabelled": 255}
    assert warned({"a": listed}) == (
        "target 'a': the value 7, on odd, is none of its values and counts as background.",
    )
    assert warned({"a": {"kind": "classes", "out_channels": 2, "unlabelled": 255}}) == (
        "target 'a': the value 7, on odd, is beyond its 2 classes.",
    )
    assert warned({"a": listed | {"values": [0, 1, 7]}}) == ()
    assert "value 7" not in str(
        warned({"a": listed | {"labels": "a"}, "b": {"labels": "a", "kind": "binary", "values": [7]}})
    )
