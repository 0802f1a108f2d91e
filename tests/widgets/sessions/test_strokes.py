"""Edits through napari's own API, followed into the shared copy and the message to the engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_segtrain.config import DatasetConfig, TargetConfig
from napari_segtrain.engine.protocol import LabelsChanged
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.widgets.layers import edits as edits_module
from napari_segtrain.widgets.layers import shared_copy
from napari_segtrain.widgets.layers.boxes import around, whole
from napari_segtrain.widgets.layers.data_spec import training_data
from napari_segtrain.widgets.sessions import strokes
from napari_segtrain.widgets.sessions.strokes import StrokeForwarder

pytestmark = pytest.mark.gui

Until = Callable[[Callable[[], Any]], None]
Notes = list[tuple[str, str]]


class Followed:
    """Labels that are followed, what the engine was told, and what it reads."""

    def __init__(
        self, folder: Path, data: Any, *, ndim: int | None = None, image: Any = None, **options: Any
    ) -> None:
        from napari.components import ViewerModel

        self.viewer = ViewerModel()
        shape = np.shape(data) if image is None else image
        self.image = self.viewer.add_image(np.zeros(shape, np.uint8), name="image")
        self.layer = self.viewer.add_labels(data, name="image_cells", **options)
        self.layer.brush_size = 3
        config = DatasetConfig(targets={"cells": TargetConfig()}, ndim=ndim)
        spec = training_data(
            [self.image], {"cells": (self.layer, None)}, config, all_layers=list(self.viewer.layers)
        )
        (self.mirror,) = spec.mirrors
        self.scratch = Scratch(folder / "scratch")
        list(spec.copies.write(self.scratch))
        self.told: list[LabelsChanged] = []
        self.forwarder = StrokeForwarder(self.viewer, spec.mirrors, self.scratch, self.told.append)

    @property
    def copy(self) -> Any:
        return self.scratch.array(self.mirror.copy)

    @property
    def boxes(self) -> list[Any]:
        """What the one message that was sent named."""
        (message,) = self.told
        return [tuple(map(slice, change.start, change.stop)) for change in message.changes]

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be looked at."""
        return not self.forwarder._soon.isActive() and self.forwarder._worker is None


@pytest.fixture
def follow(tmp_path: Path, until: Until) -> Iterator[Callable[..., Followed]]:
    made: list[Followed] = []

    def make(*args: Any, opened: bool = True, **options: Any) -> Followed:
        made.append(Followed(tmp_path / str(len(made)), *args, **options))
        if opened:
            made[-1].forwarder.open()
            until(lambda: made[-1].idle)
        return made[-1]

    yield make
    for followed in made:
        if followed.forwarder._edits:
            followed.forwarder.close()


def squares(*shape: int) -> Any:
    """Labels 1 and 2 in two squares, or cubes."""
    data = np.zeros(shape, np.uint8)
    data[(..., *[slice(4, 9)] * 2)] = 1
    data[(..., *[slice(12, 16)] * 2)] = 2
    return data


# ----------------------------------------------------------------------------------- what users do


def paint(layer: Any) -> None:
    layer.paint((5,) * (layer.ndim - 1) + (20,), 3)


def erase(layer: Any) -> None:
    layer.paint((5,) * layer.ndim, 0)


def fill(layer: Any) -> None:
    layer.fill((5,) * layer.ndim, 2)


def fill_all_of_a_label(layer: Any) -> None:
    layer.contiguous = False
    layer.fill((0,) * layer.ndim, 2)


def paint_polygon(layer: Any) -> None:
    front = (0,) * (layer.ndim - 2)
    layer.n_edit_dimensions = 2
    layer.paint_polygon([(*front, 3, 3), (*front, 3, 12), (*front, 8, 7)], 4)


def paint_preserving(layer: Any) -> None:
    layer.preserve_labels = True
    layer.paint((8,) * layer.ndim, 3)


