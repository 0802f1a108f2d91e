from __future__ import annotations

import threading
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from qtpy.QtWidgets import QPushButton

from napari_segtrain.config import (
    ConfigError,
    DataError,
    DataFacts,
    DatasetConfig,
    ExperimentConfig,
    TargetConfig,
    TargetFacts,
)
from napari_segtrain.inference.kept_parts import KeptParts
from napari_segtrain.runs import RunFolder
from napari_segtrain.widgets.docks.correct_dock import CorrectDock
from napari_segtrain.widgets.layers import accept
from napari_segtrain.widgets.layers.accept import Acceptance, Values
from napari_segtrain.widgets.layers.accept_values import parse_values, suggest_values
from napari_segtrain.widgets.layers.boxes import Box
from napari_segtrain.widgets.layers.covered import Covered, cover
from napari_segtrain.widgets.layers.edits import LayerEdits
from napari_segtrain.widgets.layers.regions import Region, drawn_regions, visible_region
from napari_segtrain.widgets.panels import accept_panel

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
Notes = list[tuple[str, str]]
SPACE = {"scale": (0.5, 0.25), "translate": (3, 4), "rotate": 20, "shear": [0.1], "units": ("um", "um")}
OURS = {"napari_segtrain": {"preview": True, "image": "cells", "head": "nuclei"}}


def taken(viewer: Any, prediction: Any, labels: Any, where: list[Region], **values: Any) -> int:
    acceptance = Acceptance(viewer, prediction, labels, where, Values(**values))
    acceptance.compute()
    return acceptance.apply()


def whole(layer: Any) -> list[Region]:
    return [Region(tuple(slice(0, n) for n in layer.data.shape))]


def test_one_step_of_undo_and_told_like_a_stroke(viewer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "_AT_ONCE", 100)
    painted = np.zeros((40, 60), np.uint8)
    painted[10, 10:30] = 1
    labels = viewer.add_labels(painted.copy(), **SPACE)
    foreground = np.zeros((40, 60), np.uint8)
    foreground[5:20, 12:40] = 1
    # The prediction is a part of the image: of the same grid, from voxel (4, 8) on.
    start = labels.data_to_world((4, 8))
    part = viewer.add_labels(foreground[4:30, 8:50], **SPACE)
    part.translate = np.array(SPACE["translate"]) + (np.array(start) - labels.data_to_world((0, 0)))
    told: list[list[Box] | None] = []
    edits = LayerEdits(viewer, labels, lambda _, boxes: told.append(boxes), lambda _: None)

    count = taken(viewer, part, labels, whole(labels), table={1: 2})
    expected = painted.copy()
    expected[(foreground == 1) & (painted == 0)] = 2
    np.testing.assert_array_equal(labels.data, expected)
    assert count == (expected != painted).sum()
    box = [(slice(0, 40), slice(0, 60))]
    assert told and all(boxes == box for boxes in told), "as tight as a stroke"
    assert len(labels._undo_history) == 1
    labels.undo()
    np.testing.assert_array_equal(labels.data, painted)
    labels.redo()
    np.testing.assert_array_equal(labels.data, expected)
    assert all(boxes == box for boxes in told), "undo and redo are told too"
    edits.close()

    taken(viewer, part, labels, whole(labels), table={1: 2, 0: 3}, overwrite=True)
    inside = np.zeros((40, 60), bool)
    inside[4:30, 8:50] = True
    np.testing.assert_array_equal(labels.data, np.where(inside, 3 - foreground, expected))
    assert taken(viewer, part, labels, whole(labels), table={1: 2}) == 0, "everything is labelled there"


def test_a_coarser_prediction_is_written_where_it_lies(viewer: Any) -> None:
    coarse = np.zeros((10, 12), np.uint8)
    coarse[2:5, 3:6] = 1
    prediction = viewer.add_labels(coarse, scale=(2, 2), translate=(0.5, 0.5))
    labels = viewer.add_labels(np.zeros((20, 24), np.uint8))
    taken(viewer, prediction, labels, whole(labels), table={1: 1})
    np.testing.assert_array_equal(labels.data, np.kron(coarse, np.ones((2, 2), np.uint8)))


