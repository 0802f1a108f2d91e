import errno
import json
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from napari_segtrain import workflow
from napari_segtrain.config import (
    CancelledError,
    ConfigError,
    DataError,
    RunError,
    SegtrainError,
    dump_config,
    load_config,
)
from napari_segtrain.data import open_dataset, ram
from napari_segtrain.runs import (
    Control,
    EpochDone,
    Finished,
    FinishReason,
    FittingSize,
    ProjectLock,
    RunFolder,
    RunStarted,
    RunState,
    StatusChanged,
    Waiting,
    Warned,
    attempts,
    compare_runs,
    create_run,
    duplicate_run,
    load_checkpoint,
    read_events,
    run_table,
)
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.training import resolve, trial


@pytest.fixture
def events():
    return []


def weights(path):
    return load_checkpoint(path / "checkpoints" / "last.ckpt")["model"]


def test_a_folder_becomes_a_finished_run(disc_folder, tiny_experiment, tmp_path, events):
    result = workflow.train(
        tiny_experiment(), disc_folder(), tmp_path / "P", overrides={"lr": 0.01}, emit=events.append
    )
    assert result.status is RunState.COMPLETED
    assert result.path == tmp_path / "P" / "runs" / "lr_0.01"
    assert result.epochs == 2
    info = RunFolder.open(result.path).read_info()
    assert info.status is RunState.COMPLETED
    assert info.finish_reason == FinishReason.ALL_EPOCHS
    assert info.epoch == 2
    assert info.final_metrics["train_loss"] == result.metrics["train_loss"]
    assert [row["epoch"] for row in json.loads((result.path / "metrics.json").read_text())] == [1, 2]
    assert (result.path / "checkpoints" / "best.ckpt").is_file()
    assert json.loads((result.path / "data.json").read_text()) == str(tmp_path / "data")


def test_the_same_seed_gives_the_same_weights_whatever_was_there_before(
    disc_folder, tiny_experiment, tmp_path
):
    """The second run finds a cache of the first and needs no imports; the third replays a run's folder."""
    config, data = tiny_experiment(**{"model_config.dropout": 0.3}), disc_folder(count=2)
    first = workflow.train(config, data, tmp_path / "P").path
    torch.randn(3)
    second = workflow.train(config, data, tmp_path / "P").path
    replayed = workflow.train(first / "config.yaml", data, tmp_path / "Q").path
    for other in (second, replayed):
        torch.testing.assert_close(weights(first), weights(other), rtol=0, atol=0)
    another = workflow.train(config.with_overrides({"tr_setup.seed": 1}), data, tmp_path / "Q").path
    assert not torch.equal(*(next(iter(weights(run).values())) for run in (first, another)))


def test_an_experiment_is_a_value_a_dictionary_or_a_file(disc_folder, tiny_experiment, tmp_path):
    data, config = disc_folder(count=2), tiny_experiment(**{"tr_config.num_epochs": 1})
    file = tmp_path / "experiment.yaml"
    file.write_text(dump_config(config))
    runs = [
        workflow.train(given, data, tmp_path / "P").path
        for given in (config, config.to_dict(), file, str(file))
    ]
    first, *others = [RunFolder.open(run).read_config() for run in runs]
    assert all(other == first for other in others)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ["tr_config"],
            "an experiment cannot be a list: give an ExperimentConfig, the path of a YAML file, or a",
        ),
        (None, "an experiment cannot be a NoneType"),
        ({"tr_confg": {}}, r"configuration: tr_confg: unknown key\. Did you mean .*tr_config"),
        ({"tr_config": {"num_epochs": 0}}, "configuration: tr_config.num_epochs: 0 is not allowed"),
        ("nowhere.yaml", "nowhere.yaml: cannot be read"),
    ],
)
def test_what_is_no_experiment_is_refused_in_words(disc_folder, tmp_path, given, words):
    with pytest.raises(ConfigError, match=words):
        workflow.train(given, tmp_path, tmp_path / "P")
    assert not (tmp_path / "P").exists()


