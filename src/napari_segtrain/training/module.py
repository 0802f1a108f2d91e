"""The Lightning module: a network, its losses and scores, and a training step of seven steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from napari_segtrain.config import Optimizer, Schedule
from napari_segtrain.losses import joint_batches
from napari_segtrain.network import MultiTaskNetwork
from napari_segtrain.network.hardware import Number, is_out_of_memory

from .checkpoint import restore_training_state, training_state
from .ema import AveragedWeights
from .load import WHOLE, Load
from .memory import frugal_message, reclaim_memory
from .metrics import HeadLike, add_scores, build_metrics, compute_scores, one_sided_heads
from .monitor import Monitor
from .randomness import restore_random_states, untouched_randomness
from .schedules import Journey
from .steps import (
    backward_pass,
    calculate_loss,
    forward_pass,
    initialize_optimizer,
    optimizer_step,
    prepare_batch,
    zero_gradients,
)
from .tally import TOTAL, LossTally
from .team import ALONE, OthersOutOfMemoryError, Team, check_processes
from .values import Batch, Gradients, LossValue, Optimization, StepInfo, joined_outputs, mean_of

Row = dict[str, float | int | None]
"""What is known of an epoch: ``epoch``, ``train_loss``, ``val_loss``, ``val_<head>_dice``, …"""


class SegmentationModule(pl.LightningModule):
    """Trains any network with named outputs, by manual optimisation.

    Parameters
    ----------
    network
        On its device already; from an image (B, C, *spatial) to raw outputs by head.
    loss
        A `MultiTaskLoss`.
    heads
        The outputs of the network, for the scores.
    optimizer, schedule, journey
        What changes the weights, how the learning rate changes, and over how many steps. Or, in place of all
        three, what `initialize_optimizer` made of them.
    precision
        Number format of the network's arithmetic.
    accumulate
        Batches whose mean gradient makes one step of the optimizer.
    gradient_clip
        Largest norm of the gradient; 0 for no limit.
    ema_decay
        Decay of the averaged weights that validate and predict; 0 for none.
    score_every
        Batches between two that count for the scores of training.
    monitor
        Follows the value that decides which epoch is best.
    load
        How much of a batch is computed at a time.
    team
        The processes that train it together. Each has a part of every batch; losses, scores and the
        gradient are those of the whole batch, and so are the weights the same everywhere.

    Attributes
    ----------
    epochs_done
        Completed epochs, over all processes of a run.
    batches_done
        Batches of the current epoch that an earlier process did already.
    rows
        A row of losses and scores an epoch.
    last_loss, last_parts
        Losses of the latest batch, scalars on the device without graph.
    last_step
        The latest step of the optimizer in this process.
    last_rate
        Learning rate of the latest step.
    load
        How much of a batch is computed at a time: less, from a batch on whose memory did not suffice.
    lightened
        Told of every load that became lighter.
    told
        Told what else was done about memory that ran out, in words.
    description
        What checkpoints say of the network apart from its state.
    unseen_heads, unjudged_heads
        Heads that had no labelled voxel in the training, or in the validation, of the latest epoch.
    one_sided_heads
        Heads that predicted a single class everywhere in the validation (without one: in the training) of
        the latest epoch, though several are labelled.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        heads: Sequence[HeadLike],
        optimizer: Optimizer | Optimization,
        schedule: Schedule,
        journey: Journey,
        *,
        precision: Number = "fp32",
        accumulate: int = 1,
        gradient_clip: float = 0.0,
        ema_decay: float = 0.0,
        score_every: int = 1,
        monitor: Monitor | None = None,
        load: Load = WHOLE,
        team: Team = ALONE,
    ) -> None:
        super().__init__()
        self.team = team
        self.automatic_optimization = False
        self.network = network
        self.loss = loss
        self.heads = tuple(heads)
        self.precision = precision
        self.accumulate = accumulate
        self.gradient_clip = gradient_clip
        self.score_every = score_every
        self.monitor = monitor if monitor is not None else Monitor()
        if not isinstance(optimizer, Optimization):
            optimizer = initialize_optimizer(network, optimizer, schedule, journey, precision)
        self.optimization = optimizer
        self.journey = optimizer.journey
        self.ema = AveragedWeights(network, ema_decay) if ema_decay > 0 else None
        self.train_metrics = build_metrics(heads, "train_")
        self.val_metrics = build_metrics(heads, "val_")
        self.train_tally = LossTally()
        self.val_tally = LossTally()
        self.rows: list[Row] = []
        self.epochs_done = 0
        self.batches_done = 0
        self.last_loss: Tensor | None = None
        self.last_parts: Mapping[str, Tensor] = {}
        self.last_step: StepInfo | None = None
        self.last_rate = self.optimization.learning_rate
        self.unseen_heads: list[str] = []
        self.unjudged_heads: list[str] = []
        self.one_sided_heads: list[str] = []
        self.description: dict[str, Any] = {}
        self.pending_random_states: Mapping[str, Any] | None = None
        self._gradients: Gradients | None = None
        self._waiting: list[Mapping[str, Tensor]] = []
        self.lightened: Callable[[Load], None] = lambda load: None
        self.told: Callable[[str], None] = lambda sentence: None
        self.set_load(load)
        self._evaluation = ExitStack()

    # ------------------------------------------------------------------------------- training

    def setup(self, stage: str) -> None:
        """Refuse a trainer of other processes than those that share the batches.

        Raises
        ------
        ConfigError
            When there are more or fewer.
        """
        check_processes(self.trainer.world_size, self.team)

    def configure_optimizers(self) -> Any:
        """Return the optimizer and its scheduler, which `training_step` itself steps."""
        scheduler = {"scheduler": self.optimization.scheduler, "interval": "step"}
        return {"optimizer": self.optimization.optimizer, "lr_scheduler": scheduler}

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> None:
        """Take the seven steps; an empty batch, which stands for one that was done before, takes none.

        Parameters
        ----------
        batch
            ``"image"`` (B, C, *spatial) float32, and each head's target and mask.
        batch_idx
            Position in the epoch, from 0.
        """
        if not batch:
            return
        self.journey.stopwatch.agree(self.team)
        position = batch_idx % self.accumulate
        group = self._group_size(batch_idx - position)
        self._waiting = [*self._waiting[:position], batch]
        judged = self._backing_off(lambda again: self._learn(batch_idx, group, again=again))
        if position == group - 1 and self._gradients is not None:
            self._step(self._gradients)
        self._note(judged)

    def _step(self, gradients: Gradients) -> None:
        """Change the weights, in every process of a team by the mean of their gradients."""
        self.team.average([p.grad for p in self.network.parameters() if p.grad is not None])
        frugal = self.optimization.ledger.frugal
        self.optimization, self.last_step = optimizer_step(
            self.optimization, gradients, gradient_clip=self.gradient_clip, measure=False
        )
        self.last_rate = self.last_step.learning_rate
        if self.ema is not None:
            self.ema.update()
        if self.optimization.ledger.frugal and not frugal:
            self.told(frugal_message(self.device))

    def _learn(self, batch_idx: int, group: int, *, again: bool) -> list[LossValue]:
        """Add the gradients of a batch to those of its step; return the losses of its parts.

        Parameters
        ----------
        batch_idx
            Position in the epoch, from 0.
        group
            Batches that share the step.
        again
            Begin the step anew, with the batches that were done before too: memory ran out in the middle of
            a backward pass, and nobody knows which gradients it had reached.
        """
        position = batch_idx % self.accumulate
        first = 0 if again else position
        if first == 0:
            self.optimization = zero_gradients(self.optimization)
        judged: list[LossValue] = []
        for place, batch in enumerate(self._waiting[first:], start=first):
            prepared = prepare_batch(batch, batch_idx - position + place, self.device)
            judged = []
            for number, (part, share) in enumerate(self.load.shares(prepared, group)):
                judged.append(self._learn_part(part, place > 0 or number > 0, share))
        return judged

    def _learn_part(self, part: Batch, accumulate: bool, share: float) -> LossValue:
        """Add the gradients of patches that are in the network together; return their loss without graph."""
        # A compiler works for a minute or so: the first results, and the first preview, do not wait for it.
        run = self.network.forward if self.epochs_done == 0 else None
        prediction = forward_pass(self.network, part, self.precision, run=run)
        with joint_batches(not self.team.alone, before=self.team.meet):
            loss = calculate_loss(prediction, part, self.loss, self.epochs_done)
        # Gradients are exchanged when all processes have theirs: by then none can run out of memory any more.
        backward = self.manual_backward if self.team.alone else None
        self._gradients = backward_pass(
            self.optimization, loss, accumulate=accumulate, divide_by=share, backward=backward
        )
        return loss.without_graph()

    def _backing_off(self, compute: Callable[[bool], list[LossValue]]) -> list[LossValue]:
        """Compute, and when memory runs out compute again with a lighter load, as long as there is one.

        Of several processes all do so when one has to: each meets the others before it needs them.
        """
        again = False
        while True:
            try:
                judged = compute(again)
                self.team.meet()
                return judged
            except (RuntimeError, MemoryError) as error:
                if not (is_out_of_memory(error) and self._can_begin_anew):
                    raise
                if not isinstance(error, OthersOutOfMemoryError):
                    self.team.out_of_memory()
                lighter = self._lighter()
                if lighter is None:
                    raise
                reclaim_memory(error, self.device)
            # Outside of the handler, where nothing of the failed attempt is held any more.
            self.set_load(lighter)
            self.lightened(lighter)
            again = True

    @property
    def _can_begin_anew(self) -> bool:
        """Whether no process can be waiting for another within its network, as norms over all of them do."""
        return self.team.alone or not any(isinstance(m, nn.SyncBatchNorm) for m in self.network.modules())

    def _lighter(self) -> Load | None:
        size = max((int(batch["image"].shape[0]) for batch in self._waiting), default=1)
        size = self.team.meet(size)
        # Only a backward pass has to keep features.
        can_recompute = isinstance(self.network, MultiTaskNetwork) and torch.is_grad_enabled()
        return self.load.lighter(size, can_recompute=can_recompute)

    def set_load(self, load: Load) -> None:
        """Compute batches in another way from now on."""
        self.load = load
        if isinstance(self.network, MultiTaskNetwork):
            self.network.checkpointing = load.recompute

    def _group_size(self, first: int) -> int:
        """Return how many batches share a step with batch `first`: fewer at the end of an epoch."""
        if self.accumulate == 1:
            return 1
        return min(self.accumulate, int(self.trainer.num_training_batches) - first)

    def _note(self, judged: Sequence[LossValue]) -> None:
        """Remember a batch's loss, and score it when it is its turn."""
        for loss in judged:
            batch = loss.prediction.batch
            self.train_tally.add(loss, batch.size)
            if batch.index % self.score_every == 0:
                with torch.no_grad():
                    add_scores(self.train_metrics, loss.prediction.outputs, batch.tensors)
        joined = mean_of(judged)
        self.last_loss, self.last_parts = joined.total, joined.parts

    def on_train_epoch_end(self) -> None:
        """Give the epoch's row to Lightning's own callbacks, such as its early stopping."""
        row = self.finish_epoch()
        values = {name: float(v) for name, v in row.items() if name != "epoch" and v is not None}
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=not self.team.alone)

    def finish_epoch(self) -> Row:
        """Return the row of the epoch that has just ended; more calls return the same row."""
        if self.train_tally.empty:
            return self.rows[-1] if self.rows else {}
        for tally in () if self.team.alone else (self.train_tally, self.val_tally):
            tally.share(self.team)
        row: Row = {"epoch": self.epochs_done + 1}
        row.update(_losses("train_", self.train_tally))
        row.update(compute_scores(self.train_metrics))
        self.one_sided_heads = one_sided_heads(self.train_metrics)
        self.unseen_heads, self.unjudged_heads = self.train_tally.unseen(), self.val_tally.unseen()
        if not self.val_tally.empty:
            row.update(_losses("val_", self.val_tally))
            row.update(compute_scores(self.val_metrics))
            self.one_sided_heads = one_sided_heads(self.val_metrics)
        row["learning_rate"] = self.last_rate
        # What follows from the row, such as an early stop, has to be the same everywhere to the last bit.
        row = self.team.follow(row)
        self.train_tally.reset()
        self.val_tally.reset()
        self.rows.append(row)
        self.monitor.update(row)
        self.epochs_done += 1
        self.batches_done = 0
        return row

    # ----------------------------------------------------------------------------- validation

    def on_validation_start(self) -> None:
        """Put the averaged weights in place; the random state will be as it was."""
        self.val_tally.reset()
        self.val_metrics.reset()
        self.enter_evaluation()

    def enter_evaluation(self) -> None:
        """Leave weights and random state to an evaluation until `leave_evaluation`."""
        self._evaluation.enter_context(untouched_randomness())
        if self.ema is not None:
            self._evaluation.enter_context(self.ema.applied())

    def leave_evaluation(self) -> None:
        """Undo `enter_evaluation`; safe to call when there is nothing to undo."""
        self._evaluation.close()

    def validation_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Mapping[str, Any]:
        """Add a batch to the validation's losses and scores; return the raw outputs, for callbacks."""
        self._waiting = [batch]
        judged = self._backing_off(lambda again: self._judge(batch, batch_idx))
        for loss in judged:
            self.val_tally.add(loss, loss.prediction.batch.size)
            add_scores(self.val_metrics, loss.prediction.outputs, loss.prediction.batch.tensors)
        return joined_outputs(judged)

    def _judge(self, batch: Mapping[str, Tensor], batch_idx: int) -> list[LossValue]:
        """Return the losses of a validation batch's parts, with what was predicted."""
        judged = []
        for part in self.load.shared_parts(prepare_batch(batch, batch_idx, self.device), self.team):
            # The compiler would translate the network a second time for this mode, for a few batches.
            prediction = forward_pass(self.network, part, self.precision, run=self.network.forward)
            with joint_batches(not self.team.alone, before=self.team.meet):
                judged.append(calculate_loss(prediction, part, self.loss, self.epochs_done))
        return judged

    def on_validation_end(self) -> None:
        """Put the trained weights and the random state back."""
        self.leave_evaluation()

    @torch.no_grad()
    def predict(self, image: Tensor) -> dict[str, Tensor]:
        """Return the raw outputs at full resolution for images (B, C, *spatial), not compiled.

        The network is used in the mode that it is in; see `PreviewCallback` for previews. Where memory does
        not suffice, images are predicted one after another, and outputs are in the processor's memory.
        """
        try:
            return self._predict(image)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(image) == 1:
                raise
            reclaim_memory(error, self.device)
        images = [image[n : n + 1] for n in range(len(image))]
        found = [{name: value.cpu() for name, value in self._predict(one).items()} for one in images]
        return {name: torch.cat([outputs[name] for outputs in found]) for name in found[0]}

    def _predict(self, image: Tensor) -> dict[str, Tensor]:
        batch = prepare_batch({"image": image}, 0, self.device)
        outputs = forward_pass(self.network, batch, self.precision, run=self.network.forward).outputs
        return {name: value[0] if isinstance(value, list) else value for name, value in outputs.items()}

    # ---------------------------------------------------------------------------- checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description and the state of the training to Lightning's checkpoint."""
        checkpoint.update(self.description)
        checkpoint.update(training_state(self))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from a checkpoint that Lightning itself was told to resume from."""
        restore_training_state(self, checkpoint)

    def on_train_start(self) -> None:
        """Restore the random state of a resumed training, just before its first batch."""
        if self.pending_random_states is not None:
            restore_random_states(self.pending_random_states)
            self.pending_random_states = None

    # ------------------------------------------------------------------------------- plumbing

    def metric_states(self) -> dict[str, dict[str, Tensor]]:
        """Return what the scores of training have counted so far in this epoch, over all processes."""
        return {
            name: {key: self.team.total(value.detach().cpu()) for key, value in metric.metric_state.items()}
            for name, metric in _members(self.train_metrics)
            if metric.update_called
        }

    def load_metric_states(self, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Go on from what `metric_states` returned; the leader has it all, the others count from 0."""
        for name, metric in _members(self.train_metrics):
            for key, value in states.get(name, {}).items():
                counted = value if self.team.leads else torch.zeros_like(value)
                setattr(metric, key, counted.to(self.device))
                metric._update_count = max(1, metric._update_count)


def _members(metrics: MetricCollection) -> list[tuple[str, Any]]:
    return list(metrics.items(keep_base=True))


def _losses(prefix: str, tally: LossTally) -> Row:
    """Name the mean losses: ``<prefix>loss``, ``<prefix><head>_loss``, and each of several terms."""
    means = tally.means()
    row: Row = {f"{prefix}loss": means.pop(TOTAL)}
    for name, value in means.items():
        head, _, term = name.partition("/")
        if not term:
            row[f"{prefix}{head}_loss"] = value
        elif sum(other.startswith(f"{head}/") for other in means) > 1:
            row[f"{prefix}{head}_{term}"] = value
    return row
