"""The weighted sum of all heads' losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from ..config import ConfigError, LossConfig
from .base import Loss
from .joint import over_processes
from .supervision import coarser, level_weights
from .table import check_loss, create


class HeadLike(Protocol):
    """What losses need to know of a head; `targets.Head` has it."""

    @property
    def name(self) -> str:
        """Key in batches and predictions."""

    @property
    def target(self) -> str:
        """Primary target it is derived from."""

    @property
    def encoding(self) -> str:
        """What the numbers mean."""

    @property
    def out_channels(self) -> int:
        """Channels of the raw output."""

    @property
    def activation(self) -> Literal["sigmoid", "softmax", "none"]:
        """What turns raw output into a prediction."""

    @property
    def losses(self) -> tuple[LossConfig, ...]:
        """Terms of the loss."""

    @property
    def weight(self) -> float:
        """Factor in the total loss."""

    @property
    def ds_interpolation(self) -> Literal["nearest", "linear"]:
        """How the target is made smaller for deep supervision."""

    @property
    def scale(self) -> float:
        """Factor from activated output to prediction."""


@dataclass(frozen=True)
class LossResult:
    """The loss of one batch and where it comes from.

    Attributes
    ----------
    total
        Scalar with a gradient: the sum over heads of head weight · head loss.
    parts
        Detached scalars: ``"<head>/<LossName>"`` a term before its weight, ``"<head>"`` the head's
        weighted sum of terms before the head's weight.
    valid
        Head name → scalar bool, whether it saw a valid voxel in this batch; on the device, so that no
        step waits for it.
    """

    total: Tensor
    parts: dict[str, Tensor]
    valid: dict[str, Tensor]


def check_heads(heads: Sequence[HeadLike], ndim: int, epochs: int | None = None) -> None:
    """Refuse heads that cannot be trained, before anything is trained.

    Parameters
    ----------
    heads
        All outputs of the network.
    ndim
        Spatial axes.
    epochs
        Length of the training; None when it is not known.

    Raises
    ------
    ConfigError
        Lists every fault: a head without a loss that ever counts, an unknown loss or setting, a loss that
        cannot serve.
    """
    faults: list[str] = []
    for head in heads:
        key = _losses_key(head)
        if idle := _idle(head, key, epochs):
            faults.append(
                f"{idle}, and an output without a loss would not learn. Change that, or leave it out"
            )
        for loss in head.losses:
            reason = check_loss(loss.name, head.encoding, head.out_channels, ndim, head.activation)
            if reason:
                faults.append(f"{key}: {reason}")
                continue
            try:
                create(loss.name, **loss.kwargs)
            except ConfigError as error:
                faults.append(f"{key}: {error}")
    if faults:
        # The parts of an instance target share its losses, and their faults.
        raise ConfigError.listing(list(dict.fromkeys(faults)))


def _idle(head: HeadLike, key: str, epochs: int | None) -> str:
    """Say why a head would never learn; an empty text when it would."""
    if not head.losses:
        return f"{key}: {head.name} has no loss"
    if head.weight == 0:
        weight = f"{key.removesuffix('losses')}{'loss_' if key.startswith('auxiliary') else ''}weight"
        return f"{weight}: the weight of {head.name} is 0"
    counting = [loss for loss in head.losses if loss.weight > 0]
    if not counting:
        return f"{key}: every loss of {head.name} has the weight 0"
    first = min(loss.start_epoch for loss in counting)
    if epochs is not None and first >= epochs:
        return f"{key}: the losses of {head.name} count from epoch {first} on, training has {epochs} epochs"
    return ""


def _losses_key(head: HeadLike) -> str:
    """Return where the configuration has the losses of a head."""
    if head.name == head.target or head.encoding in ("boundary", "centre_distance"):
        return f"dataset_config.targets.{head.target}.losses"
    return f"auxiliary_tasks.{head.name}.losses"


class MultiTaskLoss(nn.Module):
    r"""Weighted sum over heads, over their losses, and over resolutions.

    .. math:: L = \sum_{h} w_h \sum_{l} w_{hl} \sum_{r} v_r \, \ell_{hl}(p_{hr}, g_{hr}, m_{hr})

    Parameters
    ----------
    heads
        All outputs of the network.
    spacing
        Size of a voxel in array order.
    sources
        Head name → name of the head whose prediction (after its activation) its losses get as source
        prediction. By default the main head of the target it is derived from.
    """

    def __init__(
        self,
        heads: Sequence[HeadLike],
        spacing: Sequence[float],
        sources: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        check_heads(heads, len(spacing))
        self.heads = tuple(heads)
        self.spacing = tuple(float(step) for step in spacing)
        self._by_name = {head.name: head for head in heads}
        self.sources = (
            dict(sources)
            if sources is not None
            else {h.name: h.target for h in heads if h.target != h.name and h.target in self._by_name}
        )
        self._terms: list[list[Loss]] = []
        for head in self.heads:
            terms = [create(loss.name, **loss.kwargs) for loss in head.losses]
            self._terms.append(terms)
        # Registered once, so that .to(device) and .train() reach whatever a loss holds.
        self.terms = nn.ModuleList(term for terms in self._terms for term in terms)

    def forward(
        self,
        predictions: Mapping[str, Tensor | Sequence[Tensor]],
        batch: Mapping[str, Tensor],
        epoch: int,
    ) -> LossResult:
        """Compute the loss of one batch.

        Parameters
        ----------
        predictions
            Head name → raw output ``(B, C, *spatial)``, or a list of them, finest first.
        batch
            Head name → target; ``<head>_mask`` → mask.
        epoch
            Number of the epoch, from 0; terms with a later `start_epoch` do not count yet.

        Returns
        -------
        LossResult

        Raises
        ------
        ValueError
            When predictions or targets of a head are missing, or shapes do not fit.
        """
        parts: dict[str, Tensor] = {}
        total: Tensor | None = None
        for head, terms in zip(self.heads, self._terms, strict=True):
            _require_head(head.name, predictions, batch)
            levels = _levels(predictions[head.name])
            sources = self._source_levels(head, terms, predictions)
            loss = self._head_loss(head, terms, levels, sources, batch, epoch, parts)
            parts[head.name] = loss.detach()
            total = head.weight * loss if total is None else total + head.weight * loss
        if total is None:
            raise ValueError("there is no head to compute a loss for")
        seen = torch.stack([batch[f"{head.name}_mask"].any() for head in self.heads])
        seen = over_processes(seen.float()) > 0
        return LossResult(total, parts, dict(zip(self._by_name, seen, strict=True)))

    def _source_levels(
        self, head: HeadLike, terms: Sequence[Loss], predictions: Mapping[str, Tensor | Sequence[Tensor]]
    ) -> list[Tensor]:
        """Return the source target's prediction at every resolution, for the losses that want it."""
        if head.name not in self.sources or not any(term.wants_source for term in terms):
            return []
        source = self._by_name[self.sources[head.name]]
        return [activated(source, raw) for raw in _levels(predictions[source.name])]

    def _head_loss(
        self,
        head: HeadLike,
        terms: Sequence[Loss],
        levels: Sequence[Tensor],
        sources: Sequence[Tensor],
        batch: Mapping[str, Tensor],
        epoch: int,
        parts: dict[str, Tensor],
    ) -> Tensor:
        """Return the weighted sum of one head's terms, and write each term into `parts`."""
        active = [
            (key, config, term)
            for (key, config), term in zip(_keys(head), terms, strict=True)
            if config.start_epoch <= epoch
        ]
        # Without a term the head still takes part in the graph, as data-parallel training asks for.
        total = torch.stack([raw.sum() for raw in levels]).sum() * 0.0 if not active else None
        target, mask = batch[head.name], batch[f"{head.name}_mask"]
        for index, (raw, weight) in enumerate(zip(levels, level_weights(len(levels)), strict=True)):
            if not active:
                break
            size = raw.shape[2:]
            truth, known = coarser(target, mask, size, head.ds_interpolation)
            spacing = [s * a / b for s, a, b in zip(self.spacing, target.shape[2:], size, strict=True)]
            values: Tensor | None = None
            for key, config, term in active:
                if not term.logits and values is None:
                    values = activated(head, raw)
                value = term(
                    raw if term.logits or values is None else values,
                    truth,
                    known,
                    spacing=spacing,
                    source_prediction=sources[index] if term.wants_source and sources else None,
                )
                part = weight * value
                parts[key] = parts[key] + part.detach() if key in parts else part.detach()
                total = config.weight * part if total is None else total + config.weight * part
        if total is None:
            raise ValueError(f"head {head.name!r} has no prediction")
        return total