def test_events_tell_the_whole_story_and_are_in_the_file(disc_folder, tiny_experiment, tmp_path, events):
    result = workflow.train(tiny_experiment(), disc_folder(), tmp_path / "P", emit=events.append)
    kinds = [type(event) for event in events]
    assert kinds[0] is StatusChanged
    assert kinds.index(RunStarted) < kinds.index(EpochDone)
    assert kinds.count(EpochDone) == 2
    assert kinds.count(Finished) == 1
    assert isinstance(events[-1], Finished)
    assert events[-1].status == "completed"
    assert [e.to_json() for e in read_events(result.path / "events.jsonl")] == [e.to_json() for e in events]


def test_targets_that_nobody_configured_are_found(disc_folder, tiny_experiment, tmp_path):
    config = tiny_experiment(**{"dataset_config.targets": {}})
    result = workflow.train(config, disc_folder(), tmp_path / "P")
    assert list(RunFolder.open(result.path).read_config().dataset_config.targets) == ["cells"]


def test_a_second_run_of_a_name_gets_a_number(disc_folder, tiny_experiment, tmp_path):
    data = disc_folder()
    names = [workflow.train(tiny_experiment(), data, tmp_path / "P").path.name for _ in range(2)]
    assert names == ["base", "base_2"]


def test_the_same_experiment_gives_the_same_weights_and_another_seed_others(
    disc_folder, tiny_experiment, tmp_path
):
    data = disc_folder()
    first, again, other = (
        workflow.train(tiny_experiment(**{"tr_setup.seed": seed}), data, tmp_path / "P").path
        for seed in (0, 0, 1)
    )
    assert all(
        torch.equal(a, b) for a, b in zip(weights(first).values(), weights(again).values(), strict=True)
    )
    assert not all(
        torch.equal(a, b) for a, b in zip(weights(first).values(), weights(other).values(), strict=True)
    )


OPEN = {
    "tr_config.patch_size": None,
    "tr_config.batch_size": None,
    "tr_config.steps_per_epoch": None,
    "tr_config.num_epochs": 1,
    "dataset_config.targets": {},
}
"""Everything that is chosen automatically is left open."""
TASKS = {
    name: {"type": kind, "source_target": "cells"}
    for name, kind in (("d", "distance_transform"), ("n", "surface_normals"))
}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {**OPEN, "auxiliary_tasks": TASKS},
        {**OPEN, "tr_config.patch_size": [30, 30], "tr_config.accumulate": 3, "auxiliary_tasks": TASKS},
    ],
    ids=["spelt out", "left open", "rounded"],
)
@pytest.mark.parametrize("instances", [False, True])
def test_the_run_folders_own_configuration_repeats_the_run_on_any_machine(
    disc_folder, tiny_experiment, tmp_path, monkeypatch, settings, instances
):
    data = disc_folder(count=2, instances=instances)
    first = workflow.train(tiny_experiment(**settings), data, tmp_path / "P").path
    saved = load_config(first / "config.yaml")
    assert saved == RunFolder.open(first).read_config()
    assert None not in (saved.tr_config.patch_size, saved.tr_config.batch_size, saved.dataset_config.ndim)
    assert all(target.kind for target in saved.dataset_config.targets.values())
    assert (saved.tr_setup.precision, saved.tr_setup.compile) == ("fp32", "off")
    # There, a batch would be chosen that fits into less memory.
    monkeypatch.setattr(import_module("napari_segtrain.training.resolve"), "free_memory", lambda device: 1)
    again = workflow.train(saved, data, tmp_path / "P").path
    assert RunFolder.open(again).read_config() == saved
    assert all(
        torch.equal(a, b) for a, b in zip(weights(first).values(), weights(again).values(), strict=True)
    )


