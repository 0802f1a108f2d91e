"""Writes what an evaluation found into the run folder: numbers, tables, and pictures."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from napari_segtrain.data import Part
from napari_segtrain.evaluation import INDEX, MAIN_SCORES, Report, draw_confusions, read_index
from napari_segtrain.runs import (
    RunFolder,
    RunState,
    TensorBoardFile,
    write_bytes,
    write_json,
    write_text,
)

from .extremes import Extremes


def write_scores(
    run: RunFolder,
    split: Part,
    report: Report,
    extremes: Extremes,
    about: Mapping[str, Any],
    spacing: tuple[float, ...],
) -> Path:
    """Write the scores of a part in the place of those of an earlier evaluation of it.

    Into ``evaluation``: ``<split>.json``, ``<split>_images.csv``, for every output with classes
    ``<split>_<output>_confusion.png`` and ``.csv`` and ``<split>_<output>_report.txt`` and ``.json``, for
    every output ``<split>_<output>_best_1.png`` …, and the index. The confusion matrices go to TensorBoard
    too, and the main scores to `run.json` and `summary.txt`, unless another process is training the run.

    Returns
    -------
    Path
        ``<split>.json``.

    Raises
    ------
    RunError
        When a file cannot be written.
    """
    folder, summary = run.evaluation, report.to_dict()
    folder.mkdir(exist_ok=True)
    for old in folder.glob(f"{split}_*"):
        old.unlink(missing_ok=True)
    path = folder / f"{split}.json"
    write_json(path, summary)
    write_text(folder / f"{split}_images.csv", _image_table(summary))
    _write_confusions(folder, split, report, about)
    pictures = _write_pictures(folder, split, extremes, spacing)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    worst = [patch.to_dict() for patch in extremes.worst()]
    said = {**about, "date": date, "pictures": pictures, "worst": worst}
    write_json(folder / INDEX, {**read_index(run), split: said})
    if may_write(run):
        _show_confusions(run, split, report, about)
        found = {f"{split}/{name}": value for name, value in _main_scores(summary).items()}
        kept = {
            name: value for name, value in run.read_info().scores.items() if not name.startswith(f"{split}/")
        }
        run.update_info(scores={**kept, **found})
        run.write_summary()
    return path


def may_write(run: RunFolder) -> bool:
    """Return whether nobody else writes the run's own files now: no other process is training it."""
    info = run.read_info()
    return info.status is not RunState.RUNNING or info.pid == os.getpid()


def main_scores(summary: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return the scores that a table has room for, of every output that has them."""
    return {
        name: {score: row[score] for score in MAIN_SCORES if row.get(score) is not None}
        for name, row in summary.items()
    }


def _main_scores(summary: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    found = main_scores(summary)
    return {f"{name}/{score}": value for name, row in found.items() for score, value in row.items()}


def _image_table(summary: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a row an output and image; what is not defined is an empty cell."""
    rows = [(name, image, row) for name, found in summary.items() for image, row in found["images"].items()]
    columns = list(dict.fromkeys(score for _, _, row in rows for score in row))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["target", "image", *columns])
    writer.writerows([name, image, *(row.get(column) for column in columns)] for name, image, row in rows)
    return file.getvalue()


def _write_confusions(folder: Path, split: Part, report: Report, about: Mapping[str, Any]) -> None:
    for name, matrix in report.confusions().items():
        stem = f"{split}_{name}"
        write_text(folder / f"{stem}_confusion.csv", matrix.to_csv())
        write_bytes(folder / f"{stem}_confusion.png", draw_confusions({name: matrix}, _title(split, about)))
        write_text(folder / f"{stem}_report.txt", matrix.report_text())
        write_json(folder / f"{stem}_report.json", matrix.report())


def _show_confusions(run: RunFolder, split: Part, report: Report, about: Mapping[str, Any]) -> None:
    matrices = report.confusions()
    if not matrices:
        return
    tag, epoch = f"confusion_matrix_{split}", int(about["epoch"] or 0)
    file = TensorBoardFile(run.tensorboard)
    file.forget(lambda name, step: name == tag and step == epoch)
    file.add_picture(tag, draw_confusions(matrices, _title(split, about)), epoch)
    file.flush()


def _title(split: Part, about: Mapping[str, Any]) -> str:
    return f"{split}, {about['images']} of {about['of_images']} images, epoch {about['epoch']}"


def _write_pictures(
    folder: Path, split: Part, extremes: Extremes, spacing: tuple[float, ...]
) -> list[dict[str, Any]]:
    written = []
    for word, place, extreme in extremes.ranked():
        where = ", ".join(f"{a}:{b}" for a, b in zip(extreme.region.start, extreme.region.stop, strict=True))
        title = f"{extreme.region.record}   {where}   {extreme.name} {extreme.score:.3g}"
        data = extreme.picture(title, spacing)
        suffix = "gif" if extreme.patch.planes else "png"
        path = folder / f"{split}_{extreme.head}_{word}_{place}.{suffix}"
        write_bytes(path, data)
        told = {"file": path.name, "output": extreme.head, "rank": word, "place": place}
        score = {"score": extreme.name, "value": extreme.score}
        written.append({**told, **extreme.region.to_dict(), **score})
    return written
