from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from napari_segtrain.config import RunError
from napari_segtrain.runs import (
    Finished,
    ProcessId,
    ProjectLock,
    RunFolder,
    RunState,
    lock,
    read_events,
    recover,
)

HOLD = """
import sys, time
from napari_segtrain.runs import ProjectLock, RunFolder, RunState
run = RunFolder.create({project!r}, "other")
lock = ProjectLock({project!r}).acquire(run.name)
run.set_state(RunState.RUNNING)
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["system", "file"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both kinds of lock; the second is for file systems on which the system has none."""
    if request.param == "file":

        def unsupported(file: object, *, shared: bool) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(lock, "_lock", unsupported)
    return request.param


def test_one_run_at_a_time(tmp_path: Path, kind: str) -> None:
    first, second = ProjectLock(tmp_path), ProjectLock(tmp_path)
    with first.acquire("base"):
        expected = rf"A training run is already active in .*: 'base' \(process {os.getpid()} on "
        for other in (first, second):
            with pytest.raises(RunError, match=expected):
                other.acquire("next")
        holder = second.holder()
        assert holder is not None
        assert holder.run == "base"
        assert (second.active() or "").startswith("A training run is already active in")
        assert holder.process.is_alive()
        assert not second.held
    assert second.holder() is None
    assert second.active() is None
    with second.acquire("next"):
        assert second.held
    assert not second.held


def test_the_holder_may_note_another_name(tmp_path: Path, kind: str) -> None:
    with ProjectLock(tmp_path).acquire("base") as mine:
        mine.rename("base_2")
        holder = ProjectLock(tmp_path).holder()
        assert holder is not None
        assert (holder.run, holder.process.pid) == ("base_2", os.getpid())
        with pytest.raises(RunError, match="'base_2'"):
            ProjectLock(tmp_path).acquire("next")
    assert ProjectLock(tmp_path).holder() is None


def test_projects_do_not_disturb_each_other(tmp_path: Path, kind: str) -> None:
    with ProjectLock(tmp_path / "a").acquire("base"), ProjectLock(tmp_path / "b").acquire("base") as other:
        assert other.held


def test_of_many_threads_one_gets_it(tmp_path: Path, kind: str) -> None:
    barrier, got = threading.Barrier(6), []

    def take() -> None:
        mine = ProjectLock(tmp_path)
        barrier.wait()
        try:
            mine.acquire("base")
        except RunError as error:
            got.append(str(error))
        else:
            got.append("mine")
            done.wait()
            mine.release()

    done = threading.Event()
    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    while len(got) < 6:
        done.wait(0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert got.count("mine") == 1
    assert all("already active" in text for text in got if text != "mine")


def test_of_processes_that_start_at_once_one_gets_it(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from napari_segtrain.config import RunError\n"
        "from napari_segtrain.runs import ProjectLock\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "try:\n"
        f"    lock = ProjectLock({str(tmp_path)!r}).acquire('mine')\n"
        "    print('mine', flush=True)\n"
        "except RunError as error:\n"
        "    print(error, flush=True)\n"
        "sys.stdin.readline()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    racers = [subprocess.Popen([sys.executable, "-c", program], **pipes) for _ in range(3)]
    try:
        assert [racer.stdout.readline() for racer in racers] == ["ready\n"] * 3
        for racer in racers:
            racer.stdin.write("go\n")
        said = sorted(racer.stdout.readline() for racer in racers)
        assert said[2] == "mine\n"
        assert all(text.startswith("A training run is already active in ") for text in said[:2])
    finally:
        for racer in racers:
            racer.communicate("end\n", timeout=60)
    assert ProjectLock(tmp_path).holder() is None


def test_another_process_has_it_until_it_dies(tmp_path: Path, python) -> None:
    process = python(HOLD.format(project=str(tmp_path)))
    assert process.stdout.readline() == "held\n"
    with pytest.raises(RunError, match=rf"already active in .*'other' \(process {process.pid} on"):
        ProjectLock(tmp_path).acquire("mine")
    assert recover(tmp_path) == []
    run = RunFolder.open(tmp_path / "runs" / "other")
    assert run.state is RunState.RUNNING
    process.kill()
    process.wait()
    with ProjectLock(tmp_path).acquire("mine"):
        assert run.state is RunState.INTERRUPTED
    info = run.read_info()
    assert info.finish_reason == "crashed"
    assert "resume the run from its last checkpoint" in info.message
    assert isinstance(read_events(run.events_path)[-1], Finished)


def test_the_file_of_a_dead_process_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(file: object, *, shared: bool) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(lock, "_lock", unsupported)
    held = ProjectLock(tmp_path).acquire("base")
    owner = tmp_path / "runs" / ".lock.owner"
    assert owner.exists()
    reused = ProcessId.here().replace(started=ProcessId.here().started - 3600)
    owner.write_text(lock.Holder(process=reused, run="dead").model_dump_json())
    with ProjectLock(tmp_path).acquire("next"):
        assert ProjectLock(tmp_path).holder().run == "next"
    held.release()


def test_a_process_on_another_machine_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_lock", lambda *a, **k: (_ for _ in ()).throw(OSError(errno.ENOLCK, "")))
    (tmp_path / "runs").mkdir()
    far = ProcessId(host="another-machine", pid=1, started=0.0)
    (tmp_path / "runs" / ".lock.owner").write_text(lock.Holder(process=far, run="far").model_dump_json())
    with pytest.raises(RunError, match=r"'far' \(process 1 on another-machine\)"):
        ProjectLock(tmp_path).acquire("mine")


def test_recover_ends_what_is_dead(tmp_path: Path) -> None:
    dead = RunFolder.create(tmp_path, "dead")
    dead.set_state(RunState.RUNNING)
    waiting = RunFolder.create(tmp_path, "waiting")
    assert recover(tmp_path) == [dead]
    assert (dead.state, waiting.state) == (RunState.INTERRUPTED, RunState.PENDING)
    assert recover(tmp_path) == []
    assert ProjectLock(tmp_path).holder() is None


def test_a_look_from_here_ends_nothing_on_another_machine(tmp_path: Path) -> None:
    far = RunFolder.create(tmp_path, "far")
    far.set_state(RunState.RUNNING)
    far.update_info(host="another-machine")
    assert recover(tmp_path) == []
    assert far.state is RunState.RUNNING


def test_a_project_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    mine = ProjectLock(tmp_path / "file")
    with pytest.raises(RunError, match=r"cannot be locked .*choose a project folder"):
        mine.acquire("base")
    assert not mine.held


def test_the_lock_is_not_taken_by_accident(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="acquire"), ProjectLock(tmp_path):
        pass


def test_a_project_without_runs_is_free(tmp_path: Path) -> None:
    assert ProjectLock(tmp_path).holder() is None
    assert recover(tmp_path) == []
