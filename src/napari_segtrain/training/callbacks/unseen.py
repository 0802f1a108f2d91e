"""Outputs that had nothing to learn from, or nothing to be judged by, said once."""

from __future__ import annotations

from collections.abc import Sequence

import lightning.pytorch as pl

from napari_segtrain.runs import Emit, Warned
from napari_segtrain.targets import Head

from ..module import SegmentationModule


class UnseenHeads(pl.Callback):
    """Warns of losses that saw no valid voxel in an epoch or a validation: once a target, not every epoch.

    Parameters
    ----------
    heads
        The outputs of the network.
    emit
        Told of them.
    label_only
        Whether losses look at foreground only (``tr_config.loss_on_label_only``).
    """

    def __init__(self, heads: Sequence[Head], emit: Emit, *, label_only: bool = False) -> None:
        self.heads = tuple(heads)
        self.emit = emit
        self.label_only = label_only
        self._told: set[tuple[str, str]] = set()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: SegmentationModule) -> None:  # type: ignore[override]
        """Look at the epoch that has just ended."""
        pl_module.finish_epoch()
        for part, unseen in (("training", pl_module.unseen_heads), ("validation", pl_module.unjudged_heads)):
            for target in dict.fromkeys(head.target for head in self.heads):
                fresh = [
                    head
                    for head in self.heads
                    if head.target == target and head.name in unseen and (part, head.name) not in self._told
                ]
                if fresh:
                    self._told.update((part, head.name) for head in fresh)
                    message = unseen_message(fresh, part, pl_module.epochs_done, label_only=self.label_only)
                    self.emit(Warned(message=message))


def unseen_message(heads: Sequence[Head], part: str, epoch: int, *, label_only: bool = False) -> str:
    """Say which losses saw no valid voxel, why that probably is, and what to do.

    Parameters
    ----------
    heads
        Outputs of one target.
    part
        ``training`` or ``validation``.
    epoch
        Counted from 1.
    label_only
        Whether losses look at foreground only.
    """
    target, training = heads[0].target, part == "training"
    named = [f"{head.name} ({', '.join(loss.name for loss in head.losses)})" for head in heads]
    outputs = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
    outcome = "learned nothing" if training else "could not be judged"
    where = "in the training patches" if training else "in the part that validates"
    settings = f"dataset_config.targets.{target}"
    if not any(head.name == target for head in heads):
        why = f"what is derived from {target!r} is not defined {where}: no surface or whole object is there"
        what = (
            "label such places, choose larger patches, or look at the targets with segtrain preview-targets"
        )
    elif label_only:
        why = (
            f"{target!r} has no foreground {where}, and nothing else counts with tr_config.loss_on_label_only"
        )
        what = f"label some, or switch that off; or check what {settings} calls foreground"
    else:
        why = f"{target!r} has only unlabelled voxels {where}, or its mask leaves all of them out"
        what = f"label some there; or check the unlabelled value and the mask in {settings}"
    if not training:
        what += "; or let more of the data validate (tr_setup.train_split, split.json)"
    return (
        f"{outputs} {outcome} in epoch {epoch}: no voxel was valid for the loss. Probably {why}. "
        f"To do: {what}."
    )
