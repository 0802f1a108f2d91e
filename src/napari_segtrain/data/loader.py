"""Batches: samples prepared ahead by threads, and handed out in one fixed order."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config import DataFacts, ExperimentConfig
from ..network import is_out_of_memory
from ..targets.kinds import resolve_targets
from .dataset import Dataset
from .facts import gather_facts
from .index import PatchIndex
from .normalisation import Normalisation
from .patch_reader import Augmenting, ImageChange
from .patches import PatchSpec
from .pipeline import Deriver, PatchDataset, Sampler
from .prefetch import Prefetch
from .records import Part, Region, Split
from .sampling import GridSampler, RandomSampler

logger = logging.getLogger(__name__)

Batch = dict[str, torch.Tensor]
Prepared = tuple[Batch, tuple[ImageChange | None, ...]]
"""A batch, and what is still to be done to the image of each of its samples."""

STAND_IN = "image_mask"
"""Key of a batch that only stands in for one, where a grid does not divide by the processes: nothing in it
is labelled, and it counts as no patch. No target can have this name."""

LEAST_STEPS, MOST_STEPS = 10, 250
"""Batches of a training epoch when nobody says how many."""
MOST_VAL_STEPS = 50
"""Batches of a validation when nobody says how many."""


class PatchLoader:
    """Yields batches of one part of a split, always the same for the same seed and epoch.

    The training part is sampled at random, without end; other parts are gone through in a grid of patches
    that covers every labelled voxel, of which `steps` batches are taken evenly. A batch is
    ``{"image": (B, C, *patch) float32, "<head>": (B, Ct, *patch), "<head>_mask": (B, 1, *patch) bool}``.

    Parameters
    ----------
    dataset
        Where the records are.
    split
        Which regions are trained on, validated and tested.
    part
        ``"train"``, ``"val"`` or ``"test"``.
    config
        The experiment.
    patch_size
        The plan's patch size, (z,) y, x.
    normalisation
        Fitted on the training data.
    deriver
        Makes the heads' targets from the labels of a patch.
    batch_size
        Patches in a batch; the last batch of a grid may have fewer.
    steps
        Batches in an epoch. None: for training once over the indexed positions, between 10 and 250;
        else everything, at most 50.
    num_workers
        Threads that prepare batches; 0 prepares them when they are asked for. The batches are the same.
        None: chosen from the machine.
    augment
        Whether patches are changed at random.
    pin
        Whether batches are made in page-locked memory, from which a GPU copies faster.
    grid
        Whether the regions are gone through in a grid; None: unless `part` is ``"train"``.
    facts
        What is known of the data; None: asked of `dataset`.
    cache_dir
        Folder that keeps the patch index for the next time; None: it is not kept.
    device
        Asked for the device on which intensities of 3D patches are changed, by the thread that takes a
        batch; its image is there already then. None: the threads that prepare batches change them.
    rank, world_size
        Number of this process, and how many share an epoch. Together they go through the samples that one
        process with batches `world_size` times as large goes through, step by step.
    ahead
        Batches that are prepared before they are asked for; None: two for each worker, and one.

    Raises
    ------
    DataError
        When no patch of the part has enough labels.
    """

    def __init__(
        self,
        dataset: Dataset,
        split: Split,
        part: Part,
        config: ExperimentConfig,
        patch_size: Sequence[int],
        normalisation: Normalisation,
        deriver: Deriver,
        batch_size: int,
        *,
        steps: int | None = None,
        num_workers: int | None = 0,
        augment: bool = False,
        pin: bool = False,
        grid: bool | None = None,
        facts: DataFacts | None = None,
        cache_dir: Path | None = None,
        device: Callable[[], torch.device] | None = None,
        rank: int = 0,
        world_size: int = 1,
        ahead: int | None = None,
    ) -> None:
        self._ahead = ahead
        self.batch_size = batch_size
        self.num_workers = default_workers() if num_workers is None else num_workers
        self.grid = part != "train" if grid is None else grid
        self.epoch = 0
        self._pin = pin and torch.cuda.is_available()
        self._share = (rank, world_size)
        patch = tuple(int(n) for n in patch_size)
        known = gather_facts(dataset, config) if facts is None else facts
        self.index = _index(dataset, split.part(part), config, patch, known, cache_dir, self.grid)
        seed, data = config.tr_setup.seed, config.dataset_config
        sampler: Sampler
        if self.grid:
            most = MOST_VAL_STEPS if steps is None else steps
            sampler = GridSampler(self.index, most * batch_size * world_size)
            self._of = len(sampler)
            self._samples = -(-self._of // world_size)
        else:
            once = -(-len(self.index) // (batch_size * world_size))
            self._samples = batch_size * (min(max(once, LEAST_STEPS), MOST_STEPS) if steps is None else steps)
            self._of = self._samples * world_size
            sampler = RandomSampler(
                self.index,
                seed,
                data.foreground_oversampling,
                data.balance_classes,
                recent_share=data.recent_share,
                batch_of=lambda epoch, number: epoch * len(self) + number // (batch_size * world_size),
            )
        self._lasting = 0 if self.grid else data.recent_batches
        augmenter = augmenters(config, patch) if augment and data.augmentation.enabled else None
        self.dataset = PatchDataset(
            dataset, sampler, self.index.rules, normalisation, deriver, seed, augmenter
        )
        self._device = device if augmenter is not None and len(patch) == 3 else None
        self._pool: ThreadPoolExecutor | None = None
        self._streams: weakref.WeakSet[Prefetch[Prepared]] = weakref.WeakSet()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return -(-self._samples // self.batch_size)

    @property
    def samples(self) -> int:
        """Number of patches in an epoch of this process."""
        return self._samples

    @property
    def all_samples(self) -> int:
        """Number of patches in an epoch of all processes together."""
        return self._of

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that the next iteration goes through."""
        self.epoch = epoch

    def batch(self, step: int, epoch: int | None = None) -> Batch:
        """Prepare one batch in the calling thread.

        Raises
        ------
        IndexError
            When there is no batch with this number; names the valid ones.
        DataError
            When the data cannot be read; names record and position.
        """
        if not 0 <= step < len(self):
            raise IndexError(f"batch {step} does not exist; an epoch has the batches 0 to {len(self) - 1}")
        return self._finish(self._make(self.epoch if epoch is None else epoch, step))

    def specs(self, step: int) -> tuple[PatchSpec, ...]:
        """Return which patches batch `step` of the chosen epoch has, where labels do not change meanwhile."""
        first = step * self.batch_size
        mine = range(first, min(first + self.batch_size, self._samples))
        numbers = [number for number in map(self._number, mine) if number < self._of]
        return tuple(self.dataset.spec(self.epoch, number) for number in numbers)

    def __iter__(self) -> Iterator[Batch]:
        """Go through the chosen epoch; with workers, preparation starts at once."""
        return self.batches()

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Go through the chosen epoch from batch `start` on; those before it are not prepared."""
        epoch, count = self.epoch, len(self)
        if self.num_workers == 0:
            return (self._finish(self._make(epoch, step)) for step in range(start, count))
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.num_workers, thread_name_prefix="segtrain-patches")
        depth = 2 * self.num_workers + 1 if self._ahead is None else self._ahead
        stream = Prefetch(self._pool, lambda step: self._make(epoch, step), range(start, count), depth)
        self._streams.add(stream)
        return map(self._finish, stream)

    def labels_changed(
        self, record: str, target: str, bounds: Sequence[tuple[int, int]], done: tuple[int, int] = (0, 0)
    ) -> bool:
        """Take note of painted labels while training; see `PatchIndex.update`.

        Parameters
        ----------
        record, target, bounds
            What changed.
        done
            Epochs that are done, and batches of the next: from here on the place is preferred for a while.
        """
        now = self._batches(done)
        return self.index.update(record, target, bounds, now=now, lasting=self._lasting)

    def recent_state(self, done: tuple[int, int]) -> list[dict[str, Any]]:
        """Return which places are preferred at this point of the training, as plain values."""
        return self.index.recent_state(self._batches(done))

    def _batches(self, done: tuple[int, int]) -> int:
        return done[0] * len(self) + done[1]

    def close(self) -> None:
        """Stop the threads and drop what they prepared; the loader may be used again."""
        for stream in list(self._streams):
            stream.close()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _make(self, epoch: int, step: int) -> Prepared:
        first = step * self.batch_size
        numbers = range(first, min(first + self.batch_size, self._samples))
        beyond = self._number(numbers[-1]) >= self._of
        if beyond and len(numbers) > 1:
            numbers, beyond = numbers[:-1], False
        arrays: dict[str, np.ndarray] = {}
        pending = []
        for place, number in enumerate(numbers):
            sample, change = self.dataset.sample(
                epoch, self._number(number) % self._of, moved_only=self._device is not None
            )
            pending.append(change)
            for name, array in sample.items():
                if name not in arrays:
                    arrays[name] = np.empty((len(numbers), *array.shape), array.dtype)
                arrays[name][place] = array
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if beyond:
            _stand_in(batch)
        if self._pin:
            batch = {name: tensor.pin_memory() for name, tensor in batch.items()}
        return batch, tuple(pending)

    def _finish(self, prepared: Prepared) -> Batch:
        """Do on the device what was left for it; in the thread that takes the batch, whose device it is."""
        batch, pending = prepared
        if self._device is None:
            return batch
        device = self._device()
        try:
            return {**batch, "image": _changed(batch["image"].to(device, non_blocking=True), pending)}
        except RuntimeError as error:
            if device.type == "cpu" or not is_out_of_memory(error):
                raise
        logger.warning("the GPU has no room to change the patches of a batch: the processor does it")
        return {**batch, "image": _changed(batch["image"], pending)}

    def _number(self, mine: int) -> int:
        """Return the number, over all processes, of this process's sample number `mine`.

        Step by step the processes together go through the samples in order. Where a grid does not divide
        by them, some of the last numbers are beyond its end.
        """
        rank, world_size = self._share
        return mine * world_size + rank


def _changed(image: torch.Tensor, pending: Sequence[ImageChange | None]) -> torch.Tensor:
    """Change the intensities of patches (B, C, *patch) in place, where they are."""
    for sample, change in zip(image, pending, strict=True):
        if change is not None:
            sample.copy_(change.on_tensor(sample))
    return image


def _stand_in(batch: Batch) -> None:
    """Make a batch one that only stands in for one."""
    for name in batch:
        if name.endswith("_mask"):
            batch[name].zero_()
    batch[STAND_IN] = torch.ones(1, dtype=torch.bool)


def _index(
    dataset: Dataset,
    regions: Sequence[Region],
    config: ExperimentConfig,
    patch: tuple[int, ...],
    facts: DataFacts,
    cache_dir: Path | None,
    grid: bool,
) -> PatchIndex:
    """Index half-overlapping positions to sample from, or a grid of every labelled place."""
    data = config.dataset_config.replace(targets=resolve_targets(config, facts))
    if grid:
        data = data.replace(min_labeled_ratio=0.0, min_bbox_percent=0.0, balance_classes=False)
    return PatchIndex.build(
        dataset,
        regions,
        patch,
        data,
        cache_dir,
        facts=facts,
        stride=patch if grid else None,
        foreground_only=config.tr_config.loss_on_label_only,
    )


def default_workers() -> int:
    """Return how many threads prepare patches when nobody says: one less than processors, at most 8."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(8, usable - 1))


def augmenters(config: ExperimentConfig, patch: tuple[int, ...]) -> Callable[[tuple[float, ...]], Augmenting]:
    """Return what makes the augmenter of a spacing, once for each spacing."""
    from .augmentation import Augmenter

    augmentation = config.dataset_config.augmentation

    @cache
    def make(spacing: tuple[float, ...]) -> Augmenting:
        return Augmenter(augmentation, len(patch), patch, spacing)

    return make
