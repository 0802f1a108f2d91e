from __future__ import annotations

import inspect
import json
import typing

import pytest

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.engine import (
    AnyCommand,
    Command,
    CommandError,
    Diagnose,
    Halt,
    LabelNext,
    LabelsChanged,
    Pause,
    Predict,
    Preview,
    PreviewAugmentation,
    PreviewSplit,
    PreviewTargets,
    Resume,
    RunGraph,
    Shutdown,
    StepThrough,
    Stop,
    TakeStep,
    Train,
    parse_command,
    protocol,
)
from napari_segtrain.runs import LabelChange, PreviewHint, StepRequest

EXAMPLES: list[Command] = [
    Train(config=ExperimentConfig().to_dict(), data={"layers": [{"id": "a"}]}, project="p", run_name="base"),
    Predict(
        model="run",
        data="in.zarr",
        output="out.zarr",
        targets=("a",),
        start=(0, 1),
        stop=(2, 3),
        spacing=(1, 2.5),
    ),
    PreviewTargets(
        config=ExperimentConfig().to_dict(),
        data={"layers": []},
        output="o",
        hint=PreviewHint(record="a", start=(0, 0), stop=(5, 5)),
    ),
    PreviewAugmentation(
        config=ExperimentConfig().to_dict(),
        data={"layers": []},
        output="o",
        hint=PreviewHint(record="a", start=(0, 0), stop=(5, 5)),
        number=3,
        seed=7,
    ),
    PreviewSplit(config=ExperimentConfig().to_dict(), data={"layers": []}),
    Diagnose(config=ExperimentConfig().to_dict(), data={"layers": []}),
    LabelNext(model="run", data={"layers": []}, number=5),
    StepThrough(config=ExperimentConfig().to_dict(), data={"layers": []}, output="o"),
    RunGraph(graph={"nodes": [], "links": []}, output="o", show=(("predictor", "predictions"),)),
    TakeStep(job="j", request=StepRequest(action="forward_pass", stage="encoder 1")),
    Halt(job="j"),
    Pause(),
    Resume(),
    Stop(job="a"),
    LabelsChanged(changes=(LabelChange(record="a", target="t", start=(0, 0), stop=(1, 1)),)),
    Preview(hint=PreviewHint(record="a", start=(0, 0), stop=(5, 5), targets=("t",))),
    Shutdown(),
]


def test_there_is_an_example_of_every_command() -> None:
    declared = {
        value for value in vars(protocol).values() if inspect.isclass(value) and issubclass(value, Command)
    }
    assert {type(example) for example in EXAMPLES} == declared - {Command} == set(typing.get_args(AnyCommand))


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: command.command)
def test_every_command_is_one_line_that_reads_back(command: Command) -> None:
    line = command.to_json()
    assert "\n" not in line
    assert parse_command(line) == command
    assert parse_command(line.encode()) == command


def test_every_job_has_its_own_id() -> None:
    jobs = {Train(config={}, data="d", project="p").job for _ in range(3)}
    assert len(jobs) == 3


@pytest.mark.parametrize(
    ("line", "name", "job", "words"),
    [
        ("", None, None, "Invalid JSON"),
        ("{", None, None, "Invalid JSON"),
        ("[1]", None, None, "not a command"),
        ('{"command": "explode", "job": "a"}', "explode", "a", "does not match any of the expected tags"),
        ('{"command": "train", "job": "a"}', "train", "a", r"Field required \(train\.config\)"),
        ('{"command": "stop", "jop": "a"}', "stop", None, r"Extra inputs are not permitted \(stop\.jop\)"),
        (b"\xff\xfe", None, None, "not a command"),
    ],
)
def test_other_lines_are_refused_by_name(
    line: str | bytes, name: str | None, job: str | None, words: str
) -> None:
    with pytest.raises(CommandError, match=words) as caught:
        parse_command(line)
    assert (caught.value.name, caught.value.job) == (name, job)


def test_a_long_line_does_not_make_a_long_message() -> None:
    with pytest.raises(CommandError) as caught:
        parse_command(json.dumps({"command": "explode", "data": "x" * 10_000}))
    assert len(str(caught.value)) < 600
