from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from napari_segtrain.config import RunError
from napari_segtrain.engine import (
    Engine,
    LabelsChanged,
    Pause,
    Predict,
    Preview,
    Resume,
    Shutdown,
    Stop,
    Train,
    supervisor,
)
from napari_segtrain.runs import (
    BatchDone,
    EngineDied,
    Event,
    Finished,
    FittingSize,
    LabelChange,
    LabelsApplied,
    Paused,
    PreviewHint,
    ProjectLock,
    Ready,
    Refused,
    Resumed,
    RunFolder,
    RunStarted,
    RunState,
    Warned,
    read_events,
)

E = TypeVar("E", bound=Event)
MakeEngine = Callable[..., Engine]


def wait_for(engine: Engine, kind: type[E], seconds: float = 60.0) -> E:
    """Take events until one of a kind comes."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        event = engine.next_event(timeout=0.5)
        if isinstance(event, kind):
            return event
    pytest.fail(f"no {kind.__name__} within {seconds} s")


def train(engine: Engine, project: Path, **config: object) -> Train:
    command = Train(config=config, data="d", project=str(project))
    engine.send(command)
    return command


def of_type(events: list[Event | None], kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


# ------------------------------------------------------------------------------------ ordinary life


def test_a_job_from_start_to_end(engine: Engine, tmp_path: Path) -> None:
    command = train(engine, tmp_path, steps=5)
    assert engine.job == command.job
    events = list(engine.events(command.job))
    assert isinstance(events[0], Ready)
    assert events[0].pid == engine.pid
    assert isinstance(events[1], RunStarted)
    assert [event.step for event in of_type(events, BatchDone)] == [1, 2, 3, 4, 5]
    end = events[-1]
    assert isinstance(end, Finished)
    assert (end.status, end.reason) == (RunState.COMPLETED, "all_epochs")
    assert {event.job for event in events[1:] if event is not None} == {command.job}
    assert engine.job is None


def test_a_warm_engine_takes_job_after_job_at_once(engine: Engine, tmp_path: Path) -> None:
    assert engine.wait_ready(60)
    pid = engine.pid
    for _ in range(3):
        # The fake job tidies up after it has announced its end; the next one must not be refused for that.
        command = train(engine, tmp_path, steps=1, tidy_up=0.05)
        events = list(engine.events(command.job))
        assert isinstance(events[-1], Finished)
        assert events[-1].status is RunState.COMPLETED
    assert engine.pid == pid
    assert [path.name for path in sorted((tmp_path / "runs").glob("base*"))] == ["base", "base_2", "base_3"]


def test_a_job_sent_while_the_engine_warms_up_is_not_lost(make_engine: MakeEngine, tmp_path: Path) -> None:
    engine = make_engine(SLOW_WARM_UP="0.3")
    assert not engine.ready
    command = train(engine, tmp_path, steps=1)
    kinds = [type(event) for event in engine.events(command.job)]
    assert kinds == [Ready, RunStarted, BatchDone, Finished]


def test_pause_resume_stop(engine: Engine, tmp_path: Path) -> None:
    command = train(engine, tmp_path)
    wait_for(engine, BatchDone)
    engine.send(Pause())
    wait_for(engine, Paused)
    assert engine.next_event(timeout=0.2) is None, "a paused job does nothing"
    engine.send(Resume())
    assert isinstance(engine.next_event(timeout=60), Resumed)
    wait_for(engine, BatchDone)
    engine.send(Stop(job="another job"))
    wait_for(engine, BatchDone)
    engine.send(Stop(job=command.job))
    end = wait_for(engine, Finished)
    assert (end.status, end.reason, end.job) == (RunState.INTERRUPTED, "stopped", command.job)
    assert end.path is not None
    assert RunFolder.open(end.path).state is RunState.INTERRUPTED
    assert engine.alive, "stopping a job does not end the engine"


def test_a_paused_job_can_be_stopped(engine: Engine, tmp_path: Path) -> None:
    train(engine, tmp_path)
    engine.send(Pause())
    wait_for(engine, Paused)
    engine.send(Stop())
    assert wait_for(engine, Finished).status is RunState.INTERRUPTED


def test_labels_and_hints_reach_the_job(engine: Engine, tmp_path: Path) -> None:
    train(engine, tmp_path)
    changes = tuple(LabelChange(record="a", target="t", start=(n, 0), stop=(n + 1, 4)) for n in (3, 4))
    engine.send(LabelsChanged(changes=changes))
    assert [wait_for(engine, LabelsApplied).start for _ in changes] == [(3, 0), (4, 0)]
    engine.send(Preview(hint=PreviewHint(record="a", start=(7, 7), stop=(9, 9))))
    assert wait_for(engine, Warned).message == "looking at (7, 7)"


def test_commands_without_a_job_are_harmless(engine: Engine, tmp_path: Path) -> None:
    for command in (Pause(), Resume(), Stop(), Preview(hint=None), LabelsChanged(changes=())):
        engine.send(command)
    job = train(engine, tmp_path, steps=1).job
    kinds = [type(event) for event in engine.events(job)]
    assert kinds == [Ready, RunStarted, BatchDone, Finished]


def test_one_job_at_a_time(engine: Engine, tmp_path: Path) -> None:
    train(engine, tmp_path)
    second = Predict(model="wait", data="d", output="o")
    with pytest.raises(RunError, match="A job is already active in this process"):
        engine.send(second)
    # The engine itself refuses too, should two programs share its pipe.
    engine._child._lines.put(second.to_json().encode() + b"\n")
    refused = wait_for(engine, Refused)
    assert (refused.command, refused.job) == ("predict", second.job)
    assert refused.message == "A training run is already active; stop it or wait for its end"


def test_followers_can_do_other_things_meanwhile(engine: Engine) -> None:
    ticks = 0
    for event in engine.events(tick=0.02):
        ticks += event is None
        if ticks > 3:
            break
    assert ticks == 4


def test_an_engine_that_was_not_started_says_so() -> None:
    engine = Engine()
    with pytest.raises(RunError, match="was not started"):
        engine.send(Stop())
    assert (engine.alive, engine.ready, engine.pid, engine.job) == (False, False, None, None)
    assert engine.next_event(timeout=0) is None
    assert list(engine.events()) == []
    engine.close()


# ------------------------------------------------------------------------------------------- faults


def test_what_the_user_gave_wrong_comes_back_as_a_sentence(predict) -> None:
    _, end = predict("data_error")
    assert (end.status, end.reason) == (RunState.FAILED, "error")
    assert end.message == "the image is empty; choose another one"
    assert end.traceback is None


def test_a_job_that_was_stopped_before_it_began_did_not_fail(live: Engine) -> None:
    command = Predict(model="cancelled", data="d", output="o")
    live.send(command)
    end: Event | None = None
    for end in live.events(command.job):
        if isinstance(end, Warned):
            live.send(Stop(job=command.job))
    assert isinstance(end, Finished)
    assert (end.status, end.reason) == (RunState.INTERRUPTED, "stopped")
    assert end.message == "stopped while waiting, nothing was started"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("bug", "ZeroDivisionError: division by nothing"),
        ("bug_after_success", "ZeroDivisionError"),
        ("exit", "SystemExit: 5"),
    ],
)
def test_a_bug_comes_back_with_its_traceback_and_the_engine_lives(
    predict, live: Engine, what: str, message: str
) -> None:
    _, end = predict(what)
    assert end.status is RunState.FAILED
    assert end.message.startswith(message)
    assert end.traceback is not None
    assert "fake_jobs.py" in end.traceback
    _, end = predict("nothing in particular")
    assert end.status is RunState.COMPLETED
    assert live.alive


def test_noise_on_standard_output_does_not_reach_the_protocol(
    predict, caplog: pytest.LogCaptureFixture
) -> None:
    events, end = predict("noise")
    assert events == [end]
    assert end.status is RunState.COMPLETED
    assert caplog.text == ""


def test_standard_input_is_empty_for_jobs(predict) -> None:
    events, _ = predict("stdin")
    assert of_type(events, Warned)[0].message == "''"


@pytest.mark.parametrize(
    "line", [b"not json", b'{"command": "explode"}', b"\xff\xff", b'{"command": "train"}', b"[]"]
)
def test_a_bad_line_is_refused_and_survived(live: Engine, predict, line: bytes) -> None:
    live._child._lines.put(line + b"\n\n")
    refused = wait_for(live, Refused)
    assert refused.message.startswith("not a command")
    _, end = predict("nothing in particular")
    assert end.status is RunState.COMPLETED


def test_the_engine_lets_the_viewer_go_first(environment: dict[str, str]) -> None:
    with Engine(("--jobs", "fake_jobs:JOBS"), environment) as engine:
        engine.send(Predict(model="nice", data="d", output="o"))
        assert int(wait_for(engine, Warned).message) == min(19, os.nice(0) + 10)


def test_the_engine_shares_our_session_but_not_our_terminals_signals(live: Engine) -> None:
    assert os.getsid(live.pid) == os.getsid(0)
    assert os.getpgid(live.pid) != os.getpgid(0)


# -------------------------------------------------------------------------------------------- death


def test_a_killed_engine_ends_in_a_clear_message_and_a_failed_run(engine: Engine, tmp_path: Path) -> None:
    command = train(engine, tmp_path)
    path = wait_for(engine, RunStarted).path
    wait_for(engine, BatchDone)
    pid = engine.pid
    os.kill(pid, signal.SIGKILL)
    events = list(engine.events(command.job))
    died, end = events[-2:]
    assert isinstance(died, EngineDied)
    assert (died.signal, died.exit_code, died.run) == ("SIGKILL", None, path)
    assert died.message.startswith("The training process ended unexpectedly, by SIGKILL.")
    sizes = "Patches of 64,64 in batches of 2 should fit"
    for part in ("memory runs out", "smaller patch", sizes, "Resume the run from its last checkpoint"):
        assert part in died.message
    assert isinstance(end, Finished)
    assert (end.job, end.status, end.reason, end.message) == (
        command.job, RunState.FAILED, "crashed", died.message,
    )  # fmt: skip
    assert end.fitting == FittingSize(patch_size=(64, 64), batch_size=2)
    run = RunFolder.open(path)
    assert run.state is RunState.FAILED
    assert run.read_info().message == died.message
    assert "failed (crashed)" in (run.path / "summary.txt").read_text()
    assert isinstance(read_events(run.events_path)[-1], Finished)
    assert not psutil.pid_exists(pid), "the dead process was not waited for"
    assert ProjectLock(tmp_path).holder() is None
    assert not engine.alive
    assert list(engine.events()) == []
    with pytest.raises(RunError, match="has ended; start it again"):
        engine.send(Stop())


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT"])
def test_a_crash_of_a_library_tells_its_last_words(engine: Engine, tmp_path: Path, name: str) -> None:
    # Without RunStarted the run is found by its process.
    command = train(engine, tmp_path, die_by=name, silent=True)
    events = list(engine.events(command.job))
    [died], [end] = of_type(events, EngineDied), of_type(events, Finished)
    assert end.fitting is None, "that had nothing to do with memory"
    assert died.signal == name
    assert "the last words of a library" in died.stderr
    assert died.run == str(tmp_path / "runs" / "base")
    assert RunFolder.open(died.run).state is RunState.FAILED


def test_an_engine_can_be_started_again(engine: Engine, tmp_path: Path) -> None:
    command = train(engine, tmp_path, die_by="SIGKILL")
    list(engine.events(command.job))
    engine.start()
    command = train(engine, tmp_path, steps=1)
    end = list(engine.events(command.job))[-1]
    assert isinstance(end, Finished)
    assert end.status is RunState.COMPLETED


def test_an_exit_code_is_told(engine: Engine) -> None:
    command = Predict(model="hard_exit", data="d", output="o")
    engine.send(command)
    died, end = list(engine.events(command.job))[-2:]
    assert isinstance(died, EngineDied)
    assert (died.exit_code, died.signal) == (7, None)
    assert died.message.startswith("The prediction process ended unexpectedly, with exit code 7.")
    assert isinstance(end, Finished)


def test_an_engine_whose_gpu_is_lost_ends_and_makes_room_for_another(engine: Engine, tmp_path: Path) -> None:
    command = Predict(model="lose_gpu", data="d", output="o")
    engine.send(command)
    events = list(engine.events())
    [end], [died] = of_type(events, Finished), of_type(events, EngineDied)
    assert (end.job, end.status, end.message) == (command.job, RunState.FAILED, "the GPU stopped working")
    assert (died.job, died.exit_code) == (None, 4)
    assert "Its GPU had stopped working" in died.message
    engine.start()
    train(engine, tmp_path, steps=1)
    end = next(event for event in engine.events() if isinstance(event, Finished))
    assert end.status is RunState.COMPLETED


def test_an_engine_that_cannot_import_says_what_is_missing(make_engine: MakeEngine) -> None:
    engine = make_engine(BROKEN_WARM_UP="No module named 'torch'")
    assert not engine.wait_ready(60)
    [died] = list(engine.events())
    assert isinstance(died, EngineDied)
    assert died.exit_code == 1
    assert died.message.endswith("It last said: ImportError: No module named 'torch'")


def test_sigterm_stops_the_job_and_ends_the_engine(engine: Engine, tmp_path: Path) -> None:
    command = train(engine, tmp_path)
    path = wait_for(engine, RunStarted).path
    os.kill(engine.pid, signal.SIGTERM)
    ended, died = [event for event in engine.events() if isinstance(event, Finished | EngineDied)]
    assert isinstance(ended, Finished)
    assert (ended.job, ended.status) == (command.job, RunState.INTERRUPTED)
    assert isinstance(died, EngineDied)
    assert died.exit_code == 128 + signal.SIGTERM
    assert RunFolder.open(path).state is RunState.INTERRUPTED


# -------------------------------------------------------------------------------------------- close


def test_close_lets_the_job_write_its_checkpoint(engine: Engine, tmp_path: Path) -> None:
    command = train(engine, tmp_path)
    wait_for(engine, BatchDone)
    pid = engine.pid
    engine.close()
    assert not psutil.pid_exists(pid)
    end = list(engine.events())[-1]
    assert isinstance(end, Finished)
    assert (end.job, end.status, end.reason) == (command.job, RunState.INTERRUPTED, "stopped")
    engine.close()


def test_close_need_not_wait(engine: Engine, tmp_path: Path) -> None:
    train(engine, tmp_path)
    wait_for(engine, BatchDone)
    pid = engine.pid
    engine.close(grace=None)
    with pytest.raises(RunError, match="has ended"):
        engine.send(Pause())
    assert wait_for(engine, Finished).status is RunState.INTERRUPTED
    assert list(engine.events()) == []
    assert not psutil.pid_exists(pid)


def test_a_job_that_does_not_listen_is_ended_by_force(engine: Engine) -> None:
    engine.send(Predict(model="stubborn", data="d", output="o"))
    wait_for(engine, Warned)
    pid = engine.pid
    engine.close(grace=0.1)
    assert not psutil.pid_exists(pid)
    [end] = list(engine.events())
    assert isinstance(end, Finished)
    assert (end.status, end.reason) == (RunState.INTERRUPTED, "stopped")


def test_a_process_that_cannot_even_end_is_killed(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_PATIENCE", 0.1)
    command = train(engine, tmp_path)
    path = wait_for(engine, RunStarted).path
    pid = engine.pid
    os.kill(pid, signal.SIGSTOP)
    engine.close(grace=0.1)
    assert not psutil.pid_exists(pid)
    end = list(engine.events())[-1]
    assert isinstance(end, Finished)
    assert (end.job, end.status, end.path) == (command.job, RunState.INTERRUPTED, path)
    assert RunFolder.open(path).state is RunState.INTERRUPTED


def test_a_stubborn_job_does_not_outlive_its_grace(make_engine: MakeEngine) -> None:
    engine = make_engine("--grace", "0.2")
    engine.send(Predict(model="stubborn", data="d", output="o"))
    wait_for(engine, Warned)
    engine._child._lines.put(Shutdown().to_json().encode() + b"\n")
    [died] = of_type(list(engine.events()), EngineDied)
    assert died.exit_code == 3
    assert "did not end its job in time" in died.message


def test_an_idle_engine_closes_at_once(engine: Engine) -> None:
    assert engine.wait_ready(60)
    engine.close()
    assert [type(event) for event in engine.events()] == [Ready]


@pytest.mark.parametrize("how", ["close", "signal"])
def test_closing_while_it_warms_up(make_engine: MakeEngine, how: str) -> None:
    engine = make_engine(SLOW_WARM_UP="300")
    pid = engine.pid
    while psutil.Process(pid).num_threads() < 3:  # until it reads its commands
        time.sleep(0.01)
    began = time.monotonic()
    if how == "signal":
        os.kill(pid, signal.SIGTERM)
    else:
        engine.close()
    assert [type(event) for event in engine.events()] == ([EngineDied] if how == "signal" else [])
    assert time.monotonic() - began < 120, "it must not go on to warm up"
    assert not psutil.pid_exists(pid)