def set_items(layer: Any) -> None:
    layer.data_setitem(tuple(np.array([n, n + 2]) for n in range(1, layer.ndim + 1)), 3)


def set_items_from_the_end(layer: Any) -> None:
    layer.data_setitem(tuple(np.array([-2, -3]) for _ in range(layer.ndim)), 3)


def drag(layer: Any) -> None:
    with layer.block_history():
        for n in range(6, 15):
            layer.paint((5,) * (layer.ndim - 2) + (n, 2 * n), 3, refresh=False)


def undo(layer: Any) -> None:
    layer.undo()


def undo_and_redo_twice(layer: Any) -> None:
    layer.undo()
    layer.undo()
    layer.redo()


def undo_while_hidden(layer: Any) -> None:
    layer.visible = False
    layer.undo()


def undo_and_paint_elsewhere(layer: Any) -> None:
    layer.undo()
    paint(layer)


def write_into_the_array(layer: Any) -> None:
    layer.data[..., 6:8, 3:9] = 5
    layer.refresh()


def replace_the_array(layer: Any) -> None:
    new = np.array(layer.data)
    new[..., 1:3, 1:9] = 5
    layer.data = new


EDITS = [
    paint, erase, fill, fill_all_of_a_label, paint_polygon, paint_preserving, set_items,
    set_items_from_the_end, drag, undo, undo_and_redo_twice, undo_while_hidden, undo_and_paint_elsewhere,
    write_into_the_array, replace_the_array,
]  # fmt: skip


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("shape", [(24, 32), (18, 24, 32)], ids=["2D", "3D"])
def test_every_edit_reaches_the_copy_in_one_tight_message(
    follow: Any, until: Until, shape: Any, edit: Callable[[Any], None]
) -> None:
    followed = follow(squares(*shape), opened=False)
    layer = followed.layer
    layer.n_edit_dimensions = len(shape)
    layer.paint((10,) * len(shape), 7)  # while the arrays are being written
    layer.paint((11,) * len(shape), 6)
    followed.forwarder.open()
    until(lambda: followed.idle)
    followed.told.clear()
    before = np.array(layer.data)
    np.testing.assert_array_equal(followed.copy, before)
    edit(layer)
    until(lambda: followed.told)
    np.testing.assert_array_equal(followed.copy, layer.data)
    assert followed.boxes == [around(before != layer.data, whole(shape))]
    until(lambda: followed.idle)
    assert len(followed.told) == 1


@pytest.mark.parametrize("edit", [paint, fill, undo, replace_the_array], ids=lambda edit: edit.__name__)
@pytest.mark.parametrize("kind", ["dask", "zarr in memory", "int32", "not contiguous", "bool"])
def test_edits_of_other_arrays(follow: Any, until: Until, kind: str, edit: Callable[[Any], None]) -> None:
    values = squares(24, 32)
    data = {
        "dask": lambda: da.from_array(values, chunks=(8, 8)),
        "zarr in memory": lambda: zarr.array(values, chunks=(8, 8)),
        "int32": lambda: values.astype(np.int32),
        "not contiguous": lambda: np.repeat(values, 2, axis=1)[::-1, ::2],
        "bool": lambda: values > 0,
    }[kind]()
    followed = follow(data, image=(24, 32), opened=False)
    followed.layer.paint((10, 10), 1)
    followed.forwarder.open()
    until(lambda: followed.idle)
    followed.told.clear()
    before = np.array(followed.layer.data)
    edit(followed.layer)
    until(lambda: followed.told)
    np.testing.assert_array_equal(followed.copy, np.asarray(followed.layer.data))
    assert followed.boxes == [around(before != np.asarray(followed.layer.data), whole((24, 32)))]


