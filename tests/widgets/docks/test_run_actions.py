"""Which button of the Runs dock is enabled when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from napari_segtrain.runs import RunFolder, RunRow, RunState
from napari_segtrain.runs.info import RunInfo, now
from napari_segtrain.widgets.docks.run_actions import ACTIONS, Situation, described, refusals
from napari_segtrain.widgets.sessions.runs_watch import RunDetails

pytestmark = pytest.mark.gui

ACTIVE = "A training run is already active in P: 'other', process 7 on here"


def row(state: RunState | None, name: str = "a") -> RunRow:
    run = RunFolder(Path("P/runs") / name)
    info = None if state is None else RunInfo(id="1", name=name, created=now(), status=state)
    return RunRow(run, info, "" if info else "run.json: is damaged")


def details(name: str = "a", **known: bool) -> RunDetails:
    path = Path("P/runs") / name
    some = {
        "resumable": known.get("resumable", False),
        "has_checkpoint": known.get("checkpoint", False),
        "picture": path / "x.png" if known.get("picture") else None,
        "labels": known.get("labels", False),
        "predictions": (path / "x.tif",) if known.get("predictions") else (),
    }
    return RunDetails(path, **some)


def possible(situation: Situation) -> set[str]:
    found = refusals(situation)
    assert set(found) == set(ACTIONS)
    return {name for name, why_not in found.items() if not why_not}


ALWAYS = {"duplicate_run", "delete_runs", "open_folder"}


@pytest.mark.parametrize(
    ("state", "known", "legal"),
    [
        (RunState.PENDING, {}, {"resume_run"}),
        (
            RunState.INTERRUPTED,
            {"resumable": True, "checkpoint": True},
            {"resume_run", "retry_run", "use_run"},
        ),
        (RunState.FAILED, {}, {"retry_run"}),
        (RunState.FAILED, {"resumable": True}, {"resume_run", "retry_run"}),
        (
            RunState.COMPLETED,
            {"checkpoint": True, "picture": True},
            {"resume_run", "use_run", "open_picture"},
        ),
        (RunState.COMPLETED, {"predictions": True}, {"open_predictions"}),
    ],
)
def test_a_run_that_does_not_run(state: RunState, known: dict[str, bool], legal: set[str]) -> None:
    idle = Situation((row(state),), (details(**known),))
    assert possible(idle) == legal | ALWAYS
    # While another run is active the Train dock waits for its end, and the buttons say so.
    active = replace(idle, active=ACTIVE)
    assert possible(active) == legal | ALWAYS
    keeps = "Keep learning" if state is RunState.COMPLETED else "Resume"
    for name, text in (("resume_run", keeps), ("retry_run", "Retry"), ("use_run", "Use in Predict")):
        assert described(name, idle) == (text, ACTIONS[name][1])
        waits = name != "use_run"
        assert described(name, active)[0] == (f"{text} next" if waits else text)
        assert ("waits for the end of the active run" in described(name, active)[1]) == waits
    busy = replace(idle, busy=True)
    assert possible(busy) == (legal | ALWAYS) - {"resume_run", "retry_run", "duplicate_run"}
    for name in legal & {"resume_run", "retry_run"}:
        assert refusals(replace(busy, active=ACTIVE))[name] == ACTIVE
    if "retry_run" in legal:
        assert "A training run is already active" in refusals(busy)["retry_run"]


def test_a_running_run() -> None:
    here = Situation((row(RunState.RUNNING),), (details(checkpoint=True),), ACTIVE, busy=True)
    assert possible(here) == {"stop_run", "use_run", "open_folder"}
    assert refusals(here)["delete_runs"] == "a: running; stop it first"
    elsewhere = replace(here, busy=False)
    assert possible(elsewhere) == {"stop_run", "duplicate_run", "use_run", "open_folder"}
    # A lock that another machine holds need not be seen from here.
    running = row(RunState.RUNNING)
    assert running.info is not None
    there = replace(running, info=running.info.replace(host="cluster"))
    far = replace(elsewhere, rows=(there,), active=None)
    assert possible(far) == possible(elsewhere) - {"stop_run"}
    assert "trains on cluster" in refusals(far)["stop_run"]
    assert refusals(far)["resume_run"] == "A training run is already active: this one"


def test_a_damaged_run_says_what_is_wrong() -> None:
    damaged = Situation((row(None),), (details(),))
    assert possible(damaged) == {"delete_runs", "open_folder"}
    for name in ("resume_run", "retry_run", "duplicate_run"):
        assert refusals(damaged)[name] == "run.json: is damaged"


def test_none_and_several() -> None:
    assert possible(Situation(())) == set()
    several = (row(RunState.COMPLETED), row(RunState.FAILED, "b"))
    assert possible(Situation(several, (details(), details("b")))) == {"delete_runs"}
    running = (*several, row(RunState.RUNNING, "c"))
    assert possible(Situation(running)) == set()


def test_what_is_not_read_yet_is_not_offered() -> None:
    assert possible(Situation((row(RunState.COMPLETED),))) == {"delete_runs", "open_folder"}
