"""What the doctor looks at while a training runs: the rows of its epochs, after each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.runs import Finding
from napari_segtrain.targets import Head

Row = Mapping[str, float | int | None]

_COLLAPSED = 3
_WINDOW = 4
_DECAY = {"AdamW": 0.1}
"""Weight decay that restrains a network, by optimizer; `_PENALTY` is for those that add it to the loss."""
_PENALTY = 1e-3
"""Epochs between the two pairs of epochs that are compared."""
_LATER = "; a running training keeps its settings, so that this is for the next run, or on resuming this one"


@dataclass(frozen=True)
class Course:
    """How a training went so far.

    Attributes
    ----------
    config
        Its experiment.
    heads
        The outputs of the network.
    rows
        Losses and scores of each epoch.
    one_sided
        For each output, in how many of the latest epochs in a row it predicted a single class where there
        are several.
    """

    config: ExperimentConfig
    heads: tuple[Head, ...]
    rows: Sequence[Row]
    one_sided: Mapping[str, int] = field(default_factory=dict)

    def series(self, name: str) -> list[tuple[int, float]]:
        """Return epoch and value where there is one, in order; only of epochs in which every loss counts."""
        first = max((loss.start_epoch for head in self.heads for loss in head.losses), default=0)
        found = []
        for row in self.rows:
            epoch, value = row.get("epoch"), row.get(name)
            if epoch is not None and epoch > first and value is not None and math.isfinite(value):
                found.append((int(epoch), float(value)))
        return found

    @property
    def lower_rate(self) -> dict[str, Any]:
        """A third of the learning rate."""
        return {"tr_config.optimizer.lr": float(f"{self.config.tr_config.optimizer.lr / 3:.2g}")}


def collapse(course: Course) -> Iterator[Finding]:
    """Find outputs that predict one class everywhere."""
    data = course.config.dataset_config
    for name, epochs in course.one_sided.items():
        if epochs < _COLLAPSED:
            continue
        often = data.foreground_oversampling < 0.5
        remedy = {"dataset_config.foreground_oversampling": 0.66} if often else course.lower_rate
        what = "draw more patches with foreground" if often else "try a lower learning rate"
        yield Finding(
            rule="collapse",
            severity="warning",
            subject=name,
            sentence=f"{name} has predicted a single class everywhere for {_COLLAPSED} epochs, though "
            f"several are labelled; {what}{_LATER}",
            remedy=remedy,
        )


def divergence(course: Course) -> Iterator[Finding]:
    """Find a training loss that has risen far above its lowest value, twice in a row."""
    losses = course.series("train_loss")
    if len(losses) < 3:
        return
    values = [value for _, value in losses]
    low = min(values[:-2])
    limit = low + max(0.5 * abs(low), 0.5 * (values[0] - low))
    if all(value > limit for value in values[-2:]):
        yield Finding(
            rule="divergence",
            severity="warning",
            sentence=f"the training loss has risen from {low:.3g} to {values[-1]:.3g}: the training "
            f"diverges; try a lower learning rate{_LATER}",
            remedy=course.lower_rate,
        )


def over_fitting(course: Course) -> Iterator[Finding]:
    """Find a validation loss that rises while the training loss falls."""
    validated, trained = course.series("val_loss"), dict(course.series("train_loss"))
    if not validated:
        return
    best, least = min(validated, key=lambda pair: pair[1])
    since = [value for epoch, value in validated if epoch > best]
    tr = course.config.tr_config
    if len(since) < max(5, tr.num_epochs // 10 // tr.val_every):
        return
    last = validated[-1][0]
    rises = min(since[-3:]) > least + 0.1 * abs(least)
    if not rises or trained.get(last, math.inf) >= trained.get(best, -math.inf):
        return
    remedy, what = _against_learning_by_heart(course.config, best)
    yield Finding(
        rule="over_fitting",
        severity="warning",
        sentence=f"the validation loss has risen since epoch {best} while the training loss falls: the "
        f"network learns by heart; the checkpoint of epoch {best} is kept as the best; {what}",
        remedy=remedy,
    )


def _against_learning_by_heart(config: ExperimentConfig, best: int) -> tuple[dict[str, Any], str]:
    """Return the first of some remedies that the training does not have yet, and words for it."""
    tr = config.tr_config
    if not config.dataset_config.augmentation.enabled:
        return {"dataset_config.augmentation.enabled": True}, f"switch augmentation on{_LATER}"
    if tr.early_stopping == 0:
        what = f"more labels help, and early stopping saves the time{_LATER}"
        return {"tr_config.early_stopping": 10}, what
    decay = _DECAY.get(tr.optimizer.name, _PENALTY)
    if tr.optimizer.weight_decay < decay:
        what = f"more labels help, and a stronger weight decay, {decay:g}{_LATER}"
        return {"tr_config.optimizer.weight_decay": decay}, what
    what = f"more labels help; a next run of {best} epochs ends before that, with its lowest learning rate"
    return {"tr_config.num_epochs": best}, what


def fighting(course: Course) -> Iterator[Finding]:
    """Find an output whose training loss rises while another's falls: they pull the encoder apart.

    Compared are the means of two epochs, `_WINDOW` epochs apart. The gradients themselves are not: one of
    them an output would take as long as the training.
    """
    changes = {}
    for head in course.heads:
        values = [value for _, value in course.series(f"train_{head.name}_loss")]
        if len(values) >= _WINDOW + 2:
            before = sum(values[-_WINDOW - 2 : -_WINDOW]) / 2
            changes[head.name] = (sum(values[-2:]) / 2 - before) / max(abs(before), 1e-6)
    rising = max(changes, key=lambda name: changes[name], default="")
    falling = min(changes, key=lambda name: changes[name], default="")
    if not changes or changes[rising] < 0.15 or changes[falling] > -0.1:
        return
    key, weight = _weight(course, falling)
    yield Finding(
        rule="fighting",
        severity="warning",
        subject=rising,
        sentence=f"the loss of {rising} rises while that of {falling} falls: they pull the network apart; "
        f"give {falling} half of its weight{_LATER}",
        remedy={key: weight / 2} if key else {},
    )


def _weight(course: Course, name: str) -> tuple[str, float]:
    """Return the key of an output's weight, and its value; an empty key when it has none of its own."""
    if name in course.config.auxiliary_tasks:
        return f"auxiliary_tasks.{name}.loss_weight", course.config.auxiliary_tasks[name].loss_weight
    targets = course.config.dataset_config.targets
    target = next((head.target for head in course.heads if head.name == name), "")
    if target in targets:
        return f"dataset_config.targets.{target}.weight", targets[target].weight
    return "", 1.0


def not_a_number(course: Course) -> Finding:
    """Return what to do about a loss that is no longer a number, which ended the training."""
    return Finding(
        rule="divergence",
        severity="fault",
        sentence="the loss is no longer a number, and the training has ended; go on from the last checkpoint "
        "with a lower learning rate",
        remedy=course.lower_rate,
    )


RunningRule = Callable[[Course], Iterator[Finding]]

RUNNING_RULES: tuple[RunningRule, ...] = (collapse, divergence, over_fitting, fighting)


def examine_course(course: Course) -> tuple[Finding, ...]:
    """Return what all rules find."""
    return tuple(finding for rule in RUNNING_RULES for finding in rule(course))
