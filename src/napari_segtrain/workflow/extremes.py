"""The patches that were predicted best and worst, as pictures."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from napari_segtrain.data import Record, Region
from napari_segtrain.evaluation import SEPARATING
from napari_segtrain.runs.worst import LISTED, WorstPatch
from napari_segtrain.targets import Head
from napari_segtrain.training import DebugPatch, ShownHead, render

from .scorer import Scored, Scorer
from .truth import Arrays

_MOST = 6
"""Best (and as many worst) patches of all outputs together, where there are not more outputs."""


@dataclass(frozen=True)
class Extreme:
    """A patch that was predicted best or worst.

    Attributes
    ----------
    head
        The output.
    region
        Where it is.
    name, score
        The score that decides, and its value.
    patch
        What to draw.
    """

    head: str
    region: Region
    name: str
    score: float
    patch: DebugPatch

    def picture(self, title: str, spacing: tuple[float, ...]) -> bytes:
        """Return image, ground truth and prediction as PNG, of a plane of a volume as GIF."""
        return render(self.patch, title, spacing)


class Extremes:
    """Keeps the patches with the highest and the lowest score of every output.

    Dice decides of classes, an error otherwise. A patch without a labelled voxel, or with nothing but
    background in labels and prediction, says nothing and is passed over.

    Parameters
    ----------
    scorer
        Scores the patches.
    patch_size
        Their size.
    """

    def __init__(self, scorer: Scorer, patch_size: tuple[int, ...]) -> None:
        self._scorer = scorer
        self._patch = patch_size
        self._heads = tuple(head for head in scorer.heads if head.encoding not in SEPARATING)
        self._keep = max(1, min(3, _MOST // max(1, len(self._heads))))
        self._found: dict[str, list[Extreme]] = {head.name: [] for head in self._heads}
        self._all: dict[str, list[WorstPatch]] = {head.name: [] for head in self._heads}

    def add(self, record: Record, region: Region, scored: Scored) -> None:
        """Look at the patches of a region that was scored."""
        for head in self._heads:
            if head.name not in scored.scores:
                continue
            for box in _boxes(region.shape, self._patch):
                names = head.name, f"{head.name}_mask"
                truth = {name: scored.truth[name][:, *box] for name in names}
                prediction = {head.name: scored.prediction[head.name][:, *box]}
                score = self._score(head, truth, prediction)
                if score is None:
                    continue
                where = _part(region, box)
                self._list(WorstPatch(head.name, where.record, where.start, where.stop, *score))
                if self._counts(head.name, score[1]):
                    patch = _patch(head, record, where, truth, prediction)
                    self._keep_it(Extreme(head.name, where, *score, patch))

    def _score(self, head: Head, truth: Arrays, prediction: Arrays) -> tuple[str, float] | None:
        valid = truth[f"{head.name}_mask"][0]
        if not valid.any():
            return None
        if head.kind == "segmentation":
            seen = truth[head.name].argmax(0) if len(truth[head.name]) > 1 else truth[head.name][0] > 0.5
            numbers = prediction[head.name]
            found = numbers.argmax(0) > 0 if len(numbers) > 1 else numbers[0] > 0.5
            if not ((seen | found) & valid).any():
                return None
        scores = self._scorer.score_output(head, truth, prediction)
        values = {} if scores is None else scores.values()
        for name in ("dice", "mae", "angular_error"):
            value = values.get(name)
            if value is not None and np.isfinite(value):
                return name, float(value)
        return None

    def _counts(self, head: str, score: float) -> bool:
        """Return whether a score is among those to keep."""
        known = [extreme.score for extreme in self._found[head]]
        if len(known) < 2 * self._keep:
            return True
        known.sort()
        return score < known[self._keep - 1] or score > known[self._keep]

    def _keep_it(self, extreme: Extreme) -> None:
        known = sorted([*self._found[extreme.head], extreme], key=lambda one: one.score)
        if len(known) > 2 * self._keep:
            del known[self._keep]  # neither among the first nor among the last
        self._found[extreme.head] = known

    def _list(self, patch: WorstPatch) -> None:
        known = self._all[patch.output]
        known.append(patch)
        if len(known) > 10 * LISTED:
            known.sort(key=lambda one: -one.badness)
            del known[LISTED:]

    def worst(self) -> list[WorstPatch]:
        """Return up to 20 patches of every output, the worst first; none that is as good as can be."""
        found = []
        for patches in self._all.values():
            bad = [patch for patch in patches if patch.badness > 0]
            found += sorted(bad, key=lambda patch: -patch.badness)[:LISTED]
        return found

    def ranked(self) -> Iterator[tuple[str, int, Extreme]]:
        """Yield ``"best"`` or ``"worst"``, the place from 1, and the patch; none is both."""
        for known in self._found.values():
            errors = bool(known) and known[0].name != "dice"
            ordered = sorted(known, key=lambda one: one.score, reverse=not errors)
            best = ordered[: (len(ordered) + 1) // 2][: self._keep]
            worst = ordered[len(best) :][::-1][: self._keep]
            for word, some in (("best", best), ("worst", worst)):
                for place, extreme in enumerate(some, 1):
                    yield word, place, extreme


def _boxes(shape: tuple[int, ...], patch: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Return the patches of a region side by side; the last one along an axis is flush with its end."""
    axes = []
    for size, edge in zip(shape, patch, strict=True):
        starts = [*range(0, max(size - edge, 0), edge), max(size - edge, 0)]
        axes.append([slice(start, min(start + edge, size)) for start in starts])
    return list(itertools.product(*axes))


def _part(region: Region, box: tuple[slice, ...]) -> Region:
    start = tuple(a + b.start for a, b in zip(region.start, box, strict=True))
    stop = tuple(a + b.stop for a, b in zip(region.start, box, strict=True))
    return replace(region, start=start, stop=stop)


def _patch(head: Head, record: Record, where: Region, truth: Arrays, prediction: Arrays) -> DebugPatch:
    """Return what a picture shows; of a volume the plane with most to see."""
    image = record.image.read(where.slices).astype(np.float32)
    known = truth[f"{head.name}_mask"].astype(np.bool_)
    planes: list[int] = []
    if len(where.shape) == 3:
        # Where both are known and something is there; a file of many planes of many patches would be huge.
        there = known[0] & ((truth[head.name] != 0) | (np.abs(prediction[head.name]) > 0.5)).any(axis=0)
        planes = [int(np.argmax(there.sum(axis=(1, 2)) + known[0].mean(axis=(1, 2))))]
    depth = where.shape[0]
    taken = (slice(None), planes) if planes else (slice(None),)
    known = known[taken][0]
    shown = ShownHead(head, truth[head.name][taken].copy(), known, prediction[head.name][taken].copy())
    return DebugPatch(image[taken], (shown,), tuple(planes), depth if planes else 1)
