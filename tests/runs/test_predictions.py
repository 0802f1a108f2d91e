from __future__ import annotations

from pathlib import Path

from napari_segtrain.runs import RunFolder, note_predictions, predictions_of
from napari_segtrain.runs.scratch import Scratch


def test_a_run_remembers_what_was_predicted_elsewhere(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "P", "a")
    assert predictions_of(run) == ()
    own = run.path / "predictions"
    own.mkdir()
    for name in ("b.tif", "a.zarr", ".half.tif"):
        (own / name).touch()
    first, second = tmp_path / "out" / "im_cells.tif", tmp_path / "x.zarr"
    note_predictions(run.path, [first, own / "b.tif"])
    note_predictions(run.checkpoints.parent / "run.json", [second, first])
    with (run.path / "predictions.jsonl").open("a") as file:
        file.write('{"path": "/cut o')
    assert predictions_of(run) == (own / "a.zarr", own / "b.tif", first, second)


def test_what_is_predicted_into_layers_is_not_remembered(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "P", "a")
    scratch = Scratch.create(tmp_path / "another")
    note_predictions(run.path, [scratch.folder / "prediction.zarr"])
    assert not (run.path / "predictions.jsonl").exists()
    scratch.remove()


def test_a_run_that_cannot_be_written_to_is_no_reason_to_fail(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path / "P", "a")
    (run.path / "predictions.jsonl").mkdir()
    note_predictions(run.path, [tmp_path / "x.zarr"])
    note_predictions(tmp_path / "alone.ckpt", [tmp_path / "x.zarr"])
    assert predictions_of(run) == ()