def test_a_patch_that_no_pooling_divides_trains(disc_folder, tiny_experiment, tmp_path, events):
    config = tiny_experiment(**{"tr_config.patch_size": [100, 100], "model_config.max_poolings": None})
    config = config.with_overrides({"model_config.blocks_per_stage": None, "tr_config.num_epochs": 1})
    data = disc_folder(count=2, shape=(128, 150))
    run = workflow.train(config, data, tmp_path / "P", emit=events.append)
    assert run.status is RunState.COMPLETED
    assert load_config(run.path / "config.yaml").tr_config.patch_size == (112, 112)
    assert any("100,100 is rounded up to 112,112" in e.message for e in events if isinstance(e, Warned))


def test_an_interrupted_run_goes_on_to_the_same_weights(disc_folder, tiny_experiment, tmp_path):
    data, config = disc_folder(), tiny_experiment(**{"tr_config.num_epochs": 3})
    whole = workflow.train(config, data, tmp_path / "P")
    part = workflow.train(config, data, tmp_path / "P", stop_after=1)
    assert part.status is RunState.INTERRUPTED
    assert part.reason == FinishReason.STOP_AFTER
    assert "--resume" in part.message
    rest = workflow.resume(part.path)
    assert rest.status is RunState.COMPLETED
    assert rest.path == part.path
    assert all(
        torch.equal(a, b)
        for a, b in zip(weights(whole.path).values(), weights(rest.path).values(), strict=True)
    )
    rows = [RunFolder.open(path).read_metrics() for path in (whole.path, rest.path)]
    assert rows[0] == rows[1]


def test_a_completed_run_goes_on_when_it_gets_more_epochs(disc_folder, tiny_experiment, tmp_path):
    run = workflow.train(tiny_experiment(), disc_folder(), tmp_path / "P").path
    more = workflow.resume(run, overrides={"tr_config.num_epochs": 3})
    assert more.epochs == 3
    with pytest.raises(RunError, match="completed cannot become running"):
        workflow.resume(run)


def test_stop_leaves_a_run_that_can_be_resumed(disc_folder, tiny_experiment, tmp_path):
    control = Control()

    def stop_in_the_second_epoch(event):
        if isinstance(event, EpochDone):
            control.stop()

    result = workflow.train(
        tiny_experiment(), disc_folder(), tmp_path / "P", emit=stop_in_the_second_epoch, control=control
    )
    assert result.status is RunState.INTERRUPTED
    assert result.epochs == 1
    assert workflow.resume(result.path).epochs == 2


def test_bad_data_is_refused_before_there_is_a_run(disc_folder, tiny_experiment, tmp_path):
    import tifffile

    data = disc_folder()
    tifffile.imwrite(data / "labels" / "im0_cells.tif", np.zeros((9, 9), np.uint8))
    with pytest.raises(DataError, match="im0"):
        workflow.train(tiny_experiment(), data, tmp_path / "P")
    assert not list((tmp_path / "P" / "runs").glob("[a-z]*"))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"dataset_config.targets.cells.losses": ["BCEDicLoss"]}, "BCEDiceLoss"),
        ({"tr_config.patch_size": [8, 8, 8]}, "give 2 in array order"),
        ({"tr_config.monitor": "val_cell_dice"}, "val_cells_dice"),
        (
            {
                "auxiliary_tasks": {
                    "d": {"type": "distance_transform", "source_target": "cells", "out_channels": 3}
                }
            },
            "out_channels: 3 was given",
        ),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_before_there_is_a_run(
    disc_folder, tiny_experiment, tmp_path, overrides, words
):
    config = tiny_experiment(**overrides)
    with pytest.raises(SegtrainError, match=words):
        workflow.train(config, disc_folder(), tmp_path / "P")
    assert not list((tmp_path / "P" / "runs").glob("[a-z]*"))


