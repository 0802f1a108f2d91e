import json
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu
from skimage.measure import label

from napari_segtrain.config import LossConfig
from napari_segtrain.evaluation import (
    Report,
    dice,
    evaluate_image,
    score_classes,
    score_mask,
    score_objects,
    score_values,
)
from napari_segtrain.targets import Head


def make_head(name: str, encoding: str, channels: int = 1, **changes: Any) -> Head:
    values: dict[str, Any] = {"target": name, "decoder": name, "activation": "none", **changes}
    return Head(name=name, encoding=encoding, out_channels=channels, losses=(LossConfig(name="X"),), **values)


def masks(seed: int, shape: tuple[int, ...], share: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = random.random(shape) < share
    return truth, truth ^ (random.random(shape) < 0.2)


def test_dice_is_the_mean_over_images_and_the_pooled_one_stands_beside() -> None:
    small, large = masks(0, (8, 8), 0.1), masks(1, (80, 80), 0.6)
    report = Report()
    report.add("small", {"m": score_mask(*small)})
    report.add("large", {"m": score_mask(*large)})
    found = report.to_dict()["m"]
    assert found["dice"] == pytest.approx((dice(*small) + dice(*large)) / 2)
    together = [np.concatenate([a.ravel(), b.ravel()]) for a, b in zip(small, large, strict=True)]
    assert found["dice_pooled"] == pytest.approx(dice(*together))
    assert found["precision_mean"] != found["precision"]
    assert found["images"]["small"]["dice"] == pytest.approx(dice(*small))
    assert found["voxels"] == 64 + 6400 and found["images"]["small"]["voxels"] == 64


def test_average_precision_is_pooled_over_objects() -> None:
    many, one = np.zeros((20, 20), int), np.zeros((20, 20), int)
    many[::2, ::2] = np.arange(1, 101).reshape(10, 10)
    one[3:5, 3:5] = 1
    report = Report()
    report.add("many", {"cells": score_objects(many, many)})
    report.add("one", {"cells": score_objects(one, 0 * one)})
    found = report.to_dict()["cells"]
    assert found["ap50"] == pytest.approx(100 / 101) and found["map"] == pytest.approx(100 / 101)
    assert found["ap50_mean"] == pytest.approx(0.5)
    assert found["objects"] == 101 and found["predicted_objects"] == 100
    assert found["dice"] == pytest.approx(0.5) and found["dice_pooled"] == pytest.approx(200 / 204)


def test_regions_of_one_image_are_one_image() -> None:
    truth, prediction = masks(2, (30, 40), 0.4)
    whole, halves = Report(), Report()
    whole.add("a", {"m": score_mask(truth, prediction)})
    for part in (slice(0, 15), slice(15, 30)):
        halves.add("a", {"m": score_mask(truth[part], prediction[part])})
    assert halves.to_dict() == whole.to_dict()


def test_images_without_labels_count_nowhere_and_json_has_no_nan() -> None:
    truth, prediction = masks(3, (10, 10), 0.4)
    nothing = np.zeros(truth.shape, bool)
    report = Report()
    report.add(
        "a", {"m": score_mask(truth, prediction), "v": score_values(truth[None], prediction[None] * 1.0)}
    )
    report.add(
        "b",
        {
            "m": score_mask(truth, prediction, nothing),
            "v": score_values(truth[None], np.full((1, 10, 10), np.nan), nothing),
            "o": score_objects(truth, prediction, nothing),
            "c": score_classes(truth, prediction, (0, 1), nothing),
        },
    )
    found = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["m"]["dice"] == found["m"]["dice_pooled"] == pytest.approx(dice(truth, prediction))
    assert found["m"]["images"]["b"]["dice"] is None
    assert found["v"]["mae"] == found["v"]["mae_mean"] == pytest.approx((truth != prediction).mean())
    assert found["o"]["ap50"] is None and found["c"]["dice"] is None
    report.add("c", {"v": score_values(truth[None], np.full((1, 10, 10), np.nan))})
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["v"]["mae"] is None


def test_classes_are_averaged_over_the_foreground_that_occurs() -> None:
    truth = np.array([[1, 1, 2, 2, 2, 2]])
    prediction = np.array([[1, 2, 2, 2, 2, 1]])
    found = score_classes(truth, prediction, (1, 2, 3)).values()
    assert found["dice"] == found["dice_2"] == pytest.approx(2 * 3 / 8)
    assert found["dice_1"] == pytest.approx(0.5) and found["dice_3"] is None
    assert found["accuracy"] == pytest.approx(4 / 6)
    only_background = score_classes(truth[:, :1], prediction[:, :1], (1, 2, 3)).values()
    assert only_background["dice"] == only_background["accuracy"] == 1.0


def test_an_image_is_scored_for_every_kind_of_output() -> None:
    random = np.random.default_rng(0)
    shape = (12, 14)
    heads = [
        make_head("mask", "binary"),
        make_head("kinds", "classes", 3),
        make_head("cells", "binary"),
        make_head("cells_boundary", "boundary", target="cells"),
        make_head("level", "regression", 2),
        make_head("depth", "distance_transform"),
        make_head("normals", "surface_normals", 2),
        make_head("tangent", "inplane_direction", 2),
        make_head("nearest", "nearest_component", 2),
        make_head("tensor", "structure_tensor", 3),
        make_head("absent", "binary"),
    ]
    prediction = {h.name: random.random((h.out_channels, *shape)).astype(np.float32) for h in heads[:-1]}
    truth: dict[str, np.ndarray] = {h.name: random.random((h.out_channels, *shape)) for h in heads}
    truth["mask"] = (truth["mask"] > 0.5).astype(np.float32)
    truth["kinds"] = random.integers(0, 3, (1, *shape))
    valid = random.random((1, *shape)) > 0.3
    truth |= {f"{h.name}_mask": valid for h in heads}
    cells = random.integers(0, 4, shape), random.integers(0, 4, shape)
    scores = evaluate_image(heads, truth, prediction, {"cells": cells}, 0.7, {"kinds": (1, 2, 5)})
    assert list(scores) == [
        "mask",
        "kinds",
        "cells",
        "level",
        "depth",
        "normals",
        "tangent",
        "nearest",
        "tensor",
    ]
    assert all(s.voxels == valid.sum() for s in scores.values())
    assert scores["mask"].values()["dice"] == dice(truth["mask"][0], prediction["mask"][0] > 0.7, valid[0])
    assert {"dice_1", "dice_2", "dice_5"} < set(scores["kinds"].values())
    assert scores["cells"] == score_objects(*cells, valid[0])
    for name in ("level", "nearest", "tensor"):
        assert scores[name].values()["mae"] == pytest.approx(
            np.abs(truth[name] - prediction[name])[:, valid[0]].mean()
        )
    opposite = {**prediction, "tangent": -prediction["tangent"]}
    same = evaluate_image(heads, truth, opposite)["tangent"].values()
    assert same["angular_error"] == pytest.approx(scores["tangent"].values()["angular_error"])
    assert same["angular_error"] < 90
    assert 0 < scores["normals"].values()["angular_error"] < 90
    report = Report()
    report.add("a", scores)
    table = report.table()
    for word in ("target", "dice", "ap50", "mae", "angular error", "normals", "kinds"):
        assert word in table
    assert f"{scores['cells'].values()['ap50']:.3f}" in table


def test_the_baseline_of_the_fluorescence_set_is_reproduced(segtrain_data: Any) -> None:
    """The published scores of a threshold on the test split: Dice 0.889, AP50 0.572."""
    folder = segtrain_data / "dsb2018_fluo"
    report = Report()
    for entry in json.loads((folder / "split.json").read_text())["test"]:
        image = gaussian_filter(tifffile.imread(folder / "images" / f"{entry['image']}.tif").astype(float), 1)
        truth = tifffile.imread(folder / "labels" / f"{entry['image']}_nuclei.tif")
        foreground = image > threshold_otsu(image)
        objects = label(foreground, connectivity=1)
        sizes = np.bincount(objects.ravel())
        objects = np.where((sizes >= 20)[objects], objects, 0)
        report.add(
            entry["image"], {"nuclei": score_objects(truth, objects), "mask": score_mask(truth, foreground)}
        )
    found = report.to_dict()
    assert found["mask"]["dice"] == pytest.approx(0.889, abs=6e-4)
    assert found["nuclei"]["ap50"] == pytest.approx(0.572, abs=6e-4)
