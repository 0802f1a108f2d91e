"""What every auxiliary task offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...config import AuxiliaryTask, LossConfig
from ..head import Encoding
from ..source import SourcePatch


class AuxiliaryTarget(ABC):
    """Derives one auxiliary task from the labels of its source target, a patch at a time.

    Parameters
    ----------
    task
        The task's configuration.
    """

    encoding: ClassVar[Encoding]

    def __init__(self, task: AuxiliaryTask) -> None:
        self.task: Any = task

    @staticmethod
    @abstractmethod
    def channels(ndim: int) -> int:
        """Return the number of channels in `ndim` dimensions."""

    @property
    def scale(self) -> float:
        """The head's factor from raw output to prediction, of a task whose reach is known."""
        return 1.0

    @staticmethod
    @abstractmethod
    def default_loss(scale: float, spacing: Sequence[float]) -> LossConfig:
        """Return the loss when none is configured.

        Parameters
        ----------
        scale
            The head's factor from raw output to prediction.
        spacing
            Size of a voxel in array order.
        """

    @abstractmethod
    def derive(self, patch: SourcePatch) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return values ``(C, *spatial)`` and where they are known, ``(*spatial)``."""


def quarter_edge(patch: SourcePatch) -> float:
    """Return a quarter of the patch's smallest edge, in the units of the spacing."""
    return min(n * step for n, step in zip(patch.shape, patch.spacing, strict=True)) / 4.0
