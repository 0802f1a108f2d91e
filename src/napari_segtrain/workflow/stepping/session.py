"""One training that is stepped through: what has been done, what is legal next, and doing it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from napari_segtrain.config import RunError, SegtrainError
from napari_segtrain.runs import (
    DeviceLostError,
    Emit,
    PatchPlace,
    PredictProgress,
    StepPicture,
    StepRequest,
    StepTaken,
)
from napari_segtrain.runs.scratch import Scratch
from napari_segtrain.training import Parts
from napari_segtrain.training.callbacks.nan_guard import is_too_many
from napari_segtrain.training.fit import device_explained
from napari_segtrain.training.randomness import random_states
from napari_segtrain.training.steps import (
    Batch,
    Gradients,
    LossValue,
    Optimization,
    Prediction,
    StepOrderError,
    backward_pass,
    calculate_loss,
    forward_pass,
    gradient_norm,
    optimizer_step,
    prepare_batch,
    zero_gradients,
)
from napari_segtrain.training.values import mean_of

from .checks import loss_after_step, overfit
from .pictures import Pictures
from .stages import stage_modules, watched
from .wording import LOST, STEPS, many, no_number, of_network, of_the_end, sentences, why_not

Done = tuple[str, list[StepPicture]]
"""What was done, in words, and what can be seen of it."""


class StepSession:
    """Takes the steps of a training one by one, in the order and on the batches of the full one.

    Parameters
    ----------
    parts
        The experiment.
    scratch
        Where pictures are written.
    emit
        Told progress, and every step of `run_batches`.
    halted
        Asked between two batches whether to end early.
    """

    def __init__(self, parts: Parts, scratch: Scratch, emit: Emit, halted: Callable[[], bool]) -> None:
        self._parts = parts
        self._pictures = Pictures(scratch, parts.heads)
        self._emit = emit
        self._halted = halted
        self._expected = STEPS[0]
        self._epoch = self._index = 0
        self._at = 0, 0
        self._optimization: Optimization | None = None
        self._rate: float | None = None
        self._norm: float | None = None
        self._bad, self._trouble = 0, ""
        self._strayed = False
        self._forget()

    def _forget(self) -> None:
        self._batch: Batch | None = None
        self._waiting: list[tuple[Batch, float]] = []
        self._share = 1.0
        self._judged: list[LossValue] = []
        self._bad_before = self._bad
        self._states: dict[str, Any] = {}
        self._prediction: Prediction | None = None
        self._loss: LossValue | None = None
        self._gradients: Gradients | None = None
        self._features: dict[str, Tensor] = {}
        self._widths: dict[str, int] = {}
        self._patches: tuple[PatchPlace, ...] = ()

    # ------------------------------------------------------------------------------- answers

    def defined(self) -> StepTaken:
        """Return what there is to step through."""
        return self._taken("define_model", of_network(self._parts))

    @property
    def next(self) -> tuple[str, ...]:
        """What can be asked for now."""
        can = [self._expected]
        if self._optimization is not None:
            can.append("run_batches")
        if self._features:
            can.append("show_activations")
        if self._expected == "optimizer_step":
            can.append("what_if")
        if self._batch is not None:
            can.append("overfit")
        return (*can, "save")

    def answer(self, request: StepRequest) -> StepTaken:
        """Do what is asked for; where that is not possible nothing changes, and the answer says why.

        Raises
        ------
        DeviceLostError
            When the GPU stopped working: nothing can be asked for any more.
        """
        if request.action not in self.next:
            adds_up = self._parts.group(self._index)[0] > 0
            words = why_not(request.action, self._expected, adds_up=adds_up)
            return self._taken(request.action, words, refused=True)
        try:
            with device_explained(self._parts.config, self._parts.resolved, advice=LOST):
                words, pictures = getattr(self, f"_{request.action}")(request)
                return self._taken(request.action, words, pictures)
        except DeviceLostError:
            raise
        except SegtrainError as error:
            if request.action in (*STEPS[3:], "run_batches"):
                self._begin_again()
            return self._taken(request.action, str(error), refused=True)

    def _taken(
        self, action: str, words: str, pictures: list[StepPicture] | None = None, *, refused: bool = False
    ) -> StepTaken:
        return StepTaken(
            action=action,
            next=self.next,
            words=words,
            refused=refused,
            epoch=self._at[0],
            batch=self._at[1],
            batches=len(self._parts.loader),
            step=0 if self._optimization is None else self._optimization.step,
            loss=None if self._loss is None else self._loss.value,
            norm=self._norm,
            learning_rate=self._rate,
            stages=tuple(stage_modules(self._parts.network)),
            patches=self._patches,
            spacing=self._parts.resolved.facts.spacing,
            unit=self._parts.resolved.facts.unit,
            pictures=tuple(pictures or ()),
        )

    def _begin_again(self) -> None:
        """Go back to the first batch of the step that could not be taken."""
        position = self._parts.group(self._index)[0]
        # What the network dropped out is drawn anew: the full training does not take a step twice.
        self._strayed |= position > 0 or bool(self._states)
        self._index -= position
        self._bad = self._bad_before
        self._norm = None
        self._forget()
        self._expected = "prepare_batch"

    # ----------------------------------------------------------------------------- the steps

    def _initialize_optimizer(self, request: StepRequest) -> Done:
        self._optimization = self._parts.initialize_optimizer()
        self._rate, self._expected = self._optimization.learning_rate, "prepare_batch"
        name = self._parts.config.tr_config.optimizer.name
        return f"{name} begins with the learning rate {self._rate:.4g}", []

    def _prepare_batch(self, request: StepRequest) -> Done:
        self._prepare(look=True)
        batch = self._known(self._batch)
        shape = " × ".join(map(str, batch.image.shape[2:]))
        records = ", ".join(dict.fromkeys(place.record for place in self._patches))
        words = (
            f"Batch {self._index + 1} of {len(self._parts.loader)} in epoch {self._epoch + 1}: "
            f"{many(batch.size, 'patch')} of {shape} voxels of {records}"
        )
        if len(self._waiting) > 1:
            words += f". {self._waiting[0][0].size} of them are in the network at a time"
        return words, self._pictures.of_batch(batch.tensors)

    def _prepare(self, *, look: bool = False) -> None:
        self._forget()
        loader, self._at = self._parts.loader, (self._epoch, self._index)
        loader.set_epoch(self._epoch)
        self._patches = tuple(_place(spec) for spec in loader.specs(self._index))
        self._batch = prepare_batch(loader, self._index, self._parts.device)
        # What the loss says of the image itself is asked for here, and is there after the backward pass.
        self._batch.image.requires_grad_(look)
        self._waiting = self._parts.divide(self._batch)
        self._norm = None
        accumulates = self._parts.group(self._index)[0] > 0
        self._expected = "forward_pass" if accumulates else "zero_gradients"

    def _zero_gradients(self, request: StepRequest) -> Done:
        self._optimization = zero_gradients(self._known(self._optimization))
        self._expected = "forward_pass"
        return "The gradients of earlier batches are forgotten", []

    def _forward_pass(self, request: StepRequest) -> Done:
        with watched(self._parts.network) as found:
            self._predict(self._parts.network.forward)  # hooks are nothing to compiled code
        self._features = _joined(self._features, found.features)
        self._widths = found.widths
        shown = self._pictures.of_prediction(self._seen)
        names = ", ".join(self._known(self._prediction).outputs)
        if request.stage:
            shown += self._show_activations(request)[1]
        return f"The network says what it sees of {names}{self._of_parts}", shown

    def _predict(self, run: Callable[[Tensor], Any] | None = None) -> None:
        network = self._parts.network
        if not self._judged:
            self._states = random_states()
        part, self._share = self._waiting.pop(0)
        # As the full training does, which lets nothing wait for a compiler in its first epoch.
        run = network.forward if self._epoch == 0 else run
        self._prediction = forward_pass(network, part, self._parts.precision, run=run)
        self._expected = "calculate_loss"

    @property
    def _seen(self) -> list[Mapping[str, Any]]:
        """What the network said of each part of the batch so far."""
        said = [loss.prediction.outputs for loss in self._judged]
        return said if self._prediction is None else [*said, self._prediction.outputs]

    @property
    def _of_parts(self) -> str:
        """Say which part of a batch is in the network; nothing of a whole batch."""
        done, left = len(self._judged), len(self._waiting)
        return f" (part {done + 1} of {done + 1 + left} of the batch)" if done + left else ""

    def _calculate_loss(self, request: StepRequest) -> Done:
        prediction = self._known(self._prediction)
        self._loss = calculate_loss(prediction, prediction.batch, self._parts.loss, self._epoch)
        self._expected = "backward_pass"
        # As the full training counts: batches, by the mean of their parts. What is no number stays so.
        whole = mean_of([*self._judged, self._loss])
        self._bad = 0 if math.isfinite(whole.value) else self._bad_before + 1
        if self._bad:
            self._trouble = no_number(_by_head(whole), self._bad, self._parts.precision)
            return self._trouble, []
        return f"Loss {self._loss.value:.4g}: {_by_head(self._loss)}{self._of_parts}", []

    def _backward_pass(self, request: StepRequest) -> Done:
        of_parts = self._of_parts
        position, group = self._differentiate()
        words = f"The gradient has the norm {self._norm:.4g}{of_parts}"
        if group > 1 and not self._waiting:
            words += f"; {position + 1} of {group} batches are added up"
        image = self._known(self._batch).image.grad
        return words, [] if image is None else self._pictures.of_gradient(image * (group / self._scale))

    def _differentiate(self) -> tuple[int, int]:
        optimization, loss = self._known(self._optimization), self._known(self._loss)
        position, group = self._parts.group(self._index)
        # The full training ends here.
        self._strayed |= is_too_many(self._bad, self._parts.precision)
        further = position > 0 or bool(self._judged)
        self._gradients = backward_pass(optimization, loss, accumulate=further, divide_by=self._share)
        # The graph is gone now: what the network said is kept without it.
        self._judged.append(loss.without_graph())
        self._prediction = None
        self._loss = mean_of(self._judged)
        own = [p.grad for p in optimization.network.parameters() if p.grad is not None]
        self._norm = float(gradient_norm(own)) / self._scale
        if self._waiting:
            self._expected = "forward_pass"
        elif position == group - 1:
            self._expected = "optimizer_step"
        else:
            self._advance()
        return position, group

    @property
    def _scale(self) -> float:
        """By how much the loss is scaled, and every gradient with it, in fp16."""
        scaler = self._known(self._optimization).scaler
        return 1.0 if scaler is None else float(scaler.get_scale())

    def _optimizer_step(self, request: StepRequest) -> Done:
        optimization, gradients = self._known(self._optimization), self._known(self._gradients)
        clip = self._parts.gradient_clip
        self._optimization, info = optimizer_step(optimization, gradients, gradient_clip=clip)
        self._gradients = None
        self._rate, self._norm = info.learning_rate, info.norm_before
        words = (
            f"Step {info.step} with the learning rate {info.learning_rate:.4g}, norm {info.norm_before:.4g}"
        )
        if clip and info.norm_after != info.norm_before:
            words += f" clipped to {info.norm_after:.4g}"
        self._advance()
        return sentences(words, self._of_the_end), []

    @property
    def _is_over(self) -> bool:
        """Whether the last step was that with which the full training ends."""
        return (self._epoch, self._index) == (self._parts.epochs, 0)

    @property
    def _of_the_end(self) -> str:
        return of_the_end(self._parts, self._epoch, self._index, strayed=self._strayed)

    def _advance(self) -> None:
        """Go to the next batch; what is known of this one stays to be looked at."""
        self._expected = "prepare_batch"
        self._index += 1
        if self._index == len(self._parts.loader):
            self._index, self._epoch = 0, self._epoch + 1

    # --------------------------------------------------------------------------- and further

    def _run_batches(self, request: StepRequest) -> Done:
        """Take the rest of the steps of a batch, and all of others, until the full training would be over."""
        began, taken, trouble = time.monotonic(), 0, ""
        while taken < request.number and not (taken and self._is_over) and not self._halted():
            if trouble := self._finish_batch(request):
                break
            taken += 1
            spent = time.monotonic() - began
            left = spent / taken * (request.number - taken)
            self._emit(PredictProgress(fraction=taken / request.number, seconds_left=left))
        pictures: list[StepPicture] = []
        if taken or trouble:
            pictures = self._pictures.of_batch(self._known(self._batch).tensors)
            pictures += self._pictures.of_prediction(self._seen)
        words = f"{many(taken, 'batch')} done"
        if trouble:
            return f"{words}. {trouble}", pictures
        if taken:
            words += f", the last one with the loss {self._known(self._loss).value:.4g}"
        words += f"; next is batch {self._index + 1} of epoch {self._epoch + 1}"
        return sentences(words, self._of_the_end), pictures

    def _finish_batch(self, request: StepRequest) -> str:
        """Take the steps of a batch that are left, with nothing to look at, and tell what came of it.

        Returns
        -------
        str
            Why they cannot be taken as the full training would, which ends there; nothing is told then.
        """
        if self._expected == "prepare_batch":
            self._prepare()
        if self._expected == "zero_gradients":
            self._zero_gradients(request)
        while self._expected in ("forward_pass", "calculate_loss", "backward_pass"):
            if self._expected == "forward_pass":
                self._predict()
            elif self._expected == "calculate_loss":
                self._calculate_loss(request)
            elif is_too_many(self._bad, self._parts.precision):
                return self._trouble
            else:
                self._differentiate()
        if self._expected == "optimizer_step":
            self._optimizer_step(request)
        self._emit(self._taken("run_batches", ""))
        return ""

    def _show_activations(self, request: StepRequest) -> Done:
        if request.stage not in self._features:
            raise StepOrderError(
                f"the network has no stage {request.stage!r}; it has {', '.join(self._features)}"
            )
        features = self._features[request.stage]
        patch = self._known(self._batch).image.shape[2:]
        size = " × ".join(map(str, features.shape[2:]))
        words = f"{request.stage} has {self._widths[request.stage]} features of {size} voxels"
        if features.shape[1] < self._widths[request.stage]:
            words += f", of which the first {features.shape[1]} are shown"
        return words, self._pictures.of_stage(request.stage, features, patch)

    def _what_if(self, request: StepRequest) -> Done:
        optimization, batch = self._known(self._optimization), self._known(self._batch)
        own = optimization.learning_rate
        found = {
            rate: loss_after_step(self._parts, optimization, batch, self._epoch, rate, self._states)
            for rate in (request.learning_rate, own)
        }
        now = self._known(self._loss).value
        words = (
            f"A step with the learning rate {request.learning_rate:.4g} would bring the loss of this batch "
            f"from {now:.4g} to {found[request.learning_rate]:.4g}"
        )
        if request.learning_rate != own:
            words += f"; with {own:.4g}, the rate of the coming step, to {found[own]:.4g}"
        return f"{words}. The weights are as they were", []

    def _overfit(self, request: StepRequest) -> Done:
        def progress(fraction: float) -> None:
            self._emit(PredictProgress(fraction=fraction))

        batch = self._known(self._batch)
        found = overfit(
            self._parts, batch, request.patch, self._epoch, request.number, progress, self._halted
        )
        return f"{found.words}. The weights are as they were", []

    def _save(self, request: StepRequest) -> Done:
        if not request.path:
            raise RunError("saving needs a file: give its path")
        steps = 0 if self._optimization is None else self._optimization.step
        path = self._parts.save(request.path, self._epoch)
        words = f"Saved the network after {steps} step{'' if steps == 1 else 's'} as {path}"
        return f"{words}: choose this file in the Predict dock, or predict with segtrain predict", []

    @staticmethod
    def _known(value: Any) -> Any:
        """Return what an earlier step left; the order of the steps says that it did."""
        if value is None:
            raise StepOrderError("there is no batch: prepare one first")
        return value


def _place(spec: Any) -> PatchPlace:
    stop = tuple(a + n for a, n in zip(spec.start, spec.size, strict=True))
    return PatchPlace(record=spec.record, start=tuple(spec.start), stop=stop)


def _by_head(loss: LossValue) -> str:
    heads = {name: float(value) for name, value in loss.parts.items() if "/" not in name}
    return ", ".join(f"{name} {value:.4g}" for name, value in heads.items())


def _joined(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what is known of the patches of a batch, one part after the other."""
    return {name: torch.cat([before[name], new]) if name in before else new for name, new in after.items()}
