"""Commands that list, follow, compare and manage runs. Only a retry trains."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import typer

from napari_segtrain.cli.progress import TerminalProgress
from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import (
    Best,
    EpochDone,
    ProjectLock,
    RunFolder,
    RunState,
    Warned,
    attempts,
    duplicate_run,
)


@pytest.fixture
def project(tmp_path):
    """Return a project with a completed, a failed and a pending run, and a damaged one."""
    project = tmp_path / "[P]"
    states = {"done": RunState.COMPLETED, "broken": RunState.FAILED, "next": None}
    for number, (name, state) in enumerate(states.items()):
        run = RunFolder.create(project, name)
        run.write_config(ExperimentConfig().with_overrides({"tr_config.optimizer.lr": 0.1 * (number + 1)}))
        if state is not None:
            with run.open_events() as write:
                write(run.set_state(RunState.RUNNING))
                write(EpochDone(epoch=1, num_epochs=1, row={"train_loss": 0.5, "val_loss": 0.25}))
                write(Warned(message="[bold] is no style"))
            best = Best(epoch=1, monitor="val_loss", value=0.25)
            run.update_info(epoch=1, num_epochs=1, best=best, final_metrics={"val_loss": 0.25})
            run.finish(state, "error", "" if state is RunState.COMPLETED else "the loss is no number")
            run.update_info(started=f"2026-01-0{number + 1}T10:00:00Z", seconds=65.0)
        run.update_info(created=f"2026-01-0{number + 1}T00:00:00Z")
    (RunFolder.create(project, "cut").path / "run.json").write_text("{")
    return project


def test_runs_are_a_table(run, project):
    for path in (project, project / "runs"):
        code, out, err = run("runs", path)
        assert code == 0
        lines = out.splitlines()
        assert [line.split()[0] for line in lines] == ["name", "done", "broken", "next", "cut"]
        assert re.fullmatch(
            r"done +completed +1/1 +val_loss 0\.25 +1 min 05 s +2026-01-0\d \d\d:\d\d", lines[1]
        )
        assert lines[3].split() == ["next", "pending", "0"]
        assert lines[4].split() == ["cut", "damaged"]
        assert f"Note: {project.resolve() / 'runs' / 'cut' / 'run.json'}: is not valid JSON" in err
    code, out, _ = run("runs", project, "--json")
    rows = json.loads(out)
    assert [row.get("status") for row in rows] == ["completed", "failed", "pending", None]
    assert "run.json" in rows[-1]["fault"]


def test_a_project_without_runs(run, tmp_path):
    assert run("runs", tmp_path)[1] == f"{tmp_path}: no runs yet\n"
    code, _, err = run("runs", tmp_path / "nothing")
    assert (code, "there is no such folder" in err) == (2, True)


def test_a_long_list_needs_no_heavy_library(project):
    listing = "import sys; print(sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr)"
    program = f"import atexit\natexit.register(lambda: exec({listing!r}))\n"
    program += "from napari_segtrain.cli import main\nimport sys\nmain(['runs', sys.argv[1]])"
    done = subprocess.run(
        [sys.executable, "-c", program, str(project)], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = set(done.stderr.splitlines()[-1].strip("[]").replace("'", "").split(", "))
    assert not loaded & {"torch", "numpy", "lightning", "zarr", "numba", "scipy", "albumentations"}
    assert "damaged" in done.stdout


@pytest.mark.parametrize(("name", "code"), [("done", 0), ("broken", 2)])
def test_follow_replays_the_run_and_exits_as_it_did(run, project, name, code):
    with (project / "runs" / name / "events.jsonl").open("a") as file:
        file.write('no event\n{"event": "cut')
    found, out, err = run("follow", project / "runs" / name)
    end = ["completed", "completed: PATH"] if code == 0 else ["failed: MESSAGE", "failed: PATH", "MESSAGE"]
    expected = [
        "running",
        "Epoch 1/1  train_loss 0.5000  val_loss 0.2500",
        "Note: [bold] is no style",
        end[0],
        f"Note: {project / 'runs' / name / 'events.jsonl'}: 1 lines are damaged and left out",
        *end[1:],
    ]
    words = {"PATH": str(project / "runs" / name), "MESSAGE": "the loss is no number"}
    for key, value in words.items():
        expected = [line.replace(key, value) for line in expected]
    assert out.splitlines() == expected
    assert (found, err) == (code, "")


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts are sent otherwise there")
def test_ctrl_c_ends_the_following_and_leaves_the_run_alone(tmp_path):
    run = RunFolder.create(tmp_path, "base")
    with ProjectLock(tmp_path).acquire("base"), run.open_events() as write:
        write(run.set_state(RunState.RUNNING))
        follower = subprocess.Popen(
            [sys.executable, "-m", "napari_segtrain", "follow", str(run.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert follower.stdout.readline() == "running\n"
            write(EpochDone(epoch=1, num_epochs=9, row={"val_loss": 0.5}))
            assert follower.stdout.readline() == "Epoch 1/9  val_loss 0.5000\n", (
                "as it happens, through a pipe"
            )
            follower.send_signal(signal.SIGINT)
            out, err = follower.communicate(timeout=60)
        finally:
            follower.kill()
        assert (follower.returncode, out, err) == (130, "", "")
        assert run.state is RunState.RUNNING


def test_compare_shows_what_differs(run, project):
    code, out, _ = run("compare", project / "runs" / "done", project / "runs" / "broken")
    assert code == 0
    lines = [re.split(r"  +", line) for line in out.splitlines() if line]
    assert lines == [
        ["setting", "done", "broken"],
        ["tr_config.optimizer.lr", "0.1", "0.2"],
        ["result", "done", "broken"],
        ["status", "completed", "failed"],
        ["epochs", "1", "1"],
        ["seconds", "65", "65"],
        ["best val_loss", "0.25", "0.25"],
        ["best epoch", "1", "1"],
        ["val_loss", "0.25", "0.25"],
    ]
    assert "The settings are the same." in run("compare", *[project / "runs" / "done"] * 2)[1]
    long = duplicate_run(
        RunFolder.open(project / "runs" / "done"), name="a_name_that_is_too_long_for_a_column"
    )
    out = run("compare", project / "runs" / "done", long.path)[1]
    assert out.startswith(f"A  done\nB  {long.name}\n\n")
    assert re.search(r"^result +A +B$", out, re.M)
    code, _, err = run("compare", project / "runs" / "done")
    assert (code, "at least two runs" in err) == (2, True)


def test_a_duplicate_is_made_and_its_start_named(run, project):
    code, out, _ = run("duplicate", project / "runs" / "broken", "--set", "tr_config.optimizer.lr=0.5")
    assert code == 0
    new = project / "runs" / "broken_lr_0.5"
    assert out == f"pending: {new}\nbegin it with: segtrain train --resume {new} -i DATA\n"
    assert RunFolder.open(new).read_config().tr_config.optimizer.lr == 0.5
    code, _, err = run("duplicate", project / "runs" / "broken", "--set", "tr_config.optimizer.l=0.5")
    assert (code, "Did you mean 'lr'" in err) == (2, True)


@pytest.mark.parametrize("answer", [True, False])
def test_delete_asks(run, project, monkeypatch, answer):
    asked = []
    monkeypatch.setattr(typer, "confirm", lambda text: asked.append(text) or answer)
    path = project / "runs" / "broken"
    code, out, _ = run("delete", path)
    assert (code, path.exists()) == (0 if answer else 1, not answer)
    assert asked[0].startswith(f"Delete {path} (0.0 MiB)?")
    assert ("deleted" in out, "nothing was deleted" in out) == (True, not answer)


def test_delete_with_yes_takes_exactly_the_run_that_is_named(run, project, monkeypatch):
    monkeypatch.setattr(typer, "confirm", lambda text: pytest.fail("asked"))
    for path in (project, project / "runs", project / "runs" / "broken" / "checkpoints"):
        code, _, err = run("delete", path, "--yes")
        assert (code, "is not a run folder" in err) == (2, True)
    assert run("delete", project / "runs" / "cut", "--yes")[0] == 0
    assert sorted(path.name for path in (project / "runs").glob("[a-z]*")) == ["broken", "done", "next"]
    with ProjectLock(project).acquire("next"):
        code, _, err = run("delete", project / "runs" / "next", "--yes")
    assert (code, "is running and cannot be deleted" in err) == (2, True)


def test_stop_says_when_there_is_nothing_to_stop(run, project, monkeypatch):
    code, _, err = run("stop", project / "runs" / "next")
    assert (code, "is not running" in err) == (2, True)
    sent = []
    monkeypatch.setattr(os, "kill", lambda *what: sent.append(what))
    with ProjectLock(project).acquire("next"):
        code, out, _ = run("stop", project / "runs" / "next")
    assert (code, "was asked to stop" in out) == (0, True)
    assert (os.getpid(), signal.SIGTERM) in sent


def test_a_retry_trains_and_a_completed_run_is_not_retried(run, small, disc_folder, tmp_path):
    arguments = ("-i", disc_folder(count=2), "-o", tmp_path / "P", "--config-path", small)
    code, _, _ = run("train", *arguments, "--num-epochs", 2, "--stop-after", 1)
    assert code == 130
    folder = tmp_path / "P" / "runs" / "epochs_2"
    code, out, _ = run("retry", folder)
    assert (code, f"completed: {folder}" in out) == (0, True)
    assert "Epoch 1/2" in out
    assert len(attempts(RunFolder.open(folder))) == 1
    code, _, err = run("retry", folder)
    assert (code, "completed cannot become pending" in err) == (2, True)


def test_wait_says_for_whom_and_can_be_interrupted(run, small, disc_folder, tmp_path, monkeypatch):
    real = TerminalProgress._wait

    def interrupt(self, event):
        real(self, event)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(TerminalProgress, "_wait", interrupt)
    arguments = ("train", "-i", disc_folder(count=2), "-o", tmp_path / "P", "--config-path", small)
    with ProjectLock(tmp_path / "P").acquire("other"):
        code, out, err = run(*arguments, "--wait")
        assert code == 130
        assert "Waiting. A training run is already active in" in out
        assert "'other' (process" in out
        assert "stopped while waiting, nothing was started" in err
        code, _, err = run(*arguments)
        assert (code, "A training run is already active in" in err) == (2, True)
    assert not list(tmp_path.glob("P/runs/[a-z]*"))


def test_labels_of_a_run_are_written_as_they_were(run, project, tmp_path):
    import numpy as np

    from napari_segtrain.data import open_dataset
    from napari_segtrain.runs.label_store import LabelStore
    from napari_segtrain.training.label_history import LabelHistory

    folder = project / "runs" / "done"
    painted = np.eye(20, dtype=np.uint8)
    data = open_dataset({"layers": [{"id": "im", "image": painted, "labels": {"cell": painted}}]})
    history = LabelHistory(data, LabelStore(folder))
    history.start()
    history.store.note(1, history.state())
    code, out, _ = run("labels", folder, "-o", tmp_path / "out")
    assert (code, out) == (0, f"written: {tmp_path / 'out' / 'labels' / 'im_cell.zarr'}\n")
    code, _, err = run("labels", folder, "-o", tmp_path / "out")
    assert code == 2 and "nothing is overwritten" in err
    code, _, _ = run("labels", folder, "-o", tmp_path / "before", "--before-resume")
    assert code == 0 and (tmp_path / "before" / "labels" / "im_cell.zarr").is_dir()
    code, _, err = run("labels", project / "runs" / "broken", "-o", tmp_path / "other")
    assert code == 2 and "has kept no labels" in err
