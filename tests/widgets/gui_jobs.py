"""Jobs for a real engine process that a dock talks to: quick, and saying what they were told.

The live preview of a target is its label array as the engine sees it, so that a test can follow a brush
stroke through both processes; a prediction is the image above its mean.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import zarr

from napari_segtrain.config import CancelledError, DataError, ExperimentConfig, InferenceConfig, SegtrainError
from napari_segtrain.data import Dataset, describe_split, gather_facts, make_split, open_dataset
from napari_segtrain.data.sources import open_source
from napari_segtrain.engine import (
    Diagnose,
    JobTable,
    LabelNext,
    Predict,
    PreviewAugmentation,
    PreviewSplit,
    PreviewTargets,
    RunGraph,
    StepThrough,
    Train,
)
from napari_segtrain.inference.instances import separate_instances
from napari_segtrain.inference.kept_parts import KEPT_PARTS, note_parts
from napari_segtrain.runs import (
    AugmentationReady,
    BatchDone,
    Control,
    Diagnosed,
    DoubtfulRegion,
    Emit,
    EpochDone,
    EpochStarted,
    Finding,
    Finished,
    FittingSize,
    LabelsApplied,
    NodeOutput,
    NodeStatus,
    PatchPlace,
    PredictDone,
    PredictProgress,
    PreviewReady,
    Progress,
    ProjectLock,
    RegionsRanked,
    RunFolder,
    RunStarted,
    RunState,
    SplitReady,
    StepPicture,
    StepRequest,
    StepTaken,
    TargetsReady,
    Warned,
    lock_project,
    read_data,
    set_back,
    write_data,
)
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.targets import TargetDeriver, resolve_heads
from napari_segtrain.workflow.graph import graph_from_dict

STEPS = 5


def train(command: Train, emit: Emit, control: Control) -> None:
    config = ExperimentConfig.parse(command.config)
    what = config.tr_setup.run_name or "base"
    if what == "refuse":
        raise DataError("labels 'x': no voxel is labelled; paint some")
    data = command.data if command.data is not None else read_data(RunFolder.open(command.resume or ""))
    dataset = open_dataset(data, config.dataset_config)
    lock = ProjectLock(command.project)
    with lock_project(lock, what, wait=command.wait, control=control, emit=emit):
        run = RunFolder.open(command.resume) if command.resume else RunFolder.create(command.project, what)
        run = set_back(run) if command.retry else run
        emit(run.set_state(RunState.RUNNING, extend=run.state is RunState.COMPLETED))
        run.write_config(config)
        if command.data is not None:
            write_data(run, data)
        finished = _train(config, what, run, dataset, emit, control)
        run.set_state(finished.status, reason=finished.reason)
    emit(finished)


def _train(
    config: ExperimentConfig, what: str, run: RunFolder, dataset: Dataset, emit: Emit, control: Control
) -> Finished:
    before = len(run.read_metrics())
    epochs = config.tr_config.num_epochs
    started = RunStarted(
        run_id="1", name=run.name, path=str(run.path), num_epochs=epochs, steps_per_epoch=STEPS,
        first_epoch=before + 1, device="cpu", parameters=1_234_567,
        heads=tuple(config.dataset_config.targets),
        smaller=FittingSize(patch_size=(32, 48), batch_size=2),
    )  # fmt: skip
    emit(started)
    if what == "memory" and config.tr_config.batch_size != 2:
        return Finished(
            status=RunState.FAILED,
            reason="out_of_memory",
            message="this machine's memory is not enough for batches of 64",
            path=str(run.path),
            fitting=started.smaller,
        )
    if what == "warn":
        emit(Warned(message="this patch is larger than the image"))
    show = _Previews(dataset, Scratch(run.scratch / "preview"), emit)
    total = epochs * STEPS
    for step in range(before * STEPS + 1, total + 1):
        if not control.wait_while_paused(emit):
            break
        epoch = (step - 1) // STEPS + 1
        if step % STEPS == 1:
            emit(EpochStarted(epoch=epoch, num_epochs=epochs))
        for change in control.take_labels():
            emit(LabelsApplied(**{**change.to_dict(), "time": time.time()}))
        if what == "die" and step == STEPS:
            os.kill(os.getpid(), signal.SIGKILL)
        emit(BatchDone(epoch=epoch, step=step, loss=1 / step, parts={"a": 0.5 / step, "a/B": 0.1}))
        left = (total - step) * 0.02
        emit(Progress(fraction=step / total, seconds_left=left, text=f"Epoch {epoch} of {epochs}"))
        show(epoch)
        if what == "nan" and step == STEPS + 1 and config.tr_config.optimizer.lr > 0.01:
            remedy = {"tr_config.optimizer.lr": 0.01}
            fast = Finding(rule="divergence", severity="fault", sentence="no longer a number", remedy=remedy)
            emit(Warned(message=fast.sentence, finding=fast))
            words = "the loss is no longer a number"
            return Finished(status=RunState.FAILED, reason="failed", message=words, path=str(run.path))
        if step % STEPS == 0:
            row = {"train_loss": 1 / step, "val_loss": 1.5 / step, "val_a_dice": 1 - 1 / step}
            run.append_metrics({"epoch": epoch, **row})
            run.update_info(epoch=epoch, num_epochs=epochs)
            (run.checkpoints / "last.ckpt").write_bytes(b"")
            emit(EpochDone(epoch=epoch, num_epochs=epochs, row=row))
        time.sleep(0.02)
    status = RunState.INTERRUPTED if control.stopped else RunState.COMPLETED
    (run.checkpoints / "best.ckpt").write_bytes(b"")
    return Finished.model_validate({"status": status, "reason": "all_epochs", "path": str(run.path)})


class _Previews:
    def __init__(self, dataset: Any, scratch: Scratch, emit: Emit) -> None:
        self._dataset, self._scratch, self._emit = dataset, scratch, emit
        self._specs: dict[str, Any] = {}

    def __call__(self, epoch: int) -> None:
        for record in self._dataset.records.values():
            for target, source in record.labels.items():
                values = source.read(tuple(slice(0, n) for n in source.shape))[0]
                name = f"{record.id}-{target}".replace("[", "-").replace("]", "")
                if name not in self._specs:
                    self._specs[name] = self._scratch.add(name, values)
                self._scratch.write_block(name, [0] * values.ndim, values)
                self._emit(
                    PreviewReady(
                        record=record.id, head=target, array=self._specs[name], epoch=epoch,
                        start=(0,) * values.ndim, stop=values.shape,
                    )
                )  # fmt: skip


def predict(command: Predict, emit: Emit, control: Control) -> None:
    if Path(command.model).name == "broken":
        raise SegtrainError("the checkpoint is damaged; choose another one")
    source = open_source(command.data, ndim=len(command.spacing or ()), spacing=command.spacing)
    start = command.start or (0,) * len(source.shape)
    stop = command.stop or source.shape
    block = source.read(tuple(slice(a, b) for a, b in zip(start, stop, strict=True)))
    for part in range(20):
        if control.stopped:
            emit(Finished(status=RunState.INTERRUPTED, reason="stopped"))
            return
        emit(PredictProgress(fraction=part / 20, seconds_left=(20 - part) * 0.02))
        time.sleep(0.02)
    group = zarr.open_group(command.output, mode="a")
    outputs: dict[str, dict[str, Any]] = {}
    arrays = {
        "mask": ((block[0] > block[0].mean()).astype(np.uint8), None),
        "distance": (block[0].astype(np.float32), None),
        "normals": (np.stack([block[0]] * len(start)).astype(np.float32), 0),
    }
    for name, (array, channel) in arrays.items():
        if not command.targets or name in command.targets:
            group.create_array(name, data=array)
            path = str(Path(command.output) / name)
            outputs[name] = {"kind": "zarr", "path": path, "channel_axis": channel}
    settings = {"inference_config": dict(command.inference or {})}
    if command.instances:
        outputs["cells"] = _instances(command, block[0])
    emit(PredictDone(outputs=outputs, start=command.start, seconds=0.4, settings=settings))
    emit(Finished(status=RunState.COMPLETED, reason="all_epochs", path=command.output))


def _instances(command: Predict, values: Any) -> dict[str, Any]:
    """Write the parts of brightness above its threshold: probability and distance are the brightness."""
    store = Path(command.output)
    share = (values / 255).astype(np.float16)
    inference = InferenceConfig.model_validate(command.inference)
    found = separate_instances(share, distance=share, inference=inference)
    group = zarr.open_group(command.output, mode="a")
    group.create_array("cells", data=found)
    if command.keep_parts:
        parts = zarr.create_group(str(store / KEPT_PARTS))
        for name in ("cells", "cells_distance"):
            parts.create_array(f"{name}~part", data=share)
        names = SimpleNamespace(foreground="cells", boundary=None, distance="cells_distance")
        note_parts(store, {"cells": names}, values.ndim)  # type: ignore[dict-item]  # without torch
    return {"kind": "zarr", "path": str(store / "cells"), "channel_axis": None}


def warm_up() -> None:
    return None


def preview_targets(command: PreviewTargets, emit: Emit, control: Control) -> None:
    # As the real one, for whole images, and without what takes seconds to import.
    config = ExperimentConfig.parse(command.config)
    dataset = open_dataset(command.data, config.dataset_config)
    facts = gather_facts(dataset, config)
    heads = resolve_heads(config, facts)
    record = dataset.records[command.hint.record]
    whole = tuple(slice(0, n) for n in record.shape)
    labels = {name: source.read(whole)[0] for name, source in record.labels.items()}
    derived = TargetDeriver(config, heads, facts)(labels, {}, record.spacing)
    scratch = Scratch(Path(command.output))
    emit(
        TargetsReady(
            record=record.id,
            start=(0,) * record.ndim,
            stop=record.shape,
            spacing=record.spacing,
            heads={head.name: head.to_dict() for head in heads},
            values={head.name: scratch.add(head.name, derived[head.name], 0) for head in heads},
            valid={
                head.name: scratch.add(f"{head.name}_m", derived[f"{head.name}_mask"][0]) for head in heads
            },
        )
    )


def preview_augmentation(command: PreviewAugmentation, emit: Emit, control: Control) -> None:
    # Whole images, brighter with every draw and with the seed: no torch, no normalisation.
    config = ExperimentConfig.parse(command.config)
    dataset = open_dataset(command.data, config.dataset_config)
    record = dataset.records[command.hint.record]
    whole = tuple(slice(0, n) for n in record.shape)
    if not any(source.read(whole).any() for source in record.labels.values()):
        raise DataError("there is no labelled voxel; paint labels")
    image = record.image.read(whole).astype(np.float32)
    scratch = Scratch(Path(command.output))
    draws = range(command.number + 1)
    emit(
        AugmentationReady(
            record=record.id,
            start=(0,) * record.ndim,
            stop=record.shape,
            image=scratch.add("image", np.stack([image + n * (1 + command.seed) for n in draws]), 1),
            labels={
                name: scratch.add(f"labels_{name}", np.stack([source.read(whole)[0] for _ in draws]))
                for name, source in record.labels.items()
            },
            words=tuple(() if n == 0 else (f"brightness {n}",) for n in draws),
        )
    )


def preview_split(command: PreviewSplit, emit: Emit, control: Control) -> None:
    # As the real one, with the patch size that is asked for: no torch to plan a network with.
    config = ExperimentConfig.parse(command.config)
    dataset = open_dataset(command.data, config.dataset_config)
    setup = config.tr_setup
    split = make_split(dataset, setup.train_split, setup.seed, config.tr_config.patch_size)
    emit(SplitReady(split=split.to_dict(), words=describe_split(dataset, split)))


def diagnose(command: Diagnose, emit: Emit, control: Control) -> None:
    # As the real one with a learning rate out of all proportion: no torch to plan a network with.
    config = ExperimentConfig.parse(command.config)
    found = ()
    if config.tr_config.optimizer.lr > 0.1:
        remedy = {"tr_config.optimizer.lr": 0.001}
        fast = Finding(rule="learning_rate", severity="warning", sentence="too fast", remedy=remedy)
        found = (Finding(rule="check", severity="note", sentence="worth knowing"), fast)
    emit(Diagnosed(findings=found))


def label_next(command: LabelNext, emit: Emit, control: Control) -> None:
    # As the real one, with the darkest squares of 8: no torch, no network. The run's name says what happens.
    what = Path(command.model).name
    if what == "broken":
        raise SegtrainError("the checkpoint is damaged; choose another one")
    if what == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    dataset = open_dataset(command.data)
    found: list[DoubtfulRegion] = []
    for record in dataset.records.values():
        emit(PredictProgress(fraction=0.5, record=record.id))
        while what == "slow":
            if control.stopped:
                emit(Finished(status=RunState.INTERRUPTED, reason="stopped"))
                return
            time.sleep(0.01)
        image = record.image.read(tuple(slice(0, n) for n in record.shape))[0].astype(float)
        for corner in np.ndindex(*(-(-n // 8) for n in record.shape)):
            start = tuple(8 * c for c in corner)
            stop = tuple(min(a + 8, n) for a, n in zip(start, record.shape, strict=True))
            score = 1 - image[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))].mean() / 255
            place = {"record": record.id, "start": start, "stop": stop}
            found.append(
                DoubtfulRegion(**place, target=(*command.targets, "nuclei")[0], score=score, reason="unsure")
            )
    found.sort(key=lambda one: -one.score)
    words = "" if command.number <= len(found) else "there is no more room"
    emit(RegionsRanked(regions=tuple(found[: command.number]), epoch=3, words=words))


def run_graph(command: RunGraph, emit: Emit, control: Control) -> None:
    # A node that is called broken fails, one called slow waits for Stop; an image is inverted.
    graph = graph_from_dict(command.graph)
    for name in graph.order():
        emit(NodeStatus(node=name, status="waiting"))
    for name in graph.order():
        emit(NodeStatus(node=name, status="running"))
        while name == "slow":
            if control.stopped:
                emit(NodeStatus(node=name, status="cancelled"))
                raise CancelledError("the workflow was stopped")
            emit(NodeStatus(node=name, status="running", fraction=0.5, message="half"))
            time.sleep(0.01)
        if name == "broken":
            emit(NodeStatus(node=name, status="failed", message="it is broken"))
            raise SegtrainError("Node 'broken': it is broken")
        emit(NodeStatus(node=name, status="done", seconds=2.0))
    scratch = Scratch(Path(command.output))
    given = {node.config.image: node.name for node in graph.of_type("image_layer")}
    images = {name: (spec, 0, "labels", given[name]) for name, spec in command.layers.items()}
    for loader, data in command.data.items():
        images |= {image["id"]: (image["image"], 2, "image", loader) for image in data["layers"]}
    for node, port in command.show:
        arrays, told = {}, {}
        for name, (spec, first, kind, giver) in images.items():
            source = open_source(spec)
            array = 255 - source.read(tuple(slice(first, n) for n in source.shape))[0]
            label = f"{name} cells"
            place = {"node": giver, "record": name, "start": [first] * array.ndim}
            told[label] = {**place, "shown_as": kind, "spacing": list(source.spacing), "unit": source.unit}
            arrays[label] = scratch.add(f"{node}_{name}", array)
        emit(NodeOutput(node=node, port=port, arrays=arrays, told=told, numbers={"dice": 0.5}))


ORDER = (
    "initialize_optimizer",
    "prepare_batch",
    "zero_gradients",
    "forward_pass",
    "calculate_loss",
    "backward_pass",
    "optimizer_step",
)


class _Stepping:
    """A training of two patches of the image's corner, in which nothing is computed."""

    def __init__(self, command: StepThrough, emit: Emit, control: Control) -> None:
        dataset = open_dataset(command.data, ExperimentConfig.parse(command.config).dataset_config)
        self.record = next(iter(dataset.records.values()))
        self.scratch = Scratch(Path(command.output))
        self.emit, self.control = emit, control
        self.expected = self.batch = self.steps = 0

    def answer(self, request: StepRequest) -> StepTaken:
        action = request.action
        if action == "what_if":
            return self.taken(action, f"with {request.learning_rate}" if self.expected == 6 else "no", ())
        if action == "overfit":
            while not self.control.halted:
                time.sleep(0.005)
            return self.taken(action, f"Stopped at patch {request.patch}", ())
        if action == "run_batches":
            for number in range(request.number):
                self.batch += 1
                self.emit(PredictProgress(fraction=(number + 1) / request.number))
                self.emit(self.taken(action, "", (), loss=1 / self.batch, norm=2.0))
            return self.taken(action, f"{request.number} batches done", ("batch", "prediction"))
        if action == "show_activations":
            return self.taken(action, request.stage, ("activations",))
        if action == "save":
            Path(request.path).touch()
            return self.taken(action, f"Saved {request.path}", ())
        if action == "prepare_batch":
            self.batch += 1
        if action == "optimizer_step":
            self.steps += 1
        if action == "calculate_loss" and self.batch == 3:
            return self.taken(action, "the loss is no number", (), refused=True)
        self.expected = self.expected % 6 + 1
        seen = {"prepare_batch": "batch", "forward_pass": "prediction", "backward_pass": "gradient"}
        loss = 1 / self.batch if action == "calculate_loss" else None
        groups = (seen[action],) if action in seen else ()
        groups += ("activations",) if action == "forward_pass" and request.stage else ()
        return self.taken(action, f"{action} is done", groups, loss=loss)

    def taken(self, action: str, words: str, groups: tuple[str, ...], **values: Any) -> StepTaken:
        begun, out = self.expected > 0, "show_activations" if self.expected > 3 else "overfit"
        looks = ("run_batches", "overfit", "what_if", out)
        starts = ((8, 0), (8, 4))
        places = [PatchPlace(record=self.record.id, start=a, stop=(a[0] + 16, a[1] + 16)) for a in starts]
        return StepTaken(
            action=action,
            words=words,
            next=(ORDER[self.expected], "save", *(looks if begun else ())),
            step=self.steps,
            batch=max(0, self.batch - 1),
            batches=100,
            stages=("encoder 1", "encoder 2"),
            patches=tuple(places) if self.batch else (),
            spacing=self.record.spacing,
            unit=self.record.image.unit,
            pictures=tuple(self.picture(group) for group in groups),
            **values,
        )

    def picture(self, group: Any) -> StepPicture:
        size = (3, 2, 8, 8) if group == "activations" else (2, 16, 16)
        values = np.full(size, self.batch, np.float32)
        return StepPicture(
            group=group,
            name="image" if group == "batch" else "nuclei",
            kind="image",
            array=self.scratch.add(group, values),
            channels=len(size) == 4,
            factors=(2.0, 2.0) if len(size) == 4 else (1.0, 1.0),
            limits=(0.0, 9.0 + self.batch),
        )


def step_through(command: StepThrough, emit: Emit, control: Control) -> None:
    # As the real one in what it answers. The run's name says what happens.
    what = ExperimentConfig.parse(command.config).tr_setup.run_name
    if what == "refuse":
        raise DataError("labels 'x': no voxel is labelled; paint some")
    session = _Stepping(command, emit, control)
    emit(session.taken("define_model", "A network", ()))
    while (request := control.next_request()) is not None:
        if what == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        emit(session.answer(request))


JOBS = JobTable(
    train=train,
    predict=predict,
    preview_targets=preview_targets,
    preview_augmentation=preview_augmentation,
    preview_split=preview_split,
    diagnose=diagnose,
    label_next=label_next,
    run_graph=run_graph,
    step_through=step_through,
    warm_up=warm_up,
)
