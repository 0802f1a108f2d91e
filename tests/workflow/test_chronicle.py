"""`logs/training.log` and `summary.txt` of runs that end well, fail, and go on."""

import re
import shlex
import sys

import pytest

from napari_segtrain import workflow
from napari_segtrain.config import RunError
from napari_segtrain.runs import RunFolder, library_versions


def log_of(path):
    return (path / "logs" / "training.log").read_text()


def in_order(text, *parts):
    """Return whether `text` has the parts, one after the other."""
    return re.search(".*".join(map(re.escape, parts)), text, re.DOTALL) is not None


@pytest.fixture
def finished(disc_folder, tiny_experiment, tmp_path):
    data = disc_folder()
    part = workflow.train(tiny_experiment(), data, tmp_path / "P", stop_after=1).path
    return part, data, workflow.resume(part)


def test_the_log_tells_from_the_very_start_on_what_was_run_and_where(finished, monkeypatch):
    path, data, _ = finished
    text = log_of(path)
    first, rest = text.split("\n", 1)
    info = RunFolder.open(path).read_info()
    assert first.endswith(f"run base ({info.id}) starts")
    versions = ", ".join(f"{name} {number}" for name, number in library_versions().items())
    assert in_order(
        rest,
        f"command: {shlex.join(sys.argv)}",
        f"machine: {info.host}, process {info.pid}",
        f"versions: {versions}",
        f"data: {data}, 3 images",
        "status: running",
        f"device: cpu; {info.parameters:,} parameters; outputs cells; split: train ",
        "epoch 1/2: train_loss ",
        "status: interrupted",
        "end: interrupted (stop_after): go on with: segtrain train --resume",
        "goes on after epoch 1",
        "epochs 2 to 2",
        "epoch 2/2: train_loss ",
        "end: completed (all_epochs)",
    )
    assert "Traceback" not in text


def test_the_summary_has_everything_that_a_reader_looks_for(finished):
    path, _, result = finished
    lines = dict(
        line.split(":", 1) for line in (path / "summary.txt").read_text().splitlines() if ":" in line
    )
    found = {name: text.strip() for name, text in lines.items()}
    info = RunFolder.open(path).read_info()
    assert (found["run"], found["epoch"], found["device"]) == ("base", "2/2", "cpu")
    assert found["status"] == "completed (all epochs)"
    assert found["best"] == f"val_loss {result.best.value:.6g} at epoch {result.best.epoch}"
    assert found["parameters"] == f"{info.parameters:,}"
    assert found["split"] == "train 4 patches an epoch from 2 images, val 2 patches from 1 image"
    assert re.fullmatch(r"\d+ s", found["time"])
    assert float(found["val_loss"]) == pytest.approx(result.metrics["val_loss"], rel=1e-4)


@pytest.mark.parametrize(
    "fault", [RuntimeError("a fault of the program"), RunError("what a user can change")]
)
def test_a_failed_run_tells_where_it_failed(disc_folder, tiny_experiment, tmp_path, little_memory, fault):
    little_memory(fault)
    with (
        pytest.raises(type(fault))
        if isinstance(fault, RuntimeError)
        else pytest.raises(workflow.RunFailedError)
    ):
        workflow.train(tiny_experiment(), disc_folder(), tmp_path / "P")
    path = tmp_path / "P" / "runs" / "base"
    text = log_of(path)
    assert in_order(
        text, "starts", "device: cpu", "the run failed", "Traceback (most recent call last)", "in forward",
        str(fault), "end: failed (error)",
    )  # fmt: skip
    summary = (path / "summary.txt").read_text()
    for words in ("failed (error)", "0/2", str(fault), "cpu", "train 4 patches", "not validated yet"):
        assert words in summary
