from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import (
    ProjectLock,
    RunFolder,
    RunState,
    create_run,
    list_runs,
    read_data,
)
from napari_segtrain.runs.queue import Place


def test_a_project_without_runs(served) -> None:
    answer = served.ask("/api/runs")
    assert (answer.code, answer.json) == (200, {"project": "P", "active": None, "runs": []})
    assert served.ask("/api/runs/base").code == 404


def test_runs_are_listed_also_damaged_ones(served, completed: RunFolder) -> None:
    (RunFolder.create(served.project, "cut").path / "run.json").write_text("{")
    first, second = served.ask("/api/runs").json["runs"]
    assert (first["name"], first["status"], first["epoch"], first["fault"]) == ("done", "completed", 2, "")
    assert second["name"] == "cut"
    assert "run.json: is not valid JSON" in second["fault"]


def test_a_run_is_known_by_its_name_and_its_id(served, completed: RunFolder) -> None:
    by_name = served.ask("/api/runs/done").json
    assert served.ask(f"/api/runs/{completed.read_info().id}").json == by_name
    assert by_name["run"]["status"] == "completed"
    assert [row["val_loss"] for row in by_name["metrics"]] == [2.0, 1.0]
    assert by_name["config"]["tr_config"]["num_epochs"] == ExperimentConfig().tr_config.num_epochs
    assert [picture["name"] for picture in by_name["pictures"]] == ["segtrain_debug.png"]
    assert by_name["faults"] == []


def test_a_damaged_file_is_said_and_the_rest_is_shown(served, completed: RunFolder) -> None:
    (completed.path / "metrics.json").write_text("[{")
    found = served.ask("/api/runs/done").json
    assert found["metrics"] == []
    assert found["run"]["epoch"] == 2
    assert "metrics.json: is not valid JSON" in found["faults"][0]


def test_pictures_and_nothing_else_can_be_read(served, completed: RunFolder) -> None:
    answer = served.ask("/api/runs/done/pictures/segtrain_debug.png")
    assert (answer.code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.body == (completed.plots / "segtrain_debug.png").read_bytes()
    secret = served.project / "secret.png"
    secret.write_bytes(b"secret")
    (completed.plots / "link.png").symlink_to(secret)
    (completed.plots / "notes.txt").write_text("secret")
    for path in (
        "link.png",
        "notes.txt",
        "..%2Frun.json",
        "../run.json",
        "%2e%2e/run.json",
        "..%2f..%2f..%2fsecret.png",
        str(secret),
        str(secret).replace("/", "%2F"),
    ):
        answer = served.ask(f"/api/runs/done/pictures/{path}")
        assert (answer.code, b"secret" in answer.body) == (404, False), path
    for run in ("..", "%2e%2e", "done%2F..", ".", "%2E%2E%2Fruns%2Fdone"):
        assert served.ask(f"/api/runs/{run}/pictures/segtrain_debug.png").code == 404, run


def test_a_start_answers_at_once_that_the_run_is_pending(served, tmp_path: Path, sleepers) -> None:
    body = {
        "data": str(tmp_path),
        "config": {"tr_config": {"num_epochs": 7}},
        "overrides": {"tr_config.optimizer.lr": 0.5, "tr_config.batch_size": 4},
    }
    answer = served.ask("/api/runs", body)
    (run,) = list_runs(served.project)
    assert answer.code == 202
    assert answer.json == {"run_id": run.read_info().id, "name": "batch_4_lr_0.5", "status": "pending"}
    config = run.read_config().tr_config
    assert (config.num_epochs, config.optimizer.lr, config.batch_size) == (7, 0.5, 4)
    assert read_data(run) == str(tmp_path)
    assert len(sleepers) == 1
    again = served.ask("/api/runs", body)
    assert again.code == 409
    assert again.json["error"] == "A training run is already active"
    assert "'batch_4_lr_0.5' (process" in again.json["detail"]
    end(sleepers[0])
    assert served.ask("/api/runs", {**body, "run_name": "mine"}).json["name"] == "mine"


def test_after_the_end_of_a_run_the_next_may_start(served, tmp_path: Path, sleepers) -> None:
    """Also while the process of the one before is still busy with its own end."""
    served.ask("/api/runs", {"data": str(tmp_path)})
    run = RunFolder.open(served.project / "runs" / "base")
    run.set_state(RunState.RUNNING)
    run.update_info(pid=sleepers[0].pid)
    run.set_state(RunState.COMPLETED, reason="all_epochs")
    assert sleepers[0].poll() is None
    assert served.ask("/api/runs", {"data": str(tmp_path)}).code == 202


def test_of_many_starts_at_once_one_is_taken(served, tmp_path: Path, sleepers) -> None:
    codes: list[int] = []
    barrier = threading.Barrier(6)

    def start() -> None:
        barrier.wait()
        codes.append(served.ask("/api/runs", {"data": str(tmp_path)}).code)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [202, *[409] * 5]
    assert [run.name for run in list_runs(served.project)] == ["base"]


def test_a_run_that_somebody_else_trains_is_respected(served, tmp_path: Path, sleepers) -> None:
    with ProjectLock(served.project).acquire("theirs"):
        answer = served.ask("/api/runs", {"data": str(tmp_path)})
    assert (answer.code, answer.json["error"]) == (409, "A training run is already active")
    assert "'theirs'" in answer.json["detail"]
    assert sleepers == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "body: Invalid JSON"),
        ({}, "data: Field required"),
        ({"data": "DATA", "epochs": 3}, "epochs: Extra inputs"),
        ({"data": "/no/such/folder"}, "there is no such data folder on this machine"),
        ({"data": "DATA", "overrides": {"tr_config.num_epoch": 3}}, "Did you mean 'num_epochs'"),
        ({"data": "DATA", "config": {"tr_config": {"num_epochs": 0}}}, "tr_config.num_epochs"),
        ({"data": "DATA", "run_name": "../x"}, "is not usable"),
    ],
)
def test_what_cannot_be_started_is_said_and_leaves_nothing(served, tmp_path, sleepers, body, words) -> None:
    if isinstance(body, dict) and body.get("data") == "DATA":
        body["data"] = str(tmp_path)
    answer = served.ask("/api/runs", body)
    assert answer.code in (409, 422)
    assert words in answer.json["error"]
    assert (list_runs(served.project), sleepers) == ([], [])


