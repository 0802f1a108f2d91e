"""Scores that are followed while training, computed where the targets are labelled and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from napari_segtrain.network import is_out_of_memory

ACCURACY = "accuracy"


class HeadLike(Protocol):
    """What a score must know of an output of the network."""

    @property
    def name(self) -> str:
        """Key in predictions and batches."""

    @property
    def encoding(self) -> str:
        """What the channels mean, such as ``"binary"``, ``"classes"`` or ``"boundary"``."""

    @property
    def activation(self) -> str:
        """``"sigmoid"``, ``"softmax"`` or ``"none"``."""

    @property
    def out_channels(self) -> int:
        """Channels of the output."""

    @property
    def scale(self) -> float:
        """What the activated output is multiplied by to be in the target's units."""


class _HeadMetric(Metric):
    """A score of one head; `update` takes what the network and the loader return, by head."""

    full_state_update = False
    higher_is_better = True

    one_sided: Tensor | None = None

    def __init__(self, head: HeadLike) -> None:
        super().__init__()
        self.head_name = head.name
        self.activation = head.activation
        self.scale = head.scale

    def _pick(self, outputs: Mapping[str, Any], batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        output = outputs[self.head_name]
        finest = output[0] if isinstance(output, list) else output
        return finest.detach(), batch[self.head_name], batch[f"{self.head_name}_mask"]

    def _count(self, name: str, size: int = 1, dtype: torch.dtype = torch.int64) -> None:
        self.add_state(name, torch.zeros(size, dtype=dtype), dist_reduce_fx="sum")


class MaskedDice(_HeadMetric):
    """Dice ``2·|A∩B| / (|A| + |B|)`` over all labelled voxels seen, and the share of them that is right.

    A voxel belongs to a channel when its probability is above one half; the result is the mean over
    channels. Where channels are classes it belongs to the most probable class, whatever the activation;
    the result is the mean over the classes without the background, class 0. Classes that occur neither in
    the labels nor in the prediction do not count; when none occurs Dice is NaN.

    Parameters
    ----------
    head
        A head with encoding binary, boundary or classes.
    """

    both: Tensor
    predicted: Tensor
    labelled: Tensor
    right: Tensor
    seen: Tensor

    def __init__(self, head: HeadLike) -> None:
        super().__init__(head)
        self.classes = head.out_channels
        self.exclusive = head.encoding == "classes"
        for name in ("both", "predicted", "labelled"):
            self._count(name, self.classes)
        self._count("right")
        self._count("seen")

    def update(self, outputs: Mapping[str, Any], batch: Mapping[str, Tensor]) -> None:
        """Add a batch: raw outputs (B, C, *spatial), targets, and masks (B, 1, *spatial), by head."""
        output, target, mask = self._pick(outputs, batch)
        if self.exclusive:
            self._add_classes(output.argmax(dim=1), target[:, 0], mask[:, 0])
        else:
            self._add_channels((output > 0) & mask, (target > 0.5) & mask, mask)

    def _add_channels(self, predicted: Tensor, labelled: Tensor, mask: Tensor) -> None:
        axes = [0, *range(2, predicted.ndim)]
        both = (predicted & labelled).sum(axes)
        ones, truth = predicted.sum(axes), labelled.sum(axes)
        self.both += both
        self.predicted += ones
        self.labelled += truth
        seen = mask.sum() * self.classes
        self.seen += seen
        self.right += seen - (ones + truth - 2 * both).sum()

    def _add_classes(self, predicted: Tensor, labelled: Tensor, mask: Tensor) -> None:
        # Voxels without a label go to a last, ignored cell of the table of (label, prediction).
        cells = self.classes * self.classes
        index = torch.where(mask, labelled.long() * self.classes + predicted, cells)
        table = torch.bincount(index.flatten(), minlength=cells + 1)[:cells]
        table = table.reshape(self.classes, self.classes)
        diagonal = table.diagonal()
        self.both += diagonal
        self.predicted += table.sum(0)
        self.labelled += table.sum(1)
        self.right += diagonal.sum()
        self.seen += table.sum()

    def compute(self) -> dict[str, Tensor]:
        """Return ``<head>_dice`` and ``<head>_accuracy``, each NaN where nothing decides it."""
        self.one_sided = self._is_one_sided()
        first = 1 if self.exclusive else 0
        both, sizes = self.both[first:], (self.predicted + self.labelled)[first:]
        present = sizes > 0
        dice = (2.0 * both[present] / sizes[present]).mean()
        accuracy = self.right.float() / self.seen.float()
        return {f"{self.head_name}_dice": dice, f"{self.head_name}_{ACCURACY}": accuracy.squeeze()}

    def _is_one_sided(self) -> Tensor:
        """Return whether a single class is predicted everywhere, of those that are labelled."""
        if self.exclusive:
            return ((self.predicted > 0).sum() == 1) & ((self.labelled > 0).sum() > 1)
        # Every channel is a foreground of its own beside a background; `seen` counts all channels.
        most = self.seen / self.classes
        both = (self.labelled > 0) & (self.labelled < most)
        return bool(both.any()) & ((self.predicted == 0) | (self.predicted == most))[both].all()


class MaskedError(_HeadMetric):
    """Mean absolute error over all labelled voxels and channels seen, in the target's units."""

    higher_is_better = False
    total: Tensor
    seen: Tensor

    def __init__(self, head: HeadLike) -> None:
        super().__init__(head)
        self._count("total", dtype=torch.float32)
        self._count("seen")

    def update(self, outputs: Mapping[str, Any], batch: Mapping[str, Tensor]) -> None:
        """Add a batch; shapes as for `MaskedDice`."""
        output, target, mask = self._pick(outputs, batch)
        if self.activation == "sigmoid":
            output = output.sigmoid()
        elif self.activation == "softmax":
            output = output.softmax(dim=1)
        error = (output * self.scale - target).abs()
        # Targets may be NaN where they are unknown, so that multiplying by the mask would not do.
        self.total += torch.where(mask, error, 0.0).sum()
        self.seen += mask.sum() * error.shape[1]

    def compute(self) -> dict[str, Tensor]:
        """Return ``<head>_mae``, NaN when nothing was labelled."""
        return {f"{self.head_name}_mae": (self.total / self.seen.float()).squeeze()}


class AngularError(_HeadMetric):
    """Mean angle in degrees between predicted and true directions over all labelled voxels seen.

    Of directions without a sign, a vector and its opposite are the same, and no angle exceeds 90°.
    """

    higher_is_better = False
    total: Tensor
    seen: Tensor

    def __init__(self, head: HeadLike) -> None:
        super().__init__(head)
        self.signed = head.encoding != "inplane_direction"
        self._count("total", dtype=torch.float32)
        self._count("seen")

    def update(self, outputs: Mapping[str, Any], batch: Mapping[str, Tensor]) -> None:
        """Add a batch: vectors along axis 1, components in array order."""
        output, target, mask = self._pick(outputs, batch)
        # torch's own cosine_similarity is thirty times slower along this axis.
        lengths = output.square().sum(1, keepdim=True) * target.square().sum(1, keepdim=True)
        cosine = (output * target).sum(1, keepdim=True) * lengths.clamp_min(1e-16).rsqrt()
        if not self.signed:
            cosine = cosine.abs()
        angle = torch.rad2deg(torch.arccos(cosine.clamp(-1.0, 1.0)))
        self.total += torch.where(mask, angle, 0.0).sum()
        self.seen += mask.sum()

    def compute(self) -> dict[str, Tensor]:
        """Return ``<head>_angle``, NaN when nothing was labelled."""
        return {f"{self.head_name}_angle": (self.total / self.seen.float()).squeeze()}


def head_metric(head: HeadLike) -> Metric:
    """Return the score that suits a head: Dice, mean absolute error, or angle."""
    if head.encoding in ("binary", "classes", "boundary"):
        return MaskedDice(head)
    if head.encoding in ("surface_normals", "inplane_direction", "flows"):
        return AngularError(head)
    return MaskedError(head)


def build_metrics(heads: Sequence[HeadLike], prefix: str) -> MetricCollection:
    """Return the scores of all heads, with names such as ``"<prefix><head>_dice"``."""
    # Torch accepts no dots in the names of submodules; the names of the values come from the scores.
    metrics = {head.name.replace(".", "·"): head_metric(head) for head in heads}
    # Groups would share states between metrics whose first values happen to be equal.
    return MetricCollection(dict(metrics), compute_groups=False).clone(prefix=prefix)


def add_scores(metrics: MetricCollection, outputs: Mapping[str, Any], batch: Mapping[str, Tensor]) -> None:
    """Add a batch to scores; patch by patch where memory does not suffice for all of it.

    Parameters
    ----------
    metrics
        What `build_metrics` returned.
    outputs, batch
        See `MaskedDice.update`.
    """
    states = []
    for metric in metrics.values():
        counts: dict[str, Any] = dict(metric.metric_state)
        kept = {name: value.clone() for name, value in counts.items()}
        states.append((metric, metric._update_count, kept))
    try:
        metrics.update(outputs, batch)
        return
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    for metric, count, state in states:
        metric._update_count = count
        for name, value in state.items():
            setattr(metric, name, value)
    for patch in range(len(batch["image"])):
        one = slice(patch, patch + 1)
        finest = {name: value[0] if isinstance(value, list) else value for name, value in outputs.items()}
        metrics.update(
            {name: value[one] for name, value in finest.items()},
            {name: value[one] for name, value in batch.items()},
        )


def metric_names(heads: Sequence[HeadLike]) -> list[str]:
    """Return the names, without prefix, that `build_metrics` gives values for."""
    suffixes: dict[type[Metric], tuple[str, ...]] = {
        MaskedDice: ("dice", ACCURACY),
        MaskedError: ("mae",),
        AngularError: ("angle",),
    }
    return [f"{head.name}_{suffix}" for head in heads for suffix in suffixes[type(head_metric(head))]]


def compute_scores(metrics: MetricCollection) -> dict[str, float | None]:
    """Return every score as a number, None where it is not defined, and forget what was seen.

    The mean over the heads that have one is added as ``"<prefix>accuracy"``.
    """
    if not any(metric.update_called for metric in metrics.values()):
        return {}
    names: list[str] = []
    values: list[Tensor] = []
    for name, value in metrics.compute().items():
        names.append(name)
        values.append(value.float())
    # One transfer from the device for all of them.
    numbers = torch.stack(values).tolist()
    scores = {n: v if v == v else None for n, v in zip(names, numbers, strict=True)}
    accuracies = [v for n, v in scores.items() if n.endswith(f"_{ACCURACY}") and v is not None]
    if accuracies:
        scores[f"{metrics.prefix}{ACCURACY}"] = sum(accuracies) / len(accuracies)
    metrics.reset()
    return scores


def one_sided_heads(metrics: MetricCollection) -> list[str]:
    """Return the heads that predicted a single class everywhere, where several are labelled.

    Asked after `compute_scores`: what is returned is of the scores that were computed last.
    """
    found = []
    for metric in metrics.values():
        if isinstance(metric, _HeadMetric) and metric.one_sided is not None and bool(metric.one_sided):
            found.append(metric.head_name)
    return found
