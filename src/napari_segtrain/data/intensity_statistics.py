"""Mean, spread, range and percentiles of intensities that are seen a block at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_VALUES = 2**22
"""Values (a channel) that are kept for percentiles; of more, a random sample of this size is kept."""


class IntensityStatistics:
    """Running count, mean, sum of squared deviations and range of each channel.

    Blocks are merged by Chan, Golub and LeVeque (1979), which does not lose digits as sums of squares do.
    """

    def __init__(self, channels: int, keep_values: bool) -> None:
        self.count = 0
        self.mean = np.zeros(channels)
        self.squares = np.zeros(channels)
        self.minimum = np.full(channels, np.inf)
        self.maximum = np.full(channels, -np.inf)
        self._values: list[NDArray[Any]] | None = [] if keep_values else None
        self._random = np.random.default_rng(0)

    def add(self, block: NDArray[Any], total: int) -> None:
        """Add ``(C, n)`` values of the ``(C, total)`` that will come."""
        size = block.shape[1]
        mean = block.mean(axis=1, dtype=np.float64)
        deviations = np.subtract(block, mean[:, None], dtype=np.float64)
        squares = np.einsum("ij,ij->i", deviations, deviations)
        difference = mean - self.mean
        merged = self.count + size
        self.squares += squares + difference**2 * (self.count * size / merged)
        self.mean += difference * (size / merged)
        self.count = merged
        self.minimum = np.minimum(self.minimum, block.min(axis=1))
        self.maximum = np.maximum(self.maximum, block.max(axis=1))
        if self._values is not None:
            if total > MOST_VALUES:
                chosen = self._random.integers(0, size, max(1, size * MOST_VALUES // total))
                block = block[:, chosen]
            self._values.append(block)

    def percentiles(self, low: float, high: float) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return both percentiles, the range where they coincide (images that are mostly empty)."""
        values = np.concatenate(self._values or [], axis=1)
        lows, highs = np.percentile(values, (low, high), axis=1)
        same = highs <= lows
        return np.where(same, self.minimum, lows), np.where(same, self.maximum, highs)
