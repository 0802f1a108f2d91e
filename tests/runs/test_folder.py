from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from napari_segtrain.config import ConfigError, ExperimentConfig, RunError
from napari_segtrain.runs import (
    Best,
    Finished,
    RunFolder,
    RunState,
    StatusChanged,
    Warned,
    read_events,
)
from napari_segtrain.runs import folder as folder_module
from napari_segtrain.runs import info as info_module


def test_a_new_run_is_pending_and_has_its_folders(run: RunFolder, tmp_path: Path) -> None:
    assert run.path == tmp_path / "runs" / "base"
    assert run.project == tmp_path
    assert run.state is RunState.PENDING
    for path in (run.checkpoints, run.logs, run.plots, run.evaluation, run.scratch):
        assert path.is_dir()
        assert path.parent == run.path
    written = json.loads((run.path / "run.json").read_text())
    assert written["status"] == "pending"
    assert written["name"] == "base"
    assert RunFolder.open(run.path) == run


def test_an_existing_run_is_never_overwritten(tmp_path: Path) -> None:
    names = [RunFolder.create(tmp_path, "base").name for _ in range(3)]
    assert names == ["base", "base_2", "base_3"]
    ids = {RunFolder.open(tmp_path / "runs" / name).read_info().id for name in names}
    assert len(ids) == 3


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "a b", "-x", "ü"])
def test_names_that_are_no_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="is not usable: begin with"):
        RunFolder.create(tmp_path, name)
    assert not (tmp_path / "runs").exists()


def test_a_project_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"no run can be made here .*choose a project folder"):
        RunFolder.create(tmp_path / "file", "base")


def test_running_notes_the_process_and_clears_the_last_end(run: RunFolder) -> None:
    run.set_state(RunState.RUNNING)
    run.set_state(RunState.FAILED, reason="error", message="no")
    first = run.read_info()
    assert (first.finish_reason, first.message) == ("error", "no")
    assert first.finished is not None
    run.set_state(RunState.RUNNING)
    info = run.read_info()
    assert (info.finish_reason, info.message, info.finished) == (None, "", None)
    assert (info.pid, info.host) == (os.getpid(), platform.node())
    assert info.versions["napari-segtrain"]
    assert info.started == first.started


