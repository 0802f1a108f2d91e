"""Jobs for a real engine process that need no network: what they do is named in the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings

from napari_segtrain.config import CancelledError, DataError
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
from napari_segtrain.runs import (
    BatchDone,
    Control,
    DeviceLostError,
    Emit,
    Finished,
    FittingSize,
    LabelsApplied,
    ProjectLock,
    RunFolder,
    RunStarted,
    RunState,
    Warned,
)

spent = False


def train(command: Train, emit: Emit, control: Control) -> None:
    run = RunFolder.create(command.project, command.run_name or "base")
    with ProjectLock(command.project).acquire(run.name), run.open_events() as write:
        run.set_state(RunState.RUNNING)
        if "silent" not in command.config:
            known = {"run_id": run.read_info().id, "name": run.name, "path": str(run.path), "num_epochs": 1}
            emit(RunStarted(**known, smaller=FittingSize(patch_size=(64, 64), batch_size=2)))
        step = 0
        while control.wait_while_paused(emit) and not control.stopped:
            step += 1
            emit(BatchDone(epoch=1, step=step, loss=1.0 / step))
            for change in control.take_labels():
                emit(
                    LabelsApplied(
                        record=change.record, target=change.target, start=change.start, stop=change.stop
                    )
                )
            if control.hint is not None:
                emit(Warned(message=f"looking at {control.hint.start}"))
                control.look_at(None)
            if "die_by" in command.config:
                sys.stderr.write("the last words of a library\n")
                os.kill(os.getpid(), getattr(signal, command.config["die_by"]))
            if step >= command.config.get("steps", 10**9):
                break
            time.sleep(0.005)
        status = RunState.INTERRUPTED if control.stopped else RunState.COMPLETED
        reason = control.stop_reason or "all_epochs"
        run.set_state(status, reason=reason)
        finished = Finished.model_validate({"status": status, "reason": reason, "path": str(run.path)})
        write(finished)
        emit(finished)
        time.sleep(command.config.get("tidy_up", 0.0))


def predict(command: Predict, emit: Emit, control: Control) -> None:
    global spent
    what = command.model
    if what == "lose_gpu":
        spent = True
        raise DeviceLostError("the GPU stopped working")
    if what == "noise":
        _make_noise()
    elif what == "data_error":
        raise DataError("the image is empty; choose another one")
    elif what == "bug":
        raise ZeroDivisionError("division by nothing")
    elif what == "bug_after_success":
        emit(Finished(status=RunState.COMPLETED, reason="all_epochs"))
        raise ZeroDivisionError("division by nothing")
    elif what == "exit":
        sys.exit(5)
    elif what == "hard_exit":
        os._exit(7)
    elif what == "nice":
        emit(Warned(message=str(os.nice(0))))
    elif what == "stdin":
        emit(Warned(message=repr(sys.stdin.read())))
    elif what == "stubborn":
        emit(Warned(message="I do not listen"))
        time.sleep(300)
    elif what == "cancelled":
        emit(Warned(message="I wait for somebody"))
        while not control.stopped:
            time.sleep(0.005)
        raise CancelledError("stopped while waiting, nothing was started")
    elif what == "wait":
        while not control.stopped:
            time.sleep(0.005)


def _make_noise() -> None:
    sys.stdout.write("noise of a print\n")
    sys.stdout.write('{"event": "warned", "message": "noise"}\n')
    sys.stdout.flush()
    os.write(1, b"noise of a C library\n")
    subprocess.run([sys.executable, "-c", "print('noise of a child')"], check=True)
    warnings.warn("noise of a warning", stacklevel=1)


def warm_up() -> None:
    sys.stdout.write("noise of an import\n")
    slow = os.environ.get("SLOW_WARM_UP")
    if slow:
        time.sleep(float(slow))
    broken = os.environ.get("BROKEN_WARM_UP")
    if broken:
        raise ImportError(broken)


def preview_targets(command: PreviewTargets, emit: Emit, control: Control) -> None:
    emit(Warned(message=f"targets of {command.hint.record}"))


def preview_augmentation(command: PreviewAugmentation, emit: Emit, control: Control) -> None:
    emit(Warned(message=f"patches of {command.hint.record}, drawn from {command.seed}"))


def preview_split(command: PreviewSplit, emit: Emit, control: Control) -> None:
    emit(Warned(message=f"split of {command.data}"))


def diagnose(command: Diagnose, emit: Emit, control: Control) -> None:
    emit(Warned(message=f"diagnosis of {command.data}"))


def label_next(command: LabelNext, emit: Emit, control: Control) -> None:
    emit(Warned(message=f"{command.number} regions of {command.model}"))


def step_through(command: StepThrough, emit: Emit, control: Control) -> None:
    while (request := control.next_request()) is not None:
        emit(Warned(message=f"{request.action} of {command.data}"))
        while request.action == "overfit" and not control.halted:
            time.sleep(0.005)


def run_graph(command: RunGraph, emit: Emit, control: Control) -> None:
    emit(Warned(message=f"{len(command.graph['nodes'])} nodes"))


JOBS = JobTable(
    train=train,
    predict=predict,
    preview_targets=preview_targets,
    preview_augmentation=preview_augmentation,
    preview_split=preview_split,
    diagnose=diagnose,
    label_next=label_next,
    step_through=step_through,
    run_graph=run_graph,
    warm_up=warm_up,
    usable=lambda: not spent,
)
