"""Labels of one patch → the tensors that the losses compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import DataError, DataFacts, ExperimentConfig, TargetConfig
from ..config.auxiliary import TASK_TYPES
from .auxiliary import AuxiliaryTarget, task_type
from .head import Head
from .instances import boundary, centre_distance
from .kinds import class_values, facts_of, resolve_targets
from .labels import class_indices, label_masks
from .source import SourcePatch


class TargetDeriver:
    """Derives every head's target and mask from the labels of a patch, after augmentation.

    Parameters
    ----------
    config
        The experiment.
    heads
        What `resolve_heads` returns for it.
    facts
        What is known of the data.

    Notes
    -----
    Stateless after construction: threads may share one.
    """

    def __init__(self, config: ExperimentConfig, heads: Sequence[Head], facts: DataFacts) -> None:
        self._heads = tuple(heads)
        self._ndim = facts.ndim
        self._targets = resolve_targets(config, facts)
        self._facts = {name: facts_of(name, target, facts) for name, target in self._targets.items()}
        self._foreground_only = config.tr_config.loss_on_label_only
        self._classes = {
            head.target: self._class_values(head) for head in self._heads if head.encoding == "classes"
        }
        self._tasks: dict[str, AuxiliaryTarget] = {
            name: task_type(task.type)(task) for name, task in config.auxiliary_tasks.items()
        }

    def _class_values(self, head: Head) -> tuple[int, ...]:
        """Return the label value of every class; empty for a binary target with two channels."""
        target = self._targets[head.target]
        if target.kind == "binary":
            return ()
        known = class_values(head.target, target, self._facts[head.target])
        return known or tuple(range(head.out_channels))

    def __call__(
        self,
        labels: Mapping[str, NDArray[Any]],
        masks: Mapping[str, NDArray[np.bool_]],
        spacing: tuple[float, ...],
    ) -> dict[str, NDArray[Any]]:
        """Derive all targets of one patch.

        Parameters
        ----------
        labels
            Primary target name → ``(*spatial)`` label values, or ``(C, *spatial)`` measured values.
        masks
            Primary target name → ``(*spatial)`` bool, False where labels do not count (padding, loss
            mask); a missing name means that they count everywhere.
        spacing
            Size of a voxel in array order.

        Returns
        -------
        dict
            For every head ``<name>``: ``(C, *spatial)`` float32, or ``(1, *spatial)`` int64 class numbers
            for classes; and ``<name>_mask``: ``(1, *spatial)`` bool.

        Raises
        ------
        DataError
            When labels of a target are missing or do not have the head's channels.
        """
        patches: dict[str, SourcePatch] = {}
        out: dict[str, NDArray[Any]] = {}
        for head in self._heads:
            if head.target not in patches:
                patches[head.target] = self._patch(head.target, labels, masks, spacing)
            patch = patches[head.target]
            values, valid = self._derive(head, patch)
            if self._foreground_only:
                valid = valid & patch.foreground
            out[head.name] = values
            out[f"{head.name}_mask"] = valid[np.newaxis]
        return out

    def _patch(
        self,
        name: str,
        labels: Mapping[str, NDArray[Any]],
        masks: Mapping[str, NDArray[np.bool_]],
        spacing: tuple[float, ...],
    ) -> SourcePatch:
        if name not in labels:
            raise DataError(f"the patch has no labels for target {name!r}; it has {sorted(labels)}")
        values = labels[name]
        target: TargetConfig = self._targets[name]
        if target.kind != "regression" and values.ndim == self._ndim + 1 and len(values) == 1:
            values = values[0]
        foreground, labelled = label_masks(values, target, self._facts[name], ndim=self._ndim)
        mask = masks.get(name)
        if mask is not None:
            mask = mask.reshape(labelled.shape)
            labelled = labelled & mask
            foreground = foreground & mask
        return SourcePatch(values, foreground, labelled, spacing, instances=target.kind == "instances")

    def _derive(self, head: Head, patch: SourcePatch) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        if head.encoding == "binary":
            return patch.foreground[np.newaxis].astype(np.float32), patch.labelled
        if head.encoding == "classes":
            return self._class_numbers(head, patch)
        if head.encoding == "regression":
            return self._measured(head, patch), patch.labelled
        if head.encoding == "boundary":
            return boundary(patch)
        if head.encoding == "centre_distance":
            return centre_distance(patch)
        return self._tasks[head.name].derive(patch)

    def _class_numbers(self, head: Head, patch: SourcePatch) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        values = self._classes[head.target]
        if not values:
            return patch.foreground[np.newaxis].astype(np.int64), patch.labelled
        # A value that was listed by nobody is a class we do not know; beside a given list it is background.
        others = -1 if self._targets[head.target].values is None else 0
        indices = class_indices(patch.labels, values, others=others)
        labelled = patch.labelled
        if others < 0:
            labelled = labelled & (indices >= 0)
        indices[~labelled] = 0
        return indices[np.newaxis], labelled

    def _measured(self, head: Head, patch: SourcePatch) -> NDArray[np.float32]:
        values = patch.labels.reshape(-1, *patch.shape)
        if len(values) != head.out_channels:
            raise DataError(
                f"labels of target {head.target!r} have {len(values)} channels, the network outputs "
                f"{head.out_channels}"
            )
        return np.asarray(np.where(patch.labelled, values, 0), np.float32)


def warm_up() -> None:
    """Compile, or load, what the first patch would otherwise wait for."""
    for shape in ((4, 4), (4, 4, 4)):
        labels = np.zeros(shape, np.int32)
        labels[2:] = 1
        patch = SourcePatch(labels, labels > 0, labels >= 0, (2.0, 1.0, 1.0)[: len(shape)], instances=True)
        boundary(patch)
        centre_distance(patch)
        for name, model in TASK_TYPES.items():
            task_type(name)(model(source_target="t")).derive(patch)