def test_a_pending_or_interrupted_run_can_be_begun(served, completed: RunFolder, sleepers) -> None:
    answer = served.ask("/api/runs/done/resume", {})
    assert (answer.code, "is completed and cannot go on" in answer.json["error"]) == (409, True)
    create_run(served.project, "next", ExperimentConfig(), "/data")
    answer = served.ask("/api/runs/next/resume", {})
    assert (answer.code, answer.json["status"]) == (202, "pending")
    assert served.ask("/api/runs/next/resume", {}).json["error"] == "A training run is already active"


def test_a_run_that_failed_is_retried(served, completed: RunFolder, sleepers) -> None:
    answer = served.ask("/api/runs/done/retry", {})
    assert (answer.code, "completed cannot become pending" in answer.json["error"]) == (409, True)
    run = create_run(served.project, "bad", ExperimentConfig(), "/data")
    run.set_state(RunState.RUNNING)
    run.append_metrics({"epoch": 1, "train_loss": 1.0})
    run.finish(RunState.FAILED, "error", "no")
    with ProjectLock(served.project).acquire("theirs"):
        answer = served.ask("/api/runs/bad/retry", {})
        assert (answer.code, answer.json["error"]) == (409, "A training run is already active")
    assert (run.state, sleepers) == (RunState.FAILED, [])
    answer = served.ask("/api/runs/bad/retry", {})
    assert (answer.code, answer.json["name"], answer.json["status"]) == (202, "bad", "failed"), (
        "until its turn"
    )
    assert [process.wishes for process in sleepers] == [{"retry"}]
    assert served.ask("/api/runs/bad/retry", {"changed-data": True}).code == 422
    end(sleepers[0])
    assert served.ask("/api/runs/bad/retry", {"changed_data": True}).code == 202
    assert sleepers[1].wishes == {"retry", "changed_data"}


def end(process: Any) -> None:
    process.kill()
    process.wait()


