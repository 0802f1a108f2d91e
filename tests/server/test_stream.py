from __future__ import annotations

import json

import pytest

from napari_segtrain.runs import (
    EpochDone,
    EventTail,
    ProjectLock,
    RunFolder,
    RunState,
    delete_run,
    read_events,
    set_back,
)
from napari_segtrain.server.stream import begin_at

KINDS = ["status_changed", "epoch_done", "epoch_done", "status_changed", "finished", "end"]


def events(said: list[dict[str, str]]) -> list[dict[str, str]]:
    return [item for item in said if "event" in item]


def test_a_run_that_has_ended_is_replayed(served, completed: RunFolder) -> None:
    said = events(list(served.stream("/api/runs/done/events")))
    assert [item["event"] for item in said] == KINDS
    written = [json.loads(event.to_json()) for event in read_events(completed.events_path)]
    assert [json.loads(item["data"]) for item in said[:-1]] == written
    assert json.loads(said[-1]["data"]) == {"status": "completed"}
    kind = served.ask("/api/runs/done/events").headers["content-type"]
    assert kind.startswith("text/event-stream")


def test_a_client_goes_on_behind_what_it_has_seen(served, completed: RunFolder) -> None:
    path = "/api/runs/done/events"
    said = events(list(served.stream(path)))
    for seen in range(len(said) - 2):
        rest = events(list(served.stream(path, Last_Event_ID=said[seen]["id"])))
        assert rest == said[seen + 1 :]
    last = served.ask(path, Last_Event_ID=said[-2]["id"])
    assert (last.code, last.body) == (204, b""), "a browser does not come again"
    for wrong in ("", "x", "0-", "0-7", "0-999999999", "7-0", "0--4", "0-²"):
        assert events(list(served.stream(path, Last_Event_ID=wrong.encode().decode("latin-1")))) == said


def test_places_in_the_file_of_another_attempt_count_for_nothing(completed: RunFolder) -> None:
    run = RunFolder.create(completed.project, "r")
    with run.open_events() as write:
        write(run.set_state(RunState.RUNNING))
    run.finish(RunState.FAILED, "error")
    size = run.events_path.stat().st_size
    assert begin_at(run, f"0-{size}").offset == size
    set_back(run)
    assert begin_at(run, f"0-{size}").offset == 0
    size = run.events_path.stat().st_size
    assert begin_at(run, f"1-{size}").offset == size
    run.events_path.unlink()
    assert isinstance(begin_at(run, f"1-{size}"), EventTail)


def test_what_happens_arrives_while_it_happens_with_heartbeats_between(serve) -> None:
    served = serve(heartbeat=0.0)
    run = RunFolder.create(served.project, "live")
    said = served.stream("/api/runs/live/events")
    assert next(said) == {"retry": "2000"}
    assert next(said) == {"": "heartbeat"}, "a pending run is waited for"

    def next_event() -> dict[str, str]:
        return next(item for item in said if "event" in item)

    with ProjectLock(served.project).acquire("live"), run.open_events() as write:
        write(run.set_state(RunState.RUNNING))
        assert json.loads(next_event()["data"])["status"] == "running"
        for epoch in (1, 2):
            write(EpochDone(epoch=epoch, num_epochs=2, row={"val_loss": float("nan")}))
            told = next_event()
            assert (told["event"], json.loads(told["data"])["epoch"]) == ("epoch_done", epoch)
            assert json.loads(told["data"])["row"] == {"val_loss": None}
        run.finish(RunState.INTERRUPTED, "stopped")
    assert [item["event"] for item in said if "event" in item] == ["status_changed", "finished", "end"]


def test_a_dead_process_ends_the_stream(served) -> None:
    RunFolder.create(served.project, "dead").set_state(RunState.RUNNING)
    *_, finished, end = events(list(served.stream("/api/runs/dead/events")))
    assert (json.loads(finished["data"])["reason"], json.loads(end["data"])["status"]) == (
        "crashed",
        "interrupted",
    )


def test_a_run_that_is_deleted_ends_the_stream(served) -> None:
    run = RunFolder.create(served.project, "gone")
    said = served.stream("/api/runs/gone/events")
    assert next(said) == {"retry": "2000"}
    delete_run(run)
    assert "is gone; the run was deleted" in json.loads(next(said)["data"])["message"]
    assert list(said) == []


def test_a_run_that_is_begun_again_is_followed_on(served, completed: RunFolder, sleepers) -> None:
    run = RunFolder.create(served.project, "r")
    with run.open_events() as write:
        write(run.set_state(RunState.RUNNING))
    run.finish(RunState.INTERRUPTED, "stopped")
    assert served.ask("/api/runs/r/resume", {}).code == 202
    said = served.stream("/api/runs/r/events")
    kinds = [item.get("event") for _, item in zip(range(4), said, strict=False)]
    assert kinds == [None, "status_changed", "status_changed", "finished"]
    with run.open_events() as write:
        write(run.set_state(RunState.RUNNING))
    run.finish(RunState.COMPLETED, "all_epochs")
    sleepers[0].kill()
    rest = [item["event"] for item in said]
    assert rest == ["status_changed", "status_changed", "finished", "end"]


@pytest.mark.parametrize("heartbeat", [0.0, 60.0])
def test_open_streams_do_not_keep_the_server(serve, heartbeat: float) -> None:
    served = serve(heartbeat=heartbeat)
    RunFolder.create(served.project, "waiting")
    said = served.stream("/api/runs/waiting/events")
    next(said)
    served.server.should_exit = True
    assert all("event" not in item for item in said)