def test_one_run_at_a_time(disc_folder, tiny_experiment, tmp_path):
    with (
        ProjectLock(tmp_path / "P").acquire("other"),
        pytest.raises(RunError, match="A training run is already active"),
    ):
        workflow.train(tiny_experiment(), disc_folder(), tmp_path / "P")


def test_a_failure_is_written_into_the_run(disc_folder, tiny_experiment, tmp_path, events):
    config = tiny_experiment(
        **{"tr_config.optimizer.lr": 10.0, "tr_config.num_epochs": 40, "model_config.norm": "none"}
    )
    config = config.with_overrides({"tr_config.gradient_clip": 0.0, "tr_config.optimizer.name": "SGD"})
    with pytest.raises(workflow.RunFailedError) as caught:
        workflow.train(config, disc_folder(), tmp_path / "P", emit=events.append)
    info = RunFolder.open(caught.value.path).read_info()
    assert info.status is RunState.FAILED
    assert info.finish_reason == FinishReason.NAN_LOSS
    assert info.message == str(caught.value)
    assert "failed" in (caught.value.path / "summary.txt").read_text()
    assert events[-1].status == "failed"


def test_changed_data_is_named_and_used_when_the_user_says_so(disc_folder, tiny_experiment, tmp_path, events):
    data = disc_folder(count=3)
    path = workflow.train(tiny_experiment(), data, tmp_path / "P", stop_after=1).path
    labels = tifffile.imread(data / "labels" / "im1_cells.tif")
    tifffile.imwrite(data / "labels" / "im1_cells.tif", 1 - labels)
    with pytest.raises(RunError, match=r"trained on: labels 'cells' of im1 changed\. .*--changed-data"):
        workflow.resume(path)
    assert RunFolder.open(path).state is RunState.INTERRUPTED
    result = workflow.resume(path, changed_data=True, emit=events.append)
    assert result.status is RunState.COMPLETED
    assert any(
        "labels 'cells' of im1 changed" in event.message for event in events if isinstance(event, Warned)
    )
    # What was accepted is what the run was trained on from now on.
    more = {"tr_config.num_epochs": 3}
    assert workflow.resume(path, overrides=more).epochs == 3
    (data / "labels" / "im2_cells.tif").write_bytes((data / "labels" / "im1_cells.tif").read_bytes())
    with pytest.raises(RunError, match="labels 'cells' of im2 changed"):
        workflow.resume(path, overrides={"tr_config.num_epochs": 4})


def test_data_that_was_moved_is_still_the_same(disc_folder, tiny_experiment, tmp_path):
    data = disc_folder(count=2)
    path = workflow.train(tiny_experiment(), data, tmp_path / "P", stop_after=1).path
    data.rename(tmp_path / "elsewhere")
    assert workflow.resume(path, data=tmp_path / "elsewhere").status is RunState.COMPLETED


def test_a_run_cannot_be_resumed_with_another_network(disc_folder, tiny_experiment, tmp_path):
    run = workflow.train(tiny_experiment(), disc_folder(), tmp_path / "P", stop_after=1).path
    with pytest.raises(SegtrainError, match="features"):
        workflow.resume(run, overrides={"model_config.base_features": 8})
    assert RunFolder.open(run).state is RunState.INTERRUPTED, "the run is what it was"


def test_without_data_or_project_the_message_says_what_to_give(tiny_experiment):
    with pytest.raises(RunError, match="needs data and a project"):
        workflow.train(tiny_experiment(), None, None)


def test_a_run_out_of_memory_says_what_fits_as_numbers(
    disc_folder, tiny_experiment, tmp_path, events, little_memory
):
    little_memory(MemoryError())
    config = tiny_experiment(**{"tr_config.batch_size": 2, "tr_config.patch_size": [64, 64]})
    with pytest.raises(workflow.RunFailedError) as caught:
        workflow.train(config, disc_folder(), tmp_path / "P", emit=events.append)
    expected = FittingSize(patch_size=(32, 32), batch_size=1)
    assert caught.value.fitting == expected
    assert (events[-1].reason, events[-1].fitting) == (FinishReason.OUT_OF_MEMORY, expected)
    assert read_events(caught.value.path / "events.jsonl")[-1].fitting == expected