def test_a_start_waits_for_the_active_run(served, completed: RunFolder, tmp_path: Path, sleepers) -> None:
    first = served.ask("/api/runs", {"data": str(tmp_path)}).json["name"]
    waits = {"data": str(tmp_path), "wait": True}
    second = served.ask("/api/runs", waits)
    assert (second.code, second.json["status"], second.json["name"]) == (202, "pending", "base_2")
    assert [process.wishes for process in sleepers] == [set(), {"wait"}]
    assert served.ask("/api/runs", {"data": str(tmp_path)}).code == 409
    again = served.ask("/api/runs/base_2/resume", {"wait": True})
    assert (again.code, "waits already, or is about to run" in again.json["error"]) == (409, True)
    create_run(served.project, "third", ExperimentConfig(), "/data")
    assert served.ask("/api/runs/third/resume", {"wait": True, "changed_data": True}).code == 202
    assert sleepers[2].wishes == {"wait", "changed_data"}
    with ProjectLock(served.project).acquire(first), Place(served.project, "third", made=True):
        known = served.ask("/api/runs").json
        assert f"'{first}' (process" in known["active"]
        assert {run["name"]: run["waiting"] for run in known["runs"]} == {
            "done": False, "base": True, "base_2": True, "third": True,
        }, "what was begun counts from the moment it was"  # fmt: skip
        assert served.ask("/api/runs/base_2/stop", {}).code == 202
        sleepers[1].wait(120)
        assert sleepers[2].poll() is None
    assert RunFolder(served.project / "runs" / "base_2").state is RunState.PENDING


def test_a_run_is_duplicated_with_other_settings(served, completed: RunFolder, sleepers) -> None:
    answer = served.ask("/api/runs/done/duplicate", {"overrides": {"tr_config.optimizer.lr": 0.5}})
    run = RunFolder.open(served.project / "runs" / "done_lr_0.5")
    assert answer.code == 201
    assert answer.json == {"run_id": run.read_info().id, "name": "done_lr_0.5", "status": "pending"}
    assert run.read_config().tr_config.optimizer.lr == 0.5
    assert sleepers == []
    assert served.ask("/api/runs/done/duplicate", {"run_name": "mine"}).json["name"] == "mine"
    for body, words in (
        ({"overrides": {"tr_config.num_epoch": 3}}, "Did you mean 'num_epochs'"),
        ({"run_name": "../x"}, "is not usable"),
        ({"name": "x"}, "name: Extra inputs"),
    ):
        answer = served.ask("/api/runs/done/duplicate", body)
        assert answer.code in (409, 422)
        assert words in answer.json["error"]
    assert len(list_runs(served.project)) == 3


def test_a_run_is_deleted_unless_it_runs(served, completed: RunFolder, sleepers) -> None:
    def delete() -> Any:
        return served.ask("/api/runs/done", method="DELETE", Content_Type="application/json")

    with ProjectLock(served.project).acquire("done"):
        assert delete().code == 409
    assert served.ask("/api/runs/done", method="DELETE").code == 415, "a page of another site cannot"
    completed.path.rename(completed.path.with_name("kept"))
    create_run(served.project, "done", ExperimentConfig(), "/data")
    assert served.ask("/api/runs/done/resume", {}).code == 202
    answer = delete()
    assert (answer.code, "is about to run" in answer.json["error"]) == (409, True)
    end(sleepers[0])
    assert (delete().code, delete().code) == (200, 404)
    assert [path.name for path in completed.path.parent.iterdir() if path.is_dir()] == ["kept"]


def test_stop_asks_the_process(served, completed: RunFolder, monkeypatch) -> None:
    answer = served.ask("/api/runs/done/stop", {})
    assert (answer.code, "is not running" in answer.json["error"]) == (409, True)
    sent = []
    monkeypatch.setattr(os, "kill", lambda *what: sent.append(what))
    with ProjectLock(served.project).acquire("done"):
        assert served.ask("/api/runs/done/stop", {}).code == 202
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_a_dead_run_is_not_listed_as_running(served) -> None:
    RunFolder.create(served.project, "dead").set_state(RunState.RUNNING)
    assert served.ask("/api/runs").json["runs"][0]["status"] == "interrupted"


def test_what_is_not_there(served) -> None:
    for path in ("/api/nothing", "/nothing", "/../../etc/passwd", "/..%2Fapp.py", "/%2e%2e/app.py"):
        assert served.ask(path).code == 404, path
    assert served.ask("/api/runs", method="DELETE", Content_Type="application/json").code == 405
    for method, path in (("POST", "retry"), ("POST", "duplicate"), ("DELETE", "")):
        answer = served.ask(f"/api/runs/gone/{path}".rstrip("/"), b"{}", method)
        assert (answer.code, "there is no run 'gone'" in answer.json["error"]) == (404, True)
