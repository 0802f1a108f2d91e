from __future__ import annotations

import json
from pathlib import Path

import pytest

from napari_segtrain.config import RunError
from napari_segtrain.runs import MetricsLog, RunFolder, read_metrics


def row(epoch: int, **values: float) -> dict[str, float]:
    return {"epoch": epoch, **values}


def test_rows_are_the_epochs_and_have_no_nan(run: RunFolder) -> None:
    run.append_metrics(row(1, train_loss=0.5, val_loss=float("nan")))
    run.append_metrics(row(2, train_loss=0.25, val_loss=1))
    rows = json.loads((run.path / "metrics.json").read_text(), parse_constant=pytest.fail)
    assert rows == [row(1, train_loss=0.5, val_loss=None), row(2, train_loss=0.25, val_loss=1)]
    assert RunFolder.open(run.path).read_metrics() == rows == run.metrics.rows


def test_a_resume_goes_on_and_replaces_what_it_repeats(tmp_path: Path) -> None:
    first = MetricsLog(tmp_path / "m.json")
    for epoch in (1, 2, 3):
        first.append(row(epoch, loss=epoch))
    second = MetricsLog(tmp_path / "m.json")
    second.append(row(2, loss=20))
    assert read_metrics(tmp_path / "m.json") == [row(1, loss=1), row(2, loss=20)]
    second.truncate(1)
    second.truncate(5)
    assert read_metrics(tmp_path / "m.json") == [row(1, loss=1)]


def test_epochs_have_no_gaps(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "m.json")
    with pytest.raises(ValueError, match="epoch 2 cannot follow 0 rows"):
        log.append(row(2))
    assert not (tmp_path / "m.json").exists()


def test_a_row_that_a_full_disk_refused_comes_with_the_next(tmp_path: Path, small_files) -> None:
    log = MetricsLog(tmp_path / "m.json")
    log.append(row(1, loss=1))
    with small_files(50), pytest.raises(RunError, match="cannot be written"):
        log.append(row(2, loss=2, **{"x" * 100: 3}))
    assert read_metrics(tmp_path / "m.json") == [row(1, loss=1)]
    log.append(row(3, loss=3))
    assert [written["epoch"] for written in read_metrics(tmp_path / "m.json")] == [1, 2, 3]


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"loss": 1}]'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(RunError, match="is not a list of rows"):
        MetricsLog(tmp_path / "m.json")


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "m.json") == []