def test_a_lost_gpu_is_one_sentence_and_the_run_goes_on_from_its_checkpoint(
    disc_folder, tiny_experiment, tmp_path, events, little_memory, monkeypatch
):
    config = tiny_experiment(**{"tr_config.num_epochs": 3})
    run = workflow.train(config, disc_folder(), tmp_path / "P", stop_after=1).path
    little_memory(RuntimeError("CUDA error: the launch timed out and was terminated\nFor debugging …"))
    with pytest.raises(workflow.RunFailedError, match=r"^the GPU stopped working \(CUDA error: the launch"):
        workflow.resume(run, preview=True, emit=events.append)
    assert (events[-1].reason, events[-1].message.count("\n")) == (FinishReason.DEVICE_LOST, 0)
    assert not [event for event in events if isinstance(event, Warned) and "CUDA" in event.message]
    assert RunFolder.open(run).read_info().epoch == 1
    monkeypatch.undo()
    assert workflow.resume(run).epochs == 3


def test_a_run_on_layers_goes_on_without_the_viewer_or_with_new_layers(disc_image, tiny_experiment, tmp_path):
    def shared():
        scratch = Scratch.create(tmp_path / "P")
        image, labels = disc_image((64, 72), 5, 0)
        layer = {
            "id": "image",
            "image": scratch.add("image", image),
            "labels": {"cells": scratch.add("labels", (labels > 0).astype(np.uint8))},
        }
        return scratch, {"layers": [layer]}

    scratch, data = shared()
    config = tiny_experiment(**{"tr_config.num_epochs": 3})
    run = workflow.train(config, data, tmp_path / "P", stop_after=1, preview=True).path
    scratch.remove()
    assert [path.name.partition("-")[0] for path in (run / "scratch").iterdir()] == ["layers"]
    assert workflow.resume(run, stop_after=2).epochs == 2
    scratch, data = shared()
    done = workflow.train(config, data, None, resume=run)
    assert (done.status, done.epochs) == (RunState.COMPLETED, 3)
    assert list((run / "scratch").iterdir()) == []
    with pytest.raises(RunError, match="copies of them are gone"):
        workflow.resume(run, overrides={"tr_config.num_epochs": 4})
    longer = config.replace(tr_config=config.tr_config.replace(num_epochs=4))
    assert workflow.train(longer, data, None, resume=run).epochs == 4