def test_a_rolled_view_a_time_point_and_another_scale(follow: Any, until: Until) -> None:
    followed = follow(squares(3, 18, 24, 32), scale=(1, 1, 0.5, 0.5), axis_labels=tuple("tzyx"))
    layer = followed.layer
    layer.brush_size = 9
    followed.viewer.dims.order = (0, 3, 1, 2)
    followed.viewer.dims.set_point(0, 2)
    for dimensions, at in ((2, (2, 9, 20, 11)), (3, (1, 9, 20, 25))):
        layer.n_edit_dimensions = dimensions
        before = layer.data.copy()
        layer.paint(at, 5)
        until(lambda: followed.told)
        np.testing.assert_array_equal(followed.copy, layer.data)
        changed = around(before != layer.data, whole(before.shape))
        assert followed.boxes == [changed]
        sizes = [side.stop - side.start for side in changed]
        assert (sizes[0], sizes[1] > 1, sizes[2] > 5, sizes[3] > 5) == (1, True, True, dimensions == 3)
        followed.told.clear()


@pytest.mark.parametrize(
    ("painted", "image", "ndim", "at", "expected"),
    [
        ((1, 24, 32), (24, 32), None, (0, 5, 20), ((4, 7), (19, 22))),
        ((24, 32), (1, 24, 32), 2, (5, 20), ((4, 7), (19, 22))),
        ((4, 24, 32), (4, 24, 32), 2, (2, 5, 20), ((2, 3), (4, 7), (19, 22))),
        ((4, 1, 24, 32), (4, 24, 32), 2, (2, 0, 5, 20), ((2, 3), (4, 7), (19, 22))),
    ],
)
def test_boxes_are_told_on_the_axes_of_the_image(
    follow: Any, until: Until, painted: Any, image: Any, ndim: Any, at: Any, expected: Any
) -> None:
    followed = follow(squares(*painted), image=image, ndim=ndim)
    followed.layer.paint(at, 5)
    until(lambda: followed.told)
    assert followed.boxes == [tuple(slice(*side) for side in expected)]
    np.testing.assert_array_equal(followed.copy, followed.layer.data)


# ------------------------------------------------------------------------------------------- costs


def test_looking_around_compares_nothing(follow: Any, until: Until, monkeypatch: Any) -> None:
    followed = follow(squares(18, 24, 32))
    looked: list[Any] = []
    monkeypatch.setattr(followed.forwarder, "_later", lambda *args: looked.append(args))
    dims = followed.viewer.dims
    for step in range(5):
        dims.set_point(0, step)
    dims.roll()
    dims.ndisplay = 3
    dims.ndisplay = 2
    followed.layer.opacity = 0.4
    followed.layer.selected_label = 3
    followed.viewer.layers.selection = {followed.image}
    assert looked == []


def test_a_refresh_without_a_change_tells_nothing(follow: Any, until: Until) -> None:
    followed = follow(squares(24, 32))
    followed.layer.refresh()
    followed.layer.data = followed.layer.data.copy()
    until(lambda: followed.idle)
    assert followed.told == []


def test_edits_that_napari_forgets_are_not_told_again(follow: Any, until: Until) -> None:
    followed = follow(squares(24, 32))
    for n in range(followed.layer._history_limit):
        followed.layer.paint((5, 20), 1 + n)
    until(lambda: followed.idle)
    followed.told.clear()
    followed.layer.paint((20, 3), 1)
    until(lambda: followed.told)
    assert followed.boxes == [(slice(19, 22), slice(2, 5))]


def test_undo_is_noticed_without_naparis_history(follow: Any, until: Until, monkeypatch: Any) -> None:
    monkeypatch.setattr(edits_module, "_history", lambda layer: ())
    followed = follow(squares(24, 32))
    paint(followed.layer)
    until(lambda: followed.told)
    followed.told.clear()
    followed.layer.undo()
    until(lambda: followed.told)
    np.testing.assert_array_equal(followed.copy, squares(24, 32))


def test_a_lazy_array_is_not_computed_on_suspicion(follow: Any, until: Until) -> None:
    read: list[int] = []
    lazy = da.from_array(squares(24, 32), chunks=(8, 8)).map_blocks(lambda b: (read.append(1), b)[1])
    followed = follow(lazy, image=(24, 32))
    followed.layer.refresh()
    read.clear()
    until(lambda: followed.idle)
    assert read == []


