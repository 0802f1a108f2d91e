"""What a patch index counts: which label values are labelled, which are foreground, how much is enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import TargetConfig, TargetFacts
from ..targets.labels import label_masks

MOST_CLASSES = 64
"""A target with more foreground values than this has instances, and nothing to balance."""


Held = tuple[str | None, int | None]
"""What positions hold: a target's foreground ``(target, None)``, or one class of it ``(target, value)``."""
EVERYWHERE: Held = (None, None)


@dataclass(frozen=True)
class IndexRules:
    """What is counted, and which positions count.

    Attributes
    ----------
    targets
        The targets by name, which say what label values mean.
    facts
        What is known of the labels of each target.
    min_ratio
        Least share of labelled voxels in a position, of the voxels inside the region.
    min_box
        Least share of a position that the bounding box of its labelled voxels fills.
    foreground_only
        Whether background counts as unlabelled (losses on labels only).
    balance
        Whether foreground is counted for each class.
    """

    targets: Mapping[str, TargetConfig]
    facts: Mapping[str, TargetFacts] = field(default_factory=dict)
    min_ratio: float = 0.0
    min_box: float = 0.0
    foreground_only: bool = False
    balance: bool = False

    def balances(self, target: str) -> bool:
        """Return whether the classes of a target are counted one by one."""
        return self.balance and self.targets[target].kind in (None, "classes")

    def read(
        self, labels: NDArray[Any], mask: NDArray[Any] | None, target: str
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return what is labelled and what is foreground, both of spatial shape.

        Parameters
        ----------
        labels
            ``(C, *spatial)`` as read from the source.
        mask
            ``(C, *spatial)`` loss mask, zero where labels do not count; None: they count everywhere.
        target
            Name of the target.
        """
        plain = labels[0] if labels.shape[0] == 1 else labels
        known = self.facts.get(target)
        foreground, labelled = label_masks(plain, self.targets[target], known, ndim=labels.ndim - 1)
        if mask is not None:
            labelled = np.asarray(labelled & (mask != 0).all(axis=0))
        foreground = foreground & labelled
        return (foreground, foreground) if self.foreground_only else (labelled, foreground)
