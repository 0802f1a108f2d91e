"""`report.html` of runs in every state: complete, well formed, self-contained, everything escaped."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_segtrain.config import ExperimentConfig, RunError
from napari_segtrain.evaluation import INDEX, Report, score_classes, score_mask, score_objects, write_page
from napari_segtrain.evaluation.page.chart import chart
from napari_segtrain.runs import Best, RunFolder, RunState, write_bytes, write_json

NASTY = "<script>alert('&\"')</script>"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page and refuses what is not closed, or leads out of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.pictures: list[bytes] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []
        assert "script" not in self.tags and "link" not in self.tags
        assert "http" not in re.sub(r"base64,[^\"]*", "", text).replace("http-equiv", "")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on") and name != "href"
            if name == "src":
                assert tag == "img" and value is not None
                self.pictures.append(base64.b64decode(value.partition("base64,")[2], validate=True))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(run: RunFolder) -> Page:
    path = write_page(run)
    assert path == run.path / "report.html"
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "base")


def picture(suffix: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 30, 30)).save(file, suffix)
    return file.getvalue()


def fill(run: RunFolder) -> None:
    """Put everything into a run folder that a training and evaluations write."""
    run.set_state(RunState.RUNNING)
    run.update_info(
        epoch=2, num_epochs=3, device="cpu", parameters=1234567, split={"train": 8},
        images={"train": 2, "val": 1},
        best=Best(epoch=2, monitor="val_loss", value=0.25), warnings=(NASTY, "two\nlines"),
    )  # fmt: skip
    for epoch in (1, 2):
        row = {"train_loss": 1 / epoch, "val_loss": None, f"val_{NASTY}_dice": 0.5, "learning_rate": 0.1}
        run.append_metrics({"epoch": epoch, **row, "train_cells_loss": 0.5})
    run.write_config(ExperimentConfig())
    run.write_json("split.json", {"train": [{"image": NASTY}]})
    run.log_path.write_text(f"the end {NASTY}")
    write_bytes(run.plots / "segtrain_debug.png", picture("PNG"))
    truth, prediction = np.random.default_rng(0).integers(0, 3, (2, 20, 20))
    report = Report()
    for name in ("good", NASTY):
        found = truth if name == "good" else prediction
        scores = {
            NASTY: score_mask(truth, found, None, (1, 1)),
            "kinds": score_classes(truth, found, (0, 1, 2), None, (1, 1)),
            "cells": score_objects(truth, found),
        }
        report.add(name, scores)
    write_json(run.evaluation / "test.json", report.to_dict())
    entry = {"output": "cells", "rank": "worst", "place": 1, "image": NASTY, "region": [[0, 4], [2, 9]]}
    pictures = [{**entry, "file": f, "score": "dice", "value": 0.25} for f in ("test_a.gif", "gone.png")]
    write_bytes(run.evaluation / "test_a.gif", picture("GIF"))
    about = {"checkpoint": "best.ckpt", "epoch": 2, "share": 0.5, "images": 1, "of_images": 9}
    write_json(run.evaluation / INDEX, {"test": {**about, "date": "today", "pictures": pictures}})


def test_a_page_has_everything_and_nothing_of_it_is_markup(run: RunFolder) -> None:
    fill(run)
    run.set_state(RunState.FAILED, reason="error", message=NASTY)
    page = read(run)
    for words in (
        "base", "failed", "2/3", "val_loss 0.25 at epoch 2", "1,234,567",
        "train 8 patches an epoch from 2 images",
        "On the test part", "1 of 9 images, 50.0% of the voxels", "weights best.ckpt, epoch 2; today",
        "accuracy 0.", "macro avg", "IoU threshold", "AP50", "HD95", "clDice", "the worst first",
        "worst 1: ", "[0:4, 2:9], Dice 0.250", "gone.png is not there any more", "patches an epoch",
        "tr_config:", "torch", f"the end {NASTY}", f'"image": "{NASTY}"'.replace('\\"', '"')[:12],
    ):  # fmt: skip
        assert words in page.text, words
    assert page.text.count(NASTY) >= 9
    assert [Image.open(io.BytesIO(data)).format for data in page.pictures] == ["GIF", "PNG"]
    assert page.tags.count("svg") >= 4


def test_the_rows_of_images_begin_with_the_worst(run: RunFolder) -> None:
    fill(run)
    part = read(run).text.partition("the worst first")[2]
    assert part.index(NASTY) < part.index("good")


@pytest.mark.parametrize("state", ["pending", "running", "interrupted", "failed"])
def test_a_run_that_has_next_to_nothing_has_a_page_too(run: RunFolder, state: str) -> None:
    if state != "pending":
        run.set_state(RunState.RUNNING)
    if state in ("interrupted", "failed"):
        run.set_state(RunState(state), reason="stopped", message="why")
        assert "why" in read(run).text
    page = read(run)
    for words in (state, "No epoch is complete", "Nothing was scored yet", "no network yet"):
        assert words in page.text


@pytest.mark.parametrize(
    "name", ["metrics.json", "evaluation/test.json", f"evaluation/{INDEX}", "config.yaml"]
)
def test_a_damaged_file_costs_its_own_part_only(run: RunFolder, name: str) -> None:
    fill(run)
    (run.path / name).write_bytes(b'{"\xff')
    page = read(run)
    assert "1,234,567" in page.text and "Environment" in page.text


def test_a_damaged_run_is_said(run: RunFolder) -> None:
    (run.path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json"):
        write_page(run)


def places(text: str, line: int = 0) -> list[tuple[float, float]]:
    found = re.findall(r'<polyline points="([^"]*)"', text)[line]
    return [tuple(map(float, point.split(","))) for point in found.split()]


def test_a_chart_shows_its_points_in_their_order_and_size() -> None:
    drawn = chart(
        "a & b", {"one": [(1, 0.0), (2, 1.0), (3, 0.5)], "two": [(1, 2.0), (3, float("nan"))]}, mark=2
    )
    assert "a &amp; b" in drawn and drawn.count("<polyline") == 2
    (x1, y1), (x2, y2), (x3, y3) = places(drawn)
    assert x1 < x2 < x3 and x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y1 > y3 > y2, "up is more"
    assert y1 - y3 == pytest.approx(y3 - y2, abs=0.2)
    assert "one: 0.500 at 3" in drawn and "best" in drawn
    assert len(places(drawn, 1)) == 1


@pytest.mark.parametrize(
    "values", [[0.0], [3.0, 3.0], [-1e-7, 1e-7], [1e9, 5e12], [-4.0, -3.0], [0.1] * 3000]
)
def test_any_values_can_be_drawn(values: list[float]) -> None:
    drawn = chart("t", {"a": list(enumerate(values, 1))})
    assert all(0 <= x <= 460 and 0 <= y <= 250 for x, y in places(drawn))
    assert drawn.count('text-anchor="end"') >= 3, "the axis has numbers"
    assert chart("t", {"a": [(1, float("inf"))]}) == ""


def test_labels_of_axes_are_round(run: RunFolder) -> None:
    drawn: Any = chart("t", {"a": [(1, 0.03), (40, 0.97)]}, limits=(0.0, 1.0))
    assert [float(n) for n in re.findall(r'text-anchor="end">([\d.]+)<', drawn)] == [
        0,
        0.2,
        0.4,
        0.6,
        0.8,
        1.0,
    ]
    assert re.findall(r'text-anchor="middle">(\d+)<', drawn) == ["10", "20", "30", "40"]