def test_objects_get_new_numbers_and_every_value_can_go_as_it_is(viewer: Any) -> None:
    found = np.array([[0, 1, 1, 0, 2]], np.int32)
    labels = viewer.add_labels(np.array([[0, 0, 0, 7, 0]], np.uint8))
    prediction = viewer.add_labels(found)
    taken(viewer, prediction, labels, whole(labels), as_objects=True)
    assert labels.data.tolist() == [[0, 8, 8, 7, 9]]
    taken(viewer, prediction, labels, whole(labels), overwrite=True)
    assert labels.data.tolist() == found.tolist()
    unlabelled = viewer.add_labels(np.array([[9, 9, 0, 0, 9]], np.uint8))
    taken(viewer, prediction, unlabelled, whole(unlabelled), unlabelled=9)
    assert unlabelled.data.tolist() == [[0, 1, 0, 0, 2]]
    full = viewer.add_labels(np.array([[0, 0, 0, 255, 0]], np.uint8))
    with pytest.raises(DataError, match="has no room for the label 25"):
        taken(viewer, prediction, full, whole(full), as_objects=True)
    assert full.data.tolist() == [[0, 0, 0, 255, 0]] and not full._undo_history


@pytest.mark.parametrize("stored", [False, True], ids=["memory", "zarr"])
def test_shapes_mean_the_slice_they_were_drawn_in(viewer: Any, stored: bool, tmp_path: Path) -> None:
    shape, space = (6, 30, 40), {"scale": (2, 0.5, 0.5), "translate": (1, 2, 3)}
    prediction = viewer.add_labels(np.ones(shape, np.uint8), **space)
    array: Any = np.zeros(shape, np.uint8)
    if stored:
        array = zarr.create_array(tmp_path / "a.zarr", data=array, chunks=(2, 16, 16))
    labels = viewer.add_labels(array, **space)
    viewer.dims.set_current_step(0, 4)
    shapes = viewer.add_shapes(ndim=3, **space)
    shapes.add_rectangles(np.array([[2, 4.5, 4.5], [2, 4.5, 8.5], [2, 13.5, 8.5], [2, 13.5, 4.5]]))
    shapes.add_ellipses(np.array([[3, 4, 20], [3, 4, 36], [3, 16, 36], [3, 16, 20]], float))
    shapes.selected_data = set()
    regions = drawn_regions(viewer, shapes, labels)
    taken(viewer, prediction, labels, regions, table={1: 5})
    written = np.asarray(labels.data[:])
    assert [plane.any() for plane in written] == [False, False, True, True, False, False]
    assert set(map(tuple, np.argwhere(written[2]))) == {(y, x) for y in range(5, 14) for x in range(5, 9)}
    y, x = np.mgrid[:30, :40]
    disc = ((y - 10) / 6) ** 2 + ((x - 28) / 8) ** 2
    assert (written[3][disc < 0.95] == 5).all() and not written[3][disc > 1.05].any()
    flat = viewer.add_shapes([np.array([[3, 5], [3, 10], [10, 10.0]])], shape_type="polygon", name="flat")
    taken(viewer, prediction, labels, drawn_regions(viewer, flat, labels), table={1: 6})
    now = np.asarray(labels.data[:])
    shown = round(float(labels.world_to_data(viewer.dims.point)[0]))
    assert np.unique(np.argwhere(now == 6)[:, 0]).tolist() == [shown], "the slice that is shown"
    labels.undo()
    labels.undo()
    assert not np.asarray(labels.data[:]).any(), "each was one step"
    labels.redo()
    np.testing.assert_array_equal(np.asarray(labels.data[:]), written)


def test_shapes_whose_boxes_overlap_take_nothing_from_each_other(viewer: Any) -> None:
    prediction = viewer.add_labels(np.ones((40, 40), np.uint8))
    labels = viewer.add_labels(np.zeros((40, 40), np.uint8))
    triangles = [np.array([[0, 0], [0, 30], [30, 0]], float), np.array([[2, 38], [38, 38], [38, 2]], float)]
    shapes = viewer.add_shapes(triangles, shape_type="polygon")
    shapes.selected_data = set()
    count = taken(viewer, prediction, labels, drawn_regions(viewer, shapes, labels), table={1: 1})
    y, x = np.mgrid[:40, :40]
    expected = (y + x <= 30) | ((y + x >= 40) & (y <= 38) & (x <= 38))
    np.testing.assert_array_equal(labels.data, expected)
    assert count == expected.sum()
    labels.undo()
    assert not labels.data.any()
    labels.redo()
    np.testing.assert_array_equal(labels.data, expected)


