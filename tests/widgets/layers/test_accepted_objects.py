"""Predicted objects go on with painted ones, or become new ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from skimage.draw import disk

from napari_segtrain.config import DataError, TargetConfig
from napari_segtrain.widgets.docks.correct_dock import CorrectDock
from napari_segtrain.widgets.layers import largest_label
from napari_segtrain.widgets.layers.accept import Acceptance, Values
from napari_segtrain.widgets.layers.boxes import whole
from napari_segtrain.widgets.layers.largest_label import LargestLabel
from napari_segtrain.widgets.layers.regions import Region
from napari_segtrain.widgets.layers.results import OURS

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]


def objects(*discs: tuple[float, float, float], shape: tuple[int, int] = (60, 80)) -> np.ndarray:
    """Numbered discs (y, x, radius)."""
    found = np.zeros(shape, np.int32)
    for number, (y, x, radius) in enumerate(discs, 1):
        found[disk((y, x), radius, shape=shape)] = number
    return found


def accepted(viewer: Any, prediction: Any, labels: Any, *boxes: tuple[slice, ...], **values: Any) -> int:
    where = [Region(box) for box in boxes or (whole(labels.data.shape),)]
    acceptance = Acceptance(viewer, prediction, labels, where, Values(as_objects=True, **values))
    acceptance.compute()
    return acceptance.apply()


@pytest.mark.parametrize("second", [30, 40, 55], ids=["overlapping", "adjacent", "apart"])
def test_an_object_cut_by_the_view_goes_on_after_panning(viewer: Any, second: int) -> None:
    found = objects((30, 45, 20), (8, 8, 5))
    prediction, labels = viewer.add_labels(found), viewer.add_labels(np.zeros_like(found))
    accepted(viewer, prediction, labels, (slice(0, 60), slice(0, 40)))
    first = labels.data.copy()
    assert np.unique(first).tolist() == [0, 1, 2]
    accepted(viewer, prediction, labels, (slice(0, 60), slice(second, 80)))
    expected = found.copy()
    expected[:, 40:second] = 0
    np.testing.assert_array_equal(labels.data, expected)
    labels.undo()
    np.testing.assert_array_equal(labels.data, first)
    labels.undo()
    assert not labels.data.any()


def test_an_object_of_a_volume_goes_on_from_slice_to_slice(viewer: Any) -> None:
    found = np.stack([objects((30, 40, radius), (8, 8, 4)) for radius in (10, 15, 12)])
    prediction, labels = viewer.add_labels(found), viewer.add_labels(np.zeros_like(found))
    for z in (1, 2, 0):
        accepted(viewer, prediction, labels, (slice(z, z + 1), slice(0, 60), slice(0, 80)))
    np.testing.assert_array_equal(labels.data, found)
    # A plane that lies over all slices is another image in each of them.
    plane, other = viewer.add_labels(found[0]), viewer.add_labels(np.zeros_like(found))
    for z in (0, 1):
        accepted(viewer, plane, other, (slice(z, z + 1), slice(0, 60), slice(0, 80)))
    assert [np.unique(slice_).tolist() for slice_ in other.data] == [[0, 1, 2], [0, 3, 4], [0]]


def test_a_rim_joins_and_a_neighbour_does_not(viewer: Any) -> None:
    painted = objects((30, 20, 12), (30, 55, 12), (30, 66, 3)) * 5  # 15 is a scribble on the rim of 10
    found = objects((30, 20, 13), (30, 56, 13), (30, 39, 8))
    prediction, labels = viewer.add_labels(found), viewer.add_labels(painted.copy())
    assert (painted[found == 3] > 0).any(), "the third one touches what is painted"
    count = accepted(viewer, prediction, labels)
    np.testing.assert_array_equal(labels.data[painted > 0], painted[painted > 0])
    free = painted == 0
    for number, expected in ((1, 5), (2, 10), (3, 16)):
        assert (labels.data[free & (found == number)] == expected).all()
    assert (labels.data[free & (found == 0)] == 0).all()
    assert count == (free & (found > 0)).sum()
    labels.undo()
    np.testing.assert_array_equal(labels.data, painted)
    labels.redo()
    assert accepted(viewer, prediction, labels) == 0


def test_an_object_on_two_painted_ones_goes_on_with_the_larger_part(viewer: Any) -> None:
    painted = np.zeros((20, 40), np.uint16)
    painted[5:15, 5:12], painted[5:15, 12:22] = 3, 4
    found = np.zeros((20, 40), np.int32)
    found[4:16, 4:24] = 9
    prediction, labels = viewer.add_labels(found), viewer.add_labels(painted.copy())
    accepted(viewer, prediction, labels)
    np.testing.assert_array_equal(labels.data, np.where((painted == 0) & (found > 0), 4, painted))


def test_overwriting_lets_the_prediction_part_what_was_painted_as_one(viewer: Any) -> None:
    painted = np.zeros((20, 40), np.uint16)
    painted[5:15, 5:25] = 3
    found = np.zeros((20, 40), np.int32)
    found[5:15, 5:16], found[5:15, 16:26] = 1, 2
    prediction, labels = viewer.add_labels(found), viewer.add_labels(painted.copy())
    accepted(viewer, prediction, labels)
    assert (labels.data == np.where(found > 0, 3, 0)).all(), "what is painted stays one"
    labels.undo()
    accepted(viewer, prediction, labels, overwrite=True)
    np.testing.assert_array_equal(labels.data, np.choose(found, [0, 3, 4]))
    labels.undo()
    np.testing.assert_array_equal(labels.data, painted)


def test_no_object_gets_a_number_that_means_something_else(viewer: Any) -> None:
    found = objects((20, 20, 8), (40, 50, 8))
    prediction = viewer.add_labels(found)
    labels = viewer.add_labels(np.full(found.shape, 255, np.uint8))
    labels.data[20, 20] = 1  # background on an object
    accepted(viewer, prediction, labels, unlabelled=255, background=1)
    assert np.unique(labels.data).tolist() == [1, 2, 3, 255]
    assert (labels.data == 1).sum() == 1
    empty = viewer.add_labels(np.zeros(found.shape, np.uint8))
    accepted(viewer, prediction, empty, background=1)
    assert np.unique(empty.data).tolist() == [0, 2, 3]


def test_numbers_that_were_taken_back_are_used_when_no_others_are_left(viewer: Any) -> None:
    found = objects((20, 20, 8), (40, 50, 8))
    prediction, labels = viewer.add_labels(found), viewer.add_labels(np.zeros(found.shape, np.uint8))
    largest = LargestLabel(viewer, labels)
    everywhere = [Region(whole(found.shape))]

    def take() -> list[int]:
        acceptance = Acceptance(viewer, prediction, labels, everywhere, Values(as_objects=True), largest)
        assert acceptance.compute()
        acceptance.apply()
        return [int(number) for number in np.unique(labels.data)]

    assert take() == [0, 1, 2]
    labels.undo()
    labels.data_setitem((np.array([0]), np.array([0])), 254)
    labels.undo()
    assert take() == [0, 1, 2]
    labels.undo()
    labels.data_setitem((np.array([0]), np.array([0])), 254)
    with pytest.raises(DataError, match="has no room for the label 256"):
        take()


@pytest.fixture
def stored(viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any, list[int]]:
    """A panel over large stored labels, which are empty but for one object, and what is read of them."""
    monkeypatch.setattr(largest_label, "_AT_ONCE", 10_000)
    found = objects((30, 45, 20), shape=(400, 500))
    array = zarr.create_array(tmp_path / "a.zarr", shape=found.shape, chunks=(50, 50), dtype=np.uint16)
    array[300, 300] = 7
    ours = {"result": True, "target": TargetConfig(kind="instances")}
    viewer.add_labels(found, metadata={OURS: ours})
    labels = viewer.add_labels(array, name="painted")
    read: list[int] = []
    real = zarr.Array.__getitem__

    def spy(one: Any, index: Any) -> Any:
        values = real(one, index)
        if threading.current_thread() is not threading.main_thread():  # where napari reads what it shows
            read.append(np.size(values))
        return values

    monkeypatch.setattr(zarr.Array, "__getitem__", spy)
    return viewer, labels, read


def look_at(labels: Any, box: tuple[slice, ...]) -> None:
    labels.corner_pixels = np.array([[side.start for side in box], [side.stop - 1 for side in box]])


def test_a_store_is_read_whole_once(
    stored: tuple[Any, Any, list[int]], make_dock: Callable[[type], Any], until: Until
) -> None:
    _, labels, read = stored
    panel = make_dock(CorrectDock).accepting
    panel.labels.set_value("painted")
    until(lambda: panel.values.text() == "new objects")

    def take(box: tuple[slice, ...]) -> int:
        look_at(labels, box)
        read.clear()
        panel.accept()
        until(lambda: not panel.busy)
        assert panel.status.text().startswith("Accepted"), panel.status.text()
        return sum(read)

    size = labels.data.size
    assert take((slice(0, 60), slice(0, 40))) > size
    labels.data_setitem((np.array([399]), np.array([499])), 30)
    assert take((slice(0, 60), slice(40, 60))) < size / 2, "the object goes on, no number is wanted"
    labels.undo()
    labels.undo()
    labels.undo()
    assert take((slice(0, 60), slice(60, 80))) < size / 2, "what was edited is read"
    assert np.unique(np.asarray(labels.data[:])).tolist() == [0, 7, 8]


def test_objects_leave_the_number_of_the_background_to_it(
    viewer: Any, make_dock: Callable[[type], Any], until: Until
) -> None:
    ours = {"preview": True, "target": TargetConfig(kind="instances", unlabelled=0)}
    viewer.add_labels(objects((30, 40, 10)), metadata={OURS: ours})
    labels = viewer.add_labels(np.zeros((60, 80), np.uint8))
    panel = make_dock(CorrectDock).accepting
    panel.labels.set_value(labels.name)
    until(lambda: panel.values.text() == "new objects")
    look_at(labels, (slice(0, 60), slice(0, 80)))
    panel.accept()
    until(lambda: not panel.busy)
    assert np.unique(labels.data).tolist() == [0, 2], "1 is what is learned as background"


def test_reading_a_store_says_how_far_it_is_and_can_be_cancelled(
    stored: tuple[Any, Any, list[int]], make_dock: Callable[[type], Any], until: Until,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    _, labels, _ = stored
    panel = make_dock(CorrectDock).accepting
    panel.labels.set_value("painted")
    until(lambda: panel.values.text() == "new objects")
    look_at(labels, (slice(0, 60), slice(0, 40)))
    blocks_of = largest_label.blocks_of
    monkeypatch.setattr(largest_label, "blocks_of", lambda array: blocks_of(array) * 10**6)
    panel.accept()
    until(lambda: panel.button.text() == "Cancel")
    assert panel.status.text().startswith("Reading the labels to find free numbers")
    assert panel.button.isEnabled()
    panel.button.click()
    assert not panel.busy and panel.status.text() == "Cancelled; nothing was written."
    assert panel.button.text() == "Accept prediction into labels"
    monkeypatch.setattr(largest_label, "blocks_of", blocks_of)
    panel.accept()
    until(lambda: not panel.busy)
    assert panel.status.text().startswith("Accepted")
    assert np.unique(np.asarray(labels.data[:])).tolist() == [0, 7, 8]
