"""Scores of a run: right, complete, written, and never the reason why a run fails."""

import csv
import json

import numpy as np
import pytest
import tifffile
from sklearn.metrics import classification_report, confusion_matrix
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from napari_segtrain import workflow
from napari_segtrain.config import RunError
from napari_segtrain.data import Region, open_dataset
from napari_segtrain.runs import Control, Finished, Progress, RunFolder, RunState, Scored, Warned, read_events
from napari_segtrain.runs.worst import worst_patches
from napari_segtrain.workflow import scoring
from napari_segtrain.workflow.scoring import spread

UNLABELLED = 255


@pytest.fixture
def data(disc_folder):
    """A training, a validation and a test image, a third of each unlabelled."""
    folder = disc_folder()
    for path in (folder / "labels").iterdir():
        labels = tifffile.imread(path)
        labels[:, :24] = UNLABELLED
        tifffile.imwrite(path, labels)
    parts = {part: [f"im{number}"] for number, part in enumerate(("train", "val", "test"))}
    (folder / "split.json").write_text(json.dumps(parts))
    return folder


@pytest.fixture
def scored(tiny_experiment):
    """Return an experiment whose runs are scored, of a binary target and a distance, with overrides."""
    changes = {
        "tr_config.evaluate_after": "all",
        "dataset_config.targets.cells.unlabelled": UNLABELLED,
        "auxiliary_tasks": {"far": {"type": "distance_transform", "source_target": "cells"}},
    }
    return lambda more=None: tiny_experiment(**{**changes, **(more or {})})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_completed_run_has_honest_scores_of_every_part(data, scored, tmp_path):
    events = []
    path = workflow.train(scored(), data, tmp_path / "P", emit=events.append).path
    folder, run = path / "evaluation", RunFolder.open(path)
    for part, image in (("train", "im0"), ("val", "im1"), ("test", "im2")):
        labels = tifffile.imread(data / "labels" / f"{image}_cells.tif")
        found = (
            workflow.predict(path, data / "images" / f"{image}.tif", output="probabilities")["cells"] > 0.5
        )
        known = labels != UNLABELLED
        truth, prediction = labels[known] > 0, found[known]
        table = list(csv.reader((folder / f"{part}_cells_confusion.csv").read_text().splitlines()))
        assert [list(map(int, row[1:])) for row in table[1:]] == confusion_matrix(truth, prediction).tolist()
        options = {"target_names": ["background", "foreground"], "zero_division": 0}
        text = (folder / f"{part}_cells_report.txt").read_text()
        assert text == classification_report(truth, prediction, digits=4, **options)
        report = json.loads((folder / f"{part}_cells_report.json").read_text())
        assert report["foreground"] == pytest.approx(
            classification_report(truth, prediction, output_dict=True, **options)["foreground"]
        )
        scores = json.loads((folder / f"{part}.json").read_text())
        assert scores["cells"]["dice"] == pytest.approx(report["foreground"]["f1-score"])
        assert {"hd95", "cldice", "iou", "confusion"} < set(scores["cells"])
        assert scores["far"]["mae"] > 0
        rows = list(csv.DictReader((folder / f"{part}_images.csv").read_text().splitlines()))
        assert [(row["target"], row["image"]) for row in rows] == [("cells", image), ("far", image)]
        assert float(rows[0]["dice"]) == pytest.approx(scores["cells"]["dice"])
        assert (folder / f"{part}_cells_confusion.png").read_bytes().startswith(b"\x89PNG")
        assert len(list(folder.glob(f"{part}_cells_best_*.png"))) == 3
        assert len(list(folder.glob(f"{part}_far_worst_*.png"))) >= 1
        assert run.read_info().scores[f"{part}/cells/dice"] == pytest.approx(scores["cells"]["dice"])
        assert f"{part}/far/mae:" in (path / "summary.txt").read_text()
    shown = EventAccumulator(str(run.tensorboard))
    shown.Reload()
    for part in ("train", "val", "test"):
        [picture] = shown.Images(f"confusion_matrix_{part}")
        assert picture.step == run.read_info().best.epoch
    check_events(path, events)
    check_page(path)
    check_worst(run)


def check_events(path, events):
    told = [event for event in events if isinstance(event, Scored)]
    assert [event.split for event in told] == ["train", "val", "test"]
    assert told[0].scores.keys() == {"cells", "far"}
    texts = {event.text for event in events if isinstance(event, Progress)}
    assert {f"Scoring {part} ({n} of 3)" for n, part in enumerate(("train", "val", "test"), 1)} < texts
    assert isinstance(events[-1], Finished)
    assert [event.to_json() for event in read_events(path / "events.jsonl")] == [e.to_json() for e in events]


