"""What a patch index counts: which label values are labelled, which are foreground, how much is enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import TargetConfig, TargetFacts
from ..targets.labels import label_masks, telling_values
from .counting import Meaning

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

    def meaning(self, target: str, dtype: np.dtype[Any]) -> Meaning:
        """Return what the whole numbers in labels of one channel mean; what `read` says of each voxel."""
        limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        known = telling_values(self.targets[target], self.facts.get(target))
        values = [value for value in known if limits[0] <= value <= limits[1]]
        other = next((v for v in range(len(values) + 1) if v not in values and v <= limits[1]), values[0])
        samples = np.array([[*values, other]], dtype)
        return Meaning(samples[0, :-1], *self.read(samples, None, target))

    def states(
        self, labels: NDArray[Any], mask: NDArray[Any] | None, target: str
    ) -> tuple[NDArray[np.uint8], Meaning]:
        """Return any labels as 0 where they do not count, 2 where they are foreground, else 1.

        The arguments are those of `read`.
        """
        labelled, foreground = self.read(labels, mask, target)
        codes = np.array([0, 1], np.uint8)
        meaning = Meaning(codes, np.array([False, True, True]), np.array([False, False, True]))
        return labelled.view(np.uint8) + foreground.view(np.uint8), meaning

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
