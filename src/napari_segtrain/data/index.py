"""Which patches can be trained on: found once, block by block, kept up to date while labels change."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from ..config import DataError, DataFacts, DatasetConfig, TargetConfig, did_you_mean
from ..targets.kinds import facts_of
from .blocks import Box
from .cells import MOST_CLASSES
from .dataset import Dataset
from .index_cache import IndexCache
from .index_rules import EVERYWHERE, Held, IndexRules
from .patches import PatchSpec
from .pools import IndexView, Pool
from .recent import RecentPlaces
from .records import Region
from .region_index import RegionIndex

logger = logging.getLogger(__name__)


class PatchIndex:
    """Positions of patches with enough labels, in any number of regions.

    Build it with `build`. Reading is safe from any thread at any time; `update` is for labels that change.
    """

    def __init__(self, regions: Sequence[RegionIndex], rules: IndexRules) -> None:
        self._regions = tuple(regions)
        self.rules = rules
        self._lock = threading.Lock()
        self._numbers: dict[str, list[int]] = {}
        for number, part in enumerate(self._regions):
            self._numbers.setdefault(part.region.record, []).append(number)
        self._usable = [part.usable() for part in self._regions]
        self._recent = RecentPlaces(self._regions)
        self.view = self._make_view()

    @classmethod
    def build(
        cls,
        dataset: Dataset,
        regions: Sequence[Region],
        patch_size: Sequence[int],
        config: DatasetConfig,
        cache_dir: Path | None = None,
        *,
        facts: DataFacts | None = None,
        stride: Sequence[int] | None = None,
        foreground_only: bool = False,
    ) -> Self:
        """Count the labels of every region.

        Memory is bounded: a block of labels, and a few numbers for each cell (about half a patch) of the
        regions.

        Parameters
        ----------
        dataset
            Where the records are.
        regions
            Parts of records to take patches from; every patch lies inside its region.
        patch_size
            Size of a patch in voxels, (z,) y, x.
        config
            Targets, and how much of a patch shall be labelled.
        cache_dir
            Folder in which counts are kept for the next time; None: they are not kept. Kept counts are
            used only for the same content of labels and masks.
        facts
            What is known of the labels; tells the background of labels whose 0 means unlabelled.
        stride
            Distance of two positions in voxels; None: half a patch.
        foreground_only
            Whether background counts as unlabelled (`tr_config.loss_on_label_only`).

        Raises
        ------
        DataError
            When there is no region, no labelled voxel, or no patch with enough of them.
        """
        patch = tuple(int(p) for p in patch_size)
        steps = tuple(max(1, p // 2) for p in patch) if stride is None else tuple(stride)
        rules = _rules(config.targets or dataset.targets, config, facts, foreground_only)
        cache = IndexCache(cache_dir, patch, steps)
        parts: list[RegionIndex] = []
        for region in regions:
            record = dataset.records[region.record]
            part = RegionIndex(record, region, patch, steps, rules)
            key = cache.key(record, region, rules)
            if not cache.load(key, part):
                part.count_all()
                cache.keep(key, part)
            parts.append(part)
        cache.save()
        index = cls(parts, rules)
        index._check_usable()
        return index

    @property
    def positions(self) -> Pool:
        """Every position that may be used."""
        return self.view.everywhere

    @property
    def foreground(self) -> dict[str, Pool]:
        """For each target, the positions of `positions` that hold some of its foreground."""
        return self.view.foreground

    def __len__(self) -> int:
        return len(self.view.everywhere)

    def fullest(self) -> PatchSpec:
        """Return the position with the most labels, and of several the one with most foreground."""
        return max((part.fullest() for part in self._regions), key=lambda found: found[0])[1]

    def update(
        self, record: str, target: str, bounds: Sequence[tuple[int, int]], *, now: int = 0, lasting: int = 0
    ) -> bool:
        """Count again where labels changed; costs the cells that are touched, not the volume.

        Parameters
        ----------
        record
            Id of the record whose labels (or mask) changed.
        target
            The target they belong to; others that read the same label files are updated with it.
        bounds
            Start and stop of the changed box for each spatial axis, in voxels of the record.
        now
            Number of the batch at which it changed, counted over all epochs.
        lasting
            For how many batches the place is one of `IndexView.recent`.

        Returns
        -------
        bool
            Whether any indexed region is touched.

        Raises
        ------
        DataError
            When there is no such target, or the bounds have the wrong number of axes.
        """
        if target not in self.rules.targets:
            raise DataError(f"there is no target {target!r}. {did_you_mean(target, self.rules.targets)}")
        file = self.rules.targets[target].labels or target
        sharing = [name for name, other in self.rules.targets.items() if (other.labels or name) == file]
        box: Box = tuple(slice(int(a), int(b)) for a, b in bounds)
        touched = False
        with self._lock:
            for number in self._numbers.get(record, ()):
                part = self._regions[number]
                if len(box) != len(part.patch):
                    raise DataError(
                        f"bounds {list(bounds)} of a change in {record!r} have {len(box)} axes, "
                        f"the image has {len(part.patch)}"
                    )
                cells = part.recount(sharing, box)
                if cells is None:
                    continue
                self._usable[number] = part.usable()
                touched = True
                if lasting:
                    self._recent.add(number, cells, now + lasting, now)
            if touched:
                self._swap_view()
        return touched

    def recent_state(self, now: int) -> list[dict[str, Any]]:
        """Return what batch `now` still knows of painting, as plain values, for `restore_recent`."""
        with self._lock:
            return self._recent.state(now)

    def restore_recent(self, state: Iterable[dict[str, Any]]) -> None:
        """Prefer again what was painted shortly before `recent_state` was asked for."""
        with self._lock:
            self._recent.restore(state)
            self._swap_view()

    def _swap_view(self) -> None:
        view = self._make_view()
        if len(view.everywhere):
            self.view = view
        else:
            # Labels were taken away, likely to be painted anew: the old places wait, without any loss.
            logger.warning("no patch has enough labels any more; paint some to go on learning")

    def _make_view(self) -> IndexView:
        keys = sorted({k for flats in self._usable for k in flats if k != EVERYWHERE}, key=str)
        pools = {key: self._pool(key) for key in keys}
        foreground = {target: pool for (target, value), pool in pools.items() if target and value is None}
        classes: dict[str, dict[int, Pool]] = {}
        for (target, value), pool in pools.items():
            if target is not None and value is not None:
                classes.setdefault(target, {})[value] = pool
        classes = {t: found for t, found in classes.items() if 1 < len(found) <= MOST_CLASSES}
        none = np.zeros(0, np.int64)
        recent = self._recent.places([flats.get(EVERYWHERE, none) for flats in self._usable])
        return IndexView(self._pool(EVERYWHERE), foreground, classes, recent)

    def _pool(self, what: Held) -> Pool:
        parts = [(p, f[what]) for p, f in zip(self._regions, self._usable, strict=True) if what in f]
        ends = np.cumsum([len(flats) for _, flats in parts]).tolist()
        return Pool(tuple(p for p, _ in parts), tuple(ends), tuple(f for _, f in parts), *what)

    def _check_usable(self) -> None:
        if not self._regions:
            raise DataError("there is no image to take patches from; add images, or change the split")
        if len(self.view.everywhere):
            return
        names = ", ".join(repr(t) for t in self.rules.targets)
        largest = max(part.largest_share() for part in self._regions)
        shown = math.floor(largest * 1000) / 1000
        if largest == 0:
            what = "painted foreground" if self.rules.foreground_only else "labelled"
            raise DataError(
                f"there is no {what} voxel for target(s) {names}; paint labels, or check the target's "
                "unlabelled value and mask"
            )
        raise DataError(
            f"no patch has a labelled share of at least {self.rules.min_ratio:g} with a bounding box of at "
            f"least {self.rules.min_box:g}; the largest labelled share is {shown:g}. "
            "Lower dataset_config.min_labeled_ratio or min_bbox_percent, take a smaller patch, or label more"
        )


def _rules(
    targets: Mapping[str, TargetConfig], config: DatasetConfig, facts: DataFacts | None, foreground_only: bool
) -> IndexRules:
    known = {name: facts_of(name, target, facts) for name, target in targets.items()} if facts else {}
    return IndexRules(
        targets,
        {name: found for name, found in known.items() if found is not None},
        config.min_labeled_ratio,
        config.min_bbox_percent,
        foreground_only,
        config.balance_classes,
    )