def check_worst(run):
    patches = worst_patches(run)
    assert {patch.output for patch in patches} == {"cells", "far"}
    for output, score in (("cells", "dice"), ("far", "mae")):
        own = [patch for patch in patches if patch.output == output]
        assert {(patch.record, patch.score) for patch in own} == {("im1", score)}, "of the validation part"
        assert [patch.badness for patch in own] == sorted((p.badness for p in own), reverse=True)
        assert 0 < len(own) <= 20 and own[0].badness > 0


def check_page(path):
    page = (path / "report.html").read_text()
    for words in ("completed", "On the test part", "On the validation part", "data:image/png;base64"):
        assert words in page
    assert "Nothing was scored" not in page and "not there any more" not in page


def test_scoring_again_replaces_what_was_there_and_any_part_can_be_added(data, scored, tmp_path):
    config = scored({"auxiliary_tasks": {}, "tr_config.evaluate_after": "held_out"})
    path = workflow.train(config, data, tmp_path / "P").path
    assert [name for name in names(path / "evaluation") if name.endswith(".json") and "_" not in name] == [
        "index.json",
        "test.json",
        "val.json",
    ]
    before = names(path / "evaluation")
    (path / "evaluation" / "val_gone_best_1.png").write_bytes(b"")
    moved = tmp_path / "elsewhere"
    data.rename(moved)
    again = workflow.evaluate(path, "val", data=moved, overrides={"checkpoint": "last"})
    assert names(path / "evaluation") == before
    index = json.loads((path / "evaluation" / "index.json").read_text())
    assert (index["val"]["checkpoint"], index["val"]["epoch"]) == ("last.ckpt", 2)
    assert index["test"]["checkpoint"] == "best.ckpt"
    info = RunFolder.open(path).read_info()
    assert info.scores["val/cells/dice"] == again.scores["cells"]["dice"]
    assert {name.partition("/")[0] for name in info.scores} == {"val", "test"}


def test_while_it_learns_the_worst_validation_patches_are_listed(data, scored, tmp_path):
    config = scored({"tr_config.evaluate_after": "none", "tr_config.num_epochs": 1})
    run = RunFolder.open(workflow.train(config, data, tmp_path / "P").path)
    assert names(run.evaluation) == ["val_worst.json"]
    check_worst(run)
    found = worst_patches(run)
    shape = open_dataset(data, config.dataset_config).records["im1"].shape
    for patch in found:
        assert all(0 <= a < b <= n for a, b, n in zip(patch.start, patch.stop, shape, strict=True))
    workflow.evaluate(run.path, "val")
    assert "val_worst.json" not in names(run.evaluation)
    check_worst(run)


def test_a_list_that_cannot_be_written_ends_no_training(data, scored, tmp_path, monkeypatch):
    def full(*_):
        raise RunError("the disk is full")

    monkeypatch.setattr("napari_segtrain.training.callbacks.worst_patches.write_worst", full)
    config = scored({"tr_config.evaluate_after": "none", "tr_config.num_epochs": 2})
    events = []
    workflow.train(config, data, tmp_path / "P", emit=events.append)
    told = [
        event.message for event in events if isinstance(event, Warned) and "worst patches" in event.message
    ]
    assert told == ["the worst patches are not listed; training goes on (the disk is full)"]
    assert events[-1].status is RunState.COMPLETED


def one(event_type, events):
    return [event for event in events if isinstance(event, event_type)]


@pytest.mark.parametrize("fault", [RuntimeError("a fault of the program"), KeyboardInterrupt()])
def test_what_goes_wrong_leaves_the_run_completed(data, scored, tmp_path, monkeypatch, fault):
    def broken(*args, **kwargs):
        raise fault

    monkeypatch.setattr(scoring.Scorer, "score", broken)
    events = []
    result = workflow.train(scored(), data, tmp_path / "P", emit=events.append)
    info = RunFolder.open(result.path).read_info()
    assert result.status is info.status is RunState.COMPLETED
    [warning] = [event.message for event in one(Warned, events) if "the scores" in event.message]
    assert f"segtrain evaluate {result.path} --split test" in warning
    assert warning in info.warnings
    assert (result.path / "report.html").is_file()
    assert names(result.path / "evaluation") == ["val_worst.json"], "what validation left, and no scores"
    log = (result.path / "logs" / "training.log").read_text()
    assert ("Traceback" in log) is isinstance(fault, RuntimeError)
    assert isinstance(events[-1], Finished) and events[-1].status == "completed"


def test_a_stop_leaves_the_scores_that_are_there(data, scored, tmp_path):
    control, events = Control(), []

    def stop_at_the_second_part(event):
        events.append(event)
        if isinstance(event, Scored):
            control.stop()

    result = workflow.train(scored(), data, tmp_path / "P", emit=stop_at_the_second_part, control=control)
    assert result.status is RunState.COMPLETED
    assert [event.split for event in one(Scored, events)] == ["train"]
    assert (result.path / "evaluation" / "train.json").is_file()
    assert not (result.path / "evaluation" / "val.json").exists()
    assert "the scores were stopped" in one(Warned, events)[-1].message