def test_what_is_large_is_compared_by_a_worker_and_what_is_painted_meanwhile_waits(
    follow: Any, until: Until, monkeypatch: Any
) -> None:
    monkeypatch.setattr(strokes, "_AT_ONCE", 200)
    monkeypatch.setattr(shared_copy, "_AT_ONCE", 64)
    followed = follow(squares(24, 32))
    go, reading = threading.Event(), threading.Event()

    def slowly(changed: Any, place: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            reading.set()
            go.wait(300)
        return around(changed, place)

    monkeypatch.setattr(shared_copy, "around", slowly)
    new = squares(24, 32).astype(np.int64)  # of another type, so that the worker holds a copy of what it read
    new[10:20, 5:7] = 9
    followed.layer.data = new
    until(reading.is_set)
    followed.layer.paint((0, 2), 5)
    followed.layer.undo()
    followed.layer.paint((0, 12), 6)
    go.set()
    until(lambda: len(followed.told) == 2 and followed.idle)
    np.testing.assert_array_equal(followed.copy, followed.layer.data)
    first, second = followed.told
    assert [(change.start, change.stop) for change in first.changes] == [((10, 5), (20, 7))]
    assert [(change.start, change.stop) for change in second.changes] == [((0, 11), (2, 14))]


def test_scattered_voxels_of_a_volume_are_told_tightly(follow: Any, until: Until, monkeypatch: Any) -> None:
    monkeypatch.setattr(strokes, "_AT_ONCE", 2**16)
    monkeypatch.setattr(shared_copy, "_AT_ONCE", 2**14)
    followed = follow(np.zeros((100, 64, 64), np.uint8))
    followed.layer.data_setitem((np.array([0, 99]), np.array([1, 60]), np.array([2, 61])), 1)
    until(lambda: followed.told)
    assert followed.boxes == [
        (slice(0, 1), slice(1, 2), slice(2, 3)),
        (slice(99, 100), slice(60, 61), slice(61, 62)),
    ]


def test_closing_while_a_worker_compares(follow: Any, until: Until, monkeypatch: Any) -> None:
    monkeypatch.setattr(strokes, "_AT_ONCE", 10)
    followed = follow(squares(24, 32))
    replace_the_array(followed.layer)
    until(lambda: not followed.forwarder._soon.isActive())
    worker = followed.forwarder._worker
    followed.forwarder.close()
    followed.scratch.remove()
    followed.layer.paint((2, 2), 1)
    until(lambda: not worker.is_running)
    assert followed.idle
    assert followed.told == []


@pytest.mark.parametrize("at_once", [2**20, 10], ids=["small", "large"])
def test_what_is_painted_in_the_moment_of_closing_is_passed_on(
    follow: Any, monkeypatch: Any, at_once: int
) -> None:
    monkeypatch.setattr(strokes, "_AT_ONCE", at_once)
    followed = follow(squares(24, 32))
    replace_the_array(followed.layer)
    followed.forwarder._flush()  # what is large is with a worker now
    followed.layer.visible = False
    followed.layer.paint((20, 3), 6)
    followed.forwarder.finish()  # nothing else has a turn
    followed.forwarder.close()
    np.testing.assert_array_equal(followed.copy, followed.layer.data)
    boxes = [(change.start, change.stop) for told in followed.told for change in told.changes]
    assert boxes == ([((1, 1), (3, 9)), ((19, 2), (22, 5))] if at_once > 10 else [((0, 0), (24, 32))])


def test_a_worker_writes_nothing_old_over_the_last_stroke(
    follow: Any, until: Until, monkeypatch: Any
) -> None:
    """It stands between reading and writing while the user paints and closes the window."""
    monkeypatch.setattr(strokes, "_AT_ONCE", 10)
    has_read, may_write = threading.Event(), threading.Event()

    def around(differs: Any, place: Any, real: Any = shared_copy.around) -> Any:
        if threading.current_thread() is not threading.main_thread():
            has_read.set()
            assert may_write.wait(90)
        return real(differs, place)

    monkeypatch.setattr(shared_copy, "around", around)
    followed = follow(squares(24, 32))
    new = squares(24, 32).astype(np.int64)  # of another type, so that the worker holds a copy of what it read
    new[10:20, 5:7] = 9
    followed.layer.data = new
    followed.forwarder._flush()
    worker = followed.forwarder._worker
    assert has_read.wait(90)
    followed.layer.data[:] = 7
    threading.Timer(0.2, may_write.set).start()
    followed.forwarder.finish()
    followed.forwarder.close()
    until(lambda: not worker.is_running)
    np.testing.assert_array_equal(followed.copy, 7)


# ------------------------------------------------------------------------- what cannot be followed


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (np.zeros((24, 33), np.uint8), "now has the shape (24, 33), training began with (24, 32)"),
        (np.full((24, 32), 300), "holds the value 300, which does not fit into uint8"),
    ],
    ids=["another shape", "another type"],
)
def test_what_a_layer_cannot_become_is_said_once(
    follow: Any, until: Until, notes: Notes, new: Any, message: str
) -> None:
    followed = follow(squares(24, 32))
    followed.layer.data = new
    until(lambda: notes)
    assert message in notes[0][1]
    followed.layer.data = np.full((24, 32), 5, np.uint8)
    until(lambda: followed.idle)
    np.testing.assert_array_equal(followed.copy, squares(24, 32), "the labels it had")
    assert (len(notes), followed.told) == (1, [])