def _keys(head: HeadLike) -> list[tuple[str, LossConfig]]:
    """Return a name in `LossResult.parts` for every term; the second loss of a kind gets a number."""
    keys: list[tuple[str, LossConfig]] = []
    seen: dict[str, int] = {}
    for config in head.losses:
        seen[config.name] = seen.get(config.name, 0) + 1
        suffix = f"_{seen[config.name]}" if seen[config.name] > 1 else ""
        keys.append((f"{head.name}/{config.name}{suffix}", config))
    return keys


def _levels(prediction: Tensor | Sequence[Tensor]) -> list[Tensor]:
    return [prediction] if isinstance(prediction, Tensor) else list(prediction)


def activated(head: HeadLike, raw: Tensor) -> Tensor:
    """Return the prediction in the target's own units, float32 at least."""
    with torch.autocast(raw.device.type, enabled=False):
        if raw.dtype in (torch.float16, torch.bfloat16):
            raw = raw.float()
        if head.activation == "sigmoid":
            raw = torch.sigmoid(raw)
        elif head.activation == "softmax":
            raw = torch.softmax(raw, dim=1)
        return raw * head.scale if head.scale != 1.0 else raw


def _require_head(
    name: str, predictions: Mapping[str, Tensor | Sequence[Tensor]], batch: Mapping[str, Tensor]
) -> None:
    if name not in predictions:
        raise ValueError(f"the network returned no {name!r}; it returned {sorted(predictions)}")
    missing = {name, f"{name}_mask"} - set(batch)
    if missing:
        raise ValueError(f"the batch has no {sorted(missing)}; it has {sorted(batch)}")