class Clocks:
    """The two clocks of a process: the one that people set, and the one that only goes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.seconds = datetime(2026, 1, 1, tzinfo=UTC), 1000.0
        monkeypatch.setattr(info_module, "now", lambda: self.wall)
        monkeypatch.setattr(folder_module.time, "monotonic", lambda: self.seconds)

    def pass_(self, seconds: float) -> None:
        self.wall, self.seconds = self.wall + timedelta(seconds=seconds), self.seconds + seconds


def test_time_adds_up_over_resumes(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    for seconds in (100, 40):
        run.set_state(RunState.RUNNING)
        clocks.pass_(seconds)
        run.set_state(RunState.INTERRUPTED, reason="stopped")
        clocks.pass_(5 * 3600)
    assert run.read_info().seconds == 140
    assert "2 min 20 s" in (run.path / "summary.txt").read_text()


def test_a_clock_that_is_set_back_confuses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks(monkeypatch)
    run = RunFolder.create(tmp_path, "base")
    run.update_info(created=clocks.wall.isoformat())
    for _ in range(2):
        clocks.wall -= timedelta(days=1)
        run.set_state(RunState.RUNNING)
        clocks.pass_(30)
        clocks.wall -= timedelta(days=1)
        run.set_state(RunState.INTERRUPTED, reason="stopped")
        info = run.read_info()
        assert info.created <= info.started <= info.resumed <= info.finished
    assert info.seconds == 60


def test_a_dead_process_did_not_run_until_it_was_found(running: RunFolder) -> None:
    resumed = running.read_info().resumed
    with running.open_events() as write:
        write(Warned(message="last words"))
    last = resumed + timedelta(seconds=20)
    os.utime(running.events_path, (last.timestamp(),) * 2)
    RunFolder.open(running.path).finish(RunState.INTERRUPTED, "crashed")
    info = running.read_info()
    assert (info.finished, info.seconds) == (last, 20)


def test_a_retry_forgets_how_far_the_run_was(running: RunFolder) -> None:
    before = running.update_info(epoch=3, num_epochs=9, final_metrics={"val_loss": 1.0})
    running.set_state(RunState.INTERRUPTED, reason="stopped")
    running.set_state(RunState.PENDING)
    info = running.read_info()
    assert (info.id, info.num_epochs, info.created) == (before.id, 9, before.created)
    assert (info.epoch, info.final_metrics, info.finish_reason, info.started) == (0, {}, None, None)


def test_ending_needs_a_reason(running: RunFolder) -> None:
    with pytest.raises(ValueError, match="without a finish reason"):
        running.set_state(RunState.COMPLETED)
    assert running.state is RunState.RUNNING


def test_a_refused_move_changes_nothing(run: RunFolder) -> None:
    before = (run.path / "run.json").read_bytes()
    with pytest.raises(RunError, match="pending cannot become completed"):
        run.set_state(RunState.COMPLETED, reason="all_epochs")
    assert (run.path / "run.json").read_bytes() == before


def test_a_completed_run_is_extended_on_request_only(running: RunFolder) -> None:
    running.set_state(RunState.COMPLETED, reason="all_epochs")
    with pytest.raises(RunError, match="extend it with more epochs"):
        running.set_state(RunState.RUNNING)
    assert running.set_state(RunState.RUNNING, extend=True).status is RunState.RUNNING


def test_info_changes_by_known_keys_only(run: RunFolder) -> None:
    info = run.update_info(epoch=2, best=Best(epoch=1, monitor="val_loss", value=float("nan")), device="cpu")
    assert run.read_info() == info
    assert info.best == Best(epoch=1, monitor="val_loss", value=None)
    with pytest.raises(ValueError, match="set_state"):
        run.update_info(status="running")
    with pytest.raises(ValueError, match="epochs"):
        run.update_info(epochs=2)
    assert run.read_info() == info


def test_a_changed_run_json_is_named(run: RunFolder) -> None:
    (run.path / "run.json").write_text(
        '{"id": "x", "name": "base", "created": "2026-01-01T00:00:00Z", "status": "lost"}'
    )
    with pytest.raises(RunError, match=r"run\.json: status: Input should be 'pending'"):
        run.read_info()


def test_other_folders_are_no_runs(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run folder; a run folder holds a run\.json"):
        RunFolder.open(tmp_path)


def test_the_experiment_is_written_twice_and_reads_back(run: RunFolder) -> None:
    config = ExperimentConfig().with_overrides(
        {"tr_config.optimizer.lr": 0.02, "tr_config.patch_size": [64, 64]}
    )
    run.write_config(config)
    assert run.read_config() == config
    assert json.loads((run.path / "config.json").read_text()) == config.to_dict()


def test_a_run_without_configuration_says_so(run: RunFolder) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        run.read_config()


def test_any_json_file_of_the_run(run: RunFolder) -> None:
    split = {"train": [{"image": "a", "region": [[0, 3], [1, 2]]}]}
    assert run.write_json("split.json", split) == run.path / "split.json"
    assert run.read_json("split.json") == split


def test_the_end_written_for_a_dead_process_reaches_its_followers(running: RunFolder) -> None:
    with running.open_events() as emit:
        emit(Warned(message="last words"))
    running.finish(RunState.FAILED, "crashed", "it was killed")
    events = read_events(running.events_path)
    assert [type(event) for event in events] == [Warned, StatusChanged, Finished]
    assert events[-1].model_dump(include={"status", "reason", "message"}) == {
        "status": "failed", "reason": "crashed", "message": "it was killed",
    }  # fmt: skip
    assert running.state is RunState.FAILED
    with pytest.raises(RunError, match="failed cannot become failed"):
        running.finish(RunState.FAILED, "crashed")


def test_a_pending_run_of_a_dead_process_ends_too(run: RunFolder) -> None:
    run.finish(RunState.INTERRUPTED, "crashed")
    assert run.state is RunState.INTERRUPTED


def test_the_summary_says_what_became_of_the_run(running: RunFolder) -> None:
    running.update_info(
        epoch=3, num_epochs=50, device="cuda:0", parameters=5_700_000, split={"train": 40, "val": 1},
        images={"train": 4, "val": 2, "test": 1},
        best=Best(epoch=2, monitor="val_loss", value=0.25), final_metrics={"val_nuclei_dice": None},
        scores={"test/nuclei/dice": 0.875},
    )  # fmt: skip
    running.set_state(RunState.FAILED, reason="nan_loss", message="first line\nsecond line")
    text = (running.path / "summary.txt").read_text()
    for part in (
        "base", "failed (nan loss)", "3/50", "val_loss 0.25 at epoch 2", "cuda:0", "5,700,000",
        "train 40 patches an epoch from 4 images, val 1 patch from 2 images, test 1 image",
        "val_nuclei_dice: undefined", "test/nuclei/dice: 0.875",
        "message:    first line\n            second line",
    ):  # fmt: skip
        assert part in text


def test_two_folders_of_one_run_are_equal(run: RunFolder) -> None:
    assert len({run, RunFolder(run.path / ".." / "base")}) == 1
    assert run != RunFolder.create(run.project, "base")


class RunLife(RuleBasedStateMachine):
    """Any order of requests: the file always holds the last legal state, and ends have a reason."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.run = RunFolder.create(self.folder.name, "base")
        self.model = RunState.PENDING

    @rule(new=st.sampled_from(RunState))
    def move(self, new: RunState) -> None:
        ended = new in ("completed", "failed", "interrupted")
        legal = {
            "pending": new == "running",
            "running": ended,
            "completed": False,
            "failed": new in ("pending", "running"),
            "interrupted": new in ("pending", "running"),
        }[self.model]
        try:
            self.run.set_state(new, reason="error" if ended else None)
        except RunError:
            assert not legal
        else:
            assert legal
            self.model = new

    @rule(epoch=st.integers(0, 9))
    def note(self, epoch: int) -> None:
        self.run.update_info(epoch=epoch)

    @invariant()
    def the_file_is_the_truth(self) -> None:
        info = RunFolder.open(self.run.path).read_info()
        assert info.status is self.model
        assert (info.finish_reason is not None) == (self.model in ("completed", "failed", "interrupted"))
        assert (info.finished is not None) == (info.finish_reason is not None)

    def teardown(self) -> None:
        self.folder.cleanup()


TestRunLife = RunLife.TestCase
TestRunLife.settings = settings(max_examples=8, stateful_step_count=12, deadline=None)