def test_an_array_that_cannot_be_read_is_said(follow: Any, until: Until, notes: Notes) -> None:
    def broken(block: Any) -> Any:
        raise OSError("the share is gone")

    followed = follow(squares(24, 32))
    followed.layer.visible = False  # napari itself would read it
    followed.layer.data = da.from_array(squares(24, 32)).map_blocks(broken, dtype=np.uint8)
    until(lambda: notes)
    assert (
        "no longer reach the training: its voxels cannot be read (OSError: the share is gone)" in notes[0][1]
    )
    np.testing.assert_array_equal(followed.copy, squares(24, 32))


def test_a_layer_that_is_deleted_is_let_go(follow: Any, until: Until, notes: Notes) -> None:
    followed = follow(squares(24, 32))
    paint(followed.layer)
    followed.viewer.layers.remove(followed.layer)
    assert (
        "'image_cells' was deleted or converted: the training goes on with the labels it had" in notes[0][1]
    )
    until(lambda: followed.told)
    until(lambda: followed.idle)
    followed.told.clear()
    fill(followed.layer)
    until(lambda: followed.idle)
    assert followed.told == []
    followed.viewer.layers.remove(followed.image)
    assert len(notes) == 1


def test_a_store_that_the_engine_reads_itself(
    follow: Any, until: Until, notes: Notes, tmp_path: Path
) -> None:
    store = zarr.create_array(tmp_path / "labels.zarr", data=squares(24, 32), chunks=(8, 8))
    followed = follow(store, image=(24, 32))
    assert followed.mirror.copy is None
    for edit in (paint, undo):
        edit(followed.layer)
        until(lambda: followed.told)
        assert followed.boxes == [(slice(4, 7), slice(19, 22))]
        np.testing.assert_array_equal(zarr.open_array(tmp_path / "labels.zarr")[:], followed.layer.data[:])
        followed.told.clear()
    followed.layer.data = zarr.open_array(tmp_path / "labels.zarr")
    until(lambda: followed.told)
    assert followed.boxes == [whole((24, 32))]
    followed.layer.data = np.zeros((24, 32), np.uint8)
    assert "now has another array than the file that training reads" in notes[0][1]
    assert store[5, 5] == 1