def test_the_visible_region_and_a_slice_for_a_volume(viewer: Any) -> None:
    labels = viewer.add_labels(np.zeros((4, 20, 30), np.uint8))
    plane = viewer.add_labels(np.ones((20, 30), np.uint8))
    viewer.dims.set_current_step(0, 2)
    labels.corner_pixels = np.array([[0, 3, 4], [0, 9, 12]])
    region = visible_region(viewer, labels)
    assert region.box == (slice(2, 3), slice(3, 10), slice(4, 13))
    taken(viewer, plane, labels, [region], table={1: 1})
    assert labels.data.sum() == 7 * 9 == labels.data[2, 3:10, 4:13].sum()


@pytest.mark.parametrize("shape", [(20, 30), (4, 20, 30)], ids=["2D", "a slice of a volume"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_was_not_predicted_stays_as_it_is(viewer: Any, overwrite: bool, shape: tuple[int, ...]) -> None:
    painted = np.zeros(shape, np.uint8)
    painted[..., 5:9, :] = 3
    labels = viewer.add_labels(painted.copy())
    predicted = np.zeros(shape, np.uint8)
    predicted[..., 10:, :13] = 1
    prediction = viewer.add_labels(predicted, metadata={"napari_segtrain": {"preview": True}})
    covered = Covered(shape)
    cover(prediction, covered)
    region = Region((*(slice(2, 3) for _ in shape[2:]), slice(0, 20), slice(0, 30)))
    for values in ({"table": {1: 2, 0: 1}}, {}):
        nothing = Acceptance(viewer, prediction, labels, [region], Values(overwrite=overwrite, **values))
        assert not nothing.compute(), "no block has come yet"
    covered.add((*(slice(0, size) for size in shape[:-1]), slice(0, 13)))
    for values, meant in (({"table": {1: 2, 0: 1}}, predicted + 1), ({}, predicted)):
        before = np.array(labels.data)
        acceptance = Acceptance(viewer, prediction, labels, [region], Values(overwrite=overwrite, **values))
        assert acceptance.compute() and acceptance.in_part
        acceptance.apply()
        expected = before.copy()
        half = (*region.box[:-1], slice(0, 13))
        free = np.ones_like(before[half], bool) if overwrite else before[half] == 0
        expected[half][free] = meant[half][free]
        np.testing.assert_array_equal(labels.data, expected)
        assert (labels.data[..., 13:] == painted[..., 13:]).all()
        labels.data = painted.copy()
    inside = Region((*region.box[:-1], slice(3, 13)))
    acceptance = Acceptance(viewer, prediction, labels, [inside], Values(overwrite=overwrite))
    assert acceptance.compute() and not acceptance.in_part


def test_what_cannot_be_done_is_said(viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = viewer.add_labels(np.ones((20, 30), np.uint8), name="p")
    labels = viewer.add_labels(np.zeros((20, 30), np.uint8), name="l")
    several = viewer.add_labels([np.zeros((20, 30), np.uint8), np.zeros((10, 15), np.uint8)], name="m")
    lazy = viewer.add_labels(da.zeros((20, 30), dtype=np.uint8), name="d")
    stack = viewer.add_labels(np.ones((3, 20, 30), np.uint8), name="s")
    for one, other, words in (
        (prediction, prediction, "into itself"),
        (prediction, several, "has resolution levels"),
        (prediction, lazy, "cannot be painted on"),
        (stack, labels, "'s' has 3 axes and 'l' has 2"),
    ):
        with pytest.raises(DataError, match=words):
            Acceptance(viewer, one, other, [], Values())
    with monkeypatch.context() as patches:
        patches.setattr(accept, "MOST_VOXELS", 100)
        with pytest.raises(DataError, match="too many for one step"):
            Acceptance(viewer, prediction, labels, whole(labels), Values())
    shapes = viewer.add_shapes(name="drawn")
    with pytest.raises(DataError, match="'drawn' is empty"):
        drawn_regions(viewer, shapes, labels)
    shapes.add_rectangles(np.array([[100, 100], [120, 120]], float))
    with pytest.raises(DataError, match="lie outside 'l'"):
        drawn_regions(viewer, shapes, labels)
    shapes.add_lines(np.array([[1, 1], [5, 5]], float))
    shapes.selected_data = {1}
    with pytest.raises(DataError, match="holds a line, which has no inside"):
        drawn_regions(viewer, shapes, labels)
    solid = viewer.add_shapes([np.array([[0, 1, 1], [2, 1, 9], [2, 9, 9.0]])], shape_type="polygon")
    with pytest.raises(DataError, match="leaves the slice"):
        drawn_regions(viewer, solid, stack)

    zarr.create_array(tmp_path / "a.zarr", data=np.zeros((20, 30), np.uint8))
    fixed = viewer.add_labels(zarr.open_array(tmp_path / "a.zarr", mode="r"), name="fixed")
    with pytest.raises(DataError, match="'fixed' cannot be written"):
        taken(viewer, prediction, fixed, whole(fixed))
    acceptance = Acceptance(viewer, prediction, labels, whole(labels), Values())
    assert acceptance.compute()
    labels.data = np.zeros((10, 10), np.uint8)
    with pytest.raises(DataError, match="another shape now"):
        acceptance.apply()
    viewer.layers.remove(labels)
    with pytest.raises(DataError, match="was deleted"):
        acceptance.apply()


@pytest.mark.parametrize(
    ("predicted", "painted", "objects", "target", "text", "unlabelled"),
    [
        ((0, 1), (0, 1, 2), False, None, "1 → 2, 0 → 1", 0),
        ((0, 1), (0, 1), False, TargetConfig(unlabelled=None), "1 → 1", 0),
        ((0, 1), (0, 4), False, None, "1 → 4", 0),
        ((0, 1), (0, 1, 2, 3), False, TargetConfig(kind="binary", values=(3,)), "1 → 3, 0 → 1", 0),
        ((0, 1), (0, 5, 9), False, TargetConfig(unlabelled=9), "1 → 5, 0 → 0", 9),
        ((0, 1, 2), (0, 1, 2), False, None, "", 0),
        ((0, 1), (0,), True, None, "new objects", 0),
        ((0,), (0, 1, 2, 3), False, TargetConfig(kind="classes", unlabelled=0), "", 0),
        ((0, 1), (0, 1, 2, 3), False, TargetConfig(kind="classes", unlabelled=0), "", 0),
        ((0, 1), (0, 1), False, TargetConfig(values=(0, 1, 4)), "", 0),
        ((0, 1), (0, 70_000), True, TargetConfig(kind="classes"), "", 0),
        ((0, 1), (0, 1, 2, 3), False, TargetConfig(kind="instances", unlabelled=255), "", 255),
        ((0, 1, 2), (0, 1, 2, 3), True, TargetConfig(kind="instances", unlabelled=255), "new objects", 255),
    ],
)
def test_what_values_mean_is_guessed_from_the_labels(
    predicted: Any, painted: Any, objects: bool, target: Any, text: str, unlabelled: int
) -> None:
    assert suggest_values(predicted, painted, objects, target) == (text, unlabelled)
    parse_values(text)


def test_values_are_read_from_a_line() -> None:
    assert parse_values(" 1 → 2, 0=1,3 -> 4") == ({1: 2, 0: 1, 3: 4}, False)
    assert parse_values("") == (None, False)
    with pytest.raises(ConfigError, match="'two' does not say how a value is written"):
        parse_values("1 → 2, two")


def test_what_a_result_is_of_is_read_from_its_run(tmp_path: Path) -> None:
    targets = {"cells": TargetConfig(), "nuclei": TargetConfig(kind="instances")}
    run = RunFolder.create(tmp_path, "a")
    ours: dict[str, Any] = {"result": True, "head": "cells"}
    assert accept_panel.target_of(ours) is None
    ours["settings"] = {"checkpoint": {"path": str(run.path)}}
    run.write_config(ExperimentConfig(dataset_config=DatasetConfig(targets=targets)))
    assert accept_panel.target_of(ours) == TargetConfig(), "the facts of its data are not known"
    seen = {"cells": TargetFacts(values=(0, 1, 2, 3))}
    facts = DataFacts(ndim=2, shape=(20, 30), spacing=(1, 1), targets=seen)
    run.write_json("resolved.json", {"facts": facts.to_dict()})
    assert accept_panel.target_of(ours) == TargetConfig(kind="classes"), "as its training has taken it"
    assert accept_panel.target_of({**ours, "head": "nuclei"}) == targets["nuclei"]
    assert accept_panel.target_of({**ours, "head": "nuclei_boundary"}) is None
    ours["settings"]["checkpoint"]["path"] = str(tmp_path / "gone")
    assert accept_panel.target_of(ours) is None


def test_the_dock_looks_again_until_the_layers_tell_what_values_mean(
    viewer: Any, make_dock: Callable[[type], Any], until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_panel, "_REST", 0)
    panel = make_dock(CorrectDock).accepting
    labels = viewer.add_labels(np.zeros((20, 30), np.uint8), name="l")
    prediction = viewer.add_labels(np.zeros((20, 30), np.uint8), metadata=OURS)
    until(lambda: panel.values.text() == "1 → 1")
    labels.paint((3, 3), 1)
    labels.paint((9, 9), 4)
    until(lambda: panel.values.text() == "1 → 4, 0 → 1")
    prediction.data[:4] = 3
    prediction.refresh()
    until(lambda: not panel.values.text())
    viewer.layers.remove(prediction)
    panel.values.setText("1 → 2, 0 → 1")
    ours = {**OURS["napari_segtrain"], "target": TargetConfig(kind="classes", unlabelled=0)}
    prediction = viewer.add_labels(np.zeros((20, 30), np.uint8), metadata={"napari_segtrain": ours})
    until(lambda: panel._target is not None)
    assert not panel.values.text(), "the first blocks of classes may hold 1 alone"


def test_what_the_user_writes_is_not_guessed_over(
    viewer: Any, make_dock: Callable[[type], Any], until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept_panel, "_REST", 0)
    panel = make_dock(CorrectDock).accepting
    looks: list[Any] = []
    monkeypatch.setattr(panel, "_on_guess", lambda *a, real=panel._on_guess: (real(*a), looks.append(a)))
    labels = viewer.add_labels(np.zeros((20, 30), np.uint8), name="l")
    viewer.add_labels(np.zeros((20, 30), np.uint8), metadata=OURS)
    until(lambda: looks)
    labels.refresh()
    panel.values.setText("1 → 9")
    until(lambda: not panel._later.isActive())
    labels.paint((3, 3), 4)
    until(lambda: not panel._later.isActive())
    assert panel.values.text() == "1 → 9"


def test_a_mask_of_objects_is_not_written_as_one_object(
    viewer: Any, make_dock: Callable[[type], Any], until: Until, notes: Notes
) -> None:
    dock = make_dock(CorrectDock)
    panel, press = dock.accepting, dock.findChild(QPushButton, "accept").click
    labels = viewer.add_labels(np.eye(20, dtype=np.int32), name="l")
    target = TargetConfig(kind="instances")
    ours = {"preview": True, "image": "cells", "head": "nuclei", "target": target}
    mask = np.zeros((20, 20), np.uint8)
    mask[2:5, 9:12] = mask[12:15, 3:6] = 1
    viewer.add_labels(mask, name="nuclei · live", metadata={"napari_segtrain": ours})
    until(lambda: panel._target is not None)
    assert not panel.values.text()
    for text in ("", "new objects"):
        panel.values.setText(text)
        press()
        assert "'nuclei · live' is a mask" in notes[-1][1] and "Instances ticked" in notes[-1][1]
    parts = KeptParts(mask, None, None, 2)
    objects = viewer.add_labels(
        np.zeros((20, 20), np.int32),
        name="nuclei · objects · live",
        visible=False,
        metadata={"napari_segtrain": {**ours, "parts": parts}},
    )
    cover(objects, Covered((20, 20)))
    press()
    assert "show and choose 'nuclei · objects · live', which separates them" in notes[-1][1]
    assert (labels.data == np.eye(20)).all()
    panel.values.setText("1 → 7")
    press()
    until(lambda: not panel.busy)
    assert (labels.data == 7).sum() == 18, "what the user says counts"
    panel.prediction.set_value(objects.name)
    until(lambda: panel.values.text() == "new objects")
    press()
    until(lambda: not panel.busy)
    assert notes[-1][1].endswith("are separated while the layer is shown; show it first.")


def test_the_dock_says_what_was_not_predicted_yet(
    viewer: Any, make_dock: Callable[[type], Any], until: Until, notes: Notes
) -> None:
    dock = make_dock(CorrectDock)
    panel, press = dock.accepting, dock.findChild(QPushButton, "accept").click
    labels = viewer.add_labels(np.zeros((20, 30), np.uint8), name="l")
    prediction = viewer.add_labels(np.zeros((20, 30), np.uint8), metadata=deepcopy(OURS))
    covered = Covered((20, 30))
    cover(prediction, covered)
    panel.prediction.set_value(prediction.name)
    until(lambda: panel.values.text())
    panel.values.setText("1 → 2, 0 → 1")
    press()
    until(lambda: not panel.busy)
    assert "There is no prediction in this region" in notes[-1][1]
    covered.add((slice(0, 20), slice(10, 20)))
    press()
    until(lambda: not panel.busy)
    assert panel.status.text() == (
        "Accepted 200 voxels into 'l'; its Undo takes them back. A part of the region is not predicted; it "
        "stays as it is."
    )
    assert (labels.data.sum(), labels.data[:, 10:20].sum()) == (200, 200)
    press()
    until(lambda: not panel.busy)
    assert panel.status.text().endswith("everything is labelled where this region is predicted.")


def test_what_is_painted_while_the_dock_reads_is_kept(
    viewer: Any, make_dock: Callable[[type], Any], until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = make_dock(CorrectDock).accepting
    labels = viewer.add_labels(np.zeros((20, 30), np.uint8))
    viewer.add_labels(np.ones((20, 30), np.uint8), metadata=OURS)
    until(lambda: panel.values.text())
    panel.values.setText("1 → 1")
    compute, looks = Acceptance.compute, []

    def slow(acceptance: Acceptance) -> bool:
        found = compute(acceptance)
        looks.append(acceptance)
        if len(looks) == 1:
            meanwhile.wait(60)
        return found

    meanwhile = threading.Event()
    monkeypatch.setattr(Acceptance, "compute", slow)
    panel.accept()
    until(lambda: looks)
    with labels.block_history():  # a stroke: the second look comes before its end
        labels.paint((5, 5), 7)
        meanwhile.set()
        until(lambda: len(looks) > 2)
    until(lambda: not panel.busy)
    expected = np.where(labels.data == 7, 7, 1)
    np.testing.assert_array_equal(labels.data, expected)
    assert (expected == 7).any()
    labels.undo()
    np.testing.assert_array_equal(labels.data, np.where(expected == 7, 7, 0))
    labels.undo()
    assert not labels.data.any()


def test_the_dock_accepts(
    viewer: Any, make_dock: Callable[[type], Any], until: Until, notes: Notes, cells: Any
) -> None:
    dock = make_dock(CorrectDock)
    panel, press = dock.accepting, dock.findChild(QPushButton, "accept").click
    press()
    assert "there is no prediction yet" in notes[-1][1]
    image, labels = cells
    foreground = np.zeros((48, 64), np.uint8)
    foreground[15:40, 10:50] = 1
    space = {"scale": image.scale, "translate": image.translate, "rotate": image.rotate, "units": image.units}
    prediction = viewer.add_labels(foreground, metadata=OURS, **space)
    assert panel.prediction.layer() is prediction and panel.labels.offered() == [labels]
    until(lambda: panel.values.text())
    assert panel.values.text() == "1 → 2, 0 → 1"
    viewer.add_shapes(
        [np.array([[9.5, 7.5], [9.5, 29.5], [29.5, 29.5], [29.5, 7.5]])],
        shape_type="rectangle",
        name="here",
        **space,
    )
    panel.where.set_value("here")
    before = labels.data.copy()
    press()
    until(lambda: not panel.busy)
    expected = before.copy()
    drawn = np.zeros((48, 64), bool)
    drawn[10:30, 8:30] = True
    expected[drawn & (before == 0)] = (foreground + 1)[drawn & (before == 0)]
    np.testing.assert_array_equal(labels.data, expected)
    assert panel.status.text().startswith("Accepted") and labels.name in panel.status.text()
    press()
    until(lambda: not panel.busy)
    assert panel.status.text() == "Nothing was written: everything is labelled in this region."
    labels.undo()
    np.testing.assert_array_equal(labels.data, before)
    viewer.layers.remove("here")
    press()
    assert "the Shapes layer is gone" in notes[-1][1]
    panel.where.set_value(None)
    prediction.translate = (500, 500)
    press()
    until(lambda: not panel.busy)
    assert "no prediction in this region" in notes[-1][1]
    viewer.layers.remove(labels)
    press()
    assert "no Labels layer is chosen" in notes[-1][1]
