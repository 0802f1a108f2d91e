"""Labels of a region of an image, and the targets that they become: what predictions are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_segtrain.config import ExperimentConfig
from napari_segtrain.data import Record, Region
from napari_segtrain.targets import Head, TargetDeriver
from napari_segtrain.training import ResolvedExperiment

Arrays = dict[str, npt.NDArray[Any]]


def read_labels(record: Record, region: Region) -> tuple[Arrays, Arrays]:
    """Return labels and masks by target, of those that the record has labels of, as a deriver takes them."""
    labels: Arrays = {}
    masks: Arrays = {}
    for name, source in record.labels.items():
        values = source.read(region.slices)
        labels[name] = values[0] if len(values) == 1 else values
        masks[name] = np.ones(region.shape, np.bool_)
        if name in record.masks:
            masks[name] = (record.masks[name].read(region.slices) != 0).all(axis=0)
    return labels, masks


def region_deriver(
    config: ExperimentConfig, resolved: ResolvedExperiment, heads: Sequence[Head]
) -> TargetDeriver:
    """Return what derives the targets of regions of any size as training derives them from patches.

    Cut-offs that are left open follow from the patch size, and would be others for a whole image.
    """
    edges = zip(resolved.plan.patch_size, resolved.facts.spacing, strict=True)
    quarter = min(edge * step for edge, step in edges) / 4.0
    tasks = {name: task.within(quarter) for name, task in config.auxiliary_tasks.items()}
    return TargetDeriver(config.replace(auxiliary_tasks=tasks), heads, resolved.facts)
