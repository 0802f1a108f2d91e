from __future__ import annotations

import ast
import inspect
import json
import typing

import numpy as np
import pytest

from napari_segtrain.config import RunError
from napari_segtrain.runs import (
    AnyEvent,
    AugmentationReady,
    BatchDone,
    Checkpoint,
    DebugPicture,
    Diagnosed,
    DoubtfulRegion,
    EngineDied,
    EpochDone,
    EpochStarted,
    Event,
    Finding,
    Finished,
    LabelsApplied,
    NodeOutput,
    NodeStatus,
    PatchPlace,
    Paused,
    PredictDone,
    PredictProgress,
    PreviewReady,
    Progress,
    Ready,
    Refused,
    RegionsRanked,
    Resumed,
    RunStarted,
    RunState,
    Scored,
    SplitReady,
    StatusChanged,
    StepPicture,
    StepTaken,
    TargetsReady,
    Waiting,
    Warned,
    events,
)

FINDING = Finding(rule="learning_rate", severity="warning", sentence="too fast", remedy={"tr_config.x": 1})
SPEC = {"kind": "memmap", "path": "p", "shape": [1, 4, 5], "dtype": "<f4", "channel_axis": 0}
EXAMPLES: list[Event] = [
    Ready(pid=3, seconds=1.5, versions={"torch": "2"}),
    Refused(command="train", message="busy", job="a"),
    EngineDied(exit_code=None, signal="SIGKILL", message="killed", stderr=("a", "b"), run="r"),
    StatusChanged(status=RunState.RUNNING),
    RunStarted(
        run_id="i",
        name="base",
        path="p",
        num_epochs=3,
        first_epoch=2,
        heads=("a", "b"),
        parameters=7,
        kinds={"a": "classes"},
    ),
    EpochStarted(epoch=1, num_epochs=3),
    BatchDone(epoch=1, step=4, loss=0.25, parts={"a/DiceLoss": 0.5, "a": None}, learning_rate=1e-3),
    EpochDone(epoch=1, num_epochs=3, row={"epoch": 1, "train_loss": 0.5, "val_loss": None}),
    Progress(fraction=0.5, seconds_left=3, text="Epoch 1 of 3"),
    DebugPicture(path="runs/base/plots/segtrain_debug.png", epoch=2),
    PreviewReady(record="cells", head="a", array=SPEC, start=(0, 0), stop=(4, 5), epoch=2),
    LabelsApplied(record="cells", target="a", start=(0, 0, 1), stop=(1, 2, 3)),
    Checkpoint(path="best.ckpt", kind="best", epoch=3, monitor="val_loss", value=0.1),
    Scored(split="val", scores={"a": {"dice": 0.5, "hd95": None}}, images=2, share=0.5, path="val.json"),
    Paused(),
    Resumed(),
    Waiting(message="A training run is already active", seconds=2.5),
    Warned(message="no GPU; the processor is used"),
    Warned(message="too fast", finding=FINDING),
    Diagnosed(findings=(FINDING,)),
    Finished(status=RunState.FAILED, reason="error", message="m", path="p", traceback="Traceback …\nline"),
    PredictProgress(fraction=1.0, seconds_left=None, record="cells"),
    PredictDone(record="cells", outputs={"a": SPEC}, start=(0, 0), seconds=2.0),
    AugmentationReady(
        record="cells",
        start=(-2, 0),
        stop=(4, 5),
        image=SPEC,
        labels={"a": SPEC},
        words=((), ("flip y", "noise 0.1 std")),
    ),
    RegionsRanked(
        regions=(
            DoubtfulRegion(record="a", target="t", start=(0, 0), stop=(4, 5), score=0.25, reason="mirrors"),
        ),
        epoch=3,
        words="there is no more room",
    ),
    SplitReady(
        split={"train": [{"image": "a", "region": [[0, 4], [0, 5]]}], "val": [], "test": []},
        words=("train: 1 image: a", "validation: nothing"),
    ),
    NodeStatus(node="trainer", status="running", fraction=0.5, message="epoch 1 of 2", seconds=1.5),
    NodeOutput(node="predictor", port="predictions", arrays={"a": SPEC}, numbers={"dice": 0.5}),
    StepTaken(
        action="forward_pass",
        next=("calculate_loss", "run_batches"),
        words="done",
        epoch=1,
        batch=2,
        batches=5,
        step=7,
        loss=0.5,
        norm=1.5,
        learning_rate=0.001,
        stages=("encoder 1",),
        patches=(PatchPlace(record="a", start=(-1, 0), stop=(3, 4)),),
        pictures=(
            StepPicture(
                group="prediction",
                name="a",
                kind="image",
                array=SPEC,
                factors=(1.0, 2.0),
                colours="magma",
                limits=(0.0, 1.0),
            ),
        ),
    ),
    TargetsReady(
        record="cells",
        start=(0, 0),
        stop=(4, 5),
        spacing=(1.0, 0.5),
        heads={"a": {"name": "a"}},
        values={"a": SPEC},
        valid={"a": SPEC},
    ),
]


def test_there_is_an_example_of_every_event() -> None:
    declared = {
        value for value in vars(events).values() if inspect.isclass(value) and issubclass(value, Event)
    }
    assert {type(example) for example in EXAMPLES} == declared - {Event} == set(typing.get_args(AnyEvent))


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.event)
def test_every_event_is_one_line_that_reads_back(event: Event) -> None:
    line = event.to_json()
    assert "\n" not in line
    assert Event.from_json(line) == event
    assert type(event).from_json(line.encode()) == event
    with pytest.raises(ValueError, match="frozen"):
        event.job = "other"


def test_every_event_and_every_value_in_it_is_described() -> None:
    tree = ast.parse(inspect.getsource(events))
    names = {event.__name__ for event in typing.get_args(AnyEvent)}
    for node in tree.body:
        if not isinstance(node, ast.ClassDef) or node.name not in names:
            continue
        names.remove(node.name)
        assert ast.get_docstring(node)
        for field, following in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and ast.unparse(field.target) != "event":
                described = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                assert described, f"{node.name}.{ast.unparse(field.target)} has no description"
    assert not names


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32("nan"), -np.inf])
def test_a_loss_that_is_no_number_becomes_null(value: float) -> None:
    event = BatchDone(epoch=1, step=1, loss=value, parts={"a": value, "b": 1})
    written = json.loads(event.to_json(), parse_constant=pytest.fail)
    assert written["loss"] is None
    assert written["parts"] == {"a": None, "b": 1}


def test_scalars_of_other_libraries_are_numbers() -> None:
    torch = pytest.importorskip("torch")
    event = EpochDone(epoch=1, num_epochs=1, row={"a": torch.tensor(0.5), "b": np.float64(2), "epoch": 1})
    assert event.row == {"a": 0.5, "b": 2.0, "epoch": 1}
    assert type(event.row["epoch"]) is int


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", '{"event": "nonsense"}', '{"event": "epoch_started", "epoch": "x", "num_epochs": 1}'],
)
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(RunError, match="not an event"):
        Event.from_json(line)


def test_the_wrong_kind_of_event_is_refused() -> None:
    with pytest.raises(RunError, match="a Paused event, not Resumed"):
        Resumed.from_json(Paused().to_json())