def test_what_was_painted_just_before_a_layer_is_deleted_is_not_lost(follow: Any, until: Until) -> None:
    followed = follow(squares(24, 32))
    paint(followed.layer)
    followed.layer.visible = False
    expected = followed.layer.data.copy()
    followed.viewer.layers.remove(followed.layer)
    until(lambda: followed.told)
    np.testing.assert_array_equal(followed.copy, expected)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("scale", (3, 3)),
        ("translate", (3, 4)),
        ("rotate", 30),
        ("shear", (0.5,)),
        ("affine", np.diag([2, 3, 1])),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_layer_that_is_moved_is_followed_voxel_by_voxel(
    follow: Any, until: Until, notes: Notes, attribute: str, value: Any
) -> None:
    followed = follow(squares(24, 32))
    setattr(followed.layer, attribute, getattr(followed.layer, attribute))
    assert notes == [], "nothing has moved"
    for _ in range(2):
        setattr(followed.layer, attribute, value)
    [(level, message)] = notes
    assert level == "warning" and "'image_cells' was moved or scaled: the training goes on with" in message
    followed.layer.paint((5, 20), 7)
    until(lambda: followed.told)
    assert followed.boxes == [(slice(4, 7), slice(19, 22))]
    np.testing.assert_array_equal(followed.copy, followed.layer.data)


def test_a_layer_that_is_renamed_is_followed_on(follow: Any, until: Until, notes: Notes) -> None:
    followed = follow(squares(24, 32))
    followed.layer.name = "mine"
    [(level, message)] = notes
    assert level == "info" and "'image_cells' is called 'mine' now: the training goes on with it" in message
    paint(followed.layer)
    until(lambda: followed.told)
    np.testing.assert_array_equal(followed.copy, followed.layer.data)


def test_another_type_that_holds_the_same_values_is_followed_on(
    follow: Any, until: Until, notes: Notes
) -> None:
    followed = follow(squares(24, 32))
    followed.layer.data = followed.layer.data.astype(np.int64)
    until(lambda: followed.idle)
    paint(followed.layer)
    until(lambda: followed.told)
    np.testing.assert_array_equal(followed.copy, followed.layer.data)
    assert notes == []


def test_multiscale_labels_are_followed_at_their_level(follow: Any, until: Until, notes: Notes) -> None:
    levels = [squares(48, 64), squares(24, 32)]
    followed = follow(levels, image=(24, 32), multiscale=True)
    assert followed.mirror.level == 1
    levels[1][3:5, 7:9] = 6
    followed.layer.refresh()
    until(lambda: followed.told)
    assert followed.boxes == [(slice(3, 5), slice(7, 9))]
    np.testing.assert_array_equal(followed.copy, levels[1])
    followed.layer.data = [squares(48, 64), squares(12, 16)]
    assert "now has the shape (12, 16), training began with (24, 32)" in notes[0][1]
    assert followed.copy[3, 7] == 6, "the labels it had"


@pytest.mark.parametrize("kind", ["zarr", "array", "folder"])
def test_labels_that_cannot_be_painted_on_are_trained_on_and_said(
    follow: Any, until: Until, notes: Notes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    zarr.create_array(tmp_path / "labels.zarr", data=squares(24, 32), chunks=(8, 8))
    data: Any = squares(24, 32)
    if kind == "array":
        data.flags.writeable = False
    else:
        data = zarr.open_array(tmp_path / "labels.zarr", mode="r" if kind == "zarr" else "r+")
    if kind == "folder":
        monkeypatch.setattr("napari_segtrain.widgets.layers.axes.os.access", lambda path, mode: False)
    followed = follow(data, image=(24, 32))
    [(level, message)] = notes
    assert level == "warning" and "'image_cells' can be trained on, but not painted on" in message
    if kind != "folder":
        with pytest.raises(ValueError, match="read"):
            paint(followed.layer)
        until(lambda: followed.idle)
    assert (np.asarray(followed.layer.data[:]) == squares(24, 32)).all()
    assert len(notes) == 1