def test_a_retry_is_a_fresh_run_in_the_same_folder(disc_folder, tiny_experiment, tmp_path):
    data, config = disc_folder(count=2), tiny_experiment()
    whole = workflow.train(config, data, tmp_path / "P")
    part = workflow.train(config, data, tmp_path / "P", run_name="part", stop_after=1)
    with pytest.raises(RunError, match="completed cannot become pending"):
        workflow.retry(whole.path)
    with pytest.raises(DataError, match="nowhere"):
        workflow.retry(part.path, data=tmp_path / "nowhere")
    run = RunFolder.open(part.path)
    assert (run.state, attempts(run)) == (RunState.INTERRUPTED, []), "the run is what it was"
    again = workflow.retry(part.path)
    assert (again.path, again.status, again.epochs) == (part.path, RunState.COMPLETED, 2)
    same = zip(weights(whole.path).values(), weights(again.path).values(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert run.read_metrics() == RunFolder.open(whole.path).read_metrics()
    told = read_events(run.events_path)
    assert [event.status for event in told if isinstance(event, StatusChanged)] == [
        "pending", "running", "completed",
    ]  # fmt: skip
    assert len(list(run.tensorboard.glob("events*"))) == 1
    assert (attempts(run)[0] / "checkpoints" / "last.ckpt").is_file()


def test_a_duplicate_begins_like_a_run_of_its_own(disc_folder, tiny_experiment, tmp_path):
    config = tiny_experiment(**{"tr_config.num_epochs": 1})
    first = workflow.train(config, disc_folder(count=2), tmp_path / "P", overrides={"lr": 0.01}).path
    run = duplicate_run(RunFolder.open(first), overrides={"tr_setup.seed": 3})
    result = workflow.resume(run.path)
    assert (result.path.name, result.status) == ("lr_0.01_seed_3", RunState.COMPLETED)
    assert run.read_json("data_hashes.json") == RunFolder.open(first).read_json("data_hashes.json")
    assert compare_runs([RunFolder.open(first), run]).settings == {"tr_setup.seed": (0, 3)}
    assert not all(
        torch.equal(a, b) for a, b in zip(weights(first).values(), weights(run.path).values(), strict=True)
    )


def test_a_run_waits_for_the_active_one_when_told_to(disc_folder, tiny_experiment, tmp_path, events):
    other = ProjectLock(tmp_path / "P").acquire("other")

    def tell(event):
        events.append(event)
        if isinstance(event, Waiting):
            other.release()

    config = tiny_experiment(**{"tr_config.num_epochs": 1})
    result = workflow.train(config, disc_folder(count=2), tmp_path / "P", wait=True, emit=tell)
    assert result.status is RunState.COMPLETED
    assert isinstance(events[0], Waiting)
    assert "'other' (process" in events[0].message


def test_a_stop_while_waiting_leaves_no_run(disc_folder, tiny_experiment, tmp_path):
    control = Control()
    with (
        ProjectLock(tmp_path / "P").acquire("other"),
        pytest.raises(CancelledError, match="nothing was started"),
    ):
        workflow.train(
            tiny_experiment(),
            disc_folder(count=2),
            tmp_path / "P",
            wait=True,
            emit=lambda event: control.stop(),
            control=control,
        )
    assert not list((tmp_path / "P" / "runs").glob("[a-z]*"))


def test_the_lock_names_the_folder_of_the_run(disc_folder, tiny_experiment, tmp_path):
    RunFolder.create(tmp_path / "P", "base")
    named = []

    def look(event):
        if isinstance(event, RunStarted):
            named.append(ProjectLock(tmp_path / "P").holder().run)

    config = tiny_experiment(**{"tr_config.num_epochs": 1})
    path = workflow.train(config, disc_folder(count=2), tmp_path / "P", emit=look).path
    assert named == [path.name] == ["base_2"]


@pytest.mark.parametrize("where", ["Q/runs/other", "moved"])
def test_a_run_with_damaged_metrics_that_was_moved_goes_on(disc_folder, tiny_experiment, tmp_path, where):
    run = workflow.train(tiny_experiment(), disc_folder(count=2), tmp_path / "P", stop_after=1).path
    moved = tmp_path / where
    moved.parent.mkdir(parents=True, exist_ok=True)
    run.rename(moved)
    (tmp_path / "P").rename(tmp_path / "gone")
    before = (moved / "metrics.json").read_bytes()
    (moved / "metrics.json").write_bytes(before[:-20])
    with pytest.raises(RunError, match=r"metrics\.json: is not valid JSON.*Resume the run: it writes"):
        RunFolder.open(moved).read_metrics()
    result = workflow.resume(moved)
    assert (result.path, result.status) == (moved, RunState.COMPLETED)
    assert [row["epoch"] for row in RunFolder.open(moved).read_metrics()] == [1, 2]
    assert (moved / "metrics.damaged.json").read_bytes() == before[:-20]
    assert "metrics.damaged.json" in (moved / "logs" / "training.log").read_text()
    assert not (tmp_path / "P").exists()


def test_a_failure_before_training_can_be_retried(disc_folder, tiny_experiment, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_segtrain.workflow.run.Experiment.prepare", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            workflow.train(tiny_experiment(), disc_folder(count=2), tmp_path / "P", run_name="r")
    assert RunFolder.open(tmp_path / "P" / "runs" / "r").state is RunState.FAILED
    assert workflow.retry(tmp_path / "P" / "runs" / "r").status is RunState.COMPLETED


def test_a_run_folder_that_is_read_only_is_said_and_left_as_it_is(
    disc_folder, tiny_experiment, tmp_path, monkeypatch
):
    data = str(disc_folder(count=1))
    run = create_run(tmp_path / "P", "base", tiny_experiment(), data)
    before = (run.path / "run.json").read_bytes()
    real = Path.open

    def refuse(self, mode="r", *arguments, **options):
        if set(mode) & set("wax+") and self.is_relative_to(run.path):
            raise OSError(errno.EROFS, "Read-only file system")
        return real(self, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(
        RunError, match=r"base/events\.jsonl: cannot be written \(Read-only.*go on with the copy"
    ):
        workflow.resume(run.path)
    monkeypatch.undo()
    assert (run.path / "run.json").read_bytes() == before
    assert run_table(run.project)[0].info.status is RunState.PENDING
    assert ProjectLock(run.project).holder() is None


def test_copies_in_two_parts_are_said_once_at_the_start_with_a_seed_that_deals_them_into_one(
    disc_folder, tiny_experiment, tmp_path, events
):
    data = disc_folder(count=4)
    shutil.copy(data / "images" / "im0.tif", data / "images" / "im1.tif")
    seeds = (tiny_experiment(**{"tr_setup.seed": seed}) for seed in range(20))
    config = next(one for one in seeds if "leakage" in _rules(one, data))
    workflow.train(config, data, tmp_path / "P", stop_after=1, emit=events.append)
    [said] = [e for e in events if isinstance(e, Warned) and "im0 = im1" in e.message]
    assert said.finding is not None and set(said.finding.remedy) == {"tr_setup.seed"}
    assert "leakage" not in _rules(said.finding.cured(config), data)


def _rules(config, data):
    return [finding.rule for finding in workflow.diagnose(config, data).findings]


def test_the_doctor_says_before_the_start_what_the_container_has_no_memory_for_and_the_run_does_it(
    disc_folder, tiny_experiment, tmp_path, monkeypatch, events
):
    data = disc_folder(count=2, shape=(128, 150))
    config = tiny_experiment(**{"tr_config.patch_size": None, "tr_config.batch_size": 1})
    [found] = [found for found in workflow.diagnose(config, data).findings if found.rule == "memory"]
    assert (found.severity, "a training step, with patches of" in found.sentence) == ("note", True)
    planned = resolve(config, open_dataset(data, config.dataset_config))
    # A limit as a container has it: half of what a step needs is left.
    free = planned.memory // 2
    monkeypatch.setattr(ram, "_groups", lambda *folders: iter([(2**40, 2**40 - free)]))
    monkeypatch.setattr(trial, "step_memory", lambda config, resolved: resolved.memory)
    # A batch that is left open has what should fit, and says so.
    open_ = config.with_overrides({"tr_config.batch_size": None})
    assert any(
        "batches have 1 instead of 4 patches" in found.sentence
        for found in workflow.diagnose(open_, data).findings
    )
    [found] = [found for found in workflow.diagnose(config, data).findings if found.rule == "memory"]
    assert f"{free / 2**30:.1f} GB are free: the run will have" in found.sentence
    run = workflow.train(config, data, tmp_path / "P", emit=events.append).path
    saved = RunFolder.open(run).read_config()
    cured = found.cured(config)
    for key in found.remedy:
        assert key.startswith("tr_config."), key
        name = key.removeprefix("tr_config.")
        assert getattr(saved.tr_config, name) == getattr(cured.tr_config, name), name
    [said] = [e.message for e in events if isinstance(e, Warned) and "memory that is free" in e.message]
    assert found.sentence.partition("the run will have ")[2] in said