def test_a_run_that_is_not_completed_is_not_scored_and_one_that_goes_on_is(data, scored, tmp_path):
    part = workflow.train(scored(), data, tmp_path / "P", stop_after=1).path
    assert names(part / "evaluation") == ["val_worst.json"], "what validation left, and no scores"
    assert "interrupted" in (part / "report.html").read_text()
    workflow.resume(part)
    assert "val.json" in names(part / "evaluation")


def test_a_run_that_died_while_it_was_scored_is_scored_when_it_goes_on(data, tiny_experiment, tmp_path):
    config = tiny_experiment(**{"dataset_config.targets.cells.unlabelled": UNLABELLED})
    path = workflow.train(config, data, tmp_path / "P").path
    info = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps({**info, "status": "interrupted", "finish_reason": "crashed"}))
    rows = RunFolder.open(path).read_metrics()
    result = workflow.resume(path, overrides={"tr_config.evaluate_after": "held_out"})
    assert (result.status, result.epochs) == (RunState.COMPLETED, 2)
    assert RunFolder.open(path).read_metrics() == rows
    assert {"val.json", "test.json"} < set(names(path / "evaluation"))


def test_no_more_is_looked_at_than_allowed_and_the_share_is_said(data, scored, tmp_path):
    events = []
    config = scored({"tr_config.evaluate_patches": 2})
    path = workflow.train(config, data, tmp_path / "P", emit=events.append).path
    index = json.loads((path / "evaluation" / "index.json").read_text())
    for event in one(Scored, events):
        assert 0.1 < event.share <= 2 * 32 * 32 / (64 * 72)
        assert index[event.split]["share"] == event.share
    assert "of the voxels, evenly spread" in (path / "report.html").read_text()


def test_regions_are_cut_only_where_there_is_too_much():
    small = [Region(str(n), (0, 0), (10, 20)) for n in range(40)]
    assert spread(small, (10, 20), None) == spread(small, (10, 20), 40 * 200) == tuple(small)
    chosen = spread(small, (10, 20), 8 * 200)
    assert [int(region.record) for region in chosen] == list(range(0, 40, 5))
    large = Region("a", (5, 0), (405, 401))
    pieces = spread([large], (10, 10), 20000)
    voxels = [np.prod(piece.shape) for piece in pieces]
    assert 0.8 * 20000 < sum(voxels) <= 20000
    assert len(pieces) >= 16 and not any(a.overlaps(b) for a in pieces for b in pieces if a is not b)
    assert all(5 <= p.start[0] < p.stop[0] <= 405 and p.stop[1] <= 401 for p in pieces)
    assert len(spread([large], (300, 300), 1)) == 1


def test_of_the_training_part_no_more_is_scored_than_of_the_others(disc_folder, tiny_experiment, tmp_path):
    events = []
    config = tiny_experiment(**{"tr_config.evaluate_after": "all", "tr_setup.train_split": 0.75})
    workflow.train(config, disc_folder(count=4), tmp_path / "P", emit=events.append)
    shares = {event.split: event.share for event in one(Scored, events)}
    assert shares["val"] == 1.0
    assert 0.2 < shares["train"] <= 1 / 3


def test_images_that_are_in_two_parts_are_said_before_after_and_in_the_report(
    data, tiny_experiment, tmp_path
):
    config, sentence = tiny_experiment(), "train and test have the same image content: im0 = im2"
    clean = workflow.train(config, data, tmp_path / "P").path
    assert "same image content" not in (clean / "report.html").read_text()
    image = tifffile.imread(data / "images" / "im0.tif")
    tifffile.imwrite(data / "images" / "im2.tif", image)
    assert sentence in workflow.review(config, open_dataset(data)).report.warnings[-1]
    events = []
    workflow.evaluate(clean, "test", emit=events.append)
    assert any(event.message.startswith(sentence) for event in one(Warned, events))
    assert any(warning.startswith(sentence) for warning in RunFolder.open(clean).read_info().warnings)
    broken = data / "images" / "im0.tif"
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) // 2])
    assert workflow.evaluate(clean, "test").scores["cells"]["dice"] >= 0
    broken.write_bytes(content)
    leaky = workflow.train(config, data, tmp_path / "P", emit=events.append).path
    for name in ("report.html", "summary.txt", "logs/training.log", "events.jsonl"):
        assert sentence in (leaky / name).read_text()


def test_a_report_can_be_written_at_any_time(data, tiny_experiment, tmp_path):
    path = workflow.train(tiny_experiment(), data, tmp_path / "P", stop_after=1).path
    (path / "report.html").unlink()
    assert workflow.write_report(path / "checkpoints" / "last.ckpt") == path / "report.html"
    with pytest.raises(RunError):
        workflow.write_report(tmp_path)
