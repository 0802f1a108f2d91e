"""The labels of every checkpoint, kept block by block and brought back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from napari_segtrain.config import DatasetConfig, RunError
from napari_segtrain.data import open_dataset
from napari_segtrain.data.live import labels_changed
from napari_segtrain.runs import (
    LAST,
    BatchDone,
    FinishReason,
    LabelChange,
    Progress,
    RunFolder,
    Warned,
    load_checkpoint,
)
from napari_segtrain.runs.label_store import LabelStore
from napari_segtrain.training import label_history
from napari_segtrain.training.callbacks import labels as callback
from napari_segtrain.training.label_history import LabelHistory
from napari_segtrain.workflow.labels import restore_labels


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "project", "base")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_history, "_EDGES", {2: 16, 3: 8})
    monkeypatch.setattr(label_history, "_SMALLEST", 64)


def opened(layers: list[dict[str, Any]], **config: Any) -> Any:
    return open_dataset({"layers": layers}, DatasetConfig(**config))


def blocks(run: RunFolder) -> set[str]:
    return {path.name for path in (run.path / "labels" / "blocks").glob("*")}


def restored(run: RunFolder, out: Path, **which: Any) -> dict[str, np.ndarray]:
    paths = restore_labels(run.path, out, **which)
    return {path.relative_to(out).as_posix(): zarr.open_array(path / "0")[:] for path in paths}


@pytest.mark.parametrize("shape", [(48, 40), (20, 24, 16)], ids=["2D", "3D"])
def test_a_stroke_costs_its_blocks_and_every_epoch_can_be_brought_back(
    run: RunFolder, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    labels = np.random.default_rng(0).integers(0, 3, shape).astype(np.int32)
    labels[-20:, -12:] = 0
    before = labels.copy()
    data = opened(
        [{"id": "a b/c", "image": labels * 1.0, "labels": {"cell": labels}, "spacing": (2.0,) * len(shape)}]
    )
    store = LabelStore(run.path)
    history = LabelHistory(data, store)
    history.start()
    first = history.state()
    store.note(1, first)
    kept = blocks(run)
    assert history.state() == first and blocks(run) == kept
    box = [(n - 3, n - 1) for n in shape]
    labels[tuple(slice(*side) for side in box)] = 7
    labels_changed(data, [history], "a b/c", "cell", box)
    second = history.state()
    store.note(3, second)
    assert len(blocks(run) - kept) == 1, "one block"
    labels[...] = before
    labels_changed(data, [history], "a b/c", "cell", [(0, n) for n in shape])
    assert history.state() == first, "undone"
    store.note(4, history.state())
    assert [entry.epoch for entry in store.epochs()] == [1, 3, 4]
    for epoch in (1, 2, 4, None):
        found = restored(run, tmp_path / str(epoch), epoch=epoch)
        np.testing.assert_array_equal(found.pop("labels/a_b_c_cell.zarr"), before)
        assert not found
    now = restored(run, tmp_path / "now", epoch=3)["labels/a_b_c_cell.zarr"]
    assert (now[tuple(slice(*side) for side in box)] == 7).all() and (now == 7).sum() == (2 ** len(shape))
    # A resumed run does epoch 3 again.
    store.note(3, first)
    assert [entry.epoch for entry in store.epochs()] == [1]


def test_stacks_masks_and_labels_of_several_targets_are_kept_once(run: RunFolder, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (3, 20, 24)).astype(np.uint8)
    field = np.ones((3, 20, 24), np.uint8)
    targets = {
        "one": {"kind": "binary", "labels": "tissue", "values": [1], "mask": "field"},
        "two": {"kind": "binary", "labels": "tissue", "values": [2]},
    }
    image = {
        "id": "s",
        "image": labels * 1.0,
        "labels": {"tissue": labels},
        "masks": {"field": field},
        "ndim": 2,
    }
    data = opened([image], targets=targets, ndim=2)
    history = LabelHistory(data, LabelStore(run.path))
    history.start()
    LabelStore(run.path).note(1, history.state())
    field[1, 4:8, 4:8] = 0
    labels[2, 1, 1] = 9
    labels_changed(data, [history], "s", "one", [[1, 3], [0, 20], [0, 24]])
    LabelStore(run.path).note(2, history.state())
    found = restored(run, tmp_path / "out")
    assert set(found) == {"labels/s_tissue.zarr", "masks/s_field.zarr"}
    np.testing.assert_array_equal(found["labels/s_tissue.zarr"], labels)
    np.testing.assert_array_equal(found["masks/s_field.zarr"], field)
    (tmp_path / "out" / "images").mkdir()
    zarr.save_array(tmp_path / "out" / "images" / "s.zarr", labels)
    again = open_dataset(tmp_path / "out", DatasetConfig(targets=targets, ndim=2))
    assert not again.faults and len(again.records) == 3, "a folder to train on"


def test_checkpoints_name_the_labels_they_were_trained_on(
    make_experiment: Any, layers: Any, tmp_path: Path
) -> None:
    data = layers(2, 2)
    painted = data["layers"][0]["labels"]["fg"]
    before = painted.copy()
    made = make_experiment(data=data, tr_config__num_epochs=3)
    assert made.fit(stop_after=1).epochs == 1
    first = load_checkpoint(made.run.checkpoints / LAST)["labels"]
    painted[:8, :8] = 1 - painted[:8, :8]
    again = make_experiment(data=data, run=made.run, resume=True, tr_config__num_epochs=3)
    again.control.change_labels(LabelChange(record="image0", target="fg", start=(0, 0), stop=(8, 8)))
    assert again.fit().epochs == 3
    last = load_checkpoint(made.run.checkpoints / LAST)["labels"]
    assert [(entry.epoch, entry.state) for entry in LabelStore(made.run.path).epochs()] == [
        (1, first),
        (2, last),
    ]
    restore_labels(made.run.checkpoints / LAST, tmp_path / "last")
    restore_labels(made.run.checkpoints / "segtrain_1.pth", tmp_path / "one")
    for name, expected in (("last", painted), ("one", before)):
        np.testing.assert_array_equal(
            zarr.open_array(tmp_path / name / "labels/image0_fg.zarr/0")[:], expected
        )


def test_what_is_painted_after_the_last_checkpoint_is_kept_too(run: RunFolder, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (40, 40)).astype(np.uint8)
    data = opened([{"id": "a", "image": labels, "labels": {"cell": labels}}])
    store = LabelStore(run.path)
    history = LabelHistory(data, store)
    history.start()
    store.note(3, history.state())
    history.keep_rest(4)
    assert [entry.epoch for entry in store.epochs()] == [3], "nothing was painted"
    labels[1, 2] = 9
    labels_changed(data, [history], "a", "cell", [[1, 2], [2, 3]])
    history.keep_rest(4)
    history.close()
    assert [entry.epoch for entry in store.epochs()] == [3, 4]
    np.testing.assert_array_equal(restored(run, tmp_path / "out")["labels/a_cell.zarr"], labels)


@pytest.mark.parametrize("finished", [False, True], ids=["after the epoch", "with the checkpoint of a stop"])
def test_what_was_painted_last_stays_when_the_run_goes_on_with_other_labels(
    run: RunFolder, tmp_path: Path, finished: bool
) -> None:
    saved = np.random.default_rng(0).integers(0, 3, (40, 40)).astype(np.uint8)
    painted = saved.copy()

    def history_of(labels: np.ndarray) -> tuple[Any, LabelHistory]:
        data = opened([{"id": "a", "image": labels, "labels": {"cell": labels}}])
        history = LabelHistory(data, LabelStore(run.path))
        history.start()
        return data, history

    data, history = history_of(painted)
    history.store.note(3, history.state())
    painted[1, 2] = 9
    labels_changed(data, [history], "a", "cell", [[1, 2], [2, 3]])
    if finished:
        history.store.note(4, history.state())
    history.keep_rest(4)
    np.testing.assert_array_equal(
        restored(run, tmp_path / "stopped", before_resume=True)["labels/a_cell.zarr"], painted
    )
    # Resumed on the file as it was saved before, whose labels are those of epoch 3.
    _, other = history_of(saved)
    for epoch in (4, 5, 4):
        other.store.note(epoch, other.state())
    for which, expected in (
        ({}, saved),
        ({"epoch": 3}, saved),
        ({"epoch": 4}, saved),
        ({"before_resume": True}, painted),
    ):
        found = restored(run, tmp_path / str(which), **which)["labels/a_cell.zarr"]
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(RunError, match="give one of them"):
        restore_labels(run.path, tmp_path / "out", epoch=4, before_resume=True)
    # Resumed once more, and trained from its begin.
    _, again = history_of(painted)
    again.store.note(1, again.state())
    np.testing.assert_array_equal(restored(run, tmp_path / "b", epoch=1)["labels/a_cell.zarr"], painted)
    np.testing.assert_array_equal(
        restored(run, tmp_path / "c", before_resume=True)["labels/a_cell.zarr"], saved
    )


def test_labels_are_not_kept_where_the_experiment_says_so(make_experiment: Any) -> None:
    made = make_experiment(tr_config__num_epochs=1, tr_config__keep_labels=False)
    assert made.fit().epochs == 1
    assert "labels" not in load_checkpoint(made.run.checkpoints / LAST)
    assert not (made.run.path / "labels").exists()


def test_labels_that_cannot_be_kept_end_no_training(make_experiment: Any) -> None:
    made = make_experiment()
    (made.run.path / "labels").write_text("in the way")
    assert made.fit().reason == FinishReason.ALL_EPOCHS
    said = [event.message for event in made.of(Warned) if "not kept" in event.message]
    assert len(said) == 1 and "cannot be made" in said[0]
    assert "labels" not in load_checkpoint(made.run.checkpoints / LAST)
    large = make_experiment(tr_config__keep_labels_up_to=1e-6)
    assert large.fit().epochs == 2
    assert [m for m in (event.message for event in large.of(Warned)) if "keep_labels_up_to is 1e-06 GiB" in m]


def test_a_disk_that_is_full_for_a_while_costs_no_block(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (40, 40)).astype(np.uint8)
    history = LabelHistory(
        opened([{"id": "a", "image": labels, "labels": {"cell": labels}}]), LabelStore(run.path)
    )
    put = history.store.put

    def full(block: Any) -> str:
        raise RunError("no space")

    monkeypatch.setattr(history.store, "put", full)
    history.start()
    with pytest.raises(RunError, match="no space"):
        history.state()
    monkeypatch.setattr(history.store, "put", put)
    stored = history.store.arrays(history.state())
    assert sum(len(array.blocks) for array in stored) == 9


def test_what_cannot_be_brought_back_is_said(run: RunFolder, tmp_path: Path) -> None:
    store = LabelStore(run.path)
    with pytest.raises(RunError, match="has kept no labels"):
        restore_labels(run.path, tmp_path / "out")
    labels = np.random.default_rng(0).integers(0, 3, (20, 20)).astype(np.uint8)
    history = LabelHistory(opened([{"id": "a", "image": labels, "labels": {"cell": labels}}]), store)
    history.start()
    store.note(2, history.state())
    with pytest.raises(RunError, match="from epoch 2 on, not of 1"):
        restore_labels(run.path, tmp_path / "out", epoch=1)
    with pytest.raises(RunError, match="nothing is overwritten"):
        restore_labels(run.path, run.path)
    next((run.path / "labels" / "blocks").iterdir()).write_bytes(b"nonsense")
    with pytest.raises(RunError, match="is damaged; the labels of this epoch"):
        restore_labels(run.path, tmp_path / "out")
    (run.path / "labels" / "epochs.json").write_text('[{"epoch": 1}]')
    with pytest.raises(RunError, match="restore it from a copy"):
        store.epochs()


def test_labels_of_a_folder_are_kept_each_content_once(
    make_experiment: Any, layers: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    for kind in ("images", "labels", "masks"):
        (folder / kind).mkdir(parents=True)
    painted = {}
    for number, layer in enumerate(layers(2, 2)["layers"]):
        painted[f"a{number}"] = labels = layer["labels"]["fg"]
        tifffile.imwrite(folder / "images" / f"a{number}.tif", layer["image"])
        tifffile.imwrite(folder / "labels" / f"a{number}_fg.tif", labels, compression="zlib")
    # The same labels again, of which a store knows that half of it was never written.
    painted["b"] = np.concatenate([painted["a0"], np.zeros_like(painted["a0"])])
    tifffile.imwrite(folder / "images" / "b.tif", np.tile(layer["image"], (2, 1)))
    store = zarr.open_array(
        folder / "labels" / "b_fg.zarr", mode="w", shape=(96, 48), chunks=(16, 16), dtype="u1"
    )
    store[:48] = painted["a0"]
    tifffile.imwrite(folder / "masks" / "b.tif", np.ones((96, 48), np.uint8))
    made = make_experiment(data=folder, tr_config__num_epochs=1)
    assert made.fit().epochs == 1
    last = made.run.checkpoints / LAST
    [state] = [entry.state for entry in LabelStore(made.run.path).epochs()]
    assert load_checkpoint(last)["labels"] == state
    written = [a for a in LabelStore(made.run.path).arrays(state) if (a.record, a.kind) == ("b", "labels")]
    assert max(map(int, written[0].blocks)) < 9, "blocks of the upper half"
    assert len(blocks(made.run)) < 27, "those of a0 and b are the same"
    tifffile.imwrite(folder / "labels" / "a0_fg.tif", 1 - painted["a0"])
    restore_labels(last, tmp_path / "then")
    for name, labels in painted.items():
        found = zarr.open_array(tmp_path / "then/labels" / f"{name}_fg.zarr/0")[:]
        np.testing.assert_array_equal(found, labels)
    assert zarr.open_array(tmp_path / "then/masks/b_fg.zarr/0")[:].all()


def test_a_checkpoint_waits_until_the_labels_are_read_but_a_stop_not_for_ever(
    make_experiment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [3]

    def wait(self: LabelHistory, seconds: float) -> bool:
        left[0] -= 1
        return left[0] < 0 and real(self, 600)

    real = LabelHistory.wait
    monkeypatch.setattr(LabelHistory, "wait", wait)
    made = make_experiment(tr_config__num_epochs=1)
    made.fit()
    said = [event for event in made.of(Progress) if "Reading the labels" in event.text]
    assert len(said) == 3 and {event.fraction for event in said} == {1.0}
    assert load_checkpoint(made.run.checkpoints / LAST)["labels"]

    left[0] = 10**9
    monkeypatch.setattr(callback, "_PATIENCE", 0.0)
    stopped = make_experiment()
    emit = stopped.experiment.emit

    def stop(event: Any) -> None:
        emit(event)
        if isinstance(event, BatchDone):
            stopped.control.stop()

    assert replace(stopped.experiment, emit=stop).fit(tensorboard=False).reason == FinishReason.STOPPED
    assert [event for event in stopped.of(Warned) if "still being read when" in event.message]
    assert "labels" not in load_checkpoint(stopped.run.checkpoints / LAST)


def test_what_is_painted_in_a_viewer_lies_beside_the_run_as_zarr(run: RunFolder, tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 3, (48, 40)).astype(np.int32)
    data = opened([{"id": "a", "image": labels * 1.0, "labels": {"cell": labels}, "spacing": (2.0, 2.0)}])
    history = LabelHistory(data, LabelStore(run.path))
    newest = run.path / "labels" / "newest"

    def shown() -> Any:
        return zarr.open_array(newest / "labels" / "a_cell.zarr" / "0")[:]

    history.start()
    assert history.wait(60)
    np.testing.assert_array_equal(shown(), labels)  # before the first checkpoint
    labels[3:5, 3:5] = 9
    labels_changed(data, [history], "a", "cell", [(3, 5), (3, 5)])
    history.state()
    np.testing.assert_array_equal(shown(), labels)
    labels[40:, 30:] = 8
    labels_changed(data, [history], "a", "cell", [(40, 48), (30, 40)])
    history.keep_rest(2)  # what was painted after the last checkpoint
    history.close()
    np.testing.assert_array_equal(shown(), labels)

    (newest / "images").mkdir()
    zarr.save_array(newest / "images" / "a.zarr", labels)
    files = open_dataset(newest, DatasetConfig())
    assert not files.faults, "a folder to train on"
    other = RunFolder.create(tmp_path / "project", "files")
    again = LabelHistory(files, LabelStore(other.path))
    again.start()
    again.state()
    again.close()
    assert not (other.path / "labels" / "newest").exists(), "files are kept where they are"


def test_a_disk_that_is_full_costs_the_zarr_alone(run: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    labels = np.ones((48, 40), np.int32)
    data = opened([{"id": "a", "image": labels * 1.0, "labels": {"cell": labels}}])
    (run.path / "labels").mkdir()
    (run.path / "labels" / "newest").write_text("in the way")
    history = LabelHistory(data, LabelStore(run.path))
    history.start()
    first = history.state()
    labels[:2] = 5
    labels_changed(data, [history], "a", "cell", [(0, 2), (0, 40)])
    assert history.state() != first
    history.close()
    assert caplog.text.count("but not as Zarr") == 1
