from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from napari_segtrain.config import ConfigError, ExperimentConfig
from napari_segtrain.engine import (
    JobTable,
    Predict,
    PreviewAugmentation,
    PreviewTargets,
    StepThrough,
    Train,
    jobs,
    load_jobs,
)
from napari_segtrain.runs import Control, PreviewHint, ignore


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    made: list[tuple[object, ...]] = []
    fake = SimpleNamespace(
        train=lambda *args, **kwargs: made.append((*args, kwargs)),
        predict_layer=lambda *args, **kwargs: made.append((*args, kwargs)),
    )
    monkeypatch.setitem(sys.modules, "napari_segtrain.workflow", fake)
    return made


def test_train_hands_its_values_to_the_workflow(calls: list[tuple[object, ...]]) -> None:
    config = ExperimentConfig().with_overrides({"tr_config.batch_size": 3})
    control = Control()
    command = Train(
        config=config.to_dict(), data={"layers": []}, project="p", run_name="x", resume="r", wait=True
    )
    jobs.WORKFLOW_JOBS.train(command, ignore, control)
    kwargs = {"run_name": "x", "resume": "r", "wait": True}
    kwargs |= {"preview": True, "emit": ignore, "control": control}
    assert calls == [(config, {"layers": []}, "p", kwargs)]


def test_a_wrong_configuration_is_the_users_error(calls: list[tuple[object, ...]]) -> None:
    command = Train(config={"tr_config": {"batchsize": 3}}, data="d", project="p")
    with pytest.raises(ConfigError, match="batch_size"):
        jobs.WORKFLOW_JOBS.train(command, ignore, Control())
    assert calls == []


@pytest.mark.parametrize(
    "setup", [{"devices": 2}, {"num_nodes": 2}, {"strategy": "ddp"}, {"device": "cuda:0,cuda:1"}]
)
def test_several_devices_never_train_from_napari(
    calls: list[tuple[object, ...]], setup: dict[str, object]
) -> None:
    command = Train(config={"tr_setup": setup}, data="d", project="p")
    with pytest.raises(ConfigError, match="never from inside napari"):
        jobs.WORKFLOW_JOBS.train(command, ignore, Control())
    steps = StepThrough(config={"tr_setup": setup}, data={}, output="o")
    with pytest.raises(ConfigError, match="never from inside napari"):
        jobs.WORKFLOW_JOBS.step_through(steps, ignore, Control())
    assert calls == []


def test_predict_hands_its_values_to_the_workflow(calls: list[tuple[object, ...]]) -> None:
    control = Control()
    command = Predict(model="m", data="d", output="o", targets=("a",), start=(0,), stop=(4,), instances=True)
    jobs.WORKFLOW_JOBS.predict(command, ignore, control)
    [(model, data, output, kwargs)] = calls
    assert (model, data, output) == ("m", "d", "o")
    assert kwargs == {
        "targets": ("a",), "start": (0,), "stop": (4,), "spacing": None, "inference": None,
        "instances": True, "keep_parts": False, "device": "auto", "overwrite": False,
        "emit": ignore, "control": control,
    }  # fmt: skip


def test_targets_are_derived_and_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    hint = PreviewHint(record="a", start=(0, 0), stop=(4, 4))
    config = ExperimentConfig().with_overrides({"tr_config.batch_size": 3})
    fake = SimpleNamespace(
        preview_targets=lambda *args, **kwargs: (args, kwargs),
        share_target_preview=lambda preview, folder: (preview, folder),
    )
    monkeypatch.setitem(sys.modules, "napari_segtrain.workflow", fake)
    sent: list[object] = []
    command = PreviewTargets(config=config.to_dict(), data={"layers": []}, output="o", hint=hint)
    jobs.WORKFLOW_JOBS.preview_targets(command, sent.append, Control())
    assert sent == [(((config, {"layers": []}), {"hint": hint}), "o")]


def test_patches_are_augmented_and_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    hint = PreviewHint(record="a", start=(0, 0), stop=(4, 4))
    config = ExperimentConfig().with_overrides({"tr_config.batch_size": 3})
    fake = SimpleNamespace(
        preview_augmentation=lambda *args, **kwargs: (args, kwargs),
        share_augmentation_preview=lambda preview, folder: (preview, folder),
    )
    monkeypatch.setitem(sys.modules, "napari_segtrain.workflow", fake)
    sent: list[object] = []
    command = PreviewAugmentation(
        config=config.to_dict(), data={"layers": []}, output="o", hint=hint, number=5, seed=2
    )
    jobs.WORKFLOW_JOBS.preview_augmentation(command, sent.append, Control())
    assert sent == [(((config, {"layers": []}), {"number": 5, "seed": 2, "hint": hint}), "o")]


@pytest.mark.parametrize("retry", [False, True])
def test_a_run_goes_on_or_begins_anew(monkeypatch: pytest.MonkeyPatch, retry: bool) -> None:
    asked: list[tuple[str, object]] = []
    fake = SimpleNamespace(
        train=lambda *args, **kwargs: asked.append(("train", kwargs["resume"])),
        retry=lambda run, **kwargs: asked.append(("retry", run)),
    )
    monkeypatch.setitem(sys.modules, "napari_segtrain.workflow", fake)
    config = ExperimentConfig().to_dict()
    command = Train(config=config, project="p", resume="p/runs/a", retry=retry)
    jobs.WORKFLOW_JOBS.train(command, [].append, Control())
    assert asked == [("retry" if retry else "train", "p/runs/a")]


def test_the_table_of_the_program_is_found() -> None:
    assert load_jobs(jobs.WORKFLOW) is jobs.WORKFLOW_JOBS


def test_other_things_are_no_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_module.py").write_text("THING = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(TypeError, match="some_module:THING is a int, not a JobTable"):
        load_jobs("some_module:THING")
    with pytest.raises(AttributeError):
        load_jobs("some_module:OTHER")
    assert isinstance(load_jobs(jobs.WORKFLOW), JobTable)


@pytest.mark.parametrize("lost", [False, True])
def test_a_process_is_asked_whether_its_gpu_still_works(monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    def refuse() -> None:
        if lost:
            raise RuntimeError("CUDA error: unspecified launch failure")

    cuda = SimpleNamespace(
        is_initialized=lambda: True, is_available=lambda: True, synchronize=refuse, empty_cache=refuse
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    jobs._free_memory()
    assert jobs.WORKFLOW_JOBS.usable() is not lost
    cuda.is_initialized = lambda: False
    assert jobs.WORKFLOW_JOBS.usable()
