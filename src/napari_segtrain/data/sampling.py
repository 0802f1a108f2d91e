"""Which patch a sample is: a function of the seed, the epoch and the sample's number alone."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .index import PatchIndex
from .patches import PatchSpec
from .pools import Pool

MOST_SHUFFLED = 2**20
"""Of more positions than this, samples are drawn independently instead of shuffled."""


def sample_stream(seed: int, epoch: int, number: int) -> np.random.Generator:
    """Return the random numbers of one sample.

    Parameters
    ----------
    seed
        Of the run.
    epoch
        Counted from 0.
    number
        Of the sample in the epoch, over all processes.

    Returns
    -------
    numpy.random.Generator
        Streams of different arguments are independent (`numpy.random.SeedSequence`).
    """
    return np.random.default_rng([seed, epoch, number])


class RandomSampler:
    """Draws training patches from an index.

    An epoch goes through the indexed positions in random order, so that none is forgotten; each is moved
    at random by up to half the distance of two positions. A share of the samples comes from
    positions with foreground instead, every target as often as every other; with `balance`, and where a
    target has several classes, every class as often as every other.

    Parameters
    ----------
    index
        Where patches may be.
    seed
        Of the run.
    foreground_share
        Share of the samples that hold foreground for certain, 0 to 1.
    balance
        Whether foreground is drawn by class.
    recent_share
        Share of the samples that hold some of what was painted lately, every such place as often as every
        other; of what is left, the rest is as without.
    batch_of
        Returns the number of the batch, counted over all epochs, of an epoch's sample.
    """

    def __init__(
        self,
        index: PatchIndex,
        seed: int,
        foreground_share: float,
        balance: bool = False,
        *,
        recent_share: float = 0.0,
        batch_of: Callable[[int, int], int] = lambda epoch, number: 0,
    ) -> None:
        self._index = index
        self._seed = seed
        self._share = foreground_share
        self._balance = balance
        self._recent_share = recent_share
        self._batch_of = batch_of
        self._orders: dict[tuple[int, int, int], NDArray[np.int64]] = {}
        self._lock = threading.Lock()

    def draw(self, epoch: int, number: int, random: np.random.Generator) -> PatchSpec:
        """Return the patch of sample `number` of an epoch; `random` is the sample's own stream."""
        view = self._index.view
        # Without painting no random number is used up: the patches are those that there ever were.
        if view.recent and self._recent_share > 0:
            batch = self._batch_of(epoch, number)
            recent = [place for place in view.recent if batch < place.until]
            if recent and random.random() < self._recent_share:
                return recent[int(random.integers(len(recent)))].moved(random)
        oversample = random.random() < self._share
        if oversample and view.foreground:
            targets = sorted(view.foreground)
            target = targets[int(random.integers(len(targets)))]
            pool = view.foreground[target]
            classes = view.classes.get(target) if self._balance else None
            if classes:
                values = sorted(classes)
                pool = classes[values[int(random.integers(len(values)))]]
            return pool.moved(int(random.integers(len(pool))), random)
        return self._any(view.everywhere, epoch, number, random)

    def _any(self, pool: Pool, epoch: int, number: int, random: np.random.Generator) -> PatchSpec:
        if len(pool) > MOST_SHUFFLED:
            return pool.moved(int(random.integers(len(pool))), random)
        round_, place = divmod(number, len(pool))
        return pool.moved(int(self._order(epoch, round_, len(pool))[place]), random)

    def _order(self, epoch: int, round_: int, size: int) -> NDArray[np.int64]:
        """Return a random order of `size` positions, the same in every thread and process."""
        key = (epoch, round_, size)
        with self._lock:
            if key not in self._orders:
                # Only few are of use at a time: this epoch's rounds, and those of batches still awaited.
                while len(self._orders) >= 4:
                    self._orders.pop(next(iter(self._orders)))
                stream = np.random.default_rng([self._seed, epoch, round_, size])
                self._orders[key] = stream.permutation(size)
            return self._orders[key]


class GridSampler:
    """Goes through the positions of an index in their order: validation and evaluation.

    How many it draws is settled at the start; when labels change later, they are spread evenly over the
    positions that there are then.

    Parameters
    ----------
    index
        Built with a stride of one patch, so that patches share voxels at the far edges only.
    most
        Most positions; of more, this many are taken, evenly spread. None: all.
    """

    def __init__(self, index: PatchIndex, most: int | None = None) -> None:
        self._index = index
        self._count = len(index) if most is None else min(len(index), most)

    def __len__(self) -> int:
        return self._count

    def draw(self, epoch: int, number: int, random: np.random.Generator) -> PatchSpec:
        """Return the patch with this number; it depends on nothing else."""
        pool = self._index.positions
        return pool[number * len(pool) // self._count]
